"""How often a head names the wrong class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_choice
from vaejax.evaluation.batches import batch_at, even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.codes import code_of
from vaejax.evaluation.entry import enter, of_arrays, program
from vaejax.types import VAE, Array, Batch, Progress, Split


def classification_error(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    head: str = "classifier",
    on: str = "x",
    batch_size: int = 256,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Compare the classes that a head gives the examples of a split with their labels y.

    Args:
      key: typed PRNG key, for the noise of the split's transform.
      vae: a bound model with that head, -> logits [B, V].
      split: the examples and their labels, integers [N] in 0..V-1, none missing.
      head: the name of the head.
      on: "x", of `models.with_heads(model, on="x", ...)`, or "z" for one that sees the code of x
        (`posterior_mean`).
      batch_size: the most examples at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`; means over the split and their standard errors over examples (nan for one example): `error`,
      `error_se`, the share whose most likely class is another, and `nll`, `nll_se`, -log q(y|x) in nats;
      `confusion`: [V, V] how many of class i are taken for j; `per_example`: `predicted` and `nll`, [N] each.

    Raises:
      TypeError, ValueError: an argument is of another kind, the model has no such head or its output is no
        logits, labels are missing, out of range or no integers, or the head sees a code and the model wants a
        c that the split has not, or none.
    """
    key = enter(key, vae, split, progress=progress, batch_size=batch_size)
    check_choice(on, ("x", "z"), "on")
    if head not in vae.heads:
        raise ValueError(f"head: expected one of {sorted(vae.heads)}, got {head!r} (see models.with_heads)")
    size = even_size(split, batch_size)
    y = _checked(split, _classes(key, vae, split, head, on, size))
    of_batch = program(_jitted_log_q, split.transform, head, on, key, vae)
    log_q = per_example(of_batch, split, size, progress)
    predicted = np.argmax(log_q, axis=1)
    nll = -log_q[np.arange(len(y)), y].astype(np.float64)
    V = log_q.shape[1]
    return {
        "n": split.size,
        **mean_and_error("error", predicted != y),
        **mean_and_error("nll", nll),
        "confusion": np.bincount(V * y + predicted, minlength=V * V).reshape(V, V),
        "per_example": {"predicted": predicted, "nll": nll},
    }


def _classes(key: Array, vae: VAE, split: Split, head: str, on: str, size: int) -> int:
    """V, traced and not compiled."""

    def log_q(vae: VAE, batch: Batch) -> Array:
        return _log_q(split.transform, head, on, key, vae, batch)

    shape = jax.eval_shape(*of_arrays(log_q, vae), batch_at(split, 0, size)).shape
    if len(shape) != 2 or shape[0] != size:
        raise ValueError(f"head {head!r}: expected logits of shape {(size, 'V')}, got {shape}")
    return shape[1]


def _checked(split: Split, V: int) -> np.ndarray:
    """The labels, [N]."""
    if "y" not in split.arrays:
        raise ValueError(f"split: expected labels y, got {sorted(split.arrays)}")
    y = np.asarray(split.arrays["y"])
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ValueError(f"split: expected labels y, integers [N]; got {y.dtype} {list(y.shape)}")
    if y.min() < 0 or y.max() >= V:
        raise ValueError(f"split: expected labels y in 0..{V - 1}, got {y.min()}..{y.max()}")
    return y.astype(np.int64)


def _log_q(
    transform: Callable[[Array, Batch], Batch], head: str, on: str, key: Array, vae: VAE, batch: Batch
) -> Array:
    """log q(y|x) of every class, [B, V]."""
    batch = transformed(transform, key, batch)
    seen = batch["x"] if on == "x" else code_of(vae, batch)
    return jax.nn.log_softmax(jnp.asarray(vae.heads[head](seen)))


_jitted_log_q = jax.jit(_log_q, static_argnums=(0, 1, 2))  # the boundary
