"""Local scores of a model: those of its posterior means in the neighbourhoods of the key."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from vaejax.disentanglement import local_clusters, score_local
from vaejax.distributions import diagonal_gaussian
from vaejax.evaluation import local_scores
from vaejax.types import VAE, Draw, Split

KEY = jax.random.key(0)
A = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]], np.float32)
TRACES = []


class Pictures:
    """A set whose images are its factors."""

    num_values = (64, 20)

    def sample_images(self, factors):
        return factors.astype(np.float32)[:, None, :, None]


def _encode(A, key, batch):
    TRACES.append(batch["x"].shape)
    loc = batch["x"][:, 0, :, 0] @ A
    q = diagonal_gaussian(loc, jnp.ones_like(loc))
    return Draw(loc + jax.random.normal(key, loc.shape), None, None, q, None, batch)


def _vae(A):
    return VAE(Partial(_encode, jnp.asarray(A)), None, None, {})  # pyright: ignore


def test_they_are_the_scores_of_the_posterior_means():
    options = {"locality": 0.3, "clusters": 3, "num_samples": 101}
    scores = [
        local_scores(KEY, _vae(a), Pictures(), batch_size=64, bins=4, **options)
        for a in (A, 2 * A, A[:, ::-1])
    ]
    assert TRACES == [(64, 1, 2, 1)]  # one program for all models
    factors = local_clusters(KEY, (64, 20), **options)
    expected = score_local(factors @ A.astype(float), factors, bins=4)
    for made in scores:
        assert made.values == pytest.approx(expected.values)
    assert 0 < expected.mig < expected.ceiling
    assert scores[0].active_units == 2


def test_values_are_plain_data():
    one = local_scores(KEY, _vae(A), Pictures(), clusters=1, num_samples=50)
    plain = json.loads(json.dumps(one.values, allow_nan=False))
    assert plain["mig"] == one.mig
    assert plain["mig_se"] is plain["modularity_se"] is None  # of one cluster there is none
    assert "clusters" not in plain


def test_bad_arguments_are_named():
    with pytest.raises(
        TypeError, match="data: expected a set with `num_values` and `sample_images`, got Split"
    ):
        local_scores(KEY, _vae(A), Split({"x": np.zeros((3, 2))}, "real"))
    with pytest.raises(ValueError, match="bins: expected at least 1, got 0"):
        local_scores(KEY, _vae(A), Pictures(), bins=0)
