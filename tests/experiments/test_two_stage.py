"""Second stages at a tiny size: what the autoencoders minimise, what moves in a fit, which rows there are."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import two_stage as experiment
from tests.experiments.tiny import CONFIGS
from vaejax.types import TrainState

TINY = replace(CONFIGS[experiment], chunk=2, beta=0.3, lam=0.7)
KEY = jax.random.key(3)


def stepped(config, name):
    """A training after its first step: the training, its model and images, and what the step saw."""
    made = experiment.training(config, name)
    split = made.data.train
    batch = split.transform(KEY, {"x": split.arrays["x"][:10]})

    @jax.jit
    def step(key):
        params, variables = made.model.init(jax.random.key(1), batch)
        state = TrainState(params, variables, made.update.init(params), jnp.int32(0))
        draw = made.model.bind(params).encode(KEY, batch)
        return params, made.update.apply(state, key, batch, None)[1], draw.q.mean(), draw.z

    params, metrics, mean, z = jax.device_get(step(KEY))
    return made, made.model.bind(params), np.asarray(batch["x"]), metrics, mean, z


@pytest.fixture(scope="module")
def vae():
    made, vae, *_ = stepped(TINY, "vae")
    return made, vae


def test_the_loss_of_the_regularised_autoencoder_is_three_terms():
    """With one latent and a linear decoder every random projection has the length of the one column of J."""
    _, vae, x, metrics, mean, z = stepped(replace(TINY, latents=1, hidden=()), "rae")
    np.testing.assert_array_equal(z, mean)  # no noise
    mu = np.asarray(vae.decode(z).mean(), np.float64)
    s = TINY.scale
    nll = (np.square(x - mu) / (2 * s**2) + np.log(s) + np.log(2 * np.pi) / 2).sum(axis=(1, 2, 3)).mean()
    codes = (np.square(z) / 2).sum(-1).mean() + np.log(2 * np.pi) / 2
    column = np.square(np.asarray(vae.decode(z + 1).mean(), np.float64) - mu).sum(axis=(1, 2, 3)).mean()
    assert metrics["reconstruction"] == pytest.approx(nll, rel=1e-5)
    assert metrics["codes"] == pytest.approx(codes, rel=1e-5)
    assert metrics["smooth"] == pytest.approx(column, rel=1e-4)
    assert metrics["loss"] == pytest.approx(nll + TINY.beta * codes + TINY.lam * column, rel=1e-5)


@pytest.mark.parametrize("density", ["flow", "second"])
def test_a_fit_moves_the_density_and_nothing_of_the_model(density, vae):
    made, first = vae
    second = experiment.fitted(TINY, "vae", density, first, made.data)
    x = made.data.test.arrays["x"][:5] / np.float32(255)
    seen = jax.jit(lambda vae: (vae.represent({"x": x}), vae.decode(jnp.ones((2, 2))).mean()))
    for a, b in zip(seen(first), seen(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    drawn = [np.asarray(jax.jit(lambda vae: vae.sample_prior(KEY, 50))(v)) for v in (first, second)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


def test_every_model_has_a_row_for_every_density():
    entry = {"mmd_codes": {"mean": 0.1}}
    reports = {name: [{"densities": dict.fromkeys(experiment.DENSITIES, entry)}] for name in experiment.ROWS}
    rows = experiment.densities(SimpleNamespace(reports=reports))["rows"]  # pyright: ignore
    assert len(rows) == 8
    assert rows["RAE, RealNVP"] == [entry]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second_rate": 0.0}, "second_rate: expected a positive finite number, got 0.0"),
        ({"lam": -1.0}, "lam: expected a finite number of at least 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)
