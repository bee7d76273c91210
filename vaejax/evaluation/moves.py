"""What a move in the latents or to another condition shows: paths, derivatives; arrays for figures.

Images are the mean of p(x|z), [..., *event], at codes (`posterior_mean`). A model with a condition takes it
as `c`; one that is missing or one too many is the model's ValueError. Where latents come in parts or levels,
`part` is the place of the one that is moved; the others stay at the code of x. Latents of another shape than
[d] are moved as the d numbers in them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_choice, check_positive_int
from vaejax.distributions import is_one_hot
from vaejax.evaluation.codes import batch_of, check_part, chosen, coded, flat, is_real, put
from vaejax.evaluation.entry import check_model, checked, checked_condition, program
from vaejax.ops import interpolation
from vaejax.ops.jacobian import decoder_jacobian
from vaejax.types import VAE, AnyArray, Array, PyTree

__all__ = ["interpolate", "jacobian_images", "swap_condition", "traverse"]


def interpolate(
    vae: VAE, a: AnyArray, b: AnyArray, steps: int, kind: str = "slerp", *, c: AnyArray | None = None
) -> Array:
    """Decode a path between the codes of two images, of every part by itself where there are several.

    Args:
      vae: a bound model.
      a: [*event], where the path starts.
      b: [*event], where it ends.
      steps: images on the path, both ends included, >= 2.
      kind: "lerp", the straight line, or "slerp", which stays in the shell of the prior; it is the straight
        line between codes that are parallel or (nearly) opposite, as with one latent all are, and from or
        to a code of exactly 0: `ops.interpolation.slerp` has the bounds.
      c: the one condition of both images and of the path, of a model that has one.

    Returns:
      [steps, *event].

    Raises:
      TypeError, ValueError: an argument is of another kind, there are fewer than two steps, a part holds no
        real numbers, or c is missing or one too many.
    """
    check_model(vae)
    ends = checked(a, "a", "[*event]"), checked(b, "b", "[*event]")
    check_choice(kind, ("lerp", "slerp"), "kind")
    check_positive_int(steps, "steps")
    if steps < 2:
        raise ValueError(f"steps: expected at least 2, got {steps}")
    if np.shape(a) != np.shape(b):
        raise ValueError(f"a, b: expected two images of one shape, got {np.shape(a)} and {np.shape(b)}")
    code, draw = coded(vae, batch_of(jnp.stack(ends), _repeated(c, 2)))
    for i in range(len(draw.z)) if isinstance(draw.z, tuple) else (None,):
        check_part(draw, i, "between which there is a path")
    t = jnp.linspace(0.0, 1.0, steps)

    def path(z: Array) -> Array:
        return getattr(interpolation, kind)(*flat(z), t).reshape(steps, *z.shape[1:])

    return vae.decode(jax.tree.map(path, code), _repeated(c, steps)).mean()


def _repeated(c: AnyArray | None, n: int) -> Array | None:
    """One condition n times, [n, ...]."""
    return None if c is None else jnp.broadcast_to(jnp.asarray(c), (n, *np.shape(c)))


def traverse(
    vae: VAE,
    x: AnyArray,
    values: AnyArray | None = None,
    *,
    c: AnyArray | None = None,
    part: int | None = None,
) -> Array:
    """Decode with one latent at a time set to each value, the others at the code of x.

    Args:
      vae: a bound model.
      x: [*event].
      values: [steps], such as -2..2; None for latents that are one-hot vectors [M, V], which take all their V
        values, one of the M at a time.
      c: the condition of x, of a model that has one.
      part: which of several parts or levels is moved.

    Returns:
      [d, steps, *event]; [M, V, *event] of one-hot vectors.

    Raises:
      TypeError, ValueError: an argument is of another kind, the part holds neither real numbers nor one-hot
        vectors, or c is missing or one too many.
    """
    check_model(vae)
    x = checked(x, "x", "[*event]")
    values = None if values is None else checked(values, "values", "[steps]")
    c = None if c is None else jnp.asarray(c)
    return program(_jitted_traversed, part, vae)(x, c, values)


def _traversed(part: int | None, vae: VAE, x: Array, c: Array | None, values: Array | None) -> Array:
    code, draw = coded(vae, batch_of(x[None], _repeated(c, 1)))
    check_part(draw, part, "each of which is moved", one_hot=True)
    code = jax.tree.map(lambda a: a[0], code)
    moved = _moved(chosen(code, part), chosen(draw.q, part), values)
    d, steps = moved.shape[:2]
    z = jax.tree.map(lambda a: a.reshape(d * steps, *a.shape[2:]), put(code, part, moved))
    images = vae.decode(z, _repeated(c, d * steps)).mean()
    return images.reshape(d, steps, *images.shape[1:])


def _moved(code: Array, q: Any, values: Array | None) -> Array:
    """Codes [d, steps, d] of one example, in each row one latent at every value."""
    if is_one_hot(q):
        if values is not None:
            raise ValueError("values: expected None for one-hot latents, which take all their values")
        code = code.reshape(-1, code.shape[-1])
        (M, V), m = code.shape, jnp.arange(len(code))
        moved = jnp.tile(code, (M, V, 1, 1)).at[m, :, m].set(jnp.eye(V, dtype=code.dtype))
        return moved.reshape(M, V, -1)
    if not is_real(q, code):
        raise TypeError(f"z: expected real numbers or one-hot vectors, each of which is moved; got {q.name}")
    if values is None:
        raise ValueError("values: expected [steps] for latents that are real numbers, got None")
    z, d = code.ravel(), code.size
    j = jnp.arange(d)
    return jnp.tile(z, (d, len(values), 1)).at[j, :, j].set(jnp.asarray(values, z.dtype))


_jitted_traversed = jax.jit(_traversed, static_argnums=0)


def jacobian_images(vae: VAE, x: AnyArray, *, c: AnyArray | None = None, part: int | None = None) -> Array:
    """The columns d mu_x / d z_j at the code of every x, as images.

    Args:
      vae: a bound model.
      x: [n, *event].
      c: [n, ...], the conditions of a model that has one.
      part: by which of several parts or levels.

    Returns:
      [n, d, *event], in units of the data per unit of z.

    Raises:
      TypeError, ValueError: an argument is of another kind, the latents (or the part) are no real numbers,
        or c is missing or one too many.

    Source: Rhodes & Lee 2021, arXiv 2106.02923, figure 2.
    """
    check_model(vae)
    x = checked(x, "x", "[n, *event]")
    return program(_jitted_jacobian, part, vae)(x, checked_condition(c, len(x)))


def _jacobian(part: int | None, vae: VAE, x: Array, c: Array | None) -> Array:
    code, draw = coded(vae, batch_of(x, c))
    check_part(draw, part, "by which the decoder has a Jacobian")
    code = jax.lax.stop_gradient(code)

    def of_example(code: PyTree, c: Array | None) -> Array:
        z = chosen(code, part).ravel()
        return decoder_jacobian(lambda z: vae.decode(put(code, part, z), c).mean(), z)  # [D, d]

    jac = jax.vmap(of_example)(code, c)
    return jnp.moveaxis(jac, -1, 1).reshape(len(x), jac.shape[-1], *x.shape[1:])


_jitted_jacobian = jax.jit(_jacobian, static_argnums=0)


def swap_condition(vae: VAE, x: AnyArray, c: AnyArray, others: AnyArray) -> Array:
    """Decode the codes of images under other conditions: what c says changes, what z holds stays.

    Args:
      vae: a bound model with a condition.
      x: [n, *event].
      c: [n, ...], the conditions with which the images are encoded.
      others: [V, ...], the conditions with which all of them are decoded.

    Returns:
      [V, n, *event].

    Raises:
      TypeError, ValueError: an argument is of another kind, p(x|z, c) has no mean, or the model has no
        condition.
    """
    check_model(vae)
    x, others = checked(x, "x", "[n, *event]"), checked(others, "others", "[*V]")
    own = checked_condition(c, len(x))
    if own is None:
        raise ValueError("c: expected [n, ...], with which the images are encoded; got None")
    if others.shape[1:] != own.shape[1:]:
        raise ValueError(f"others: expected conditions [V, ...] like c {own.shape}, got {others.shape}")
    return program(_jitted_swapped, vae)(x, own, others)


def _swapped(vae: VAE, x: Array, c: Array, others: Array) -> Array:
    code, _ = coded(vae, batch_of(x, c))
    return jax.vmap(lambda other: vae.decode(code, _repeated(other, len(x))).mean())(others)


_jitted_swapped = jax.jit(_swapped)
