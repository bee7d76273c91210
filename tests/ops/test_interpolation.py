"""Paths between two latents."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.ops import interpolation

T = jnp.linspace(0.0, 1.0, 5)


def pair(angle, norms=(3.0, 3.0)):
    """Two vectors of [3] with that angle between them."""
    a = norms[0] * np.array([1.0, 0.0, 0.0])
    b = norms[1] * np.array([np.cos(angle), np.sin(angle), 0.0])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    return jnp.asarray(turn @ a, jnp.float32), jnp.asarray(turn @ b, jnp.float32)


@pytest.mark.parametrize("path", [interpolation.lerp, interpolation.slerp])
@pytest.mark.parametrize("norms", [(3.0, 3.0), (1e4, 1e-3)])
def test_endpoints(path, norms):
    a, b = pair(1.1, norms)
    out = path(a, b, T)
    assert out.shape == (5, 3)
    np.testing.assert_allclose(out[0], a, rtol=1e-6)
    np.testing.assert_allclose(out[-1], b, rtol=1e-6)


def test_lerp_is_the_straight_line():
    a, b = pair(1.1, (2.0, 5.0))
    expected = np.outer(1 - np.asarray(T), a) + np.outer(T, b)
    np.testing.assert_allclose(interpolation.lerp(a, b, T), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-5, 1e-3, 0.5, np.pi / 2, 3.0])
def test_slerp_keeps_the_norm_and_turns_evenly_where_lerp_cuts_through(angle):
    a, b = pair(angle)
    curved, straight = interpolation.slerp(a, b, T), interpolation.lerp(a, b, T)
    np.testing.assert_allclose(jnp.linalg.norm(curved, axis=1), 3.0, rtol=1e-5)
    np.testing.assert_allclose(curved @ a / 9, np.cos(np.asarray(T) * angle), atol=1e-5)
    # half-way the chord of a circle of radius 3 is 3 cos(angle / 2) away from its centre
    np.testing.assert_allclose(jnp.linalg.norm(straight[2]), 3 * np.cos(angle / 2), rtol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-4, 5e-4, 2e-3])
def test_slerp_tends_to_lerp_as_the_angle_closes(angle):
    a, b = pair(angle, (1.0, 2.0))
    curved, straight = interpolation.slerp(a, b, T), interpolation.lerp(a, b, T)
    np.testing.assert_allclose(curved, straight, atol=angle**2 + 5e-7)


A = np.array([0.6, -1.2, 0.4], np.float32)
STRAIGHT = {  # pairs without an arc
    "opposite": (A, -A),
    "opposite, other length": (A, -2.5 * A),
    "almost opposite, other length": (A, -2.5 * A + np.array([2e-3, 1e-3, 0], np.float32)),
    "almost opposite": (A, -A + np.array([1e-4, 0, 0], np.float32)),
    "from zero": (np.zeros(3, np.float32), A),
    "to minus zero": (A, -np.zeros(3, np.float32)),
    "nowhere": (np.zeros(3, np.float32), np.zeros(3, np.float32)),
    "the same": (A, A),
    "parallel": (A, 3 * A),
    "almost parallel": (A, 3 * A + np.array([1e-5, 0, 0], np.float32)),
    "tiny": (1e-30 * A, -1e-30 * A),
    "huge": (1e30 * A, -1e30 * A),
    "one latent": (np.float32([1.0]), np.float32([-2.0])),
    "one latent, one sign": (np.float32([0.5]), np.float32([2.0])),
    "one latent, zero": (np.float32([0.0]), np.float32([2.0])),
}
slerp_and_slopes = jax.jit(
    lambda a, b: (
        interpolation.slerp(a, b, T),
        jax.jacrev(interpolation.slerp, (0, 1))(a, b, T),
        jax.jacfwd(interpolation.slerp, (0, 1))(a, b, T),
    )
)


@pytest.mark.parametrize("case", STRAIGHT)
def test_slerp_is_straight_where_there_is_no_arc(case):
    a, b = STRAIGHT[case]
    curved, *slopes = slerp_and_slopes(a, b)
    straight = np.outer(1 - np.asarray(T), a) + np.outer(T, b)
    scale = max(np.abs(a).max(), np.abs(b).max())
    np.testing.assert_allclose(curved, straight, rtol=1e-5, atol=1e-6 * scale)
    for of_a, of_b in slopes:
        eye = np.eye(len(a))
        np.testing.assert_allclose(of_a, (1 - np.asarray(T))[:, None, None] * eye, atol=1e-6)
        np.testing.assert_allclose(of_b, np.asarray(T)[:, None, None] * eye, atol=1e-6)


@pytest.mark.parametrize("angle", [2e-4, 1e-2, 0.3, 2.0, 3.1, np.pi - 1e-2, np.pi - 2e-3])
def test_slerp_in_float32_is_that_of_float64_up_to_the_ends(angle):
    a, b = (np.asarray(v) for v in pair(angle))
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    u, v = a64 / np.linalg.norm(a64), b64 / np.linalg.norm(b64)
    w, t = 2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v)), np.asarray(T, np.float64)
    expected = (np.outer(np.sin((1 - t) * w), a64) + np.outer(np.sin(t * w), b64)) / np.sin(w)
    curved, *slopes = slerp_and_slopes(a, b)
    np.testing.assert_allclose(curved, expected, atol=3 * 1e-6 / np.sin(angle) if angle > 3 else 1e-5)
    assert all(np.isfinite(s).all() for s in jax.tree.leaves(slopes))


def test_no_point_of_a_path_is_far_out():
    """Two codes of any lengths and any angle: never longer than 1.62 times the longer one."""
    angles = np.pi - np.concatenate([np.geomspace(1e-6, 1, 40), np.linspace(1, np.pi, 20)])
    lengths = np.concatenate([[0.0], np.geomspace(1e-4, 1, 20), [1 - 1e-3, 1 - 1e-6]])
    b = np.array([[r * np.cos(w), r * np.sin(w)] for w in angles for r in lengths], np.float32)
    t = jnp.linspace(0, 1, 33)
    path = jax.jit(jax.vmap(lambda b: interpolation.slerp(jnp.array([1.0, 0.0]), b, t)))(b)
    norms = np.linalg.norm(path, axis=-1)
    assert np.isfinite(norms).all()
    assert norms.max() <= 1.62
    assert norms.max() > 1.3  # the bound is not idle
