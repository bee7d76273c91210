"""Linear models of data, whose columns compare with those of a decoder's Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vaejax.checks import check_array, check_positive_int
from vaejax.disentanglement.predictors import sklearn_version

__all__ = ["LinearModel", "linear_models"]


class LinearModel(NamedTuple):
    """x = mean + sum_j s_j a_j with sources s_j of unit variance.

    `columns`: a_j, float64 [d, ...]. `reconstruct`: from examples [N, ...] to what the model makes of them.
    """

    columns: np.ndarray
    reconstruct: Callable[[Any], np.ndarray]


def linear_models(x: Any, latents: int) -> dict[str, LinearModel]:
    """PCA and FastICA of data: the columns of both span the same space, PCA's are orthogonal.

    ICA turns the sources within that space until they are as far from Gaussian as can be (FastICA with the
    log cosh contrast, from one fixed start).

    Args:
      x: examples [N, ...].
      latents: d, at most N and the size of an example.

    Returns:
      {"PCA": LinearModel, "FastICA": LinearModel}; PCA's columns are those of the largest variance first.

    Raises:
      ImportError: scikit-learn is not installed.
      TypeError, ValueError: arguments of another kind, or more latents than examples or entries.

    Source: Hyvarinen & Oja 2000, doi 10.1016/S0893-6080(00)00026-5.
    """
    check_array(x, "x")
    check_positive_int(latents, "latents")
    event, flat = x.shape[1:], np.asarray(x, np.float64).reshape(len(x), -1)
    if latents > min(flat.shape):
        raise ValueError(f"latents: expected at most {min(flat.shape)} for x {list(x.shape)}, got {latents}")
    sklearn_version()
    from sklearn.decomposition import PCA, FastICA

    pca = PCA(latents, whiten=True, svd_solver="covariance_eigh").fit(flat)
    ica = FastICA(latents, whiten="unit-variance", max_iter=1000, tol=1e-3, random_state=0).fit(flat)
    mixing = pca.components_ * np.sqrt(pca.explained_variance_)[:, None], np.transpose(ica.mixing_)

    def model(fitted: Any, columns: np.ndarray) -> LinearModel:
        def reconstruct(x: Any) -> np.ndarray:
            x = np.asarray(x, np.float64)
            return fitted.inverse_transform(fitted.transform(x.reshape(len(x), -1))).reshape(x.shape)

        return LinearModel(columns.reshape(latents, *event), reconstruct)

    return {"PCA": model(pca, mixing[0]), "FastICA": model(ica, mixing[1])}
