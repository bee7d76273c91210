"""Standardised tables, and the way back to their units."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from vaejax import data

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(400, 3)) * [1, 1e-3, 50] + [5.0, 0, -300]).astype(np.float32)


def test_columns_have_mean_0_and_scale_1_over_what_was_observed_in_training():
    x = X.copy()
    x[RNG.random(x.shape) < 0.3] = np.nan
    made = data.standardised(data.from_arrays(x[:300], x[300:], support="real", holes=True))
    z = np.asarray(made.train.transform(KEY, made.train.arrays)["x"])
    np.testing.assert_array_equal(np.isnan(z), np.isnan(x[:270]))
    np.testing.assert_allclose(np.nanmean(z, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(z, 0), 1, rtol=1e-5)
    assert made.test.transform == made.train.transform
    assert made.test.arrays["x"] is not None
    back = made.test.transform.undo(made.test.transform(KEY, made.test.arrays)["x"])
    np.testing.assert_allclose(back, x[300:], rtol=1e-6, atol=1e-5)


def test_other_columns_are_left_and_the_record_is_plain_data():
    made = data.standardised(data.from_arrays(X, X, support="mixed"), columns=(2,))
    transform = made.train.transform
    assert (transform.mean[:2], transform.scale[:2]) == ((0, 0), (1, 1))
    z = np.asarray(transform(KEY, {"x": X})["x"])
    np.testing.assert_array_equal(z[:, :2], X[:, :2])
    again = data.transform_from_spec(json.loads(json.dumps(transform.spec)))
    assert again == transform
    assert hash(again) == hash(transform)
    with pytest.raises(ValueError, match="spec: expected that of a Standardise"):
        data.transform_from_spec({"name": "os.system", "options": {}})


def test_what_cannot_be_standardised_is_named():
    table = data.from_arrays(X, X, support="real")
    with pytest.raises(TypeError, match=r"dataset: expected a data\.Dataset, got Split"):
        data.standardised(table.train)
    with pytest.raises(ValueError, match=r"columns: expected places in 0..2, got 3"):
        data.standardised(table, columns=(3,))
    with pytest.raises(ValueError, match="support 'real' or 'mixed'"):
        data.standardised(data.from_arrays(0 * X, 0 * X, support="binary"))
    with pytest.raises(ValueError, match=r"dataset: expected a table, x \[N, D\]"):
        data.standardised(data.from_arrays(X[:, :, None], X[:, :, None], support="real"))
    with pytest.raises(TypeError, match="dataset: expected the default transform"):
        data.standardised(data.standardised(table))
    for shifted in (0 * X + 3, X + np.float32(1e6)):
        with pytest.raises(ValueError, match=r"got column . with mean .*; leave a constant one out"):
            data.standardised(data.from_arrays(shifted, shifted, support="real"))
    lost = X.copy()
    lost[:, 1] = np.nan
    with pytest.raises(ValueError, match="column 1 was never observed"):
        data.standardised(data.from_arrays(lost, lost, support="real", holes=True))
    with pytest.raises(ValueError, match=r"x: expected 3 columns, \[..., D\]; got \[2\]"):
        data.standardised(table).train.transform.undo(np.zeros(2))
    with pytest.raises(ValueError, match="scale: expected positive numbers"):
        data.Standardise((0.0,), (0.0,))
