"""The evaluation of hierarchies, on a chain of Gaussians whose posterior is exact: every number is known."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_hierarchy import SCALES, SLOPES, D, W, chain, exact, given, joint, log_px
from vaejax import evaluation
from vaejax.runs import figures
from vaejax.types import Split

KEY, L, N = jax.random.key(0), 3, 200
RNG = np.random.default_rng(2)


@functools.cache
def data():
    """x of the model itself."""
    chol = np.linalg.cholesky(joint(L)[L:, L:])
    return (RNG.normal(size=(N, D)) @ chol.T).astype(np.float32)


def split():
    return Split({"x": data()}, "real")


def bound(rule="ladder"):
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), exact(rule, L))
    return chain(rule, L).bind(params)


def codes(x):
    """E[z_l|x], [n, L]: what the code of a level is under the codes above it."""
    xs = list(range(L, L + D))
    return np.stack([x @ given(joint(L), i, xs)[0] for i in range(L)], axis=1)


def kl(loc, variance, loc_p, variance_p):
    return 0.5 * ((variance + (loc - loc_p) ** 2) / variance_p - 1 - np.log(variance / variance_p))


def kl_per_level(x):
    """E KL of every level over z_above ~ p(z_above|x), mean over x: in closed form."""
    C, xs, found = joint(L), list(range(L, L + D)), []
    for i in range(L):
        above = [i - 1] if i else []
        weights, variance = given(C, i, [*above, *xs])
        if not i:
            found.append(np.mean(kl(x @ weights, variance, 0.0, SCALES[0] ** 2)))
            continue
        of_above, spread = given(C, i - 1, xs)
        # loc - loc_p is linear in z_above and x: its square has a mean over the posterior of z_above
        slope, m = weights[0] - SLOPES[i], x @ of_above
        square = (slope * m + x @ weights[1:]) ** 2 + slope**2 * spread
        v = SCALES[i] ** 2
        found.append(np.mean(0.5 * ((variance + square) / v - 1 - np.log(variance / v))))
    return np.array(found)


@pytest.mark.parametrize("rule", ["ladder", "bottom_up"])
def test_the_parts_of_the_bound_are_those_of_the_exact_posterior(rule):
    found = evaluation.elbo_parts(KEY, bound(rule), split(), batch_size=64)
    exact_log_px = log_px(data(), L)
    assert found["kl_is_analytic"] == (rule == "ladder")
    assert found["kl_per_level"].shape == (L,)
    np.testing.assert_allclose(found["kl_per_level"].sum(), found["kl"], rtol=1e-5)
    assert abs(found["neg_elbo"] + exact_log_px.mean()) < 4 * found["neg_elbo_se"]
    np.testing.assert_allclose(np.ravel(found["kl_per_dimension"]), found["kl_per_level"], rtol=1e-4)
    each = kl_per_level(data())  # bottom-up, E KL of all together is the same, of a level it is not
    if rule == "ladder":
        np.testing.assert_allclose(found["kl_per_level"], each, atol=0.15)
    assert abs(found["kl"] - each.sum()) < 4 * found["kl_se"]
    assert found["active_units"] == np.sum(codes(data()).var(axis=0, ddof=1) > 0.01)
    assert not {"mutual_information", "kl_standard_normal"} & found.keys()


def test_every_weight_is_the_evidence():
    found = evaluation.marginal_log_likelihood(KEY, bound(), split(), num_samples=4, curve=())
    np.testing.assert_allclose(
        found["per_example"]["log_likelihood"], log_px(data(), L), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(found["ess"], 4, rtol=1e-5)


def test_reconstructions_of_the_top_levels_are_the_means_below_their_codes():
    vae, x = bound(), data()[:5]
    code = codes(x)
    np.testing.assert_allclose(
        np.concatenate(evaluation.posterior_mean(vae, {"x": x}), axis=1), code, rtol=1e-4, atol=1e-5
    )
    seen = evaluation.level_reconstructions(vae, x)
    assert seen.shape == (L, 5, D)
    for k in range(L):
        expected = code[:, k] * np.prod(SLOPES[k + 1 : L])
        np.testing.assert_allclose(seen[k], expected[:, None] * W, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen[-1], evaluation.reconstruct(vae, x), rtol=1e-5, atol=1e-6)
    moved = evaluation.traverse(vae, x[0], [-1.0, 2.0], part=1)  # level 2 stays where it was
    np.testing.assert_allclose(moved, np.broadcast_to(seen[-1, 0], (1, 2, D)), rtol=1e-4, atol=1e-5)


def test_samples_keep_what_is_given_and_have_the_scale_of_their_temperature():
    vae, n = bound(), 4000
    top = np.linspace(-2, 2, n, dtype=np.float32)[:, None]
    still = evaluation.prior_samples(KEY, vae, n, given=[top], temperature=0)
    np.testing.assert_allclose(still, top * np.prod(SLOPES[1:L]) * W, rtol=1e-4, atol=1e-5)
    warm = evaluation.prior_samples(KEY, vae, n, given=(top,), temperature=(1, 2.0, 0.5))
    std = np.hypot(2.0 * SCALES[1] * SLOPES[2], 0.5 * SCALES[2])
    np.testing.assert_allclose((warm - still).std(axis=0), std * np.abs(W), rtol=0.06)
    plain = evaluation.prior_samples(KEY, vae, n)
    np.testing.assert_allclose(plain.std(axis=0), np.sqrt(joint(L)[L - 1, L - 1]) * np.abs(W), rtol=0.06)
    for options, message in (
        ({"given": (top[:3],)}, r"given: expected levels of shapes \[\(4000, 1\)\]"),
        ({"temperature": -1}, "temperature: expected a number >= 0"),
        ({"temperature": [[1.0]]}, "temperature: expected a number >= 0, or one for each level"),
        ({"temperature": "warm"}, "temperature: expected a number >= 0, or one for each level; got 'warm'"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluation.prior_samples(KEY, vae, n, **options)


REAL = "z: expected one array of real numbers"
REFUSED = {
    "annealed_log_likelihood": (lambda vae: evaluation.annealed_log_likelihood(KEY, vae, split()), REAL),
    "collapse": (lambda vae: evaluation.collapse(KEY, vae, split()), REAL),
    "gaps": (lambda vae: evaluation.gaps(KEY, vae, split()), "q: expected one posterior, each of"),
    "latent_distances": (lambda vae: evaluation.latent_distances(KEY, vae, split()), REAL),
    "sandwich": (lambda vae: evaluation.sandwich(KEY, vae, 4), REAL),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_levels_have_not_is_said_before_anything_runs(name):
    call, message = REFUSED[name]
    with pytest.raises(TypeError, match=message + ".*3 (parts or )?levels"):
        call(bound())


def test_a_figure_has_a_row_for_every_number_of_levels(monkeypatch):
    vae, x, seen = bound(), data()[:4], {}
    monkeypatch.setattr(figures.plots, "reconstructions", lambda x, rows, **options: seen.update(rows))
    figures.levels(vae, x)
    assert list(seen) == ["top level", "top 2 levels", "all levels"]
    np.testing.assert_allclose(seen["all levels"], evaluation.reconstruct(vae, x), rtol=1e-5, atol=1e-6)
