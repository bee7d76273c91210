"""What a Monte-Carlo mean and draws of a finite law are held to."""

from __future__ import annotations

import numpy as np
from scipy import stats


def assert_mean_is(samples, expected, errors=4.0):
    """The mean of independent samples [n, ...] lies within `errors` standard errors of what is expected."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    distance = np.abs(samples.mean(0) - np.asarray(expected, np.float64)) / np.maximum(error, 1e-12)
    assert (distance < errors).all(), f"off by up to {distance.max():.1f} standard errors"


def assert_counts(numbers, p):
    """Draws, numbers of cells, have the stated chances p [cells]: chi-square, and every cell."""
    n = len(numbers)
    counts = np.bincount(numbers, minlength=len(p))
    kept = n * p > 5
    expected = np.append(n * p[kept], n * p[~kept].sum())
    found = np.append(counts[kept], counts[~kept].sum())
    assert (np.abs(found - expected) < 4.5 * np.sqrt(expected) + 1).all()
    statistic = np.sum((found - expected) ** 2 / np.maximum(expected, 1e-9))
    assert stats.chi2.sf(statistic, kept.sum() - 1) > 1e-4
