"""What a model shows: arrays for figures, of vector latents [d] at their posterior mean.

Images are the mean of p(x|z), [..., *event] in the range of the data. Each function is small and
eager; `jax.jit` it to use it often. An autoregressive p(x|z) has no mean, only samples: what says "mean" here
raises TypeError for it, but for `prior_samples`; `decoder_samples` shows it at any z.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_choice, check_positive_int
from vaejax.evaluation.codes import posterior_mean
from vaejax.keys import check_key, named_key
from vaejax.ops import interpolation
from vaejax.ops.jacobian import decoder_jacobian
from vaejax.types import VAE, AnyArray, Array, Progress

__all__ = ["decoder_samples", "interpolate", "jacobian_images", "prior_samples", "reconstruct", "traverse"]


def reconstruct(vae: VAE, x: AnyArray) -> Array:
    """The decoder's mean at the posterior mean of every x.

    Args:
      vae: a bound model.
      x: [n, *event], transformed as the model eats it.

    Returns:
      [n, *event].

    Raises:
      TypeError: if p(x|z) has no mean.
    """
    return vae.decode(posterior_mean(vae, {"x": jnp.asarray(x)})).mean()


def prior_samples(
    key: Array, vae: VAE, n: int, *, batch_size: int = 16, progress: Progress = iter
) -> AnyArray:
    """The decoder's mean at n draws of the prior, [n, *event]; where it has none, one draw of x at each.

    Args:
      key: typed PRNG key.
      vae: a bound model.
      n: how many.
      batch_size, progress: as for `decoder_samples`, where x is drawn.
    """
    check_key(key)
    check_positive_int(n, "n")
    z = vae.sample_prior(named_key(key, "prior"), n)
    px = vae.decode(z)
    if getattr(px, "has_mean", True):
        return px.mean()
    return decoder_samples(named_key(key, "x"), vae, z, batch_size=batch_size, progress=progress)


def decoder_samples(
    key: Array, vae: VAE, z: AnyArray, *, batch_size: int = 16, progress: Progress = iter
) -> np.ndarray:
    """Draw x ~ p(x|z) for every z, some at a time.

    An autoregressive p(x|z) takes a pass of its network for every value of an image: minutes for a figure of
    large ones, so this is what a progress bar goes around. At the posterior means, z =
    `posterior_mean(vae, {"x": x})`, the draws are what z alone tells of x.

    Args:
      key: typed PRNG key; the noise of a draw is of its place, whatever the batch size.
      vae: a bound model.
      z: [n, d].
      batch_size: the most images at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      [n, *event], on the host.

    Raises:
      TypeError, ValueError: for another kind of key, no z, or a batch size that is not a positive int.
    """
    check_key(key)
    check_positive_int(batch_size, "batch_size")
    check_positive_int(len(z), "len(z)")
    n = len(z)
    size = math.ceil(n / math.ceil(n / batch_size))
    parts = []
    for i in progress(range(math.ceil(n / size))):
        place = np.minimum(np.arange(i * size, (i + 1) * size), n - 1)  # past the end the last one again
        parts.append(np.asarray(_jitted_draws(key, vae, jnp.asarray(z)[place], place)))
    return np.concatenate(parts)[:n]


def _draws(key: Array, vae: VAE, z: Array, place: Array) -> Array:
    def draw(z_i: Array, i: Array) -> Array:
        return vae.decode(z_i).sample(seed=jax.random.fold_in(key, i))

    return jax.vmap(draw)(z, place)


_jitted_draws = jax.jit(_draws)  # the boundary


def interpolate(vae: VAE, a: AnyArray, b: AnyArray, steps: int, kind: str = "slerp") -> Array:
    """Decode a path between the posterior means of two images.

    Args:
      vae: a bound model.
      a, b: [*event].
      steps: images on the path, both ends included, >= 2.
      kind: "lerp", the straight line, or "slerp", which stays in the shell of the prior.

    Returns:
      [steps, *event].

    Raises:
      ValueError: for fewer than two steps or another kind.
    """
    check_choice(kind, ("lerp", "slerp"), "kind")
    if steps < 2:
        raise ValueError(f"steps: expected at least 2, got {steps}")
    z = posterior_mean(vae, {"x": jnp.stack([a, b])})
    path = getattr(interpolation, kind)(z[0], z[1], jnp.linspace(0.0, 1.0, steps))
    return vae.decode(path).mean()


def traverse(vae: VAE, x: AnyArray, values: AnyArray) -> Array:
    """Decode with one latent at a time set to each value, the others at the posterior mean of x.

    Args:
      vae: a bound model.
      x: [*event].
      values: [steps], such as -2..2.

    Returns:
      [d, steps, *event].
    """
    z = posterior_mean(vae, {"x": jnp.asarray(x)[None]})[0]
    d, steps = z.shape[0], len(values)
    moved = jnp.tile(z, (d, steps, 1))
    j = jnp.arange(d)
    moved = moved.at[j, :, j].set(jnp.asarray(values, z.dtype))
    images = vae.decode(moved.reshape(d * steps, d)).mean()
    return images.reshape(d, steps, *images.shape[1:])


def jacobian_images(vae: VAE, x: AnyArray) -> Array:
    """The columns d mu_x / d z_j at the posterior mean of every x, as images.

    Args:
      vae: a bound model.
      x: [n, *event].

    Returns:
      [n, d, *event], in units of the data per unit of z.

    Source: Rhodes & Lee 2021, arXiv 2106.02923, figure 2.
    """
    z = jax.lax.stop_gradient(posterior_mean(vae, {"x": jnp.asarray(x)}))
    jac = decoder_jacobian(lambda z_i: vae.decode(z_i).mean(), z)  # [n, D, d]
    return jnp.moveaxis(jac, -1, 1).reshape(z.shape[0], z.shape[1], *x.shape[1:])
