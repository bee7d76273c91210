"""What a model shows: arrays for figures, of vector latents [d] at their posterior mean.

Images are the mean of p(x|z), [..., *event] in the range of the data. An autoregressive p(x|z) has no mean,
only samples: what says "mean" here raises TypeError for it, but for `prior_samples`, and `reconstruct` with
a key; `decoder_samples` shows it at any z.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_choice, check_positive_int, check_progress
from vaejax.evaluation.codes import posterior_mean
from vaejax.evaluation.entry import check_model, checked, program
from vaejax.keys import check_key, example_keys, named_key, threefry_key
from vaejax.ops import interpolation
from vaejax.ops.jacobian import decoder_jacobian
from vaejax.types import VAE, AnyArray, Array, Progress

__all__ = ["decoder_samples", "interpolate", "jacobian_images", "prior_samples", "reconstruct", "traverse"]


def reconstruct(vae: VAE, x: AnyArray, *, key: Array | None = None) -> AnyArray:
    """The decoder's mean at the posterior mean of every x; with a key, one draw of x where it has none.

    Args:
      vae: a bound model.
      x: [n, *event], transformed as the model eats it.
      key: typed PRNG key, for the draws of a decoder without a mean; None: such a one is refused.

    Returns:
      [n, *event].

    Raises:
      TypeError, ValueError: an argument is of another kind, or p(x|z) has no mean and there is no key.
    """
    check_model(vae)
    if key is not None:
        check_key(key)
    z, means = program(_jitted_reconstructed, key is not None, vae)(checked(x, "x", "[n, *event]"))
    return means if key is None or means is not None else decoder_samples(key, vae, z)


def _reconstructed(or_none: bool, vae: VAE, x: Array) -> tuple[Array, Array | None]:
    """Posterior means z, and the decoder's means there; `or_none`: None where it has no mean."""
    z = posterior_mean(vae, {"x": x})
    px = vae.decode(z)
    return z, None if or_none and not getattr(px, "has_mean", True) else px.mean()


_jitted_reconstructed = jax.jit(_reconstructed, static_argnums=0)  # the boundaries


def prior_samples(
    key: Array, vae: VAE, n: int, *, batch_size: int = 16, progress: Progress = iter
) -> AnyArray:
    """The decoder's mean at n draws of the prior, [n, *event]; where it has none, one draw of x at each.

    Args:
      key: typed PRNG key.
      vae: a bound model.
      n: how many.
      batch_size: as for `decoder_samples`, where x is drawn.
      progress: likewise.

    Raises:
      TypeError, ValueError: an argument is of another kind.
    """
    check_key(key)
    check_model(vae, "decode", "sample_prior")
    check_positive_int(n, "n")
    check_positive_int(batch_size, "batch_size")
    check_progress(progress)
    z, means = program(_jitted_prior, int(n), named_key(key, "prior"), vae)()
    if means is not None:
        return means
    return decoder_samples(named_key(key, "x"), vae, z, batch_size=batch_size, progress=progress)


def _prior(n: int, key: Array, vae: VAE) -> tuple[Array, Array | None]:
    """n draws z, and the decoder's means where it has them."""
    z = vae.sample_prior(key, n)
    px = vae.decode(z)
    return z, px.mean() if getattr(px, "has_mean", True) else None


_jitted_prior = jax.jit(_prior, static_argnums=0)


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
      TypeError, ValueError: an argument is of another kind, or there is no z.
    """
    check_key(key)
    check_model(vae, "decode")
    z = jnp.asarray(checked(z, "z", "[n, *d]"))
    check_positive_int(batch_size, "batch_size")
    check_progress(progress)
    n = len(z)
    size = math.ceil(n / math.ceil(n / batch_size))
    draws = program(_jitted_draws, threefry_key(key), vae)
    parts = []
    for i in progress(range(math.ceil(n / size))):
        place = np.minimum(np.arange(i * size, (i + 1) * size), n - 1)  # past the end the last one again
        parts.append(np.asarray(draws(z[place], place)))
    return np.concatenate(parts)[:n]


def _draws(key: Array, vae: VAE, z: Array, place: Array) -> Array:
    keys = example_keys(key, {"index": place})
    return jax.vmap(lambda k, z_i: vae.decode(z_i).sample(seed=k))(keys, z)


_jitted_draws = jax.jit(_draws)


def interpolate(vae: VAE, a: AnyArray, b: AnyArray, steps: int, kind: str = "slerp") -> Array:
    """Decode a path between the posterior means of two images.

    Args:
      vae: a bound model.
      a: [*event], where the path starts.
      b: [*event], where it ends.
      steps: images on the path, both ends included, >= 2.
      kind: "lerp", the straight line, or "slerp", which stays in the shell of the prior; it is the straight
        line between codes that are parallel or (nearly) opposite, as with one latent all are, and from or
        to a code of exactly 0: `ops.interpolation.slerp` has the bounds.

    Returns:
      [steps, *event].

    Raises:
      TypeError, ValueError: an argument is of another kind, or there are fewer than two steps.
    """
    check_model(vae)
    ends = checked(a, "a", "[*event]"), checked(b, "b", "[*event]")
    check_choice(kind, ("lerp", "slerp"), "kind")
    check_positive_int(steps, "steps")
    if steps < 2:
        raise ValueError(f"steps: expected at least 2, got {steps}")
    if np.shape(a) != np.shape(b):
        raise ValueError(f"a, b: expected two images of one shape, got {np.shape(a)} and {np.shape(b)}")
    z = posterior_mean(vae, {"x": jnp.stack(ends)})
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

    Raises:
      TypeError, ValueError: an argument is of another kind.
    """
    check_model(vae)
    x, values = checked(x, "x", "[*event]"), checked(values, "values", "[steps]")
    return program(_jitted_traversed, vae)(x, values)


def _traversed(vae: VAE, x: Array, values: Array) -> Array:
    z = posterior_mean(vae, {"x": x[None]})[0]
    d, steps = z.shape[0], len(values)
    moved = jnp.tile(z, (d, steps, 1))
    j = jnp.arange(d)
    moved = moved.at[j, :, j].set(jnp.asarray(values, z.dtype))
    images = vae.decode(moved.reshape(d * steps, d)).mean()
    return images.reshape(d, steps, *images.shape[1:])


_jitted_traversed = jax.jit(_traversed)


def jacobian_images(vae: VAE, x: AnyArray) -> Array:
    """The columns d mu_x / d z_j at the posterior mean of every x, as images.

    Args:
      vae: a bound model.
      x: [n, *event].

    Returns:
      [n, d, *event], in units of the data per unit of z.

    Raises:
      TypeError, ValueError: an argument is of another kind.

    Source: Rhodes & Lee 2021, arXiv 2106.02923, figure 2.
    """
    check_model(vae)
    return program(_jitted_jacobian, vae)(checked(x, "x", "[n, *event]"))


def _jacobian(vae: VAE, x: Array) -> Array:
    z = jax.lax.stop_gradient(posterior_mean(vae, {"x": x}))
    jac = decoder_jacobian(lambda z_i: vae.decode(z_i).mean(), z)  # [n, D, d]
    return jnp.moveaxis(jac, -1, 1).reshape(z.shape[0], z.shape[1], *x.shape[1:])


_jitted_jacobian = jax.jit(_jacobian)
