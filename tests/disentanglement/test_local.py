"""Local sampling and local scores against the ceilings and table values of Rhodes & Lee's protocol."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.disentanglement import (
    local_clusters,
    mig,
    modularity,
    represent_factors,
    score_local,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("locality", "ceiling", "identity"),
    [(0.1, 0.646, 0.637), (0.2, 0.522, 0.521), (0.3, 0.465, 0.464), (0.6, 0.406, 0.406), (1.0, 0.387, 0.387)],
)
def test_ceilings_and_the_identity_code(locality, ceiling, identity):
    factors = local_clusters(KEY, [64], locality=locality, clusters=600, num_samples=3000)
    scores = score_local(factors.astype(float), factors)  # one code: no second to be lifted by noise
    assert scores.ceiling == pytest.approx(ceiling, abs=0.004)
    assert scores.mig == pytest.approx(identity, abs=0.004)
    assert scores.mig_over_ceiling == pytest.approx(scores.mig / scores.ceiling)


def test_clusters_fill_the_cut_interval_evenly():
    factors = local_clusters(
        KEY, [64, 64, 9, 20, 10], locality=0.1, clusters=30, num_samples=4000, frozen=[3]
    )
    assert factors.shape == (30, 4000, 5)
    for cluster in factors:
        for k, r in ((0, 6), (1, 6), (4, 1)):
            values, counts = np.unique(cluster[:, k], return_counts=True)
            V = (64, 64, 9, 20, 10)[k]
            assert values[0] >= 0
            assert values[-1] < V
            width = len(values)
            np.testing.assert_array_equal(values, np.arange(values[0], values[0] + width))
            at_an_end = values[0] == 0 or values[-1] == V - 1
            assert width == 2 * r + 1 or (at_an_end and r + 1 <= width <= 2 * r + 1)
            np.testing.assert_allclose(
                counts, 4000 / width, atol=6 * np.sqrt(4000 / width)
            )  # no edge piles up
        assert len(np.unique(cluster[:, 2])) == 1  # fewer than 10 values
        assert len(np.unique(cluster[:, 3])) == 1  # on the list
    centres = factors[:, 0, 2]
    assert len(np.unique(centres)) > 4  # frozen at a centre of its own in every cluster


def test_locality_one_reaches_the_whole_range_and_keys_decide():
    a = local_clusters(KEY, [12, 30], locality=1.0, clusters=4, num_samples=2000)
    np.testing.assert_array_equal(a.min(axis=1), 0)
    np.testing.assert_array_equal(a.max(axis=1), [[11, 29]] * 4)
    np.testing.assert_array_equal(
        a, local_clusters(KEY, [12, 30], locality=1.0, clusters=4, num_samples=2000)
    )
    b = local_clusters(jax.random.key(1), [12, 30], locality=1.0, clusters=4, num_samples=2000)
    assert (a != b).any()


def test_table_with_five_bins():
    # r = 6 away from the ends: 13 values
    factors = np.random.default_rng(1).integers(20, 33, size=(12, 10_000, 6))
    codes = factors.astype(float)
    rotated = codes.copy()
    rotated[..., 0], rotated[..., 1] = codes[..., 0] + codes[..., 1], codes[..., 0] - codes[..., 1]
    noise = np.random.default_rng(0).normal(size=codes.shape)

    identity = score_local(codes, factors)
    assert 0.61 < identity.mig < 0.64
    assert identity.modularity == pytest.approx(1.0, abs=1e-4)
    mixed = score_local(rotated, factors)
    assert mixed.mig == pytest.approx(0.41, abs=0.02)
    assert mixed.modularity == pytest.approx(0.936, abs=0.005)
    floor = score_local(noise, factors)
    assert floor.mig < 0.01
    assert floor.modularity == pytest.approx(0.43, abs=0.04)
    twice = score_local(np.concatenate([codes, codes], axis=-1), factors)
    assert twice.mig == 0.0
    assert twice.modularity == pytest.approx(1.0, abs=0.001)


def test_means_errors_and_clusters_agree():
    factors = local_clusters(KEY, [20] * 3, locality=0.3, clusters=5, num_samples=500)
    codes = factors + np.random.default_rng(0).normal(size=factors.shape)
    scores = score_local(codes, factors)
    gaps = [mig(z, v, bins=5).value for z, v in zip(codes, factors, strict=True)]
    modulars = [modularity(z, v, bins=5).value for z, v in zip(codes, factors, strict=True)]
    np.testing.assert_allclose(scores.clusters["mig"], gaps, rtol=1e-14)
    np.testing.assert_allclose(scores.clusters["modularity"], modulars, rtol=1e-14)
    assert scores.mig == pytest.approx(np.mean(gaps))
    assert scores.mig_se == pytest.approx(np.std(gaps, ddof=1) / np.sqrt(5))
    assert scores.modularity_se == pytest.approx(np.std(modulars, ddof=1) / np.sqrt(5))
    assert np.isnan(score_local(codes[:1], factors[:1]).mig_se)


def test_active_only_scores_drop_codes_that_hardly_vary():
    factors = local_clusters(KEY, [64] * 4, locality=0.1, clusters=5, num_samples=2000)
    codes = factors.astype(float)
    leaky = np.concatenate([codes, 1e-4 * codes], axis=-1)  # collapsed copies: they still tell the factors
    scores = score_local(leaky, factors)
    assert scores.mig == 0.0
    assert scores.active_units == 4
    assert scores.active_mig == pytest.approx(score_local(codes, factors).mig)
    chosen = score_local(leaky, factors, active=np.arange(8) < 2)
    assert chosen.active_units == 2
    assert chosen.active_mig == pytest.approx(scores.active_mig / 2, abs=0.02)

    constant = score_local(np.zeros_like(codes), factors)
    assert constant.mig == constant.modularity == constant.active_mig == 0.0
    assert constant.active_units == 0
    assert constant.degenerate
    assert constant.ceiling == scores.ceiling


@pytest.mark.parametrize(("locality", "low", "high"), [(1.0, 0.4, 0.6), (0.1, 0.7, 0.9)])
def test_codes_modulo_six(locality, low, high):
    # with 6 bins the residues fall into bins of their own
    factors = local_clusters(KEY, [40] * 6, locality=locality, clusters=20, num_samples=5000)
    scores = score_local((factors % 6).astype(float), factors, bins=6)
    assert low < scores.mig < high
    assert scores.mig == pytest.approx({1.0: 0.48, 0.1: 0.81}[locality], abs=0.02)


def test_a_frozen_factor_stays_out_of_local_scores():
    factors = local_clusters(KEY, [64, 64, 64, 4], locality=0.1, clusters=6, num_samples=2000)
    scores = score_local(factors.astype(float), factors)
    without = score_local(factors[..., :3].astype(float), factors[..., :3])
    assert np.isfinite(scores.mig)
    assert scores.mig == without.mig
    assert scores.ceiling == without.ceiling
    assert scores.modularity == pytest.approx(without.modularity * 3 / 4)  # the fourth code is constant: 0


def test_representing_in_batches_compiles_once_and_keeps_the_order():
    traces, sizes = [], []

    @jax.jit
    def represent(images):
        traces.append(images.shape)
        return images[:, 0, :, 0] * 2.0

    def render(factors):
        return np.asarray(factors, np.float32)[:, None, :, None]

    def progress(batches):
        sizes.append(len(batches))
        return batches

    factors = local_clusters(KEY, [64] * 3, clusters=3, num_samples=101)
    codes = represent_factors(represent, render, factors, batch_size=64, progress=progress)
    assert traces == [(64, 1, 3, 1)]
    assert sizes == [5]
    np.testing.assert_array_equal(codes, 2.0 * factors)


def test_bad_arguments_are_named():
    with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
        local_clusters(jax.random.PRNGKey(0), [10])
    for locality in (0.0, 1.5):
        with pytest.raises(ValueError, match="locality: expected a number in"):
            local_clusters(KEY, [10], locality=locality)
    with pytest.raises(ValueError, match=r"frozen: expected places in 0..1, got \[2\]"):
        local_clusters(KEY, [10, 10], frozen=[2])
    with pytest.raises(TypeError, match="num_values: expected integers"):
        local_clusters(KEY, [10.0])
    with pytest.raises(ValueError, match="num_samples"):
        local_clusters(KEY, [10], num_samples=0)
    factors = local_clusters(KEY, [10, 10], clusters=2, num_samples=5)
    with pytest.raises(ValueError, match=r"codes: expected \[clusters, num_samples, d\]"):
        score_local(np.zeros((2, 4, 1)), factors)
    with pytest.raises(ValueError, match="active: expected 3 booleans"):
        score_local(np.zeros((2, 5, 3)), factors, active=np.ones(2, bool))
    with pytest.raises(ValueError, match=r"represent: expected codes of shape \[4, d\]"):
        represent_factors(lambda x: jnp.zeros(4), lambda v: v, factors, batch_size=4)
