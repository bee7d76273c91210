"""Logistic likelihoods of bytes against printed values, exact sums and a mixture written out by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax

from tests.distributions.compiled import compiled
from tests.monte_carlo import assert_mean_is
from vaejax import distributions
from vaejax.distributions import logistic

BYTES = np.arange(256.0)
LOC = np.array([-60.0, -1.1, -1.0, -0.3, 0.002, 0.7, 1.0, 60.0])
LOG_SCALE = np.array([-7.0, -6.0, -4.0, -2.0, -1e-3, 1e-3, 3.0, 60.0])


def table(parameters, likelihood=None):
    """log P(k) for every k, [256, n], and the mean, [n], of n bytes with parameters [n, ...]."""
    likelihood = likelihood or distributions.discretised_logistic()
    log_p, mean = compiled(likelihood, parameters, np.broadcast_to(BYTES[:, None, None], (256, 1, 1)), 1)
    return log_p, mean[:, 0]


def pairs(loc, log_scale):
    """Every loc with every log-scale, [n, 2]."""
    return np.stack([a.ravel() for a in np.meshgrid(loc, log_scale)], axis=-1)


def test_printed_values(x64):
    log_p = table([[0.0, -2.0]])[0][:, 0]
    np.testing.assert_allclose([log_p[128], log_p[0]], [-4.2346906, -7.3607154], atol=5e-8)
    np.testing.assert_allclose(log_p, log_p[::-1], atol=1e-12)  # symmetric, both ends included


def test_the_discretised_logistic_sums_to_one_and_is_a_difference_of_sigmoids(x64):
    at = pairs(LOC, LOG_SCALE)
    log_p, _ = table(at)
    np.testing.assert_allclose(np.exp(log_p).sum(0), 1, atol=2e-13)
    edges = ((2 * BYTES[:-1] + 1) / 255 - 1)[:, None]  # between a byte and the next
    cdf = expit((edges - at[:, 0]) * np.exp(-at[:, 1]))
    cdf = np.concatenate([np.zeros((1, len(at))), cdf, np.ones((1, len(at)))])
    np.testing.assert_allclose(np.exp(log_p), np.diff(cdf, axis=0), atol=1e-14)


def test_far_in_a_tail_no_digit_is_lost(x64):
    """There sigmoid(p) - sigmoid(q) -> e^p - e^q; a density times the bin's width is 2.1 nats off."""
    k, s = BYTES[1:100], np.exp(-7.0)
    p, q = (k / 127.5 - 1 + np.array([[1], [-1]]) / 255 - 0.5) / s
    truth = p + np.log(-np.expm1(q - p))
    np.testing.assert_allclose(table([[0.5, -7.0]])[0][1:100, 0], truth, rtol=1e-13)
    middle = (p + q) / 2
    density = middle + 7 - np.log(127.5)
    np.testing.assert_allclose(truth - density, 2.1, atol=0.1)


def test_the_floor_of_the_log_scale_is_the_stated_one(x64):
    expected, _ = table([[0.1, -5.0]])
    one, _ = table([[0.1, -9.0]], distributions.discretised_logistic(-5.0))
    np.testing.assert_array_equal(one, expected)
    mixture, _ = table([[0.3, 0.1, -9.0]], distributions.discretised_logistic_mixture(1, -5.0))
    np.testing.assert_allclose(mixture, expected, atol=1e-12)


def test_values_and_gradients_are_finite_and_right_in_float32(x64):
    at = pairs([-1e4, -3.0, 0.0, 0.9, 1e4], [-1e4, -7.0, -6.5, 0.0, 60.0, 150.0, 1e4])

    def log_p(parameters, x):
        return distributions.discretised_logistic(-6.9).build(parameters, 1).log_prob(x)

    of = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(log_p), (0, None)), (None, 0)))
    x = np.array([[0.0], [17.0], [255.0]])
    value, gradient = of(jnp.asarray(at, jnp.float32), jnp.asarray(x, jnp.float32))
    truth, slope = of(jnp.asarray(at), jnp.asarray(x))
    assert value.dtype == jnp.float32
    assert np.isfinite(value).all()
    np.testing.assert_allclose(value, truth, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=2e-4)


def test_the_mean_is_exact_to_the_stated_part_of_a_byte(x64):
    loc = np.linspace(-1.5, 1.5, 1001)
    accuracy = {-7.0: 0.151, -5.0: 0.02, -3.0: 0.003, -1e-3: 6e-5, 4.0: 1e-6}
    log_p, mean = table(pairs(loc, list(accuracy)))
    error = np.abs(mean - BYTES @ np.exp(log_p)).reshape(len(accuracy), -1).max(axis=1)
    assert (error < list(accuracy.values())).all(), error


def test_the_mean_is_that_of_the_clipped_logistic_with_its_gradient(x64):
    """d/dm E[clip(V)] = P(-1 < V < 1), and E[clip(V)] = int_-1^1 P(V > b) db - 1."""
    loc, log_scale = (a.ravel() for a in np.meshgrid(LOC, [-7.0, -3.0, -1e-3, 1e-3, 2.0, 60.0]))
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(logistic._clipped_mean)))(
        jnp.asarray(loc), jnp.asarray(log_scale)
    )
    s = np.exp(np.minimum(log_scale, 40))
    np.testing.assert_allclose(slope, expit((1 - loc) / s) - expit((-1 - loc) / s), atol=1e-8)
    nodes, weights = np.polynomial.legendre.leggauss(100)  # on each of 20 parts: 2000 at once take seconds
    nodes = (np.linspace(-0.95, 0.95, 20)[:, None] + nodes / 20).ravel()
    integral = expit((loc[:, None] - nodes) / s[:, None]) @ np.tile(weights / 20, 20) - 1
    np.testing.assert_allclose(value, integral, atol=3e-7)


def test_the_mean_of_extremes_is_finite_twice_differentiable_and_in_range():
    def mean(loc, log_scale):
        parameters = jnp.stack([loc, log_scale])
        return distributions.mean(distributions.discretised_logistic().build(parameters, 1))[0]

    slope = jax.value_and_grad(mean)
    at = pairs([-1e6, -60.0, -1.0, 0.0, 1.0, 60.0, 1e6], [-7.0, -1.0, 0.0, 1.0, 19.0, 60.0, 200.0])
    bends = jax.jit(jax.vmap(lambda l, s: (slope(l, s), jax.grad(lambda l, s: slope(l, s)[1], (0, 1))(l, s))))
    (value, first), second = bends(*jnp.asarray(at, jnp.float32).T)
    assert np.isfinite([value, first, *second]).all()
    assert ((value >= 0) & (value <= 255)).all()
    assert (first >= 0).all()


def samples(likelihood, parameters, n):
    """n samples and the mean, in one program."""

    @jax.jit
    def run(parameters):
        px = likelihood.build(parameters, 1)
        return px.sample(seed=jax.random.key(0), sample_shape=n), px.mean()

    x, mean = run(jnp.asarray(parameters))
    return np.asarray(x), np.asarray(mean)


# mixtures: an image of one pixel, R components, written out by the packing


def unpack(parameters, R):
    """[R logits | for r, g, b: R locations, R log-scales, R coefficients], one pixel's numbers."""
    logits, rest = parameters[:R], parameters[R:]
    blocks = [rest[3 * R * c : 3 * R * (c + 1)] for c in range(3)]
    loc, log_scale = [b[:R] for b in blocks], [np.maximum(b[R : 2 * R], -7) for b in blocks]
    k0, k1, k2 = [np.tanh(b[2 * R :]) for b in blocks]
    return softmax(logits), loc, np.exp(log_scale), k0, k1, k2


def mass(x, m, s):
    """P(x) of logistics at m, [..., R], in plain float64."""
    upper = np.where(x == 255, np.inf, ((2 * x + 1) / 255 - 1 - m) / s)
    lower = np.where(x == 0, -np.inf, ((2 * x - 1) / 255 - 1 - m) / s)
    return expit(upper) - expit(lower)


def by_hand(parameters, R, *x):
    """log P(r), log P(r, g) or log P(r, g, b)."""
    weights, loc, s, k0, k1, k2 = unpack(parameters, R)
    x = [np.asarray(c, float)[..., None] for c in x]
    v = [2 * c / 255 - 1 for c in x]
    p = weights * mass(x[0], loc[0], s[0])
    if len(x) > 1:
        p = p * mass(x[1], loc[1] + k0 * v[0], s[1])
    if len(x) > 2:
        p = p * mass(x[2], loc[2] + k1 * v[0] + k2 * v[1], s[2])
    return np.log(np.maximum(p.sum(axis=-1), 1e-300))


def pixel(R, seed=0, scale=-3.0):
    """Random parameters of a pixel, its log-scales around `scale`, [10 R]."""
    parameters = np.random.default_rng(seed).normal(size=10 * R) * 0.25
    for c in range(3):
        parameters[R + 3 * R * c + R : R + 3 * R * c + 2 * R] += scale
    return parameters


def colour(parameters, R, x):
    """log P(x) of one pixel and many colours x: [..., 3] -> [...]."""
    likelihood = distributions.discretised_logistic_mixture(R)
    return compiled(likelihood, parameters, np.asarray(x, float), 1)[0]


def test_the_colour_mixture_is_the_published_one(x64):
    R, rng = 4, np.random.default_rng(1)
    parameters, x = pixel(R, scale=-2.0), rng.integers(0, 256, size=(300, 3))
    x[:40] = np.where(x[:40] > 127, 255, 0)
    truth = by_hand(parameters, R, *x.T)
    assert truth.min() > -30  # so the differences of sigmoids keep their digits
    np.testing.assert_allclose(colour(parameters, R, x), truth, rtol=1e-8)


def test_every_conditional_of_the_colour_mixture_sums_to_one(x64):
    R = 3
    parameters = pixel(R, seed=2, scale=-1.5)
    rg = np.random.default_rng(3).integers(0, 256, size=(20, 2))
    rg[:4] = [[0, 0], [0, 255], [255, 0], [255, 255]]
    x = np.concatenate([np.repeat(rg[:, None], 256, 1), np.tile(BYTES[:, None], (20, 1, 1))], axis=-1)
    over_b = logsumexp(colour(parameters, R, x), axis=1)
    np.testing.assert_allclose(over_b, by_hand(parameters, R, *rg.T), atol=1e-10)
    over_g = logsumexp(by_hand(parameters, R, rg[:, :1], BYTES), axis=1)
    np.testing.assert_allclose(over_g, by_hand(parameters, R, rg[:, 0]), atol=1e-10)
    np.testing.assert_allclose(logsumexp(by_hand(parameters, R, BYTES)), 0, atol=1e-12)


def test_one_grey_component_is_the_discretised_logistic_and_more_are_a_mixture(x64):
    loc, log_scale, logits = np.random.default_rng(4).normal(size=(3, 3))
    parts, means = table(np.stack([loc, log_scale], axis=-1))
    parameters = np.concatenate([logits, loc, log_scale])[None]
    log_p, mean = table(parameters, distributions.discretised_logistic_mixture(3))
    np.testing.assert_allclose(np.exp(log_p[:, 0]), np.exp(parts) @ softmax(logits), rtol=1e-12)
    np.testing.assert_allclose(mean[0], means @ softmax(logits), rtol=1e-12)


def test_the_pixels_of_an_image_share_no_component(x64):
    parameters = np.stack([[pixel(2, seed=0), pixel(2, seed=1)]])  # [1, 2, 20]
    x = np.array([[[10.0, 20.0, 30.0], [200.0, 210.0, 220.0]]])
    whole, _ = compiled(distributions.discretised_logistic_mixture(2), parameters, x, 3)
    alone, _ = compiled(distributions.discretised_logistic_mixture(2), parameters, x, 1)
    assert (whole.shape, alone.shape) == ((), (1, 2))
    np.testing.assert_allclose(whole, alone.sum(), rtol=1e-12)


def test_green_follows_the_byte_that_red_became():
    """Red is uniform within a byte and green its copy, sharp: it hits red's byte with the printed chance."""
    parameters = np.zeros(10)
    parameters[[2, 5, 8]] = -1.0, -7.0, -7.0  # log-scales of r, g, b
    parameters[3] = 30.0  # k0 = 1
    x, _ = samples(distributions.discretised_logistic_mixture(1), parameters, 20_000)
    inside = (x[:, 0] > 0) & (x[:, 0] < 255)
    hits = (x[inside, 1] == x[inside, 0]).astype(float)
    chance = 1 - 2 * expit(-np.exp(7) / 255)
    assert_mean_is(hits, chance)
    assert chance == pytest.approx(0.9732, abs=1e-4)  # red before it is rounded would give 0.79


@pytest.mark.parametrize("seed", [0, 1])
def test_the_mean_of_the_colour_mixture_is_exact_where_nothing_is_clipped(seed):
    parameters = pixel(3, seed=seed, scale=-4.0)
    x, mean = samples(distributions.discretised_logistic_mixture(3), parameters, 100_000)
    assert ((x > 0) & (x < 255)).all()
    assert_mean_is(x, mean)


def test_the_mean_of_the_colour_mixture_is_near_where_much_is_clipped():
    rng = np.random.default_rng(0)
    parameters = 0.5 * rng.normal(size=(100, 50)).astype(np.float32)
    for c in range(3):
        parameters[:, 15 * c + 10 : 15 * c + 15] -= 1.0  # log-scales
    x, mean = samples(distributions.discretised_logistic_mixture(5), parameters, 10_000)
    error = np.abs(x.mean(axis=0) - mean)
    assert ((x == 0) | (x == 255)).mean() > 0.1
    assert error.mean() < 1.5
    assert error.max() < 15


def test_samples_are_bytes_whatever_the_parameters():
    extremes = np.array([-200.0, -7.0, 0.0, 60.0], np.float32)[:, None]
    for likelihood, n in (
        (distributions.discretised_logistic(), 2),
        (distributions.discretised_logistic_mixture(2), 20),
    ):
        x, _ = samples(likelihood, np.tile(extremes, n), 50)
        assert ((x >= 0) & (x <= 255) & (x == np.round(x))).all()


@pytest.mark.parametrize(
    ("make", "parameters", "message"),
    [
        (
            distributions.discretised_logistic,
            (2, 3),
            r"expected \[..., 2 C\].*got \(2, 3\) with 1 event axes",
        ),
        (
            distributions.discretised_logistic_mixture,
            (2, 20),
            r"\[..., 30\] for grey.*\[..., 100\] for RGB; got",
        ),
        (distributions.categorical, (2, 255), r"expected \[..., 256 C\].*got \(2, 255\)"),
        (distributions.gaussian_learned_scale, (2, 3), r"expected \[..., 2 C\].*got \(2, 3\)"),
    ],
)
def test_parameters_of_another_number_are_refused(make, parameters, message):
    with pytest.raises(ValueError, match=message):
        make().build(jnp.zeros(parameters), 1)
    with pytest.raises(ValueError, match=r"parameters: .* with 0 event axes"):
        make().build(jnp.zeros((2, 3840)), 0)


def test_bad_options_are_refused_before_anything_is_built():
    for make in (
        distributions.discretised_logistic,
        distributions.discretised_logistic_mixture,
        distributions.gaussian_learned_scale,
    ):
        with pytest.raises(ValueError, match="min_log_scale: expected a finite number, got nan"):
            make(min_log_scale=np.nan)
        with pytest.raises(TypeError, match="min_log_scale: expected a number, got str"):
            make(min_log_scale="low")
    with pytest.raises(ValueError, match="components: expected at least 1, got 0"):
        distributions.discretised_logistic_mixture(0)
    with pytest.raises(ValueError, match=r"x: expected images of 1 or 3 channels .* got 2"):
        distributions.discretised_logistic_mixture().parameter_shape((8, 8, 2))
