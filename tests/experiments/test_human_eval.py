"""Two trainings and a study of them: what each minimises, what its scores are of, what raters are given."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import human_eval as experiment
from tests.experiments.tiny import CONFIGS
from vaejax import evaluation
from vaejax.types import TrainState

TINY = replace(CONFIGS[experiment], lam=3.0, scale=0.3)
KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def stepped():
    """{name: (training, its first parameters, the metrics of a step, codes without noise)} of ten images."""
    each = {}
    for name in experiment.ROWS:
        made = experiment.training(TINY, name)
        batch = {"x": jnp.asarray(made.data.train.arrays["x"][:10] / np.float32(255))}

        def step(made=made, batch=batch):
            params, variables = made.model.init(KEY, batch)
            state = TrainState(params, variables, made.update.init(params), jnp.int32(0))
            vae = made.model.bind(params)
            return params, made.update.apply(state, KEY, batch, None)[1], vae.represent(batch)

        each[name] = (made, *jax.jit(step)(), batch["x"])
    return each


def test_the_vae_minimises_its_negative_elbo(stepped):
    _, _, metrics, _, _ = stepped["vae"]
    assert metrics["loss"] == pytest.approx(float(metrics["reconstruction"] + metrics["kl"]), rel=1e-5)
    assert metrics["kl"] > 0


def test_the_wae_minimises_squared_errors_and_a_weighted_divergence(stepped):
    made, params, metrics, z, x = stepped["wae_mmd"]
    error = np.square(made.model.bind(params).decode(z).mean() - x).sum(axis=(1, 2, 3)).mean()
    constant = 0.5 * x[0].size * np.log(np.pi)  # of a Gaussian of variance 1/2
    assert metrics["reconstruction"] - constant == pytest.approx(error, rel=1e-4)
    expected = metrics["reconstruction"] + 3.0 * metrics["divergence"]
    assert metrics["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_scores_are_of_test_images_and_of_as_many_samples(stepped, monkeypatch):
    made, params, *_ = stepped["vae"]
    vae, seen = made.model.bind(params), []
    sharpness = evaluation.sharpness
    monkeypatch.setattr(evaluation, "sharpness", lambda x: seen.append(np.asarray(x)) or sharpness(x))
    scores = experiment.score(TINY, "vae", vae, made.data)
    x = made.data.test.arrays["x"][:500] / np.float32(255)
    mse = np.square(np.asarray(evaluation.reconstruct(vae, x)) - x).mean()
    assert scores["mse"] == pytest.approx(mse, rel=1e-4)
    drawn, real = seen
    np.testing.assert_allclose(real, x)
    assert drawn.shape == x.shape
    assert scores["gradient_samples"] == pytest.approx(sharpness(drawn) / sharpness(x))


def test_a_command_that_fails_ends_the_script(tmp_path, capsys):
    with pytest.raises(RuntimeError, match=r"vaejax\.human report: expected it to end well"):
        experiment._do("report", str(tmp_path), str(tmp_path))
    assert "python -m vaejax.human report" in capsys.readouterr().out
