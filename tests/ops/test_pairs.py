"""Which latents a pair shares, and the two averages, by hand."""

from __future__ import annotations

import numpy as np

from vaejax.ops import pairs

LOC = np.float32([[0, 0, 0, 0], [0, 0, 0, 0]])
LOC_2 = np.float32([[0.1, 2.0, 1.0, 0.5], [1, 1, 1, 1]])
ONE = np.ones_like(LOC)


def test_latents_below_the_middle_of_the_largest_and_the_least_divergence_are_shared():
    """delta = (.005, 2, .5, .125): the middle is 1.0025. Where all are equal none is below."""
    np.testing.assert_array_equal(pairs.shared_latents(LOC, ONE, LOC_2, ONE), [[1, 0, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(pairs.shared_latents(LOC, ONE, LOC_2, ONE, 2)[0], [1, 0, 0, 1])
    for count in (0, 4):
        assert pairs.shared_latents(LOC, ONE, LOC_2, ONE, count).sum(axis=-1).tolist() == [count, count]


def test_the_divergence_is_that_of_the_second_from_the_first():
    """KL(N(0, 1) || N(0, 9)) = .65 and KL(N(0, 9) || N(0, 1)) = 2.9: turned round, others would be shared."""
    scale = np.float32([3.0, 1.0, 1.0])
    loc_2 = np.float32([0.0, 1.5, 2.1])  # 1.125 and 2.205
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    np.testing.assert_array_equal(pairs.shared_latents(zero, one, loc_2, scale), [1, 1, 0])
    np.testing.assert_array_equal(pairs.shared_latents(zero, scale, loc_2, one), [0, 1, 0])


def test_averages_by_hand():
    """N(0, 1) and N(2, 3)."""
    given = [np.float32([a]) for a in (0.0, 1.0, 2.0, np.sqrt(3))]
    np.testing.assert_allclose(pairs.mean_average(*given), [[1.0], [np.sqrt(2)]], rtol=1e-6)
    np.testing.assert_allclose(pairs.precision_average(*given), [[0.5], [np.sqrt(1.5)]], rtol=1e-6)
