"""Images of a diffusion decoder, step by step, and the noise that an image comes from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int, check_progress, check_real
from vaejax.distributions import Diffusion
from vaejax.evaluation.entry import check_model, checked, checked_condition, checked_latents, program
from vaejax.keys import check_key, example_keys, threefry_key
from vaejax.types import VAE, AnyArray, Array, Progress, PyTree

__all__ = ["denoised", "noise_of"]


def denoised(
    key: Array, vae: VAE, z: PyTree, *, c: AnyArray | None = None, start: AnyArray | None = None,
    steps: int = 100, eta: float = 0.0, progress: Progress = iter,
) -> Array:  # fmt: skip
    """x ~ p(x|z) of a diffusion decoder, in any number of steps.

    Args:
      key: typed PRNG key; the noise of an image is of its place.
      vae: a bound model whose likelihood is `distributions.diffusion`.
      z: [n, *event]; a tuple of arrays, one for each part, where the latents come in parts.
      c: [n, ...], the conditions of a model that has one.
      start: u_1, [n, *event of x], such as `noise_of` gives; None: standard normal.
      steps: passes of the net.
      eta: 0 for samples that depend on `start` alone (DDIM), 1 for ancestral ones, or between.
      progress: wraps the range of steps, as a progress bar does.

    Returns:
      [n, *event of x].

    Raises:
      TypeError, ValueError: an argument is of another kind, p(x|z) is no diffusion, or c is missing or one
        too many.

    Source: Song, Meng & Ermon 2020, arXiv 2010.02502, eq. 12; Ho, Jain & Abbeel 2020, arXiv 2006.11239.
    """
    check_key(key)
    z, c, n, event = _checked(vae, z, c, steps, progress)
    check_real(eta, "eta")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta: expected a number in [0, 1], got {eta!r}")
    key, index = threefry_key(key), {"index": jnp.arange(n)}
    if start is None:
        keys = example_keys(jax.random.fold_in(key, steps), index)
        u = jax.vmap(lambda k: jax.random.normal(k, event, jnp.float32))(keys)
    else:
        u = jnp.asarray(checked(start, "start", "[n, *event]"), jnp.float32)
        if u.shape != (n, *event):
            raise ValueError(f"start: expected {(n, *event)}, got {u.shape}")
    step = program(_jitted_step, vae)
    for i in progress(range(steps)):
        at = steps - i
        keys = example_keys(jax.random.fold_in(key, i), index)
        u = step(z, c, u, at / steps, (at - 1) / steps, float(eta), keys)
    return program(_jitted_shown, vae)(z, c, u)


def noise_of(
    vae: VAE,
    x: AnyArray,
    z: PyTree,
    *,
    c: AnyArray | None = None,
    steps: int = 100,
    progress: Progress = iter,
) -> Array:
    """The u_1 from which `denoised` with as many steps and eta = 0 comes to x, up to the steps' error.

    Args:
      vae: a bound model whose likelihood is `distributions.diffusion`.
      x: [n, *event of x], as the likelihood scores it.
      z: as `denoised`.
      c: [n, ...], the conditions of a model that has one.
      steps: passes of the net.
      progress: wraps the range of steps, as a progress bar does.

    Returns:
      [n, *event of x].

    Raises:
      TypeError, ValueError: as `denoised`; x of another shape than p(x|z).

    Source: Song, Meng & Ermon 2020, arXiv 2010.02502, section 4.3; as the code of an image beside z:
    Preechakul et al. 2021, arXiv 2111.15640.
    """
    z, c, n, event = _checked(vae, z, c, steps, progress)
    x = checked(x, "x", "[n, *event]")
    if x.shape != (n, *event):
        raise ValueError(f"x: expected {(n, *event)}, got {x.shape}")
    u, step = program(_jitted_noisy, vae)(z, c, x), program(_jitted_step, vae)
    keys = example_keys(jax.random.key(0), {"x": x})  # eta = 0 uses none
    for i in progress(range(steps)):
        u = step(z, c, u, i / steps, (i + 1) / steps, 0.0, keys)
    return u


def _checked(
    vae: VAE, z: Any, c: Any, steps: Any, progress: Any
) -> tuple[PyTree, AnyArray | None, int, tuple[int, ...]]:
    """z, c, n, and the shape of x for one example."""
    check_model(vae, "decode")
    z = checked_latents(z)
    n = len(jax.tree.leaves(z)[0])
    c = checked_condition(c, n)
    check_positive_int(steps, "steps")
    check_progress(progress)
    px = jax.eval_shape(vae.decode, z, c)
    if not isinstance(px, Diffusion):
        raise TypeError(f"vae: expected p(x|z) by a diffusion, got {type(px).__name__}")
    return z, c, n, tuple(px.event_shape)


def _step(
    vae: VAE, z: PyTree, c: Array | None, u: Array, t: Array, t_next: Array, eta: Array, keys: Array
) -> Array:
    noise = jax.vmap(lambda k: jax.random.normal(k, u.shape[1:], u.dtype))(keys)
    return vae.decode(z, c).step(u, t, t_next, eta, noise)


def _shown(vae: VAE, z: PyTree, c: Array | None, u: Array) -> Array:
    return vae.decode(z, c).shown(u)


def _noisy(vae: VAE, z: PyTree, c: Array | None, x: Array) -> Array:
    return vae.decode(z, c).noisy(x)


_jitted_step, _jitted_shown, _jitted_noisy = map(jax.jit, (_step, _shown, _noisy))  # the boundaries
