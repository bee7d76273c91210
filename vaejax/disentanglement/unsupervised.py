"""How far codes are from independent, without factors: functions of arrays."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from vaejax.disentanglement.information import check_codes, discrete_mutual_information, discretise


def gaussian_total_correlation(codes: np.ndarray) -> float:
    """Total correlation of the Gaussian with the covariance S of the codes: 1/2 (sum_j log S_jj - log det S).

    Constant codes are left out.

    Args:
      codes: [n, d].

    Returns:
      Nats; inf where some codes are linear functions of others.

    Raises:
      ValueError: codes that are not [n, d], or not finite.

    Source: Locatello et al. 2019, 1811.12359.
    """
    z = check_codes(codes)
    largest = np.abs(z).max(axis=0)
    S = _covariance(z / np.where(largest > 0, largest, 1))  # of whatever scale: squares of 1e-200 would be 0
    if len(S) < 2:
        return 0.0
    deviation = np.sqrt(np.diag(S))
    eigenvalues = np.linalg.eigvalsh(S / np.outer(deviation, deviation))  # of correlations: their sum is d
    if eigenvalues[0] <= len(S) ** 2 * np.finfo(np.float64).eps:
        return float("inf")
    return float(max(0.0, -0.5 * np.sum(np.log(eigenvalues))))


def wasserstein_correlation(codes: np.ndarray) -> float:
    """Squared Wasserstein-2 distance between Gaussians with the codes' covariance S and with its diagonal.

    2 tr S - 2 tr (D^1/2 S D^1/2)^1/2, D = diag S.

    Args:
      codes: [n, d].

    Returns:
      Squared units of the codes; divide by tr S to compare models.

    Raises:
      ValueError: codes that are not [n, d], or not finite.

    Source: Locatello et al. 2019, 1811.12359; Xiao & Wang 2019, 1905.03642.
    """
    S = _covariance(codes)
    root = np.sqrt(np.diag(S))
    eigenvalues = np.linalg.eigvalsh(S * np.outer(root, root))  # S may be singular: rounding below 0
    return float(max(0.0, 2 * np.trace(S) - 2 * np.sum(np.sqrt(np.maximum(eigenvalues, 0.0)))))


def pairwise_information(codes: np.ndarray, *, bins: int = 20) -> float:
    """Mean plug-in mutual information of all pairs of binned codes; see `discretise`.

    Args:
      codes: [n, d].
      bins: equal-width bins per code.

    Returns:
      Nats; 0 with one code.

    Raises:
      ValueError: codes that are not [n, d], or not finite.

    Source: Locatello et al. 2019, 1811.12359.
    """
    binned = discretise(codes, bins)
    information = discrete_mutual_information(binned, binned)
    pairs = [information[i, j] for i, j in combinations(range(len(information)), 2)]
    return float(np.mean(pairs)) if pairs else 0.0


def _covariance(codes: np.ndarray) -> np.ndarray:
    """Of the codes that vary, [d, d] with ddof 1."""
    z = check_codes(codes)
    z = z[:, np.ptp(z, axis=0) > 0]
    centred = z - z.mean(axis=0)
    return centred.T @ centred / max(1, len(z) - 1)
