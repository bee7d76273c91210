"""Products of Gaussian experts, by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import experts

HALF = np.log(0.5)


def product(loc, v, present=None, **options):
    loc = jnp.asarray(loc, jnp.float32)[..., None]
    present = jnp.ones(loc.shape[:-1]) if present is None else present
    loc, logvar = experts.product(loc, jnp.log(jnp.asarray(v, jnp.float32))[..., None], present, **options)
    return np.concatenate([loc, np.exp(logvar)], axis=-1)


def test_the_printed_numbers():
    np.testing.assert_allclose(product([1.0, 1.0], [0.5, 0.5]), [4 / 5, 1 / 5], rtol=1e-6)
    np.testing.assert_allclose(product([1.0, 1.0], [0.5, 0.5], of="posteriors"), [4 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(product([2.0], [1.0]), [1.0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(product([2.0], [0.5], of="posteriors"), [2.0, 0.5], rtol=1e-6)  # itself


def test_what_is_absent_does_not_count_and_of_none_it_is_the_prior():
    nan = np.nan
    for of in ("likelihoods", "posteriors"):
        one = product([1.0, nan], [0.5, nan], jnp.array([True, False]), of=of)
        np.testing.assert_allclose(one, product([1.0], [0.5], of=of), rtol=1e-6)
        np.testing.assert_allclose(product([nan, nan], [nan, nan], jnp.zeros(2), of=of), [0.0, 1.0])


def test_sure_experts_keep_their_digits_and_gradients_are_finite():
    """1 / v of exp(-logvar) would overflow at -200."""
    loc, logvar = jnp.array([[1.0], [3.0]]), jnp.array([[-200.0], [-200.0]])
    found = experts.product(loc, logvar, jnp.ones(2))
    np.testing.assert_allclose(found, [[2.0], [-200.0 - np.log(2)]], rtol=1e-6)
    absent = jnp.array([[jnp.nan], [3.0]])
    grads = jax.jacobian(lambda a, b: experts.product(a, b, jnp.array([0, 1])), (0, 1))(absent, logvar)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_leading_axes_broadcast_and_other_names_are_refused():
    rng = np.random.default_rng(0)
    loc, logvar = rng.normal(size=(2, 4, 1, 3, 2)).astype(np.float32)
    present = np.array([[1, 1, 0], [0, 1, 1]])
    whole = experts.product(loc, logvar, present)
    assert whole[0].shape == (4, 2, 2)
    one = experts.product(loc[2, 0], logvar[2, 0], present[1])
    np.testing.assert_allclose([a[2, 1] for a in whole], one, rtol=1e-6)
    with pytest.raises(ValueError, match="of: expected one of"):
        experts.product(loc, logvar, present, of="experts")
