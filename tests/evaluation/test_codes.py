"""The codes of a model."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from vaejax.distributions import diagonal_gaussian
from vaejax.evaluation import codes, posterior_mean
from vaejax.types import VAE, Draw

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
A = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)


def _vae(A, family=diagonal_gaussian, levels=False):
    def encode(A, key, batch):
        loc = batch["x"] @ A
        q = family(loc, jnp.exp(loc))
        z = loc + jax.random.normal(key, loc.shape)
        return Draw(*(((z, z), None, None, (q, q)) if levels else (z, None, None, q)), None, batch)

    return VAE(Partial(encode, A), None, None, {})  # pyright: ignore


def test_it_is_the_mean_of_q_for_every_model_of_one_shape():
    traces = []

    def counted(loc, scale):
        traces.append(loc.shape)
        return diagonal_gaussian(loc, scale)

    def encode(A, key, batch):
        return _vae(A, counted).encode(key, batch)

    jitted = jax.jit(posterior_mean)
    for a in (A, -A):
        np.testing.assert_allclose(
            jitted(VAE(Partial(encode, a), None, None, {}), {"x": X}), X @ a, rtol=1e-5
        )
    assert traces == [(5, 2)]


def test_what_has_no_mean_is_refused():
    with pytest.raises(TypeError, match="q: expected one posterior that knows its mean, got 2 levels"):
        posterior_mean(_vae(A, levels=True), {"x": X})

    def flow(loc, scale):  # distrax knows no mean of a transformed distribution
        return distrax.Transformed(diagonal_gaussian(loc, scale), distrax.Block(distrax.Tanh(), 1))

    with pytest.raises(TypeError, match="q: expected one posterior that knows its mean, got Transformed"):
        posterior_mean(_vae(A, flow), {"x": X})


@pytest.mark.parametrize(("B", "slices"), [(12, [12, 4]), (13, [13]), (4, [4])])
def test_slices_of_a_batch_give_what_the_whole_gives(B, slices, monkeypatch):
    monkeypatch.setattr(codes, "_CACHE", 4 * 3 * 5)  # five examples of x; 13 divides badly
    seen, batch = [], {"x": jnp.asarray(np.resize(X, (B, 3))), "c": jnp.arange(B)}

    def function(batch):
        seen.append(len(batch["x"]))
        return batch["x"] * 2, batch["c"] + 1

    z, c = jax.jit(lambda batch: codes.in_slices(function, batch))(batch)
    np.testing.assert_array_equal(z, batch["x"] * 2)
    np.testing.assert_array_equal(c, batch["c"] + 1)
    assert seen == slices
