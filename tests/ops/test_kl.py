"""Kullback-Leibler divergences against printed values, enumeration, textbook formulas and sampling."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.monte_carlo import assert_mean_is
from vaejax.ops import kl

RNG = np.random.default_rng(0)
TRIL = np.array([[1.0, 0.0, 0.0], [0.4, 0.7, 0.0], [-0.3, 0.2, 1.5]])
OTHER_TRIL = np.array([[0.8, 0.0, 0.0], [-0.2, 1.1, 0.0], [0.5, 0.1, 0.6]])
LOC, OTHER_LOC = np.array([0.3, -1.0, 0.2]), np.array([-0.1, 0.5, 1.0])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda: kl.standard_gaussian(jnp.ones(1), jnp.zeros(1))[0], 0.5),
        (lambda: kl.standard_gaussian(jnp.zeros(1), jnp.full(1, -2.0))[0], 0.5676676),
        (lambda: kl.categorical(jnp.log(jnp.array([0.7, 0.2, 0.1])), jnp.zeros(3)), 0.2967937),
    ],
)
def test_printed_values(value, expected):
    np.testing.assert_allclose(value(), expected, atol=1e-7)


def test_the_gaussian_forms_agree_with_the_textbook(x64):
    def textbook(m1, s1, m2, s2):
        inverse, gap = np.linalg.inv(s2), m2 - m1
        log_dets = np.linalg.slogdet(s2)[1] - np.linalg.slogdet(s1)[1]
        return 0.5 * (np.trace(inverse @ s1) + gap @ inverse @ gap - len(m1) + log_dets)

    full = jax.jit(kl.full_gaussian)(LOC, TRIL, OTHER_LOC, OTHER_TRIL)
    np.testing.assert_allclose(
        full, textbook(LOC, TRIL @ TRIL.T, OTHER_LOC, OTHER_TRIL @ OTHER_TRIL.T), rtol=1e-12
    )
    scales = np.diag(TRIL), np.diag(OTHER_TRIL)
    diagonal = kl.diagonal_gaussian(LOC, scales[0], OTHER_LOC, scales[1])
    expected = textbook(LOC, np.diag(scales[0] ** 2), OTHER_LOC, np.diag(scales[1] ** 2))
    np.testing.assert_allclose(diagonal.sum(), expected, rtol=1e-12)
    standard = kl.standard_gaussian(LOC, 2 * np.log(scales[0]))
    expected = kl.diagonal_gaussian(LOC, scales[0], np.zeros(3), np.ones(3))
    np.testing.assert_allclose(standard, expected, rtol=1e-12)


def test_the_full_form_takes_leading_axes(x64):
    """A batch is the single ones side by side, under vmap and jit too, also in the gradient."""
    shift, scale = RNG.normal(size=(4, 5, 3)), np.exp(RNG.normal(size=(4, 5, 1, 1)))
    arrays = LOC + shift, scale * TRIL, OTHER_LOC - 2 * shift, OTHER_TRIL / scale
    batch = jax.jit(kl.full_gaussian)(*arrays)
    assert batch.shape == (4, 5)
    mapped = jax.jit(jax.vmap(jax.vmap(kl.full_gaussian)))(*arrays)
    np.testing.assert_allclose(batch, mapped, rtol=1e-12)
    one = jax.jit(kl.full_gaussian)(*(a[2, 3] for a in arrays))
    assert one.shape == ()
    np.testing.assert_allclose(batch[2, 3], one, rtol=1e-12)

    def gradient(fn):
        return jax.jit(jax.grad(lambda arrays: jnp.sum(fn(*arrays))))(arrays)

    several = zip(gradient(kl.full_gaussian), gradient(jax.vmap(jax.vmap(kl.full_gaussian))), strict=True)
    for of_batch, of_mapped in several:
        np.testing.assert_allclose(of_batch, of_mapped, rtol=1e-9, atol=1e-12)


def test_the_full_form_is_the_mean_log_ratio():
    q = stats.multivariate_normal(LOC, TRIL @ TRIL.T)
    p = stats.multivariate_normal(OTHER_LOC, OTHER_TRIL @ OTHER_TRIL.T)
    z = q.rvs(100_000, random_state=0)
    assert_mean_is(q.logpdf(z) - p.logpdf(z), jax.jit(kl.full_gaussian)(LOC, TRIL, OTHER_LOC, OTHER_TRIL))


def test_the_discrete_forms_agree_with_enumeration(x64):
    a, b = RNG.normal(size=(2, 20, 4)) * 3
    q, p = np.exp(a) / np.exp(a).sum(-1, keepdims=True), np.exp(b) / np.exp(b).sum(-1, keepdims=True)
    categorical, bernoulli = jax.jit(lambda a, b: (kl.categorical(a, b), kl.bernoulli(a, b)))(a, b)
    np.testing.assert_allclose(categorical, (q * np.log(q / p)).sum(-1), rtol=1e-11)
    q, p = 1 / (1 + np.exp(-a)), 1 / (1 + np.exp(-b))
    expected = q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))
    np.testing.assert_allclose(bernoulli, expected, rtol=1e-9)


def _lower(values):
    """[6] unconstrained numbers -> a triangle [3, 3] with a positive diagonal."""
    below = jnp.zeros((3, 3)).at[np.tril_indices(3, -1)].set(values[:3])
    return below + jnp.diag(jnp.exp(values[3:]))


FAMILIES = {  # parameters [9] -> the arrays that the divergence takes of one distribution
    "standard_gaussian": None,
    "diagonal_gaussian": lambda v: (v[:3], jnp.exp(v[3:6])),
    "full_gaussian": lambda v: (v[:3], _lower(v[3:])),
    "full_to_diagonal_gaussian": None,
    "categorical": lambda v: (v,),
    "bernoulli": lambda v: (v,),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_lost_at_equality_and_nothing_pulls_away_from_it(name, x64):
    assert set(FAMILIES) == set(kl.__all__)
    at = jnp.zeros(9) if FAMILIES[name] is None else jnp.asarray(RNG.normal(size=9))
    if name == "full_to_diagonal_gaussian":
        at = jnp.asarray(RNG.normal(size=9)).at[3:6].set(0.0)  # a q that is diagonal, too

    def divergence(v, w):
        if name == "full_to_diagonal_gaussian":
            return kl.full_to_diagonal_gaussian(v[:3], _lower(v[3:]), w[:3], jnp.exp(w[6:]))
        if FAMILIES[name] is None:
            return kl.standard_gaussian(v[:3], v[3:6]).sum()
        return getattr(kl, name)(*FAMILIES[name](v), *FAMILIES[name](w)).sum()

    @jax.jit
    def run(at, around):
        at_equality = jax.value_and_grad(divergence, argnums=(0, 1))(at, at)
        return at_equality, jax.vmap(lambda v: divergence(v, at))(around)

    (value, gradients), beside = run(at, at + 0.1 * RNG.normal(size=(5, 9)))
    np.testing.assert_allclose(value, 0, atol=1e-14)
    np.testing.assert_allclose(gradients, np.zeros((2, 9)), atol=1e-14)
    assert (beside > 0).all()


def test_zero_times_log_zero_is_zero():
    certain, even = jnp.array([0.0, -jnp.inf]), jnp.zeros(2)
    value, gradient = jax.jit(jax.value_and_grad(kl.categorical))(certain, even)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(gradient, [0.0, 0.0])
    value, gradient = jax.value_and_grad(kl.categorical, argnums=1)(certain, certain)
    assert value == 0
    np.testing.assert_array_equal(gradient, [0.0, 0.0])
    assert kl.categorical(even, certain) == jnp.inf  # p forbids what q does


@pytest.mark.parametrize("s", [1e-4, -1e-3])
def test_small_divergences_keep_their_digits_in_float32(s):
    value = kl.standard_gaussian(jnp.zeros(1), jnp.full(1, s))[0]
    np.testing.assert_allclose(value, s**2 / 4 + s**3 / 12, rtol=5e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: kl.standard_gaussian(jnp.zeros((2, 3)), jnp.zeros(3)),
        lambda: kl.diagonal_gaussian(jnp.zeros(3), jnp.ones(3), jnp.zeros(3), jnp.ones(1)),
        lambda: kl.categorical(jnp.zeros((2, 3)), jnp.zeros(3)),
        lambda: kl.bernoulli(jnp.zeros((2, 1)), jnp.zeros((2, 3))),
        lambda: kl.full_gaussian(jnp.zeros((2, 3)), jnp.eye(3), jnp.zeros((2, 3)), jnp.eye(3)),
        lambda: kl.full_gaussian(jnp.zeros(3), jnp.eye(3), jnp.zeros((1, 3)), jnp.eye(3)[None]),
        lambda: kl.full_gaussian(jnp.zeros(3), jnp.ones((3, 2)), jnp.zeros(3), jnp.eye(3)),
        lambda: kl.full_gaussian(jnp.zeros(3), jnp.eye(3), jnp.zeros(3), jnp.eye(2)),
        lambda: kl.full_to_diagonal_gaussian(jnp.zeros(3), jnp.eye(3), jnp.zeros(3), jnp.ones(1)),
        lambda: kl.full_to_diagonal_gaussian(jnp.zeros(3), jnp.eye(2), jnp.zeros(3), jnp.ones(3)),
    ],
)
def test_shapes_are_not_broadcast(call):
    with pytest.raises(AssertionError, match="shape"):
        call()
