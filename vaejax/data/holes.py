"""Data with holes: which values of x were observed."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_observed, check_split
from vaejax.data.factored import check_seed, stream
from vaejax.types import Array, Batch, Split

Transform = Callable[[Array, Batch], Batch]
Pattern = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Hidden:
    """The transform `inner` of what was observed; a hole is nan, whatever the array holds there.

    `inner` sees 0 in the holes, so that no hidden value reaches a place beside it; nan after it lets nothing
    that forgets the mask go unseen. x becomes float32.
    """

    inner: Transform

    def __call__(self, key: Array, batch: Batch) -> Batch:
        seen = jnp.asarray(batch["observed"]).astype(bool)
        x = jnp.asarray(batch["x"])
        made = self.inner(key, {**batch, "x": jnp.where(seen, x, jnp.zeros((), x.dtype))})
        if jnp.shape(made["x"]) != seen.shape:
            raise ValueError(
                f"transform: expected one that keeps the shape of x, {seen.shape}, where x has holes; "
                f"got {jnp.shape(made['x'])}"
            )
        x = jnp.where(seen, jnp.asarray(made["x"], jnp.float32), jnp.nan)
        return {**made, "x": x, "observed": batch["observed"]}  # which `inner` need not hand on

    @property
    def undo(self) -> Callable[[Any], Any]:
        """What brings x back to the units of the arrays; AttributeError where `inner` has none."""
        return self.inner.undo  # type: ignore[attr-defined]

    @property
    def spec(self) -> Mapping[str, Any]:
        """Of `inner`, as a run folder stores it; AttributeError where it has none."""
        return self.inner.spec  # type: ignore[attr-defined]


def with_holes(split: Split, missing: Any = None, *, seed: int = 0) -> Split:
    """A split whose x has holes: batches have a mask "observed" beside x, and x is nan where it is False.

    Every likelihood under which the values of x are independent given z scores what was observed, log
    p(x_obs|z); encoders see 0 in the holes, and the mask if they are `nets.Masked`; so objectives and
    estimates of log p(x) are those of x_obs. They are right for values that are missing at random: whether
    one is missing may depend on what was observed, not on what was not.

    The array x stays as it is, so that what was hidden can be compared: `evaluation.impute`.

    Args:
        split: its transform keeps the shape of x.
        missing: a fraction in (0, 1): each value is missing with that probability; an array of the shape of
            x, True or 1 where it is missing; a function (generator, x) -> such an array, with a generator of
            `numpy.random`, for patterns such as `missing_squares(3)`; None: nothing more than is nan. Values
            that are nan are missing in any case, and so are the holes of a split that has some.
        seed: of a fraction and of a function, not negative; the splits of a set want a seed each.

    Returns:
        The split with an array "observed", booleans of the shape of x.

    Raises:
        TypeError, ValueError: arguments of another kind, or a mask of another shape than x.

    Source: Mattei & Frellsen 2019, arXiv 1812.02633.
    """
    check_split(split)
    check_seed(seed)
    x = split.arrays["x"]
    if isinstance(x, Mapping):
        raise TypeError(
            "split: expected an x that is one array, got modalities, which data.missing_modalities hides"
        )
    observed = ~_missing(missing, x, seed) & _known(x)
    if "observed" in split.arrays:
        observed &= split.arrays["observed"].astype(bool)
    transform = split.transform if isinstance(split.transform, Hidden) else Hidden(split.transform)
    return Split({**split.arrays, "observed": observed}, split.support, transform)


def missing_squares(side: int) -> Pattern:
    """A pattern for `with_holes`: of every image [N, H, W, C] one square is missing, at a random place.

    Args:
        side: of the square in pixels, below H and W.

    Raises:
        TypeError, ValueError: another side; when called, x that are no images of that size.
    """
    if isinstance(side, bool) or not isinstance(side, numbers.Integral):
        raise TypeError(f"side: expected an int, got {type(side).__name__} ({side!r})")
    if side < 1:
        raise ValueError(f"side: expected at least 1, got {side}")

    def pattern(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        if x.ndim != 4 or min(x.shape[1:3]) <= side:
            raise ValueError(f"x: expected images [N, H, W, C] of sides above {side}, got {list(x.shape)}")
        n, height, width, _ = x.shape
        top, left = (rng.integers(0, size - side + 1, (n, 1)) for size in (height, width))
        rows, columns = (np.arange(size) - start for size, start in ((height, top), (width, left)))
        inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
        return np.broadcast_to(inside[..., None], x.shape)

    return pattern


def _missing(missing: Any, x: np.ndarray, seed: int) -> np.ndarray:
    """Where x is missing, booleans of its shape."""
    if missing is None:
        return np.zeros(x.shape, bool)
    if isinstance(missing, numbers.Real) and not isinstance(missing, bool | np.bool_):
        if not 0 < float(missing) < 1:
            raise ValueError(f"missing: expected a fraction in (0, 1), got {missing}")
        return stream(seed, 0).random(x.shape) < float(missing)
    if callable(missing):
        missing = missing(stream(seed, 0), x)
    if not isinstance(missing, np.ndarray):
        raise TypeError(
            "missing: expected a fraction, an array of the shape of x, a function that makes one, or None; "
            f"got {type(missing).__name__}"
        )
    check_observed(missing, x, "missing")
    return missing.astype(bool)


def _known(x: np.ndarray) -> np.ndarray:
    """Where x is not nan."""
    real = jnp.issubdtype(x.dtype, jnp.floating)  # also bfloat16
    return ~np.isnan(x) if real else np.ones(x.shape, bool)


def without_nan(split: Split) -> Split:
    """The split with 0 in the place of nan."""
    x = split.arrays["x"]
    arrays = {**split.arrays, "x": np.where(_known(x), x, np.zeros((), x.dtype))}
    return Split(arrays, split.support, split.transform)
