"""Distances between codes of a linear model, in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax.evaluation import latent_distances
from vaejax.types import VAE, Draw, Split

KEY = jax.random.key(0)
X = oracle.data(1000).astype(np.float32)
PARAMS = jax.tree.map(np.asarray, oracle.exact_params())
A, LOC = PARAMS["encoder"]["A"], PARAMS["encoder"]["a"]
KEPT = np.diag(A @ oracle.W)  # E(mu_x(z)) = KEPT z: the exact posterior mean shrinks


def _vae(collapsed=False):
    params = oracle.exact_params()
    if collapsed:
        params["encoder"]["A"] = params["encoder"]["A"].at[1].set(0.0)
        params["encoder"]["a"] = params["encoder"]["a"].at[1].set(0.0)
    prior = Partial(lambda key, n, c=None: jax.random.normal(key, (n, 2)))
    return oracle.linear_vae().bind(params)._replace(sample_prior=prior)


def test_the_distances_of_a_linear_model():
    result = latent_distances(KEY, _vae(), Split({"x": X}, "real"), batch_size=300)
    code = X @ A.T + LOC
    shift = code * (KEPT - 1)
    std = code.std(axis=0, ddof=1)
    each = result["per_example"]
    for suffix, d in (("", shift), ("_scaled", shift / std)):
        l1, l2 = np.abs(d).sum(axis=1) / 2, np.linalg.norm(d, axis=1) / np.sqrt(2)
        np.testing.assert_allclose(each[f"code_shift_l1{suffix}"], l1, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(each[f"code_shift_l2{suffix}"], l2, rtol=1e-3, atol=1e-5)
        assert result[f"code_shift_l1{suffix}"] == pytest.approx(l1.mean(), rel=1e-4)
        assert result[f"code_shift_l2{suffix}_se"] == pytest.approx(l2.std(ddof=1) / np.sqrt(1000), rel=1e-3)
        # z ~ N(0, I) moves by (KEPT - 1) z
        scale = (1 - KEPT) / (std if suffix else 1)
        assert_mean_is(each[f"cycle_l1{suffix}"], np.sqrt(2 / np.pi) * scale.mean())
        assert_mean_is(each[f"cycle_l2{suffix}"] ** 2, np.mean(scale**2))
    assert (result["n"], result["active_units"]) == (1000, 2)


def test_a_collapsed_latent_is_left_out_of_the_scaled_form():
    result = latent_distances(KEY, _vae(collapsed=True), Split({"x": X}, "real"))
    assert result["active_units"] == 1
    each = result["per_example"]
    assert_mean_is(each["cycle_l1"], np.sqrt(2 / np.pi) * ((1 - KEPT[0]) + 1) / 2)  # it does not come back
    std = (X @ A.T)[:, 0].std(ddof=1)
    assert_mean_is(each["cycle_l1_scaled"], np.sqrt(2 / np.pi) * (1 - KEPT[0]) / std)
    nothing = latent_distances(KEY, _vae(collapsed=True), Split({"x": np.ones((9, 4), np.float32)}, "real"))
    assert nothing["active_units"] == 0
    assert not any("scaled" in name for name in nothing)


def test_the_batch_size_does_not_change_the_numbers_and_conditions_pass():
    def encode(key, batch):
        draw = _vae().encode(key, {"x": batch["x"] - batch["c"]})
        return Draw(*draw[:5], batch=batch)

    seen = []

    def prior(key, n, c):
        seen.append(c.shape)
        return jax.random.normal(key, (n, 2)) + c[:, :2]

    base = _vae()
    decode = Partial(lambda z, c: type(base.decode(z))(base.decode(z).mean() + c, 0.5, 1))
    vae = VAE(Partial(encode), decode, Partial(prior), {})
    c = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    split = Split({"x": X[:30] + c, "c": c}, "real")
    a, b = (latent_distances(KEY, vae, split, batch_size=size)["per_example"] for size in (10, 30))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5)
    plain = latent_distances(KEY, base, Split({"x": X[:30]}, "real"))
    np.testing.assert_allclose(
        a["code_shift_l1"], plain["per_example"]["code_shift_l1"], rtol=1e-3, atol=1e-5
    )
    assert np.abs(a["cycle_l1"] - plain["per_example"]["cycle_l1"]).max() > 0.01  # the prior saw c
    assert seen[0] == (1, 4)


def test_what_has_no_distances_is_refused():
    with pytest.raises(ValueError, match="split: expected at least 2 examples"):
        latent_distances(KEY, _vae(), Split({"x": X[:1]}, "real"))

    def levels(key, batch):
        draw = _vae().encode(key, batch)
        return draw._replace(q=(draw.q, draw.q))

    with pytest.raises(TypeError, match="q: expected one posterior that knows its mean, got 2 levels"):
        latent_distances(KEY, _vae()._replace(encode=Partial(levels)), Split({"x": X}, "real"))
    with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
        latent_distances(jnp.zeros(2), _vae(), Split({"x": X}, "real"))
