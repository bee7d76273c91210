"""Local disentanglement: scores inside small neighbourhoods of factor space.

Rhodes & Lee 2021 (2106.02923): a representation may be aligned with the factors everywhere, but with
other factors in other places. Sample factors, render, encode, score: `evaluation.local_scores` does all of it
for a model, and for codes from elsewhere the steps are

    factors = local_clusters(key, num_values)                   # [clusters, num_samples, F]
    codes = represent_factors(represent, render, factors)       # [clusters, num_samples, d]
    scores = score_local(codes, factors)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vaejax.checks import check_positive_int
from vaejax.disentanglement.information import (
    binned_factors,
    check_codes,
    discrete_entropy,
    discrete_mutual_information,
    discretise,
)
from vaejax.disentanglement.matrices import mig_from, modularity_from
from vaejax.disentanglement.score import Score
from vaejax.keys import check_key, numpy_generator
from vaejax.ops.aggregate import ACTIVE_VARIANCE
from vaejax.types import Array, Progress

MIN_VALUES = 10  # Rhodes & Lee: a factor with fewer values has no neighbourhood


class LocalScores(NamedTuple):
    """Means over clusters, their standard errors (nan for one cluster), and the values per cluster.

    `clusters` maps mig, modularity, ceiling, active_mig and active_modularity to [clusters] arrays.
    """

    mig: float
    mig_se: float
    modularity: float
    modularity_se: float
    ceiling: float  # the most that local MIG can be with these bins
    mig_over_ceiling: float
    active_mig: float  # active codes only
    active_modularity: float
    active_units: int
    degenerate: bool  # in every cluster nothing was informative: the scores are 0 by convention
    clusters: dict[str, np.ndarray]

    @property
    def values(self) -> dict[str, Any]:
        """Every number by name, but those of the single clusters, as JSON has it: None where it is nan."""
        numbers = {name: value for name, value in self._asdict().items() if name != "clusters"}
        return {name: None if value != value else value for name, value in numbers.items()}


def local_clusters(
    key: Array,
    num_values: Sequence[int],
    *,
    locality: float = 0.1,
    clusters: int = 20,
    num_samples: int = 10_000,
    frozen: Sequence[int] = (),
) -> np.ndarray:
    """Sample factors around random centres.

    For each cluster the centre c is uniform per factor, and with r = floor(rho V) the points are uniform
    on the integers of [c - r, c + r] that lie in 0..V-1: the interval is cut, nothing piles up at its
    ends. Factors with fewer than 10 values and those in `frozen` keep the value of the centre.

    The draws are numpy's, from a Generator seeded with the words of the key.

    Args:
      key: typed PRNG key.
      num_values: V of each of the F factors.
      locality: rho in (0, 1].
      clusters: number of centres.
      num_samples: points per cluster.
      frozen: places of the factors to keep at the centre.

    Returns:
      [clusters, num_samples, F] integers.

    Raises:
      TypeError: the key is not a typed key, or a count is not an integer.
      ValueError: locality, a count or a place in `frozen` is out of range.
    """
    check_key(key)
    check_positive_int(clusters, "clusters")
    check_positive_int(num_samples, "num_samples")
    V = check_num_values(num_values)
    if not 0 < locality <= 1:
        raise ValueError(f"locality: expected a number in (0, 1], got {locality}")
    held = _frozen_mask(frozen, V)
    rng = numpy_generator(key)
    centre = rng.integers(0, V, size=(clusters, 1, len(V)))
    # rounded first: 0.29 * 100 is a little less than 29 in floating point
    r = np.where(held, 0, np.floor(np.round(locality * V, 9)).astype(int))
    low, high = np.maximum(centre - r, 0), np.minimum(centre + r, V - 1)
    return rng.integers(low, high + 1, size=(clusters, num_samples, len(V)))


def represent_factors(
    represent: Callable[[Any], Any],
    sample_images: Callable[[np.ndarray], Any],
    factors: np.ndarray,
    *,
    batch_size: int = 500,
    progress: Progress = iter,
) -> np.ndarray:
    """Render the factors and encode the images, a fixed number at a time.

    The last batch is filled up with its last row and the surplus dropped, so a jitted `represent`
    compiles once. Several models share the rendering where `represent` concatenates their codes.

    Args:
      represent: images [n, ...] -> codes [n, d].
      sample_images: factors [n, F] -> images [n, ...].
      factors: [..., F] integers, such as `local_clusters` makes.
      batch_size: images at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      [..., d] codes, the leading axes those of `factors`.

    Raises:
      ValueError: `represent` does not return [n, d].
    """
    check_positive_int(batch_size, "batch_size")
    rows = np.asarray(factors).reshape(-1, factors.shape[-1])
    codes = []
    for batch in progress(range(-(-len(rows) // batch_size))):
        place = np.arange(batch * batch_size, (batch + 1) * batch_size)
        out = np.asarray(represent(sample_images(rows[np.minimum(place, len(rows) - 1)])))
        if out.ndim != 2 or len(out) != batch_size:
            raise ValueError(f"represent: expected codes of shape [{batch_size}, d], got {out.shape}")
        codes.append(out)
    return np.concatenate(codes)[: len(rows)].reshape(*factors.shape[:-1], -1)


def score_local(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    bins: int = 5,
    factor_bins: int | None = None,
    active: np.ndarray | None = None,
) -> LocalScores:
    """Score codes inside each cluster: MIG (histogram form) and modularity, means over clusters.

    As I(z; v) <= log(bins), local MIG cannot exceed its ceiling, the mean over clusters and factors of
    min(log bins, H(v)) / H(v): 0.646, 0.522, 0.465, 0.406, 0.387 for 64 values, 5 bins and locality 0.1,
    0.2, 0.3, 0.6, 1. Codes equal to the factors reach 0.637 of that 0.646, as bins fill unevenly.

    The active-only scores leave out the codes whose mean hardly varies: a collapsed code is still a
    function of x, and its bins are scaled to its range, so it can carry information.

    Args:
      codes: [clusters, num_samples, d].
      factors: [clusters, num_samples, F] integers; real numbers with `factor_bins`.
      bins: equal-width bins per code and cluster; 5 in the paper.
      factor_bins: equal-width bins per factor and cluster too; None takes every value by itself.
      active: [d] booleans, the active codes. By default those whose variance over the samples of all
        clusters together exceeds 0.01 (ddof 1).

    Returns:
      LocalScores.

    Raises:
      TypeError, ValueError: ranks or lengths differ, factors are not integers, codes are not finite.
    """
    codes = _check_clustered(codes, factors)
    kept = _active_codes(codes) if active is None else np.asarray(active)
    if kept.shape != codes.shape[-1:] or kept.dtype != bool:
        raise ValueError(f"active: expected {codes.shape[-1]} booleans, got {active!r}")
    rows: list[dict[str, float]] = []
    degenerate = True
    for z, v in zip(codes, factors, strict=True):
        v = binned_factors(v, factor_bins)
        information, H = discrete_mutual_information(discretise(z, bins), v), discrete_entropy(v)
        gap, modular = _pair(information, H)
        active_gap, active_modular = _pair(information[kept], H)
        rows.append(
            {
                "mig": gap.value,
                "modularity": modular.value,
                "ceiling": _ceiling(H, bins),
                "active_mig": active_gap.value,
                "active_modularity": active_modular.value,
            }
        )
        degenerate = degenerate and gap.degenerate
    per_cluster = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return _summarise(per_cluster, int(kept.sum()), degenerate)


def _active_codes(codes: np.ndarray) -> np.ndarray:
    """Which codes vary over all clusters taken together, [d] booleans; of one sample none does."""
    rows = codes.reshape(-1, codes.shape[-1])
    return rows.var(axis=0, ddof=1) > ACTIVE_VARIANCE if len(rows) > 1 else np.zeros(rows.shape[1], bool)


def _pair(information: np.ndarray, H: np.ndarray) -> tuple[Score, Score]:
    return mig_from(information, H), modularity_from(information[:, H > 0])


def _ceiling(H: np.ndarray, bins: int) -> float:
    """Mean over the factors that vary of min(log b, H) / H; 0 where none does."""
    H = H[H > 0]
    return float(np.mean(np.minimum(np.log(bins), H) / H)) if len(H) else 0.0


def _summarise(per_cluster: dict[str, np.ndarray], active_units: int, degenerate: bool) -> LocalScores:
    mean = {name: float(values.mean()) for name, values in per_cluster.items()}
    n = len(per_cluster["mig"])
    se = {
        name: float(v.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan") for name, v in per_cluster.items()
    }
    return LocalScores(
        mig=mean["mig"],
        mig_se=se["mig"],
        modularity=mean["modularity"],
        modularity_se=se["modularity"],
        ceiling=mean["ceiling"],
        mig_over_ceiling=mean["mig"] / mean["ceiling"] if mean["ceiling"] > 0 else 0.0,
        active_mig=mean["active_mig"],
        active_modularity=mean["active_modularity"],
        active_units=active_units,
        degenerate=degenerate,
        clusters=per_cluster,
    )


def check_num_values(num_values: Sequence[int]) -> np.ndarray:
    """The numbers as an array [F]; raise unless they are positive integers."""
    V = np.asarray(num_values)
    if V.dtype.kind not in "iu":
        raise TypeError(f"num_values: expected integers, got {num_values!r}")
    if V.ndim != 1 or len(V) == 0 or V.min() < 1:
        raise ValueError(f"num_values: expected one positive number per factor, got {num_values!r}")
    return V.astype(np.int64)


def _frozen_mask(frozen: Sequence[int], V: np.ndarray) -> np.ndarray:
    outside = [k for k in frozen if not 0 <= k < len(V)]
    if outside:
        raise ValueError(f"frozen: expected places in 0..{len(V) - 1}, got {outside}")
    return (V < MIN_VALUES) | np.isin(np.arange(len(V)), list(frozen))


def _check_clustered(codes: Any, factors: np.ndarray) -> np.ndarray:
    if np.ndim(codes) != 3 or np.ndim(factors) != 3 or np.shape(codes)[:2] != np.shape(factors)[:2]:
        raise ValueError(
            "codes: expected [clusters, num_samples, d] beside factors of [clusters, num_samples, F], "
            f"got {np.shape(codes)} beside {np.shape(factors)}"
        )
    if 0 in np.shape(codes)[:2]:
        raise ValueError(f"codes: expected one cluster or more, none empty; got {np.shape(codes)}")
    return np.stack([check_codes(z) for z in codes])
