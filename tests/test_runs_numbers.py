"""Means and intervals over seeds against exact numbers; the table."""

import math

import numpy as np
import pytest
from scipy import stats

from vaejax import runs
from vaejax.runs.tables import paired
from vaejax.runs.texts import duration


def approx(*values):
    return pytest.approx(list(values), rel=1e-6)


def test_mean_ci95_is_students():
    # t quantiles at 97.5 %: 12.706205 with 1 degree of freedom, 3.1824463 with 3
    result = runs.mean_ci95([0.0, 2.0])
    assert result["mean"] == 1.0
    assert result["ci95"] == approx(1 - 12.7062047362, 1 + 12.7062047362)  # t sqrt(2) / sqrt(2)
    result = runs.mean_ci95([1, 2, 3, 4])
    half = 3.18244630528 * (5 / 3) ** 0.5 / 2
    assert result["mean"] == 2.5
    assert result["ci95"] == approx(2.5 - half, 2.5 + half)
    assert result["per_seed"] == [1.0, 2.0, 3.0, 4.0]
    values = np.random.default_rng(0).normal(3, 2, 9)
    peer = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert runs.mean_ci95(values)["ci95"] == approx(*peer)


def test_one_value_has_no_interval_and_equal_values_a_point():
    assert runs.mean_ci95([3]) == {"mean": 3.0, "ci95": [None, None], "per_seed": [3.0]}
    assert runs.mean_ci95([2.5, 2.5, 2.5]) == {"mean": 2.5, "ci95": [2.5, 2.5], "per_seed": [2.5, 2.5, 2.5]}


def test_welch_ci95_against_hand_computed_numbers():
    # equal sizes and variances: df = 4, t = 2.7764451, se = sqrt(2/3)
    result = runs.welch_ci95([1, 2, 3], [2, 3, 4])
    half = 2.7764451052 * (2 / 3) ** 0.5
    assert result["mean"] == -1.0
    assert result["ci95"] == approx(-1 - half, -1 + half)
    assert result["p"] == pytest.approx(0.2878641347, rel=1e-8)
    # no spread on one side: the other's t interval, df = 2, t = 4.3026527, se = 1 / sqrt(3)
    result = runs.welch_ci95([1, 1, 1], [1, 2, 3])
    half = 4.30265272991 / 3**0.5
    assert result["ci95"] == approx(-1 - half, -1 + half)
    # t = -sqrt(3), df = 2: p = 1 - |t| / sqrt(2 + t^2)
    assert result["p"] == pytest.approx(1 - (3 / 5) ** 0.5, rel=1e-8)


def test_welch_ci95_equals_scipy_at_a_broken_number_of_degrees():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 5), rng.normal(1, 4, 8)
    result, peer = runs.welch_ci95(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert peer.df == pytest.approx(8.4, abs=2.5)
    assert peer.df % 1 > 1e-3
    assert result["ci95"] == approx(*peer.confidence_interval(0.95))
    assert result["p"] == pytest.approx(peer.pvalue, rel=1e-9)
    mirrored = runs.welch_ci95(b, a)
    assert mirrored["ci95"] == approx(-result["ci95"][1], -result["ci95"][0])
    assert mirrored["p"] == pytest.approx(result["p"], rel=1e-12)


def test_welch_ci95_at_its_ends():
    assert runs.welch_ci95([3.0], [1.0, 2.0]) == {"mean": 1.5, "ci95": [None, None], "p": None}
    assert runs.welch_ci95([2, 2], [1, 1, 1]) == {"mean": 1.0, "ci95": [1.0, 1.0], "p": 0.0}
    # the mean of three floats 0.1 is not 0.1: no spread is no spread all the same
    assert runs.welch_ci95([0.1] * 3, [0.1] * 2) == {"mean": 0.0, "ci95": [0.0, 0.0], "p": 1.0}


def test_intervals_want_a_list_of_numbers():
    with pytest.raises(ValueError, match=r"values: expected a list of one or more numbers, got shape \(0,\)"):
        runs.mean_ci95([])
    with pytest.raises(ValueError, match=r"values: expected .*, got shape \(1, 2\)"):
        runs.mean_ci95([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"b: expected a list of one or more numbers, got shape \(\)"):
        runs.welch_ci95([1.0, 2.0], 3.0)


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1.0, math.nan, 3.0], math.nan), ([1.0, math.inf], math.inf), ([-math.inf, math.inf], math.nan),
        ([math.nan], math.nan), ([2.0, None], math.nan), (np.float32([1, -np.inf]), -math.inf),
    ],
)  # fmt: skip
def test_a_seed_that_is_not_finite_is_not_left_out_in_silence(tmp_path, values, mean):
    result = runs.mean_ci95(values)
    assert repr(result["mean"]) == repr(mean)
    assert result["ci95"] == [None, None]
    assert len(result["per_seed"]) == len(values)
    runs.write_json(tmp_path / "report.json", result)
    assert repr(runs.read_json(tmp_path / "report.json")) == repr(result)
    difference = runs.welch_ci95([1.0, 2.0], values)
    assert repr(difference["mean"]) == repr(1.5 - mean)
    assert difference["ci95"] == [None, None]
    assert difference["p"] is None


def test_table_shows_what_is_missing_and_what_is_not_finite():
    rows = [{"MIG": None, "SAP": math.nan}, {"MIG": 0.5, "SAP": np.float32(-np.inf)}]
    assert runs.table(rows) == "| MIG | SAP  |\n| --- | ---- |\n| -   | nan  |\n| 0.5 | -inf |"


def test_table_is_markdown():
    rows = [
        {"model": "beta-VAE", "MIG": 0.123456, "n": 3},
        {"model": "JL1", "MIG": np.float32(12345.678), "note": "x", "n": 12},
    ]
    assert runs.table(rows) == (
        "| model    | MIG       | n  | note |\n"
        "| -------- | --------- | -- | ---- |\n"
        "| beta-VAE | 0.1235    | 3  |      |\n"
        "| JL1      | 1.235e+04 | 12 | x    |"
    )


def test_entries_are_means_over_seeds_or_texts():
    one = [{"nll": 2.0, "se": 0.5, "kind": "a", "none": None, "bad": float("nan"), "known": {"mean": 1.0}}]
    two = [*one, {"nll": 4.0, "se": 0.1, "kind": "b", "none": 3.0, "bad": 1.0, "known": {"mean": 2.0}}]
    assert runs.entry(one, "nll") == runs.mean_ci95([2.0])
    assert runs.entry(two, "nll") == runs.entry(two, ("nll", "se")) == runs.mean_ci95([2.0, 4.0])
    pair = runs.entry(one, ("nll", "se"))
    assert pair["ci95"] == pytest.approx([2 - 0.98, 2 + 0.98])
    assert runs.shown(pair) == "2 +- 0.5"
    assert runs.entry(one, lambda m: (m["nll"] / 2, m["se"]))["mean"] == 1.0
    assert runs.entry(one, "known") == {"mean": 1.0}
    assert runs.entry(two, "known") == runs.mean_ci95([1.0, 2.0])
    assert runs.entry(two, "kind") == "a, b"
    for column in ("none", "bad", "absent", ("absent", "se"), lambda m: m["absent"]):
        assert runs.entry(two, column) == "-"
    assert runs.entry([], "nll") == "-"
    assert set(runs.means(two)) == {"nll", "se", "none", "bad", "known"}
    assert runs.means(two)["none"] == {"mean": None, "ci95": [None, None], "per_seed": [None, 3.0]}
    assert runs.shown({"mean": 0.5, "ci95": [-0.5, 1.5]}) == "0.5 [-0.5, 1.5]"
    assert runs.shown({"mean": 0.5}) == runs.shown({"mean": 0.5, "ci95": [None, None]}) == "0.5"


def test_the_interval_of_a_score_in_the_unit_interval_stays_there():
    reports = [{"mcc": v, "kl": v} for v in (0.98, 0.97, 0.60)]
    whole, cut = runs.entry(reports, "mcc"), runs.entry(reports, runs.UnitScore("mcc"))
    assert whole["ci95"][1] > 1
    assert cut["ci95"] == [whole["ci95"][0], 1.0]
    assert (cut["mean"], cut["per_seed"]) == (whole["mean"], whole["per_seed"])
    low = runs.entry([{"mig": 0.01}, {"mig": 0.2}], runs.UnitScore("mig"))
    assert low["ci95"][0] == 0.0
    pair = runs.entry([{"error": 0.01, "se": 0.02}], (runs.UnitScore("error"), "se"))
    assert pair["ci95"] == approx(0.0, 0.0492)
    assert runs.entry([{"mcc": 0.5}], runs.UnitScore("mcc"))["ci95"] == [None, None]
    assert runs.UnitScore("mcc") in {"mcc"}  # a name as any other


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"), (3.21, "3.2 s"), (59.6, "60 s"), (60, "1 min"), (290, "4 min 50 s"),
        (3600, "1 h"), (7830, "2 h 10 min"), (86400 * 3 + 4 * 3600, "3 d 4 h"), (86400 * 30, "30 d"),
    ],
)  # fmt: skip
def test_times_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text


def test_differences_are_of_the_same_examples_under_the_same_seed():
    log_p = {
        "plain": {0: np.array([-3.0, -5.0, -1.0])},
        "linear": {0: np.array([-4.0, -5.0, -3.0]), 1: np.zeros(3)},
    }
    rows = paired(log_p, "plain")
    assert rows["plain"] == [{"minus_plain": 0.0, "minus_plain_se": 0.0}]
    assert rows["linear"][0]["minus_plain"] == pytest.approx(1.0)
    assert rows["linear"][0]["minus_plain_se"] == pytest.approx(1 / np.sqrt(3))
    assert rows["linear"][1] == {"minus_plain": None, "minus_plain_se": None}
