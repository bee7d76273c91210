"""Flows: log-determinants against the Jacobian, inverses, any real numbers for parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import flows

D, M, BINS, BOUND, N = 3, 2, 4, 2.5, 40


def raw_sylvester(fn, z, v, upper, tilde, b):
    """With what a posterior makes of raw numbers: reflections, and diagonals within (-1, 1)."""

    def triangle(raw):
        return jnp.triu(raw, 1) + jnp.eye(M) * jnp.tanh(raw)

    return fn(z, flows.orthonormal_columns(v), triangle(upper), triangle(tilde), b)


class Map(NamedTuple):
    forward: Callable
    inverse: Callable
    shapes: tuple[tuple[int, ...], ...]  # of its parameters, any real numbers


MAPS = {
    "affine": Map(flows.affine, flows.affine_inverse, ((D,), (D,))),
    "gated": Map(flows.gated, flows.gated_inverse, ((D,), (D,))),
    "planar": Map(flows.planar, flows.planar_inverse, ((D,), (D,), ())),
    "radial": Map(flows.radial, flows.radial_inverse, ((D,), (), ())),
    "spline": Map(
        lambda x, raw: flows.spline(x, raw, BOUND),
        lambda y, raw: flows.spline_inverse(y, raw, BOUND),
        ((D, 3 * BINS - 1),),
    ),
    "sylvester": Map(
        partial(raw_sylvester, flows.sylvester),
        partial(raw_sylvester, flows.sylvester_inverse),
        ((M, D), (M, M), (M, M), (M,)),
    ),
}


def arguments(name, scale, n=N, seed=0):
    rng = np.random.default_rng(seed)
    parameters = [scale * rng.normal(size=(n, *shape)) for shape in MAPS[name].shapes]
    return 1.5 * rng.normal(size=(n, D)), *parameters


@cache
def program(name):
    """(y, log|det|, sign and log of the Jacobian's determinant, inverse of y, its log|det|) of each."""
    forward, inverse, _ = MAPS[name]

    def one(z, *parameters):
        y, log_det = forward(z, *parameters)
        sign, of_jacobian = jnp.linalg.slogdet(jax.jacfwd(lambda z: forward(z, *parameters)[0])(z))
        return y, log_det, sign, of_jacobian, *inverse(y, *parameters)

    return jax.jit(jax.vmap(one))


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_log_determinant_is_the_jacobian_s_and_the_inverse_is_one_for_any_parameters(name, scale, x64):
    z, *parameters = arguments(name, scale)
    y, log_det, sign, of_jacobian, back, log_det_back = program(name)(z, *parameters)
    assert (sign == 1).all()
    assert np.abs(y - z).max() > 0.1
    np.testing.assert_allclose(log_det, of_jacobian, rtol=1e-9, atol=1e-9)
    worst = np.exp(np.abs(log_det).max())  # what the steepest place does to a last digit
    np.testing.assert_allclose(back, z, rtol=1e-10, atol=1e-14 * worst + 1e-11)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", MAPS)
def test_zeros_are_the_identity(name):
    z, *parameters = (jnp.float32(a) for a in arguments(name, 0.0))
    if name in ("planar", "sylvester"):  # any directions; it is u and R that are 0
        rng = np.random.default_rng(1)
        free = {"planar": (1, 2), "sylvester": (0, 2, 3)}[name]
        parameters = [
            jnp.float32(rng.normal(size=p.shape)) if i in free else p for i, p in enumerate(parameters)
        ]
    y, log_det, *_ = program(name)(z, *parameters)
    stays = 0.5 if name == "gated" else 1.0  # sigmoid(0)
    np.testing.assert_allclose(y, stays * z, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(log_det, D * np.log(stays), atol=1e-6)


@pytest.mark.parametrize("name", MAPS)
def test_derivatives_of_the_inverse_are_those_of_finite_differences_up_to_the_second(name, x64):
    inverse = MAPS[name].inverse
    point = tuple(a[0] for a in arguments(name, 0.7, n=1))
    rng = np.random.default_rng(1)
    direction, weights = tuple(rng.normal(size=a.shape) for a in point), rng.normal(size=D)

    def along(t):
        z, log_det = inverse(*(a + t * b for a, b in zip(point, direction, strict=True)))
        return weights @ z + log_det

    first = jax.grad(along)
    both = jax.jit(lambda t: (along(t), first(t), jax.grad(first)(t)))
    _, slope, curvature = both(0.0)
    (low, low_slope, _), (high, high_slope, _) = both(-1e-5), both(1e-5)
    np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-6)
    np.testing.assert_allclose(curvature, (high_slope - low_slope) / 2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MAPS)
def test_parameters_of_a_batch_serve_many_points_of_each(name):
    forward, inverse, _ = MAPS[name]
    z, *parameters = (jnp.float32(a) for a in arguments(name, 1.0, n=2))
    points = z + jnp.float32([0.0, 0.5, -0.5])[:, None, None]
    y, log_det = jax.jit(forward)(points, *parameters)
    back, _ = jax.jit(inverse)(y, *parameters)
    np.testing.assert_allclose(back, points, rtol=1e-4, atol=1e-4)
    for k in range(3):
        of_one = jax.jit(forward)(points[k], *parameters)
        np.testing.assert_allclose(y[k], of_one[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(log_det[k], of_one[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MAPS)
def test_large_parameters_and_points_at_a_centre_leave_all_finite_in_float32(name):
    forward, inverse, _ = MAPS[name]
    z, *parameters = (jnp.float32(a) for a in arguments(name, 15.0))
    if name == "radial":
        parameters[0] = parameters[0].at[:10].set(z[:10])
    if name == "planar":
        parameters[1] = parameters[1].at[:10].set(0.0)

    def total(inverted, z, *parameters):
        out = (inverse if inverted else forward)(z, *parameters)
        return jnp.mean(out[0]) + jnp.mean(out[1])

    everything = tuple(range(1 + len(parameters)))
    for inverted in (False, True)[: 1 if name in ("affine", "gated") else 2]:  # exp(-s) of those two is large
        value, slopes = jax.jit(jax.value_and_grad(partial(total, inverted), everything))(z, *parameters)
        assert all(np.isfinite(a).all() for a in (value, *slopes))


def test_a_planar_flow_moves_along_one_direction_by_the_constrained_amount(x64):
    z, u, w, b = arguments("planar", 2.0)
    y, _ = jax.jit(flows.planar)(z, u, w, b)
    moved, t = y - z, np.tanh(np.sum(w * z, -1) + b)
    slope = np.sum(w * moved, -1) / t  # w.uh
    wu = np.sum(w * u, -1)
    np.testing.assert_allclose(slope, np.log1p((np.e - 1) * np.exp(wu)) - 1, rtol=1e-8)
    assert (slope > -1).all()
    assert (wu < -1).any()  # where u itself would have no inverse
    across = moved / t[:, None] - u  # u is changed along w alone
    np.testing.assert_allclose(across * np.sum(w * w, -1, keepdims=True), np.sum(w * across, -1)[:, None] * w)


def test_a_radial_flow_keeps_directions_and_never_turns_back(x64):
    z0, alpha, beta = np.array([1.0, -2.0, 0.5]), 0.3, np.array([-3.0, 0.0, 3.0])[:, None]
    r = np.linspace(0.01, 5, 50)
    direction = np.array([2.0, 1.0, 2.0]) / 3
    y, _ = jax.jit(flows.radial)(z0 + r[:, None] * direction, z0, np.full(1, alpha), beta)
    a, s = np.log1p(np.exp(alpha)), np.log1p(np.exp(beta))
    np.testing.assert_allclose(
        y - z0, (r + (s - a) * r / (a + r))[..., None] * direction, rtol=1e-9, atol=1e-12
    )
    assert (np.diff(np.linalg.norm(y - z0, axis=-1), axis=-1) > 0).all()


def test_a_sylvester_flow_is_its_formula_and_its_directions_are_orthonormal(x64):
    z, v, R, Rt, b = arguments("sylvester", 1.0, n=1)
    v[0, 0] = 0.0  # a reflection of nothing
    Q, R, Rt = np.asarray(jax.jit(flows.orthonormal_columns)(v))[0], np.triu(R[0]) / 9, np.triu(Rt[0])
    np.testing.assert_allclose(Q.T @ Q, np.eye(M), atol=1e-14)
    reflection = np.eye(D) - 2 * np.outer(v[0, 1], v[0, 1]) / (v[0, 1] @ v[0, 1])
    np.testing.assert_allclose(Q, reflection[:, :M], atol=1e-14)
    y, _ = jax.jit(flows.sylvester)(z[0], Q, R, Rt, b[0])
    np.testing.assert_allclose(y, z[0] + Q @ R @ np.tanh(Rt @ Q.T @ z[0] + b[0]), rtol=1e-12)


def test_a_spline_goes_through_its_knots_with_its_slopes_and_is_the_identity_beyond(x64):
    raw = np.random.default_rng(0).normal(size=(1, 3 * BINS - 1))

    def softmax(a):
        return np.exp(a) / np.exp(a).sum()

    def edges(logits):
        sizes = 1e-3 + (1 - BINS * 1e-3) * softmax(logits)
        return BOUND * (2 * np.concatenate([[0.0], np.cumsum(sizes)]) - 1)

    xs, ys = edges(raw[0, :BINS]), edges(raw[0, BINS : 2 * BINS])
    softplus = np.log1p(np.exp(raw[0, 2 * BINS :] + np.log(np.expm1(0.999))))
    slopes = np.concatenate([[1.0], softplus + 1e-3, [1.0]])

    one = jax.jit(jax.vmap(lambda x: flows.spline(x[None], raw, BOUND)))
    y, log_slope = one(xs)
    np.testing.assert_allclose(y[:, 0], ys, atol=1e-12)
    np.testing.assert_allclose(log_slope[:-1], np.log(slopes[:-1]), atol=1e-10)
    middle, _ = one((xs[1:] + xs[:-1]) / 2)
    s, d0, d1 = np.diff(ys) / np.diff(xs), slopes[:-1], slopes[1:]
    np.testing.assert_allclose(middle[:, 0], ys[:-1] + np.diff(ys) * (s + d0) / (2 * s + d0 + d1), rtol=1e-12)
    beyond = np.array([-9.0, -BOUND - 1e-9, BOUND + 1e-9, 9.0])
    y, log_slope = one(beyond)
    np.testing.assert_array_equal(y[:, 0], beyond)
    assert not log_slope.any()
    near, log_slope = one(np.array([-BOUND + 1e-9, BOUND - 1e-9]))  # and there is no jump
    np.testing.assert_allclose(near[:, 0], [-BOUND, BOUND], atol=1e-8)
    np.testing.assert_allclose(log_slope, 0.0, atol=1e-6)


def test_bad_shapes_are_refused():
    z = jnp.zeros((4, 3))
    with pytest.raises(AssertionError):
        flows.planar(z, jnp.zeros((4, 2)), z, jnp.zeros(4))
    with pytest.raises(AssertionError):
        flows.radial(z, jnp.zeros((4, 1)), jnp.zeros(4), jnp.zeros(4))
    with pytest.raises(AssertionError):
        flows.gated(z, z, jnp.zeros((4, 1)))
    with pytest.raises(AssertionError):
        flows.affine_inverse(z, z, jnp.zeros(1))
    with pytest.raises(AssertionError):
        flows.sylvester(z, jnp.eye(3, 2), jnp.eye(3), jnp.eye(3), jnp.zeros(3))
    with pytest.raises(AssertionError):
        flows.orthonormal_columns(jnp.ones((4, 3)))
    with pytest.raises(AssertionError):
        flows.spline(z, jnp.zeros((4, 2, 8)), 1.0)
    with pytest.raises(ValueError, match="raw: expected a last axis of 3 n - 1 numbers for n bins, got 9"):
        flows.spline(z, jnp.zeros((4, 3, 9)), 1.0)
    with pytest.raises(ValueError, match="raw: expected fewer than 1000 bins, got 1000"):
        flows.spline(z, jnp.zeros((4, 3, 2999)), 1.0)
