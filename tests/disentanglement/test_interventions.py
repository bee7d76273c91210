"""FactorVAE and beta-VAE scores and IRS on hand-made codes, and the samplers that they draw from."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vaejax.disentanglement import beta_vae_score, factor_sampler, factor_vae_score, image_sampler, irs

KEY = jax.random.key(0)
FEW = {"train": 1500, "test": 1000}
SOME = {"train": 600, "test": 400, "pairs": 32}
V = (5, 6, 7)
GRID = np.stack(np.unravel_index(np.arange(210), V), axis=1)


def _noise(d: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(210, d))


def _rotated() -> np.ndarray:
    z = GRID / np.std(GRID, axis=0)
    a, b = z[:, 0].copy(), z[:, 1].copy()
    z[:, 0], z[:, 1] = a + b, a - b
    return z


CASES = {  # codes, FactorVAE score, beta-VAE score: a third of 1 and two thirds of 1/2 where two are mixed
    "perfect": (GRID, 1.0, 1.0),
    "permuted": (-2 * GRID[:, [2, 0, 1]] + 1, 1.0, 1.0),
    "duplicated": (np.hstack([GRID, GRID]), 1.0, 1.0),
    "rotated": (_rotated(), 2 / 3, 2 / 3),
}


@pytest.mark.parametrize("case", CASES)
def test_hand_made_codes(case):
    codes, factor_vae, beta_vae = CASES[case]
    sampler = factor_sampler(codes, GRID)
    tolerance = 1e-9 if factor_vae == 1 else 0.05
    assert factor_vae_score(KEY, sampler, **FEW).value == pytest.approx(factor_vae, abs=tolerance)
    assert beta_vae_score(KEY, sampler, **SOME).value == pytest.approx(beta_vae, abs=max(0.01, tolerance))


def test_codes_of_noise_are_at_chance_on_new_votes():
    rng = np.random.default_rng(3)
    factors = rng.integers(0, 3, size=(30_000, 3))
    sampler = factor_sampler(rng.normal(size=(30_000, 20)), factors)
    assert factor_vae_score(KEY, sampler, train=60, test=2000).value == pytest.approx(1 / 3, abs=0.05)
    assert beta_vae_score(KEY, sampler, train=60, test=1000).value == pytest.approx(1 / 3, abs=0.06)


def test_only_codes_that_vary_count():
    flat = np.column_stack([np.full(210, 0.3), GRID, 0.01 * _noise(1)])  # one constant, one below 0.05
    score = factor_vae_score(KEY, factor_sampler(flat, GRID), **FEW)
    assert (score.active_units, score.value, score.degenerate) == (3, 1.0, False)
    beta = beta_vae_score(KEY, factor_sampler(flat, GRID), **SOME)
    assert (beta.active_units, beta.library.split()[0]) == (4, "scikit-learn")
    assert irs(flat, GRID).active_units == 4
    # variances are relative: a scale does not matter, as long as it stays above 0.05
    z = GRID + 2 * _noise()
    scores = [factor_vae_score(KEY, factor_sampler(z * s, GRID), **FEW).value for s in (1, [1, 64, 0.25])]
    assert 0.4 < scores[0] < 0.99
    assert scores[0] == scores[1]


def test_a_frozen_factor_is_left_out():
    frozen = np.insert(GRID, 1, 4, axis=1)
    sampler = factor_sampler(GRID, frozen)
    for score in (factor_vae_score(KEY, sampler, **FEW), beta_vae_score(KEY, sampler, **SOME)):
        assert score.value > 0.99
        assert np.isnan(score.parts).tolist() == [False, True, False, False]
    assert irs(_noise(), frozen).value == irs(_noise(), GRID).value


@pytest.mark.parametrize("case", ["constant codes", "constant factors", "one factor", "one row a value"])
def test_nothing_to_measure_is_flagged_and_never_nan(case):
    codes = np.full((210, 2), 0.3) if case == "constant codes" else _noise()
    factors = {
        "constant factors": np.ones_like(GRID),
        "one factor": GRID[:, :1],
        "one row a value": np.insert(np.arange(210)[:, None], 1, 3, axis=1),
    }.get(case, GRID)
    sampler = factor_sampler(codes, factors)
    scores = [factor_vae_score(KEY, sampler, **FEW), beta_vae_score(KEY, sampler, **SOME)]
    scores += [irs(codes, factors)] * (not case.startswith("one"))
    for score in scores:
        assert score[:3:2] == (0.0, True)
    if case == "constant codes":
        assert [score.active_units for score in scores] == [0, 0, 0]


def test_a_group_shares_one_value_and_leaves_the_others_free():
    rng = np.random.default_rng(0)
    mixed = np.random.default_rng(1).permutation(210)
    rows = factor_sampler(GRID[mixed], GRID[mixed])  # codes tell the factors
    images = image_sampler(lambda x: x[:, 0], lambda f: f[:, None] * 1.0, V, batch_size=999)
    for sampler in (rows, images):
        assert sampler.varies.all()
        fixed = rng.integers(-1, 3, 400)
        z = sampler.draw(rng, fixed, 64)
        assert z.shape == (400, 64, 3)
        for k in range(3):
            assert (np.ptp(z[fixed == k][..., k], axis=1) == 0).all()
            assert (np.ptp(z[fixed != k][..., k], axis=1) > 0).all()
            count = np.bincount(z[..., k].ravel().astype(int), minlength=V[k])
            assert count.min() > 0.6 * count.mean()
            shared = np.bincount(z[fixed == k][:, 0, k].astype(int), minlength=V[k])
            assert shared.min() > 5  # each value is drawn


def test_a_beta_vae_feature_is_of_pairs_that_share_their_factor():
    asked = []
    whole = factor_sampler(GRID, GRID)

    def draw(rng, fixed, size):
        asked.append((fixed, size))
        return whole.draw(rng, fixed, size)

    beta_vae_score(KEY, whole._replace(draw=draw), train=50, test=20, pairs=16)
    (fixed, size) = asked[-1]
    assert (len(fixed), size) == (70 * 16, 2)
    assert (np.ptp(fixed.reshape(70, 16), axis=1) == 0).all()
    assert set(fixed) == {0, 1, 2}


def test_irs_is_its_formula():
    z = GRID @ np.array([[1.0, 0.5], [0.0, 1.0], [0.2, 0.0]]) + 0.1 * _noise(2)
    expected, weights = [], []
    for j in range(2):
        reach = max(abs(z[:, j] - z[:, j].mean()))
        robust = []
        for k in range(3):
            moved = []
            for value in range(V[k]):
                at = z[GRID[:, k] == value, j]
                moved.append(np.quantile(abs(at - at.mean()), 0.99))
            robust.append(1 - np.mean(moved) / reach)
        expected.append(max(robust))
        weights.append(reach)
    score = irs(z, GRID)
    np.testing.assert_allclose(score.parts, expected, rtol=1e-12)
    assert score.value == pytest.approx(np.dot(expected, weights) / sum(weights), rel=1e-12)
    assert irs(GRID, GRID).value == irs(np.hstack([GRID, GRID]), GRID).value == 1.0
    assert irs(1.0 * _rotated(), GRID).value < 0.75


def _published_irs(z, v):
    """The score of disentanglement_lib: factors in 20 bins of equal width, and constant ones kept."""
    reach = np.abs(z - z.mean(axis=0)).max(axis=0)
    robust = []
    for factor in v.T:
        binned = np.digitize(factor, np.histogram(factor, 20)[1][:-1])
        at = [z[binned == value] for value in np.unique(binned)]
        moved = np.mean([np.percentile(np.abs(a - a.mean(axis=0)), 99, axis=0) for a in at], axis=0)
        robust.append(1 - moved / reach)
    return np.average(np.max(robust, axis=0), weights=reach)


def test_irs_differs_from_the_library_where_it_says():
    rng = np.random.default_rng(4)
    v = rng.integers(0, (20, 3), size=(900, 2))
    z = v @ np.array([[0.1, 0.0], [0.3, 1.0]]) + 0.3 * rng.normal(size=(900, 2))
    assert irs(z, v).value == pytest.approx(_published_irs(z, v), rel=1e-12)
    many = rng.integers(0, 60, size=(900, 1))  # three of them to a bin
    z = 0.05 * many + 0.02 * rng.normal(size=(900, 1))
    assert irs(z, many).value > _published_irs(z, many) + 0.01
    free = rng.normal(size=(900, 1))  # a constant factor has the robustness of a heavy tail
    free[0] = 40.0
    coin = rng.integers(0, 2, size=(900, 1))
    coin[0] = 0
    both = np.hstack([coin, np.ones_like(coin)])
    assert irs(free, both).value == irs(free, coin).value
    assert _published_irs(free, both) >= _published_irs(free, coin)


def test_codes_that_are_not_finite_and_draws_that_are_too_few_are_refused():
    whole = factor_sampler(GRID, GRID)

    def broken(rng, fixed, size):
        return np.where(whole.draw(rng, fixed, size) == 0, np.nan, 1.0)

    for call in (lambda s: factor_vae_score(KEY, s, **FEW), lambda s: beta_vae_score(KEY, s, **SOME)):
        with pytest.raises(ValueError, match="sampler: expected finite codes, got"):
            call(whole._replace(draw=broken))
    with pytest.raises(ValueError, match="num_samples: expected two codes or more"):
        factor_vae_score(KEY, whole, num_samples=1)
    with pytest.raises(ValueError, match="train: expected features of two factors or more, got 1 of one"):
        beta_vae_score(KEY, whole, train=1, test=5)


def test_bad_arguments_are_named():
    with pytest.raises(
        ValueError, match="two rows or more for every value of factor 0, got one for 210 of 210"
    ):
        factor_sampler(GRID, np.column_stack([np.arange(210), GRID[:, 0]]))
    for num_values, error, message in (
        ([[2, 3]], ValueError, "num_values: expected one positive number per factor"),
        ([2.5, 3], TypeError, "num_values: expected integers"),
        ([0, 3], ValueError, "num_values: expected one positive number per factor"),
    ):
        with pytest.raises(error, match=message):
            image_sampler(np.asarray, np.asarray, num_values)
    with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
        factor_vae_score(0, factor_sampler(GRID, GRID))
    with pytest.raises(ValueError, match="pairs: expected at least 1, got 0"):
        beta_vae_score(KEY, factor_sampler(GRID, GRID), pairs=0)
    with pytest.raises(TypeError, match="factors: expected integers"):
        irs(GRID, 1.0 * GRID)
