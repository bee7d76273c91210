"""PCA and FastICA against the covariance's eigenvectors, and against sources that were mixed."""

from __future__ import annotations

import numpy as np
import pytest

from vaejax.disentanglement import linear_models

RNG = np.random.default_rng(3)


def test_the_columns_are_those_of_the_covariance():
    x = RNG.standard_normal((400, 6)) @ RNG.standard_normal((6, 6)) + 5
    values, vectors = np.linalg.eigh(np.cov(x.T))
    expected = vectors[:, :-4:-1].T * np.sqrt(values[:-4:-1, None])
    pca, ica = linear_models(x.reshape(400, 2, 3, 1), 3).values()
    columns, mixing = pca.columns.reshape(3, 6), ica.columns.reshape(3, 6)
    assert pca.columns.shape == ica.columns.shape == (3, 2, 3, 1)
    signs = np.sign((columns * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(signs * columns, expected, rtol=1e-6, atol=1e-6)
    # unit sources: both are square roots of the same covariance, ICA's rotated
    np.testing.assert_allclose(mixing.T @ mixing, columns.T @ columns, rtol=5e-3, atol=1e-2)
    new = RNG.standard_normal((7, 6))
    kept = x.mean(0) + (new - x.mean(0)) @ vectors[:, -3:] @ vectors[:, -3:].T
    for model in (pca, ica):
        seen = model.reconstruct(new.reshape(7, 2, 3, 1))
        np.testing.assert_allclose(seen, kept.reshape(7, 2, 3, 1), rtol=1e-6, atol=1e-6)


def test_ica_finds_the_columns_that_mixed_independent_sources():
    mixing = np.array([[2.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, -1.0]])
    found = linear_models(RNG.uniform(-1, 1, (4000, 2)) * np.sqrt(3) @ mixing, 2)["FastICA"].columns
    cosines = (
        np.abs(found @ mixing.T) / np.linalg.norm(found, axis=1)[:, None] / np.linalg.norm(mixing, axis=1)
    )
    np.testing.assert_allclose(np.sort(cosines.max(1)), 1, atol=2e-3)
    lengths = np.linalg.norm(found, axis=1)[cosines.argmax(0)]
    np.testing.assert_allclose(lengths, np.linalg.norm(mixing, axis=1), rtol=0.05)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"latents: expected at most 3 for x \[9, 3\], got 4"):
        linear_models(np.ones((9, 3)), 4)
    with pytest.raises(ValueError, match="latents: expected at least 1, got 0"):
        linear_models(np.ones((9, 3)), 0)
    with pytest.raises(TypeError, match="x: expected a numpy array"):
        linear_models([[1.0]], 1)
