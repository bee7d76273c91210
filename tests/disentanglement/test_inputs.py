"""What codes and factors may be, of every score: integers of any type, real factors in bins."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.disentanglement import (
    dci,
    dci_linear,
    discrete_entropy,
    discrete_mutual_information,
    discretise,
    explicitness,
    factor_sampler,
    factor_vae_score,
    irs,
    local_clusters,
    mig,
    mig_chen,
    modularity,
    sap,
    sap_svm,
    score_local,
)

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LEVELS = np.array([-100, 0, 100])  # int8 holds them, and not their range
GRID = np.stack(np.unravel_index(np.arange(180) % 9, (3, 3)), axis=1)
CODES = GRID @ np.array([[1.0, 0.4, 0.0], [0.2, 1.0, 0.0]]) + 0.3 * RNG.normal(size=(180, 3))
CHEAP = {"train": 100, "test": 60}
BINNED = {"mig": mig, "modularity": modularity}  # they bin the codes anyway
OTHERS = {
    "sap": sap,
    "irs": irs,
    "explicitness": partial(explicitness, KEY, **CHEAP),
    "sap_svm": partial(sap_svm, KEY, **CHEAP),
    "dci": lambda codes, factors: dci(KEY, codes, factors, trees=2, **CHEAP).informativeness,
    "dci_linear": lambda codes, factors: dci_linear(KEY, codes, factors, **CHEAP).informativeness,
    "factor_vae": lambda codes, factors: factor_vae_score(
        KEY, factor_sampler(codes, factors), train=50, test=50, num_samples=100
    ),
    "mig_chen": lambda codes, factors: mig_chen(
        KEY, codes, np.full(codes.shape, 0.3), factors, num_samples=50
    ),
}
SCORES = BINNED | OTHERS


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("kind", ["int8", ">i4", "uint64", "bool", "jax"])
def test_factors_are_integers_of_any_type(name, kind):
    score, levels = SCORES[name], LEVELS
    if kind == "uint64":
        levels = LEVELS + 100
    factors = (GRID > 0).astype(int) if kind == "bool" else levels[GRID]
    typed = jnp.asarray(factors) if kind == "jax" else factors.astype(kind)
    made, expected = score(CODES, typed), score(CODES, factors)
    assert made.value == expected.value
    np.testing.assert_array_equal(made.parts, expected.parts)
    assert not made.degenerate
    assert made.value != 0


def test_labels_may_lie_as_far_apart_as_integers_do():
    ends = np.array([[np.iinfo(np.int64).min], [np.iinfo(np.int64).max]])
    np.testing.assert_allclose(discrete_entropy(ends), [np.log(2)])
    np.testing.assert_allclose(discrete_mutual_information(ends, ends), [[np.log(2)]])
    with pytest.raises(ValueError, match="factors: expected integers up to 9223372036854775807, got 184467"):
        discrete_entropy(np.array([[0], [2**64 - 1]], np.uint64))


@pytest.mark.parametrize("score", BINNED.values(), ids=BINNED)
def test_real_factors_are_binned_where_codes_are(score):
    """Ten values at equal distances have ten bins to themselves, whatever the scale of a factor."""
    whole = np.stack(np.unravel_index(np.arange(200) % 100, (10, 10)), axis=1)
    codes = whole + RNG.normal(size=whole.shape)
    real = (whole + 0.5) * [0.1, 30.0] - [2.0, 0.0]
    assert score(codes, real, factor_bins=10).value == score(codes, whole).value > 0
    four = score(codes, real, factor_bins=4)
    assert four.value == score(codes, discretise(real, 4)).value != score(codes, whole).value
    assert score(codes, whole, factor_bins=4).value == four.value  # integers too, where it is asked
    local = score_local(codes[None], real[None], factor_bins=4)
    assert local.clusters[score.__name__] == score(codes, discretise(real, 4), bins=5).value


@pytest.mark.parametrize("name", SCORES)
def test_real_factors_are_refused_elsewhere(name):
    with pytest.raises(
        TypeError, match=r"factors: expected integers, got dtype float64; real .* factor_bins"
    ):
        SCORES[name](CODES, 1.0 * GRID)


def test_bins_of_factors_are_checked_by_their_name():
    with pytest.raises(ValueError, match="factor_bins: expected at least 1, got 0"):
        mig(CODES, 1.0 * GRID, factor_bins=0)
    with pytest.raises(ValueError, match="factors: expected finite numbers, as float32 has them; got 180"):
        modularity(CODES, GRID * [1.0, np.nan], factor_bins=2)


@pytest.mark.parametrize("name", SCORES)
def test_nan_codes_and_hidden_values_are_refused(name):
    broken = CODES.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="codes: expected finite numbers, as float32 has them; got 1"):
        SCORES[name](broken, GRID)
    with pytest.raises(ValueError, match="codes: expected finite numbers, as float32 has them; got 540"):
        SCORES[name](1e300 * (1 + np.abs(CODES)), GRID)
    with pytest.raises(TypeError, match="codes: expected an array without a mask"):
        SCORES[name](np.ma.masked_invalid(broken), GRID)
    with pytest.raises(TypeError, match="factors: expected an array without a mask"):
        SCORES[name](CODES, np.ma.masked_equal(GRID, 2))


@pytest.mark.parametrize("name", SCORES)
def test_fewer_codes_than_factors_and_a_constant_code(name):
    one = SCORES[name](CODES[:, :1], GRID)
    assert 0 <= one.value <= 1
    with_constant = SCORES[name](np.insert(CODES[:, :1], 1, 0.3, axis=1), GRID)
    assert not with_constant.degenerate
    if name == "modularity":  # the mean is over all codes
        assert with_constant.value == pytest.approx(one.value / 2)
    elif name == "sap_svm":  # the gap is over the base rate, where it was over nothing
        assert with_constant.value < one.value
    else:  # mig_chen draws anew
        assert with_constant.value == pytest.approx(one.value, abs=0.15 if name == "mig_chen" else 1e-9)


def test_numbers_of_values_of_any_integer_type():
    expected = local_clusters(KEY, (200, 30), locality=0.6, clusters=2, num_samples=50)
    for kind in (np.uint8, np.uint64, ">u2"):
        made = local_clusters(KEY, np.array([200, 30]).astype(kind), locality=0.6, clusters=2, num_samples=50)
        np.testing.assert_array_equal(made, expected)


def test_local_scores_need_clusters_with_finite_codes():
    codes, factors = CODES[None], GRID[None]
    with pytest.raises(ValueError, match="codes: expected one cluster or more, none empty"):
        score_local(codes[:0], factors[:0])
    with pytest.raises(ValueError, match="codes: expected finite numbers, as float32 has them; got 1"):
        score_local(np.where(codes == codes[0, 2, 1], np.inf, codes), factors)
    single = score_local(codes[:, :1], factors[:, :1])  # nothing varies in one sample
    assert (single.mig, single.degenerate, single.active_units) == (0.0, True, 0)
