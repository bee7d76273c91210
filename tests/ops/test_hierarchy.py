"""The merges of a level's posterior, against products of densities and the KL between Gaussians."""

import jax.numpy as jnp
import numpy as np

from vaejax.ops import hierarchy, kl

RNG = np.random.default_rng(0)


def test_a_merge_is_the_product_of_both_densities(x64):
    loc, logvar, loc_p, logvar_p = RNG.normal(size=(4, 5))
    m, v = (
        np.asarray(a) for a in hierarchy.precision_weighted(*map(jnp.asarray, (loc, logvar, loc_p, logvar_p)))
    )
    z = np.linspace(-2, 2, 7)[:, None]
    product = -((z - loc) ** 2) / np.exp(logvar) - (z - loc_p) ** 2 / np.exp(logvar_p)
    merged = -((z - m) ** 2) / np.exp(v)
    difference = product - merged  # a constant of z
    np.testing.assert_allclose(difference, np.broadcast_to(difference[:1], difference.shape), rtol=1e-10)
    half = hierarchy.precision_weighted(*map(jnp.asarray, (1.0, 0.0, 0.0, 0.0)))
    np.testing.assert_allclose(half, (0.5, np.log(0.5)), rtol=1e-12)


def test_a_merge_with_an_empty_side_is_the_other_one():
    far = jnp.asarray(200.0)
    np.testing.assert_allclose(
        hierarchy.precision_weighted(jnp.asarray(3.0), far, jnp.asarray(1.0), jnp.asarray(-1.0)), (1.0, -1.0)
    )
    np.testing.assert_allclose(
        hierarchy.precision_weighted(jnp.asarray(3.0), jnp.asarray(-2.0), jnp.asarray(1.0), far), (3.0, -2.0)
    )


def test_the_kl_of_a_residual_is_that_of_its_paper(x64):
    """m_p = .3, sigma_p = .8, dm = .4, ds = .6: 0.3158256, from NVAE's formula."""
    loc_p, scale_p, dloc, dscale = 0.3, 0.8, 0.4, 0.6
    loc, logvar = hierarchy.residual(
        *map(jnp.asarray, (dloc, 2 * np.log(dscale), loc_p, 2 * np.log(scale_p)))
    )
    value = kl.diagonal_gaussian(loc, jnp.exp(logvar / 2), jnp.asarray(loc_p), jnp.asarray(scale_p))
    formula = 0.5 * (dloc**2 / scale_p**2 + dscale**2 - np.log(dscale**2) - 1)
    np.testing.assert_allclose(value, formula, rtol=1e-12)
    np.testing.assert_allclose(value, 0.3158256, atol=1e-7)
