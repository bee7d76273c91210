"""What a model is scored on: factors of any integer type, real ones in bins, means that are finite."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.evaluation.test_disentanglement_scores import CHEAP, GRID, KEY, MIXED, PERFECT, Pictures, _vae
from tests.sources import Read
from vaejax import disentanglement, evaluation
from vaejax.evaluation import disentanglement_scores, factor_codes
from vaejax.types import Split


def test_means_that_are_not_finite_are_the_models_fault():
    broken = PERFECT.copy()
    broken[3, 0] = np.inf
    y = GRID[:50]
    for data in (Pictures(), Split({"x": Pictures().sample_images(y), "y": y}, "real")):
        with pytest.raises(ValueError, match=r"vae: expected finite posterior means, got \d+ of"):
            disentanglement_scores(KEY, _vae(broken), data, **CHEAP)
    with pytest.raises(ValueError, match="data, limit: expected two images or more, got 1"):
        disentanglement_scores(KEY, _vae(PERFECT), Pictures(), limit=1, **CHEAP)


def test_real_factors_of_a_split_are_binned_where_it_is_asked():
    skip = ("dci", "mig_chen", "explicitness", "sap_svm", "beta_vae")
    x = Pictures().sample_images(GRID)
    score = partial(disentanglement_scores, KEY, _vae(PERFECT), skip=skip, **CHEAP)
    real = Split({"x": x, "y": 0.25 * GRID - 1}, "real")
    made = score(data=real, factor_bins=11)
    whole = score(data=Split({"x": x, "y": GRID}, "real"))
    for name, of_whole in whole.scores.items():  # 2, 10 and 11 values: each has a bin for itself
        if name != "sap" and not name.startswith(("dci_linear", "mcc")):  # bins may be otherwise far apart
            assert made.scores[name].value == pytest.approx(of_whole.value, abs=1e-6), name
    np.testing.assert_array_equal(
        factor_codes(KEY, _vae(PERFECT), real, factor_bins=4).factors,
        disentanglement.discretise(GRID, 4),
    )
    with pytest.raises(ValueError, match=r"data: .* \(real ones need factor_bins\); got float64 \[220, 3\]"):
        score(data=real)
    with pytest.raises(ValueError, match="factor_bins: expected None for a set"):
        score(data=Pictures(), factor_bins=3)


def test_images_of_a_split_are_read_batch_by_batch_and_no_others_than_are_encoded():
    x = Pictures().sample_images(GRID)
    options = {"limit": 50, "batch_size": 20}
    whole = factor_codes(KEY, _vae(PERFECT), Split({"x": x, "y": GRID}, "real"), **options)
    source, y = Read(x), Read(GRID)
    read = factor_codes(KEY, _vae(PERFECT), Split({"x": source, "y": y}, "real"), **options)
    np.testing.assert_array_equal(read.loc, whole.loc)
    np.testing.assert_array_equal(read.factors, whole.factors)
    assert max(map(len, source.readings)) == 20
    assert len(set(source.rows.tolist())) == 50


@pytest.mark.parametrize("kind", [np.uint8, np.int16, bool])
def test_factors_of_a_split_are_integers_of_any_type(kind):
    skip = [name for name in evaluation.scores.GROUPS if name not in ("mig", "sap", "factor_vae")]
    factors = GRID.astype(kind)
    split = Split({"x": Pictures().sample_images(GRID), "y": factors}, "real")
    whole = Split({"x": Pictures().sample_images(GRID), "y": factors.astype(int)}, "real")
    made, expected = (
        disentanglement_scores(KEY, _vae(MIXED), data, skip=skip, **CHEAP).values for data in (split, whole)
    )
    assert made == expected
    assert made["missing"] == {}


def test_a_set_may_count_its_values_in_bytes():
    class Bytes(Pictures):
        num_values = np.array([20, 20], np.uint8)  # their product does not fit into one

        def sample_images(self, factors):
            return np.column_stack([factors, np.ones((len(factors), 2))]).astype(np.float32)

    codes = factor_codes(KEY, _vae(PERFECT), Bytes())
    assert (codes.whole, codes.num_values, len(codes.loc)) == (True, (20, 20), 400)
