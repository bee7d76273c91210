"""One model under several likelihoods: what each sees, what its scores are of."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments import likelihoods as experiment
from vaejax import evaluation
from vaejax.distributions import Gaussian

TINY = experiment.Config(
    dataset="digits", latents=2, hidden=(6, 5), components=2, samples=4, test_images=5, judged=20, scale=0.5
)


@pytest.mark.parametrize("name", experiment.ROWS)
def test_every_likelihood_scores_what_it_sees_with_the_same_networks(name):
    made = experiment.training(TINY, name)
    split = made.data.train
    assert split.arrays["x"].dtype == np.uint8
    assert made.model.support in (("bytes",) if name == experiment.BYTES else ("real", "unit_interval"))
    assert made.work > 1 or name != experiment.BYTES
    batch = split.transform(jax.random.key(0), {"x": split.arrays["x"][:3]})
    assert batch["x"].max() > 16 if name == experiment.BYTES else batch["x"].max() < 1
    z = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)

    def means_and_scales(key):
        params, variables = made.model.init(key, batch)
        px = made.model.bind(params, variables).decode(z)
        return params["encoder"], px.mean(), px.stddev() if isinstance(px, Gaussian) else None

    encoder, mean, scale = jax.eval_shape(means_and_scales, jax.random.key(1))
    if name in ("gaussian", "learned_scale"):
        scale = jax.jit(lambda key: means_and_scales(key)[2])(jax.random.key(1))
    hidden = [a.shape for a in jax.tree.leaves(encoder) if a.ndim == 2]
    assert sorted(hidden) == sorted([(64, 6), (6, 5), (5, 2), (5, 2)])
    assert mean.shape == (3, 8, 8, 1)
    if name == "gaussian":
        np.testing.assert_allclose(scale, 0.5)
    if name == "learned_scale":  # softly above -6
        np.testing.assert_allclose(scale, np.exp(-6 + np.log1p(np.exp(4))), rtol=1e-5)


@pytest.mark.parametrize("name", ["optimal_scale", experiment.BYTES])  # the two that differ most
def test_scores_are_of_grey_values_in_0_to_1(name):
    made = experiment.training(TINY, name)
    top = 255 if name == experiment.BYTES else 1
    stored = made.data.test.arrays["x"][:20]
    params, variables = jax.jit(made.model.init)(jax.random.key(0), {"x": stored[:1] / np.float32(256 / top)})
    vae = made.model.bind(params, variables)
    scores = experiment.score(TINY, name, vae, made.data)
    assert scores["bits_per_dim"] == pytest.approx(scores["nll"] / (64 * np.log(2)) + (8 if top == 1 else 0))
    seen = stored.astype(np.float32) if top == 255 else (stored + np.float32(0.5)) / 256
    means = np.asarray(evaluation.reconstruct(vae, seen)) / top
    assert scores["mse"] == pytest.approx(
        np.square(stored / 255 - means).mean(), rel=0.02
    )  # but for the noise
    for key, images in (
        ("gradient_reconstructions", means),
        ("gradient_samples", np.asarray(evaluation.prior_samples(jax.random.key(2006), vae, 20)) / top),
    ):
        ratio = evaluation.sharpness(images) / evaluation.sharpness(stored / 255)
        assert scores[key] == pytest.approx(ratio, rel=0.02)
    assert scores["scale"] == (None if top == 255 else pytest.approx(float(variables["scale"])))
    assert scores["density"] == (top == 1)


def test_densities_and_probabilities_share_no_column():
    scores = {"nll": 100.0, "nll_se": 1.0, "bits_per_dim": 7.5, "mse": 0.04}
    shown = {
        density: {
            title: column({**scores, "density": density})
            for title, column in experiment.COLUMNS.items()
            if callable(column)
        }
        for density in (True, False)
    }
    assert shown[True] == {
        "NLL, density (nats)": (100.0, 1.0), "+ 8 bits/dim, a bound": 7.5, "NLL, bytes (bits/dim)": "",
        "RMSE": pytest.approx(0.2),
    }  # fmt: skip
    assert shown[False] == {
        "NLL, density (nats)": "", "+ 8 bits/dim, a bound": "", "NLL, bytes (bits/dim)": 7.5,
        "RMSE": pytest.approx(0.2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"judged": 0}, "judged: expected at least 1, got 0"),
        ({"scale": 0.0}, "scale: expected a positive finite number, got 0.0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)
