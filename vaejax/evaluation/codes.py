"""The codes of a model: z without noise, and what kind of latents they are.

z is one array [B, *event] or a tuple of them: independent parts, or the levels of a hierarchy. What only
vectors of real numbers have (a direction to move in, a distance, a Jacobian) is taken of one array, its
numbers in a row, or of one part of several, the others held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from vaejax.evaluation.entry import check_batch, check_model
from vaejax.objectives import linearised
from vaejax.ops.chunks import largest_array
from vaejax.types import VAE, Array, Batch, Distribution, Draw, PyTree

_CACHE = 2**20  # bytes of the largest array that a net writes at a time


def posterior_mean(vae: VAE, batch: Batch) -> PyTree:
    """The code of every example, without noise: `vae.represent(batch)`, or E_q[z|x] where a VAE has none.

    `represent` too is the posterior mean wherever that is known; the docstring of a family of posteriors says
    what stands for it where it is not (of a flow, the image of its base's mean; of a categorical, the mode).
    `jax.jit(posterior_mean)` compiles once for all models of one shape.

    Args:
      vae: a bound model; one without `represent` has one posterior.
      batch: {"x": [B, ...], "c"?: [B, ...]}, as the model eats it.

    Returns:
      [B, d], or [B, *event]; a tuple of those where the latents come in parts or levels.

    Raises:
      TypeError, ValueError: an argument is of another kind, c is missing or one too many, or the VAE has no
        `represent` and a posterior of several levels, or one that knows no mean.
    """
    check_model(vae, "encode")
    check_batch(batch)
    return code_of(vae, batch)


def code_of(vae: VAE, batch: Batch, draw: Draw | None = None) -> PyTree:
    """`posterior_mean` without its checks; `draw`: one of this batch, if there is one."""
    if vae.represent is not None:
        return vae.represent(batch)
    # encode wants a key for its draw of z; the mean of q(z|x) does not depend on it
    draw = vae.encode(jax.random.key(0), batch) if draw is None else draw
    return linearised.mean_of(draw.q, draw.z)


def coded(vae: VAE, batch: Batch) -> tuple[PyTree, Draw]:
    """The codes of a batch, and a draw whose q and z tell of what kind they are."""
    draw = vae.encode(jax.random.key(0), batch)
    return code_of(vae, batch, draw), draw


def vectors(vae: VAE, batch: Batch, why: str) -> Array:
    """The codes [B, d] of latents that are one array of real numbers, which `why` says is needed."""
    code, draw = coded(vae, batch)
    check_real(draw, why)
    return flat(code)


def in_slices(function: Callable[[Batch], PyTree], batch: Batch) -> PyTree:
    """`function(batch)` of examples each by itself; on a CPU a few at a time, which stay in a core's cache.

    Args:
      function: a batch -> arrays [B, ...].
      batch: arrays [B, ...].
    """
    B = len(jax.tree.leaves(batch["x"])[0])
    if jax.default_backend() != "cpu":
        return function(batch)
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(batch)
    most = max(1, B * _CACHE // (4 * largest_array(traced.jaxpr)))
    m = max(m for m in range(1, min(B, most) + 1) if B % m == 0)
    if m == B or 4 * m < most:  # a batch that divides badly stays whole; what is traced is not traced again
        return jax.tree.unflatten(jax.tree.structure(shapes), jaxpr_as_fun(traced)(*jax.tree.leaves(batch)))
    slices = jax.tree.map(lambda a: a.reshape(-1, m, *a.shape[1:]), batch)
    return jax.tree.map(lambda a: a.reshape(B, *a.shape[2:]), jax.lax.map(function, slices))


def batch_of(x: Any, c: Any) -> dict[str, Any]:
    """The batch of these examples; None: without a condition."""
    return {"x": x} if c is None else {"x": x, "c": c}


def is_real(q: Distribution, z: Any) -> bool:
    """Whether z is one array of real numbers with a density: no parts, no one-hots, no codes."""
    if isinstance(q, tuple) or isinstance(z, tuple):
        return False
    return jnp.issubdtype(z.dtype, jnp.floating) and getattr(q, "reparameterised", True)


def check_real(draw: Draw, why: str) -> None:
    """Raise TypeError unless z is one array of real numbers [B, *event]; `why` says what needs it."""
    if not is_real(draw.q, draw.z):
        raise TypeError(f"z: expected one array of real numbers [B, ...], {why}; got {_kind(draw.q, draw.z)}")


def _kind(q: Any, z: Any) -> str:
    """The kind of latents in words."""
    if isinstance(q, tuple) or isinstance(z, tuple):
        n = len(q if isinstance(q, tuple) else z)
        return f"{n} parts or levels of shapes {[jnp.shape(a) for a in jax.tree.leaves(z)]}"
    return f"the values of a {getattr(q, 'name', type(q).__name__)}, of shape {jnp.shape(z)}"


def check_part(draw: Draw, part: int | None, why: str, *, one_hot: bool = False) -> None:
    """Raise unless `part` names one array of real numbers, None where all latents are one; `why` as above.

    Args:
      draw: in which the latents are.
      part: place in the tuple of parts or levels.
      why: what needs real numbers.
      one_hot: another kind of part will do too.
    """
    if not isinstance(draw.z, tuple):
        if part is not None:
            raise ValueError(f"part: expected None, the latents are one array; got {part!r}")
        if not one_hot:
            check_real(draw, why)
        return
    n = len(draw.z)
    if isinstance(part, bool) or not isinstance(part, int) or not 0 <= part < n:
        raise ValueError(f"part: expected one of 0..{n - 1}, the place of a part or level; got {part!r}")
    if not one_hot:
        check_real(draw._replace(z=draw.z[part], q=draw.q[part]), why)


def chosen(tree: Any, part: int | None) -> Any:
    """The part of a tuple; what is no tuple as it is."""
    return tree if part is None else tree[part]


def flat(code: Array) -> Array:
    """[B, *event] -> [B, d]."""
    return code.reshape(len(code), -1)


def put(code: PyTree, part: int | None, z: Array) -> PyTree:
    """What the decoder eats of the code of one example, with a part replaced by z: [*lead, d].

    Args:
      code: [*event], a tuple of those for latents in parts.
      part: as `check_part` has it.
      z: vectors in the place of the part, or of the one array.

    Returns:
      [*lead, *event], of every part.
    """
    lead = z.shape[:-1]
    if part is None:
        return z.reshape(*lead, *code.shape)
    parts = [jnp.broadcast_to(a, (*lead, *a.shape)) for a in code]
    parts[part] = z.reshape(*lead, *code[part].shape)
    return tuple(parts)
