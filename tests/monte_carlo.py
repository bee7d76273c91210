"""What a Monte-Carlo mean is held to."""

from __future__ import annotations

import numpy as np


def assert_mean_is(samples, expected, errors=4.0):
    """The mean of independent samples [n, ...] lies within `errors` standard errors of what is expected."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    distance = np.abs(samples.mean(0) - np.asarray(expected, np.float64)) / np.maximum(error, 1e-12)
    assert (distance < errors).all(), f"off by up to {distance.max():.1f} standard errors"
