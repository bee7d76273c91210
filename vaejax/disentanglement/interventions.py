"""Scores by interventions on the factors: FactorVAE's, beta-VAE's, and interventional robustness (IRS).

The first two look at codes that share the value of one factor. A `FactorSampler` draws them, from rows that
are encoded already (a whole grid, encoded once) or by rendering and encoding anew:

    sampler = factor_sampler(codes, factors)
    factor_vae_score(key, sampler)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vaejax.checks import check_positive_int
from vaejax.disentanglement.information import check_codes_and_factors
from vaejax.disentanglement.local import check_num_values, represent_factors
from vaejax.disentanglement.predictors import TEST, TRAIN, sklearn_version
from vaejax.disentanglement.score import Score
from vaejax.keys import check_key, numpy_generator
from vaejax.types import Array

BATCH = 64  # codes of a vote, pairs of a feature
ACTIVE_DEVIATION = 0.05  # Kim & Mnih's implementation: codes that vary less are left out
_CHUNK = 2**21  # codes drawn at a time


class FactorSampler(NamedTuple):
    """Codes under interventions on the factors.

    `draw(rng, fixed, size)` -> codes [g, size, d]: in group i, all share one random value of factor fixed[i]
    (of none where it is -1), and the other factors are random. `varies`: [F], which factors have two values.
    """

    draw: Callable[[np.random.Generator, np.ndarray, int], np.ndarray]
    varies: np.ndarray


def factor_sampler(codes: np.ndarray, factors: np.ndarray) -> FactorSampler:
    """Sample from given rows, with replacement: exact where they are the whole grid of the factors.

    Args:
      codes: [n, d], posterior means unless stated.
      factors: [n, F] integers.

    Raises:
      TypeError, ValueError: codes or factors of another kind, or, where two factors or more vary, one with a
        single row for some value: such a row cannot show what the factor leaves free.
    """
    codes, factors = check_codes_and_factors(codes, factors)
    for k, lone, of in lone_values(factors):
        raise ValueError(
            f"factors: expected two rows or more for every value of factor {k}, "
            f"got one for {lone} of {of} values"
        )
    tables = []
    for v in factors.T:
        _, label, count = np.unique(v, return_inverse=True, return_counts=True)
        tables.append((np.argsort(label, kind="stable"), label, count, np.cumsum(count) - count))

    def draw(rng: np.random.Generator, fixed: np.ndarray, size: int) -> np.ndarray:
        rows = rng.integers(len(codes), size=(len(fixed), size))
        for k, (order, label, count, first) in enumerate(tables):
            groups = np.flatnonzero(fixed == k)
            value = label[rows[groups, 0]][:, None]
            rows[groups] = order[first[value] + rng.integers(count[value], size=(len(groups), size))]
        return codes.take(rows.T, axis=0).swapaxes(0, 1)  # size leads in memory: its sums run along groups

    return FactorSampler(draw, np.ptp(factors, axis=0) > 0)


def lone_values(factors: np.ndarray) -> list[tuple[int, int, int]]:
    """(factor, its values with one row only, its values) where there are such; none if one factor varies."""
    counts = [np.unique(v, return_counts=True)[1] for v in factors.T]
    if sum(len(count) > 1 for count in counts) < 2:
        return []
    return [(k, int(np.sum(c < 2)), len(c)) for k, c in enumerate(counts) if len(c) > 1 and c.min() < 2]


def image_sampler(
    represent: Callable[[Any], Any],
    sample_images: Callable[[np.ndarray], Any],
    num_values: Sequence[int],
    *,
    batch_size: int = 500,
) -> FactorSampler:
    """Sample factors, render and encode anew: for sets whose grid is too large to encode.

    Args:
      represent: images [n, ...] -> codes [n, d], jitted.
      sample_images: factors [n, F] -> images [n, ...].
      num_values: number of values of each of the F factors.
      batch_size: images at a time.

    Raises:
      TypeError, ValueError: `num_values` are not positive integers, one per factor.
    """
    V = check_num_values(num_values)

    def draw(rng: np.random.Generator, fixed: np.ndarray, size: int) -> np.ndarray:
        factors = rng.integers(0, V, size=(len(fixed), size, len(V)))
        held = np.flatnonzero(fixed >= 0)
        factors[held, :, fixed[held]] = factors[held, :1, fixed[held]]
        return represent_factors(represent, sample_images, factors, batch_size=batch_size)

    return FactorSampler(draw, V > 1)


def factor_vae_score(
    key: Array, sampler: FactorSampler, *, train: int = TRAIN, test: int = TEST, num_samples: int = 10_000
) -> Score:
    """The FactorVAE score (Kim & Mnih 2018, 1802.05983): does the stillest code tell which factor is fixed?

    A vote: pick a factor k, draw 64 codes that share its value, and take the code argmin_j var(z_j) / s_j^2,
    with s_j^2 its variance over `num_samples` codes; codes with s_j < 0.05 are left out. Each code stands for
    the factor that most of its votes had; the score is the accuracy of that on new votes.

    Args:
      key: typed PRNG key.
      sampler: see `factor_sampler` and `image_sampler`.
      train: votes to learn which factor a code stands for.
      test: votes to score on.
      num_samples: codes for the variances.

    Returns:
      Score in [0, 1]; `parts` per factor [F], the accuracy where it was fixed; `active_units`, the codes
      kept. Flagged, and 0, where no code is kept or fewer than two factors vary.

    Raises:
      TypeError, ValueError: an argument is of another kind.
    """
    check_key(key)
    for name, count in (("train", train), ("test", test), ("num_samples", num_samples)):
        check_positive_int(count, name)
    if num_samples < 2:
        raise ValueError(f"num_samples: expected two codes or more, which can vary; got {num_samples}")
    rng = numpy_generator(key)
    variance = _draw(sampler, rng, np.array([-1]), num_samples)[0].var(axis=0, ddof=1, dtype=np.float64)
    active = np.sqrt(variance) >= ACTIVE_DEVIATION
    parts = np.where(sampler.varies, 0.0, np.nan)
    if not active.any() or sampler.varies.sum() < 2:
        return Score(0.0, parts, True, int(active.sum()))
    k = rng.choice(np.flatnonzero(sampler.varies), train + test)

    def stillest(z: np.ndarray) -> np.ndarray:
        within = z.var(axis=1, ddof=1, dtype=np.float64)
        return np.argmin(within[:, active] / variance[active], axis=1)

    j = _of_groups(sampler, rng, k, BATCH, len(active), stillest)
    table = np.zeros((int(active.sum()), len(parts)), int)
    np.add.at(table, (j[:train], k[:train]), 1)
    right = table.argmax(axis=1)[j[train:]] == k[train:]
    return _accuracy(right, k[train:], parts, int(active.sum()))


def beta_vae_score(
    key: Array, sampler: FactorSampler, *, train: int = TRAIN, test: int = TEST, pairs: int = BATCH
) -> Score:
    """The beta-VAE score (Higgins et al. 2017): a linear classifier tells which factor a pair shares.

    Pick a factor k; the feature is the mean of |z - z'| over 64 pairs, each of which shares its own value
    of k. The score is the accuracy, on new features, of a multinomial logistic regression.

    Args:
      key: typed PRNG key.
      sampler: see `factor_sampler` and `image_sampler`.
      train: features to fit on.
      test: features to score on.
      pairs: of one feature.

    Returns:
      Score in [0, 1]; `parts` per factor [F], the accuracy where it was shared. Flagged, and 0, where no code
      varies or fewer than two factors do.

    Raises:
      ImportError: scikit-learn is not installed.
      TypeError, ValueError: an argument is of another kind.
    """
    check_key(key)
    for name, count in (("train", train), ("test", test), ("pairs", pairs)):
        check_positive_int(count, name)
    library = sklearn_version()
    from sklearn.linear_model import LogisticRegression

    rng = numpy_generator(key)
    sample = _draw(sampler, rng, np.array([-1]), 1000)[0]
    active = np.ptp(sample, axis=0) > 0
    parts = np.where(sampler.varies, 0.0, np.nan)
    if not active.any() or sampler.varies.sum() < 2:
        return Score(0.0, parts, True, int(active.sum()), library)
    k = rng.choice(np.flatnonzero(sampler.varies), train + test)

    def distance(z: np.ndarray) -> np.ndarray:
        return np.abs(z[:, 0] - z[:, 1]).reshape(-1, pairs, z.shape[-1]).mean(axis=1)

    feature = _of_groups(sampler, rng, k, 2, len(active), distance, repeat=pairs)[:, active]
    if len(np.unique(k[:train])) < 2:
        raise ValueError(f"train: expected features of two factors or more, got {train} of one factor")
    model = LogisticRegression(max_iter=10_000).fit(feature[:train], k[:train])
    right = model.predict(feature[train:]) == k[train:]
    return _accuracy(right, k[train:], parts, int(active.sum()))._replace(library=library)


def irs(codes: np.ndarray, factors: np.ndarray) -> Score:
    """Interventional robustness (Suter et al. 2019, 1811.00007): how little a code moves at a fixed factor.

    IRS_jk = 1 - mean_v Q_.99(|z_j - E[z_j|v_k = v]|) / D_j, with D_j = max |z_j - E z_j|, Q_.99 the 0.99
    quantile over the rows of value v, and the mean over the values; the score is the mean over codes of
    max_k IRS_jk, weighted with D_j. Constant codes are left out, and factors that do not vary. A value with
    one row counts as robust: take rows in which every value stands several times, best a whole grid.

    Deviations. The paper has the maximum where Q_.99 stands here, as in disentanglement_lib (Locatello et al.
    2019, 1811.12359). That library's `irs` differs in three points. It bins the factors first, in 20
    equal-width bins over their range, so that neighbouring values of a factor with more than 20 count as one;
    with 20 consecutive values or fewer the score is the same. It takes max_k also over factors that do not
    vary, whose one value all rows have. And its `num_active_dims` is the sum of the codes, not their number.

    Args:
      codes: [n, d], posterior means unless stated.
      factors: [n, F] integers.

    Returns:
      Score, at most 1; `parts` per code [d], nan for constant ones; `active_units`, the others. Flagged, and
      0, where no code or no factor varies.

    Raises:
      TypeError, ValueError: codes or factors of another kind, or of different lengths.
    """
    z, v = check_codes_and_factors(codes, factors)
    active, varies = np.ptp(z, axis=0) > 0, np.ptp(v, axis=0) > 0
    parts = np.where(active, 0.0, np.nan)
    active_units = int(active.sum())
    if not (active_units and varies.any()):
        return Score(0.0, parts, True, active_units)
    z = z[:, active]
    D = np.abs(z - z.mean(axis=0)).max(axis=0)
    moved = np.stack([_deviation(z, v[:, k]) for k in np.flatnonzero(varies)])  # [F, d]
    robust = (1 - moved / D).max(axis=0)
    parts[active] = robust
    return Score(float(np.average(robust, weights=D)), parts, False, active_units)


def _deviation(z: np.ndarray, v: np.ndarray) -> np.ndarray:
    """mean_v Q_.99(|z - E[z|v]|) of every code, [d]."""
    order, ends = np.argsort(v, kind="stable"), np.cumsum(np.unique(v, return_counts=True)[1])
    at = np.split(z[order], ends[:-1])
    return np.mean([_quantile(np.abs(a - a.mean(axis=0)), 0.99) for a in at], axis=0)


def _quantile(a: np.ndarray, q: float) -> np.ndarray:
    """`np.quantile(a, q, axis=0)`, without what takes most of its time where rows are few."""
    place = q * (len(a) - 1)
    below = int(place)
    above = min(below + 1, len(a) - 1)
    low, high = np.partition(a, (below, above), axis=0)[[below, above]]
    return high - (high - low) * (1 - (place - below))


def _draw(sampler: FactorSampler, rng: np.random.Generator, fixed: np.ndarray, size: int) -> np.ndarray:
    """Codes [g, size, d] under interventions; ValueError unless they are finite."""
    z = np.asarray(sampler.draw(rng, fixed, size))
    if not np.isfinite(z).all():
        raise ValueError(f"sampler: expected finite codes, got {np.sum(~np.isfinite(z))} that are not")
    return z


def _of_groups(
    sampler: FactorSampler,
    rng: np.random.Generator,
    k: np.ndarray,
    size: int,
    d: int,
    function: Callable[[np.ndarray], np.ndarray],
    repeat: int = 1,
) -> np.ndarray:
    """`function` of `repeat` groups of codes for each of k, a chunk at a time."""
    chunk = max(1, _CHUNK // (size * repeat * d))
    parts = [k[first : first + chunk] for first in range(0, len(k), chunk)]
    return np.concatenate([function(_draw(sampler, rng, np.repeat(part, repeat), size)) for part in parts])


def _accuracy(right: np.ndarray, k: np.ndarray, parts: np.ndarray, active_units: int) -> Score:
    for factor in np.unique(k):
        parts[factor] = right[k == factor].mean()
    return Score(float(right.mean()), parts, False, active_units)
