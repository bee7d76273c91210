"""The codes of a whole split."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from vaejax.checks import check_positive_int, check_progress, check_split
from vaejax.evaluation.batches import batch_at, even_size, per_example, transformed
from vaejax.evaluation.codes import code_of, in_slices
from vaejax.evaluation.entry import check_model, program
from vaejax.keys import check_key, threefry_key
from vaejax.types import VAE, Array, Batch, Progress, PyTree, Split

__all__ = ["encode"]

_TRIED = 16  # examples on which a transform is tried


def encode(
    vae: VAE, split: Split, *, key: Array | None = None, batch_size: int = 256, progress: Progress = iter
) -> PyTree:
    """The code of every example of a split, without noise, a batch at a time.

    `posterior_mean` of what the split's transform makes of each.

    Args:
      vae: a bound model.
      split: the examples, with their conditions where the model has one; its transform runs first.
      key: typed PRNG key, for a transform that draws, as those that binarise or dequantise do; None: such a
        one is refused.
      batch_size: the most examples at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      [N, d], or [N, *event], on the host; a tuple of those where the latents come in parts or levels.

    Raises:
      TypeError, ValueError: an argument is of another kind, the transform draws and there is no key, or c is
        missing or one too many.
    """
    check_model(vae, "encode")
    check_split(split)
    check_positive_int(batch_size, "batch_size")
    check_progress(progress)
    size = even_size(split, batch_size)
    if key is None:
        if _draws(split):
            raise ValueError("key: expected a typed PRNG key, since the split's transform draws; got None")
        key = jax.random.key(0)  # of which nothing is seen
    check_key(key)
    codes = program(_jitted_codes, split.transform, threefry_key(key), vae)
    return per_example(codes, split, size, progress)


def _codes(transform: Callable[[Array, Batch], Batch], key: Array, vae: VAE, batch: Batch) -> PyTree:
    return in_slices(partial(code_of, vae), transformed(transform, key, batch))


_jitted_codes = jax.jit(_codes, static_argnums=0)  # the boundary


def _draws(split: Split) -> bool:
    """Whether two keys make something else of the first examples."""
    batch = batch_at(split, 0, min(split.size, _TRIED))
    made = [jax.tree.leaves(transformed(split.transform, jax.random.key(seed), batch)) for seed in range(2)]
    return not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*made, strict=True))
