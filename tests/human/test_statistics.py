"""The statistics: printed values, hand counts, and intervals that cover at their rate in 200 simulations."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy import stats

from vaejax import human
from vaejax.human import comparisons, intervals

KEY = jax.random.key(48)
SIMULATIONS = 200
LEAST = stats.binom.ppf(0.001, SIMULATIONS, 0.95) / SIMULATIONS  # .9: of intervals that cover at 95 %
NAN = math.nan
# four raters of twelve units, the example of Krippendorff's papers
RATERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(8, 10, 0.49016, 0.94332), (0, 10, 0, 0.27753), (50, 100, 0.40383, 0.59617)],
)
def test_wilson_has_the_printed_values(count, n, low, high):
    entry = human.proportion(count, n)
    assert entry["mean"] == count / n
    assert entry["ci95"] == pytest.approx([low, high], abs=5e-6)


def wilson(p, n):
    z = stats.norm.ppf(0.975)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return [centre - half, centre + half]


def test_halves_follow_the_same_formula():
    assert human.proportion(7.5, 12.25)["ci95"] == pytest.approx(wilson(7.5 / 12.25, 12.25), rel=1e-9)
    assert human.proportion(0, 0) == {"mean": None, "ci95": [None, None], "n": 0}
    for count, n in ((3, 2), (-1, 2), (NAN, 2)):
        with pytest.raises(ValueError, match=r"count: expected a number in \[0, n\]"):
            human.proportion(count, n)


def test_ties_are_half_a_win_or_nothing():
    half, dropped = (human.win_rate(5, 3, 4, count_ties=how) for how in ("half", "drop"))
    assert (half["mean"], half["n"]) == (7 / 12, 12)
    assert half["ci95"] == pytest.approx(wilson(7 / 12, 12))
    assert (dropped["mean"], dropped["n"]) == (5 / 8, 8)
    assert dropped["ci95"] == pytest.approx(wilson(5 / 8, 8))
    with pytest.raises(ValueError, match="count_ties: expected one of 'half', 'drop'"):
        human.win_rate(1, 1, 1, count_ties="none")


def test_position_bias_has_the_exact_test():
    entry = human.position_bias(9, 1)
    assert entry["p"] == pytest.approx(2 * (10 + 1) / 2**10)
    assert entry["mean"] == 0.9
    assert human.position_bias(0, 0)["p"] is None


# Bradley-Terry


def strengths(wins, **options):
    wins = np.asarray(wins, float)
    names = [f"s{i}" for i in range(wins.shape[-1])]
    return human.bradley_terry(
        KEY, wins[None] if wins.ndim == 2 else wins, names, **{"resamples": 20, **options}
    )


def test_the_strengths_of_two_have_the_ratio_of_their_wins():
    found = strengths([[0, 8], [2, 0]], pseudo_wins=0)
    assert found["s0"]["mean"] / found["s1"]["mean"] == pytest.approx(4)
    assert found["s0"]["mean"] * found["s1"]["mean"] == pytest.approx(1)
    found = strengths([[0, 8], [2, 0]])  # half a win more on either side
    assert found["s0"]["mean"] / found["s1"]["mean"] == pytest.approx(8.5 / 2.5)
    assert found["s0"]["ci95"] == [None, None]  # of one rater


def test_the_strengths_stay_where_the_mm_step_leaves_them():
    """s_i = W_i / sum_j n_ij / (s_i + s_j), at the maximum of the likelihood."""
    wins = np.random.default_rng(0).integers(1, 30, (4, 4))
    np.fill_diagonal(wins, 0)
    s = np.array([entry["mean"] for entry in strengths(wins, pseudo_wins=0).values()])
    again = wins.sum(1) / ((wins + wins.T) / (s[:, None] + s)).sum(1)
    np.testing.assert_allclose(again, s, rtol=1e-6)
    assert np.prod(s) == pytest.approx(1)


def test_systems_that_nothing_joins_are_named():
    wins = np.zeros((4, 4))
    wins[0, 2] = wins[2, 0] = wins[1, 3] = wins[3, 1] = 2
    with pytest.raises(ValueError, match=r"join, got the groups \[\['s0', 's2'\], \['s1', 's3'\]\]"):
        strengths(wins)
    wins = np.array([[0, 3, 2], [0, 0, 1], [0, 1, 0]])  # the first never loses
    with pytest.raises(
        ValueError, match=r"to win and to lose, or pseudo_wins above 0, got the groups .*\['s0'\]"
    ):
        strengths(wins, pseudo_wins=0)
    found = strengths(wins)
    assert 2 < found["s0"]["mean"] < 20
    for bad in (np.zeros((2, 3)), -np.ones((2, 2)), np.full((2, 2), NAN), np.zeros((1, 1))):
        with pytest.raises(ValueError, match="wins"):
            strengths(bad)


def test_intervals_of_strengths_are_those_of_resampled_raters():
    """Of two systems and two raters: a resample has one rater twice, or both."""
    wins = np.array([[[0, 3], [1, 0]], [[0, 1], [2, 0]]], float)
    found = strengths(wins, resamples=300)
    ratios = sorted(
        math.sqrt((w[0, 1] + 0.5) / (w[1, 0] + 0.5)) for w in (2 * wins[0], wins.sum(0), 2 * wins[1])
    )
    assert found["s0"]["ci95"] == pytest.approx([ratios[0], ratios[-1]])
    assert found["s0"]["mean"] == pytest.approx(ratios[1])


# intervals that cover


def covered(ends, truth):
    return np.mean([low <= truth <= high for low, high in ends])


def test_wilson_covers_at_its_rate():
    rng = np.random.default_rng(0)
    ends = [human.proportion(int(k), 60)["ci95"] for k in rng.binomial(60, 0.7, SIMULATIONS)]
    assert covered(ends, 0.7) >= LEAST


@pytest.mark.parametrize("raters", [6, 10])
def test_intervals_over_raters_cover_at_their_rate(raters):
    """Raters differ among themselves, by more than the binomial; plain percentiles would cover too seldom."""
    rng = np.random.default_rng(raters)
    rates = rng.beta(6, 4, (SIMULATIONS, raters))
    shares = rng.binomial(20, rates) / 20
    keys = jax.random.split(KEY, SIMULATIONS)
    ends = [
        human.over_raters(key, raters, lambda weights, s=s: weights @ s / raters, resamples=200)
        for key, s in zip(keys, shares, strict=True)
    ]
    assert covered(ends, 0.6) >= LEAST
    weights = rng.multinomial(raters, np.full(raters, 1 / raters), 200)
    plain = [np.quantile(weights @ s / raters, [0.025, 0.975]) for s in shares]
    assert covered(plain, 0.6) < covered(ends, 0.6)


def test_intervals_of_strengths_cover_at_their_rate(monkeypatch):
    """Two systems of a true ratio of 2, ten raters of whom each has a taste of its own."""

    def ilsr_pairwise_dense(wins):  # of two it is a ratio, as a test above has it; choix takes a millisecond
        return np.array([math.log(wins[0, 1]), math.log(wins[1, 0])])

    monkeypatch.setattr(
        comparisons, "imported", lambda name: SimpleNamespace(ilsr_pairwise_dense=ilsr_pairwise_dense)
    )
    rng = np.random.default_rng(1)
    taste = math.log(2) + 0.5 * rng.normal(size=(SIMULATIONS, 10))
    truth = math.log(2)  # the mean taste; the log-odds of the mean rate lie 3 % nearer to 0
    won = rng.binomial(20, 1 / (1 + np.exp(-taste)))
    wins = np.zeros((SIMULATIONS, 10, 2, 2))
    wins[..., 0, 1], wins[..., 1, 0] = won, 20 - won
    found = [
        human.bradley_terry(key, w, ("a", "b"), resamples=150)["a"]["ci95"]
        for key, w in zip(jax.random.split(KEY, SIMULATIONS), wins, strict=True)
    ]
    assert covered(found, math.exp(truth / 2)) >= LEAST


def test_intervals_of_superiority_and_of_detection_cover_at_their_rate():
    rng = np.random.default_rng(2)
    p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.3, 0.2, 0.2])
    truth = sum(p[i] * q[j] * ((i > j) + (i == j) / 2) for i in range(4) for j in range(4))
    keys = jax.random.split(KEY, SIMULATIONS)
    a, b = (rng.choice(4, (SIMULATIONS, 8, 12), p=of) + 1 for of in (p, q))
    ends = [human.superiority(k, x, y, 4, resamples=100)["ci95"] for k, x, y in zip(keys, a, b, strict=True)]
    assert covered(ends, truth) >= LEAST

    hits, alarms = rng.binomial(40, 0.8, SIMULATIONS), rng.binomial(120, 0.3, SIMULATIONS)
    found = [human.detection(int(h), 40, int(f), 120) for h, f in zip(hits, alarms, strict=True)]
    assert covered([of["balanced_accuracy"]["ci95"] for of in found], 0.75) >= LEAST


def test_one_rater_has_no_interval():
    assert human.over_raters(KEY, 1, lambda weights: weights) is None
    with pytest.raises(TypeError, match="key"):
        human.over_raters(0, 2, lambda weights: weights)


# levels


def test_superiority_is_the_count_of_all_pairs_and_its_p_that_of_mann_and_whitney():
    a, b = np.array([[1, 3, NAN], [5, 2, 2]]), np.array([[2, 2], [1, 4]])
    entry = human.superiority(KEY, a, b, 5, resamples=30)
    of_a, of_b = a[np.isfinite(a)], b.ravel()
    pairs = [(x > y) + (x == y) / 2 for x, y in itertools.product(of_a, of_b)]
    assert entry["mean"] == pytest.approx(np.mean(pairs))
    test = stats.mannwhitneyu(of_a, of_b, method="asymptotic")
    assert entry["mean"] == pytest.approx(test.statistic / (len(of_a) * len(of_b)))
    assert entry["p"] == pytest.approx(test.pvalue)
    assert human.superiority(KEY, b, b, 5, resamples=30)["mean"] == 0.5
    same = human.superiority(KEY, np.ones((2, 2)), np.ones((2, 2)), 5, resamples=30)
    assert (same["mean"], same["p"]) == (0.5, 1.0)
    for bad, other in ((a[0], b), (a, b[:1]), (np.full((2, 1), NAN), b)):
        with pytest.raises(ValueError, match="a, b: expected"):
            human.superiority(KEY, bad, other, 5)


def test_a_distribution_is_counts_and_a_median_of_the_levels():
    found = human.distribution(np.array([[1, 4, 4], [5, NAN, 4]]), 5)
    assert found == {"counts": [1, 0, 0, 3, 1], "median": 4.0, "mean": 3.6, "n": 5}
    assert human.distribution(np.array([NAN]), 2) == {"counts": [0, 0], "median": None, "mean": None, "n": 0}


# real and generated


def test_detection_by_hand():
    found = human.detection(9, 10, 4, 20)
    assert found["sensitivity"]["mean"] == 0.9
    assert found["specificity"]["mean"] == 0.8
    balanced = found["balanced_accuracy"]
    assert balanced["mean"] == pytest.approx(0.85)
    (low_h, high_h), (low_f, high_f) = wilson(0.9, 10), wilson(0.8, 20)
    assert balanced["ci95"][0] == pytest.approx(0.85 - math.hypot(0.9 - low_h, 0.8 - low_f) / 2)
    assert balanced["ci95"][1] == pytest.approx(0.85 + math.hypot(high_h - 0.9, high_f - 0.8) / 2)
    assert found["d_prime"] == pytest.approx(stats.norm.ppf(9.5 / 11) - stats.norm.ppf(4.5 / 21))
    assert math.isfinite(human.detection(10, 10, 0, 10)["d_prime"])
    assert human.detection(5, 10, 10, 20)["d_prime"] == pytest.approx(0, abs=0.05)
    with pytest.raises(ValueError, match="expected items of both"):
        human.detection(0, 0, 1, 2)


# agreement


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.7434), ("ordinal", 0.8154), ("interval", 0.8491)])
def test_alpha_has_the_printed_values(level, value):
    assert human.krippendorff_alpha(RATERS, level) == pytest.approx(value, abs=5e-5)
    assert human.krippendorff_alpha(RATERS[::-1], level) == pytest.approx(value, abs=5e-5)


def test_kappa_is_its_formula():
    ratings = np.random.default_rng(0).integers(1, 4, (5, 9))
    counts = np.array([(ratings == j).sum(0) for j in (1, 2, 3)]).T
    agree = ((counts**2).sum(1) - 5) / (5 * 4)
    p = counts.sum(0) / counts.sum()
    expected = (agree.mean() - (p**2).sum()) / (1 - (p**2).sum())
    assert human.fleiss_kappa(ratings) == pytest.approx(expected)
    assert human.fleiss_kappa(np.tile(ratings[:1], (3, 1))) == pytest.approx(1)
    assert human.fleiss_kappa(ratings / 2) == pytest.approx(expected)  # names of categories do not count


def test_agreement_of_what_is_always_the_same_is_none():
    assert human.fleiss_kappa(np.ones((3, 4))) is None
    assert human.krippendorff_alpha(np.ones((3, 4)), "ordinal") is None
    with pytest.raises(ValueError, match="every item by every rater"):
        human.fleiss_kappa(RATERS)
    for function in (human.fleiss_kappa, human.krippendorff_alpha):
        with pytest.raises(ValueError, match="two raters or more"):
            function(RATERS[:1])
    with pytest.raises(ValueError, match="items by two raters"):
        human.krippendorff_alpha(np.array([[1, NAN], [NAN, 2]]))
    with pytest.raises(ValueError, match="level: expected one of"):
        human.krippendorff_alpha(RATERS, "ratio")


def test_what_is_not_installed_is_said(monkeypatch):
    def missing(module):
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(intervals.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"choix is needed; .*pip install .* -e '\.\[human\]'"):
        strengths([[0, 1], [1, 0]])
    assert comparisons.imported is intervals.imported


# the size of a study


def test_the_width_of_a_study_is_what_its_answers_vary_by():
    """Of raters whose rates are Beta(a, b), two answers of one have the correlation 1 / (a + b + 1)."""
    raters, pairs, rho = 12, 15, 0.1
    a = b = (1 / rho - 1) / 2
    rng = np.random.default_rng(0)
    rates = rng.binomial(pairs, rng.beta(a, b, (20_000, raters))).mean(1) / pairs
    n = 0.25 / rates.var()
    low, high = wilson(0.5, n)
    assert human.expected_width(raters, pairs, correlation=rho) == pytest.approx(high - low, rel=0.02)
    low, high = wilson(0.5, raters * pairs)
    assert human.expected_width(raters, pairs) == pytest.approx(high - low)
    low, high = wilson(0.5, raters)  # all that a rater says is one answer
    assert human.expected_width(raters, pairs, correlation=1.0) == pytest.approx(high - low)
    assert human.expected_width(raters, pairs, rate=0.9) < human.expected_width(raters, pairs)
    for bad in ({"rate": 2.0}, {"correlation": -0.1}):
        with pytest.raises(ValueError, match=r"expected a number in \[0, 1\]"):
            human.expected_width(raters, pairs, **bad)
