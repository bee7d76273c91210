"""What describes J^T J, against numpy and numbers by hand."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from vaejax.ops import metric

RNG = np.random.default_rng(0)
J = RNG.normal(size=(3, 6, 4))
H = RNG.uniform(size=(3, 6))
KNOWN = np.array([[[2.0, 0], [0, 1.0], [0, 0]], [[0, 1.0], [-3.0, 0], [0, 0]]], np.float32)


@jax.jit
def spectrum(jac):
    return metric.singular_values(jac), metric.condition_number(jac), metric.log_volume(jac)


@partial(jax.jit, static_argnums=2)
def log_dets(jac, h, beta):
    """Full and diagonal."""
    return metric.log_det_full(jac, h, beta), metric.log_det_diagonal(jac, h, beta)


def test_by_hand():
    values, number, volume = spectrum(KNOWN)
    np.testing.assert_allclose(values, [[2, 1], [3, 1]], rtol=1e-6)
    np.testing.assert_allclose(number, [4, 9], rtol=1e-6)
    np.testing.assert_allclose(volume, np.log([2, 3]), rtol=1e-6)
    for whole in log_dets(KNOWN[:1], np.ones((1, 3), np.float32), 1.0):
        np.testing.assert_allclose(0.5 * whole, [1.1512925], rtol=1e-7)
    for turned in log_dets(KNOWN[1:], np.full((1, 3), 2.0, np.float32), 4.0):
        np.testing.assert_allclose(turned, np.log([5.5 * 1.5]), rtol=1e-6)


def test_against_the_determinant(x64):
    g = np.einsum("bij,bik->bjk", J, J)
    eigenvalues = np.linalg.eigvalsh(g)
    values, number, volume = spectrum(J)
    np.testing.assert_allclose(values, np.sqrt(eigenvalues[:, ::-1]), rtol=1e-10)
    np.testing.assert_allclose(number, eigenvalues[:, -1] / eigenvalues[:, 0], rtol=1e-10)
    np.testing.assert_allclose(volume, 0.5 * np.linalg.slogdet(g)[1], rtol=1e-10)
    weighted = np.eye(4) + np.einsum("bij,bi,bik->bjk", J, H, J) / 0.7
    full, diagonal = map(np.asarray, log_dets(J, H, 0.7))
    np.testing.assert_allclose(full, np.linalg.slogdet(weighted)[1], rtol=1e-12)
    np.testing.assert_allclose(diagonal, np.log(np.einsum("bjj->bj", weighted)).sum(1), rtol=1e-12)
    assert (diagonal > full + 1e-3).all()  # Hadamard


def test_a_direction_that_does_nothing(x64):
    wide = np.random.default_rng(3).normal(size=(40, 50, 6))
    for dtype in (np.float32, np.float64):
        for j in range(6):
            dead, twin = wide.astype(dtype), wide.astype(dtype)
            dead[:, :, j], twin[:, :, j] = 0, twin[:, :, j - 1]
            for jac in (dead, twin):
                _, number, volume = spectrum(jac)
                assert (number == np.inf).all()
                assert (volume == -np.inf).all()
        assert np.isfinite(spectrum(wide.astype(dtype))[1]).all()
    few = J[:, :2]  # two outputs of four latents
    values = spectrum(few)[0]
    np.testing.assert_allclose(values[:, :2], np.linalg.svd(few)[1], rtol=1e-12)
    assert (values[:, 2:] == 0).all()
    assert (spectrum(np.zeros((1, 3, 2)))[1] == np.inf).all()


of_full = jax.jit(jax.value_and_grad(lambda j, h: metric.log_det_full(j, h, 0.7).sum(), (0, 1)))


@pytest.mark.parametrize("c", [1.0, 1e2, 1e3, 1e5])
def test_the_determinant_of_twin_columns_in_float32(c):
    jac = np.random.default_rng(4).normal(size=(2, 50, 4)).astype(np.float32)
    jac[:, :, 3] = jac[:, :, 2]
    jac, h = np.float32(c) * jac, np.ones((2, 50), np.float32)
    h[:, :10] = 0
    wide = jac.astype(np.float64)
    expected = np.linalg.slogdet(np.eye(4) + np.einsum("bij,bi,bik->bjk", wide, h, wide) / 0.7)[1]
    value, slopes = of_full(jac, h)
    np.testing.assert_allclose(value, expected.sum(), rtol=1e-3)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_every_measure_is_differentiable(x64):
    @jax.jit
    def measures(jac, h):
        spectrum = metric.singular_values(jac), metric.log_volume(jac), jnp.log(metric.condition_number(jac))
        return spectrum, metric.log_det_full(jac, h, 0.7), metric.log_det_diagonal(jac, h, 0.7)

    check_grads(measures, (J, H), order=1, modes=["rev"])


def test_a_wrong_rank_is_refused():
    for call in (
        lambda: metric.singular_values(J[0]),
        lambda: metric.log_det_full(J, H[0], 1.0),
        lambda: metric.log_det_diagonal(J[0], H, 1.0),
    ):
        with pytest.raises(AssertionError, match="rank"):
            call()
