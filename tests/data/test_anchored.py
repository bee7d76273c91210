"""Tabular data of two factors whose mask is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vaejax import data

LARGE = data.anchored(0.6, num_train=50_000)


def test_features_are_the_formulas_at_a_point():
    np.testing.assert_allclose(
        LARGE.mean(np.array([[2.0, -0.5]])), [[2, 4, 12, -2, -2.5, 6 * np.sin(-0.5), -7]], rtol=1e-12
    )


def test_the_support_is_that_of_the_derivatives_and_the_anchors_have_one_factor():
    v, step = np.random.default_rng(0).normal(size=(50, 2)), 1e-6
    slopes = np.stack([LARGE.mean(v + step * e) - LARGE.mean(v) for e in np.eye(2)], axis=-1)
    np.testing.assert_array_equal((slopes != 0).any(axis=0), np.array(LARGE.support, bool))
    assert {j for j, row in enumerate(LARGE.support) if sum(row) == 1} == {j for j, _ in LARGE.anchors}
    assert all(LARGE.support[j][k] for j, k in LARGE.anchors)
    assert min(sum(k == f for _, k in LARGE.anchors) for f in (0, 1)) >= 2  # as identifiability asks


def test_factors_are_correlated_gaussians_and_the_noise_is_white():
    x, v = (LARGE.train.arrays[name] for name in "xy")
    assert (x.dtype, v.dtype, x.shape, v.shape) == (np.float32, np.float32, (50_000, 7), (50_000, 2))
    np.testing.assert_allclose(v.mean(axis=0), 0, atol=5 / 50_000**0.5)
    np.testing.assert_allclose(np.cov(v.T), [[1, 0.6], [0.6, 1]], atol=0.03)
    noise = x - LARGE.mean(v)
    np.testing.assert_allclose(np.cov(np.c_[noise, v].T)[:7], np.eye(7, 9) * 0.25, atol=0.015)


def test_splits_are_drawn_apart_and_other_settings_have_the_same_draws():
    small = data.anchored(0.6, num_train=3, num_test=4)
    train, test = small.train.arrays, small.test.arrays
    assert small.train.support == "real"
    assert not np.isin(test["y"], train["y"]).any()
    np.testing.assert_array_equal(data.anchored(0.6, num_train=3).train.arrays["x"], train["x"])
    alone = replace(small, rho=0.0, noise=0.25).train.arrays
    np.testing.assert_array_equal(alone["y"][:, 0], train["y"][:, 0])
    residual = [a["x"] - small.mean(a["y"]) for a in (alone, train)]
    np.testing.assert_allclose(2 * residual[0], residual[1], atol=1e-5)
    assert (data.anchored(0.6, num_train=3, seed=1).train.arrays["y"] != train["y"]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rho": 1.0}, ValueError, r"rho: expected a number in \(-1, 1\), got 1.0"),
        ({"rho": "0"}, TypeError, "rho: expected a number, got str"),
        ({"noise": 0.0}, ValueError, "noise: expected a positive finite number"),
        ({"num_test": 0}, ValueError, "num_test: expected at least 1"),
        ({"seed": -1}, ValueError, "seed: expected at least 0"),
    ],
)
def test_other_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        data.anchored(**options)


def test_factors_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"factors: expected shape \[n, 2\], got \[3\]"):
        LARGE.mean(np.zeros(3))
