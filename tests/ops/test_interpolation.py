"""Paths between two latents."""

from __future__ import annotations

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
