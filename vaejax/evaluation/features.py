"""How far generated examples are from real ones, in features that the user chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vaejax.checks import check_positive_int
from vaejax.evaluation.batches import per_example, transformed
from vaejax.evaluation.entry import checked, enter, traced
from vaejax.evaluation.views import prior_samples
from vaejax.keys import named_key
from vaejax.types import VAE, AnyArray, Array, Progress, Split

__all__ = ["density_coverage", "frechet_distance", "precision_recall", "sample_distances"]

_BLOCK = 2**18  # distances at a time: 2 MiB, which stay in the cache


def frechet_distance(a: AnyArray, b: AnyArray) -> float:
    """The squared Frechet distance of the two Gaussians with the means and covariances of these features.

        |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))

    in float64, by the eigenvalues of C_a^(1/2) C_b C_a^(1/2), which are those of C_a C_b. Of features of the
    Inception network it is the FID of Heusel et al.; of any others it is not, and does not compare with it.
    It falls with the number of examples: compare at equal numbers, several times F.

    Args:
      a: [n, F], n >= 2.
      b: [m, F], m >= 2.

    Returns:
      At least 0, in squared units of the features.

    Raises:
      TypeError, ValueError: for other shapes, or values that are not finite.

    Source: Dowson & Landau 1982, doi 10.1016/0047-259X(82)90077-X; Heusel et al. 2017, arXiv 1706.08500.
    """
    a, b = _features(a, b, ("a", "b"), least=2)
    (m_a, c_a), (m_b, c_b) = ((x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))) for x in (a, b))
    values, vectors = np.linalg.eigh(c_a)
    half = vectors * np.sqrt(np.maximum(values, 0.0))  # C_a = half half^T
    both = np.linalg.eigvalsh(half.T @ c_b @ half)
    trace = np.trace(c_a) + np.trace(c_b) - 2 * np.sqrt(np.maximum(both, 0.0)).sum()
    return max(float(np.square(m_a - m_b).sum() + trace), 0.0)  # 0 of equal ones, but for rounding


def precision_recall(real: AnyArray, generated: AnyArray, *, k: int = 3) -> dict[str, float]:
    """How much of what is generated lies among the real, and how much of the real among what is generated.

    The ball around an example of a set reaches to its k-th nearest neighbour in the set. `precision` is the
    share of the generated in some ball of the real, `recall` that of the real in some ball of the generated.

    Args:
      real: [n, F], n > k.
      generated: [m, F], m > k.
      k: which neighbour.

    Returns:
      `precision` and `recall`, each in [0, 1].

    Raises:
      TypeError, ValueError: for other shapes, values that are not finite, or a k that is no int of at least
        1, or not less than the examples.

    Source: Kynkaanniemi et al. 2019, arXiv 1904.06991.
    """
    real, generated = _features(real, generated, ("real", "generated"))
    (of_real,), (of_generated,) = _radii(real, (k,), "real"), _radii(generated, (k,), "generated")
    (generated_in,) = _inside(real, [of_real], generated)
    (real_in,) = _inside(generated, [of_generated], real)
    return _precision_recall(generated_in, real_in)


def density_coverage(real: AnyArray, generated: AnyArray, *, k: int = 5) -> dict[str, float]:
    """In how many balls of the real what is generated lies, and in how many of them something does.

        density = 1 / (k m) sum_j #{i: y_j in B_i},     coverage = 1 / n #{i: some y_j in B_i}

    B_i the ball around the real example i that reaches to its k-th nearest neighbour among the real. Where
    both sets are of one distribution the density is 1 in the mean, and the coverage

        1 - (n - 1) ... (n - k) / ((m + n - 1) ... (m + n - k))

    One outlier among the real does not raise them, as it does the precision.

    Args:
      real: [n, F], n > k.
      generated: [m, F].
      k: which neighbour.

    Returns:
      `density`, at least 0 and perhaps above 1, and `coverage`, in [0, 1].

    Raises:
      TypeError, ValueError: as `precision_recall`.

    Source: Naeem et al. 2020, arXiv 2002.09797; in their code the balls are open, which differs in ties.
    """
    real, generated = _features(real, generated, ("real", "generated"))
    return _density_coverage(*_inside(real, _radii(real, (k,), "real"), generated)[0], k)


def sample_distances(
    key: Array,
    vae: VAE,
    split: Split,
    features: Callable[[Any], Any],
    *,
    n: int | None = None,
    c: AnyArray | None = None,
    neighbours: tuple[int, int] = (3, 5),
    batch_size: int = 256,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Compare samples of a model with a split in features of the user's, all of it by three distances.

    Samples are those of `prior_samples`: the decoder's mean at draws of the prior, where it has one. The
    numbers mean what the features mean: those of a net that was trained on such images say something of
    them, pixels say little. The distance between two halves of a split says what can be reached with so many.

    Args:
      key: typed PRNG key.
      vae: a bound model.
      split: the real examples; its transform runs first.
      features: x [B, *event], as the model eats it, -> [B, F], on arrays.
      n: how many samples; None: as many as the split has examples.
      c: [n, ...], the conditions of a model that has one.
      neighbours: the k of `precision_recall` and of `density_coverage`.
      batch_size: examples at a time.
      progress: wraps the ranges of batches, as a progress bar does.

    Returns:
      `frechet_distance`, `precision`, `recall`, `density`, `coverage`; `n_real`, `n_generated` and
      `n_features`, F.

    Raises:
      TypeError, ValueError: an argument is of another kind, `features` gives anything but finite [B, F], or
        there are too few examples, or the likelihood cannot score the split.
    """
    key = enter(key, vae, split, progress=progress, least=2, batch_size=batch_size)
    if not callable(features):
        raise TypeError(f"features: expected a function x [B, ...] -> [B, F], got {type(features).__name__}")
    if not (isinstance(neighbours, tuple) and len(neighbours) == 2):
        raise TypeError(f"neighbours: expected two ints, as (3, 5); got {neighbours!r}")
    n = split.size if n is None else n
    check_positive_int(n, "n")
    for k, rows, name in ((max(neighbours), split.size, "split"), (neighbours[0], n, "the samples")):
        _check_k(k, rows, name)
    size = min(batch_size, split.size)
    traced(key, vae, split, size)
    real = per_example(
        lambda batch: _of(features, transformed(split.transform, key, batch)["x"]), split, size, progress
    )
    many = {"batch_size": size, "prior_batch": size, "progress": progress}
    x = np.asarray(prior_samples(named_key(key, "generated"), vae, n, c=c, **many))
    parts = [_of(features, x[i : i + size]) for i in progress(range(0, n, size))]
    generated = np.concatenate(parts)
    result: dict[str, Any] = {"frechet_distance": frechet_distance(real, generated)}
    real, generated = _features(real, generated, ("real", "generated"))
    of_real = _inside(real, _radii(real, neighbours, "real"), generated)
    (of_generated,) = _inside(generated, _radii(generated, neighbours[:1], "generated"), real)
    result |= _precision_recall(of_real[0], of_generated) | _density_coverage(*of_real[1], neighbours[1])
    return {**result, "n_real": len(real), "n_generated": len(generated), "n_features": real.shape[1]}


def _of(features: Callable[[Any], Any], x: Any) -> np.ndarray:
    """[B, F] of a batch."""
    found = np.asarray(features(x))
    if found.ndim != 2 or len(found) != len(x):
        raise ValueError(f"features: expected [{len(x)}, F] of so many examples, got {list(found.shape)}")
    return found


def _features(a: Any, b: Any, names: tuple[str, str], least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, finite, of as many features and at least so many rows."""
    arrays = []
    for name, value in zip(names, (a, b), strict=True):
        array = np.asarray(checked(value, name, "[n, F]"), np.float64)
        if len(array) < least:
            raise ValueError(f"{name}: expected at least {least} rows, got {len(array)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite features, got others")
        arrays.append(array)
    if arrays[0].shape[1] != arrays[1].shape[1]:
        shapes = [list(array.shape) for array in arrays]
        raise ValueError(f"{', '.join(names)}: expected as many features in both, got shapes {shapes}")
    return arrays[0], arrays[1]


# Of balls: in how many of them each point lies, [m], and in which a point lies, [n].
_Inside = tuple[np.ndarray, np.ndarray]


def _precision_recall(of_real: _Inside, of_generated: _Inside) -> dict[str, float]:
    return {"precision": float((of_real[0] > 0).mean()), "recall": float((of_generated[0] > 0).mean())}


def _density_coverage(counts: np.ndarray, reached: np.ndarray, k: int) -> dict[str, float]:
    return {"density": float(counts.mean()) / k, "coverage": float(reached.mean())}


def _radii(points: np.ndarray, ks: tuple[int, ...], name: str) -> list[np.ndarray]:
    """For every k the squared distance of each point to its k-th nearest of the others, [n]."""
    for k in ks:
        _check_k(k, len(points), name)
    # the nearest is the point itself
    nearest = [np.sort(d, axis=1)[:, list(ks)] for d in _squared_distances(points, points)]
    return list(np.concatenate(nearest).T)


def _check_k(k: Any, rows: int, name: str) -> None:
    check_positive_int(k, "k")
    if k >= rows:
        raise ValueError(f"k: expected less than the {rows} rows of {name}, got {k}")


def _inside(centres: np.ndarray, radii: list[np.ndarray], points: np.ndarray) -> list[_Inside]:
    """`_Inside` of the balls around the centres, for each of several sets of radii."""
    counts, reached = [[] for _ in radii], [np.zeros(len(centres), bool) for _ in radii]
    for d in _squared_distances(points, centres):
        for i, radius in enumerate(radii):
            inside = d <= radius
            counts[i].append(inside.sum(axis=1))
            reached[i] |= inside.any(axis=0)
    return [(np.concatenate(c), r) for c, r in zip(counts, reached, strict=True)]


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """|a_i - b_j|^2, [rows, m], some rows of a at a time: of differences, so that equal points are at 0."""
    rows = max(_BLOCK // len(b), 1)
    columns = np.ascontiguousarray(b.T)
    for i in range(0, len(a), rows):
        block = a[i : i + rows]
        d = np.zeros((len(block), len(b)))
        for feature, column in enumerate(columns):
            d += np.square(block[:, feature, None] - column)
        yield d
