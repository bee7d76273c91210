"""How near an image is to its reconstruction: mean squared error, PSNR and SSIM."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_array, check_positive, check_positive_int, check_unmasked
from vaejax.evaluation.batches import even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.codes import code_of
from vaejax.evaluation.entry import enter, program, traced
from vaejax.types import VAE, AnyArray, Array, Batch, Progress, Split

WINDOW, SIGMA = 11, 1.5  # Wang et al. 2004
RANGES = {"binary": 1.0, "unit_interval": 1.0, "bytes": 255.0}


def mse(a: AnyArray, b: AnyArray) -> Array:
    """The mean squared error of every image, ||a - b||^2 / D.

    Args:
      a: [..., H, W, C].
      b: of the same shape.

    Returns:
      [...], in squared units of the data.

    Raises:
      ValueError: the shapes differ, or have fewer than three axes.
    """
    a, b = _pair(a, b)
    return jnp.mean(jnp.square(a - b), axis=(-3, -2, -1))


def variance_explained(x: AnyArray, reconstruction: AnyArray) -> float:
    """The share of variance that reconstructions r keep, 1 - sum ||x - r||^2 / sum ||x - mean x||^2.

    Args:
      x: [N, ...].
      reconstruction: [N, ...].

    Returns:
      At most 1; 0 for the mean of all x, below it for worse.

    Raises:
      TypeError: a masked array.
      ValueError: the shapes differ, or all x are the same.
    """
    check_unmasked(x, "x")
    check_unmasked(reconstruction, "reconstruction")
    a, b = (np.asarray(value, np.float64) for value in (x, reconstruction))
    if a.shape != b.shape:
        raise ValueError(f"reconstruction: expected the shape of x, {list(a.shape)}, got {list(b.shape)}")
    total = np.square(a - a.mean(axis=0)).sum() if a.size else 0.0
    if not total > 0:
        raise ValueError(f"x: expected examples that differ, got {list(a.shape)} without variance")
    return float(1 - np.square(a - b).sum() / total)


def psnr(a: AnyArray, b: AnyArray, *, data_range: float) -> Array:
    """The peak signal-to-noise ratio of every image, 10 log10(range^2 / MSE).

    Args:
      a: [..., H, W, C].
      b: of the same shape.
      data_range: the largest value that the data can have minus the smallest: 1, or 255 for bytes.

    Returns:
      [...], decibels; inf for equal images.

    Raises:
      ValueError: the shapes differ or have fewer than three axes, or the range is not positive.
    """
    data_range = _as_range(data_range)
    return 10 * jnp.log10(data_range**2 / mse(a, b))


def ssim(a: AnyArray, b: AnyArray, *, data_range: float) -> np.ndarray:
    """The structural similarity of every image, under a Gaussian window of 11 by 11 pixels, sigma 1.5.

    The mean over all places of the window inside the image, and over channels, of

        (2 m_a m_b + C1) (2 s_ab + C2) / ((m_a^2 + m_b^2 + C1) (s_a^2 + s_b^2 + C2))

    with weighted means and population (co)variances, C1 = (.01 range)^2, C2 = (.03 range)^2. By dm-pix, in
    float64 (in float32 the rounding of E[a^2] - m^2 shows beside C2 wherever an image is flat), and so on
    concrete arrays only. Where a side has fewer than 11 pixels the window shrinks to the odd number that
    `ssim_window` says; such values do not compare with those of larger images.

    Args:
      a: [..., H, W, C].
      b: of the same shape.
      data_range: the largest value that the data can have minus the smallest: 1, or 255 for bytes.

    Returns:
      [...], 1 for equal images.

    Raises:
      ValueError: the shapes differ or have fewer than three axes, or the range is not positive.

    Source: Wang, Bovik, Sheikh & Simoncelli 2004, IEEE Transactions on Image Processing 13(4).
    """
    data_range = _as_range(data_range)
    a, b = (np.asarray(array, np.float64) for array in _pair(a, b))
    lead, image = a.shape[:-3], a.shape[-3:]
    window = ssim_window(*image[:2])
    a, b = a.reshape(-1, *image), b.reshape(-1, *image)
    with jax.enable_x64(True):
        value = _jitted_ssim(a, b, max_val=data_range, filter_size=window, filter_sigma=SIGMA)
    return np.asarray(value, np.float32).reshape(lead)


_jitted_ssim = jax.jit(dm_pix.ssim, static_argnames=("max_val", "filter_size", "filter_sigma"))


def ssim_window(height: int, width: int) -> int:
    """The side of the window of `ssim`: 11, or the largest odd number that is no longer than the image.

    Raises:
      TypeError, ValueError: a side is not a positive int.
    """
    check_positive_int(height, "height")
    check_positive_int(width, "width")
    shorter = min(height, width)
    return min(WINDOW, shorter - 1 + shorter % 2)


def reconstruction_quality(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    data_range: float | None = None,
    batch_size: int = 256,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Compare every example of a split with the decoder's mean at its code; nothing is sampled.

    The code is `posterior_mean`.

    Args:
      key: typed PRNG key, for the noise of the split's transform.
      vae: a bound model.
      split: the examples; its transform runs first.
      data_range: of the transformed data; None for 1 or 255 as the split's support says ("real" says none).
      batch_size: the most examples at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`, `data_range`; means over the split and their standard errors over examples (nan for one example):
      `mse`, `mse_se` in squared units of the data, `psnr`, `psnr_se` in decibels (of one example each, not of
      the mean MSE; inf and its error nan where an example is its reconstruction); for images, x of
      [N, H, W, C], also `ssim`, `ssim_se` and `ssim_window`, 11 unless a side is shorter; `per_example`: the
      same names, [N] each.

    Raises:
      TypeError, ValueError: an argument is of another kind, the likelihood cannot score the split or has no
        mean, q has no code, c is missing or one too many, or data of support "real" come without a range.
    """
    key = enter(key, vae, split, progress=progress, batch_size=batch_size)
    if not hasattr(split.arrays["x"], "ndim"):
        raise TypeError("split: expected an x that is one array; got several modalities")
    if "observed" in split.arrays:
        raise ValueError(
            'split: expected one without holes, whose x can be compared; got one with a mask "observed"'
        )
    if data_range is None:
        if split.support not in RANGES:
            raise ValueError(f"data_range: expected a number for data of support {split.support!r}, got None")
        data_range = RANGES[split.support]
    data_range = _as_range(data_range)
    size = even_size(split, batch_size)
    traced(key, vae, split, size)
    image = split.arrays["x"].ndim == 4
    reconstructed = program(_jitted_reconstructed, split.transform, key, vae)

    def compare(batch: Batch) -> dict[str, AnyArray]:
        x, xh = reconstructed(batch)
        parts: dict[str, AnyArray] = {"mse": mse(x, xh), "psnr": psnr(x, xh, data_range=data_range)}
        return {**parts, "ssim": ssim(x, xh, data_range=data_range)} if image else parts

    parts = per_example(compare, split, size, progress)
    result: dict[str, Any] = {"n": split.size, "data_range": data_range}
    for name, values in parts.items():
        result |= mean_and_error(name, values)
    if image:
        result["ssim_window"] = ssim_window(*split.arrays["x"].shape[1:3])
    return {**result, "per_example": parts}


def _reconstructed(
    transform: Callable[[Array, Batch], Batch], key: Array, vae: VAE, batch: Batch
) -> tuple[Array, Array]:
    """x and the decoder's mean as [B, H, W, C]; what is no image as [B, 1, 1, D]."""
    batch = transformed(transform, key, batch)
    x = batch["x"]
    xh = vae.decode(code_of(vae, batch), batch.get("c")).mean()
    shape = x.shape if x.ndim == 4 else (len(x), 1, 1, math.prod(x.shape[1:]))
    return x.reshape(shape), xh.reshape(shape)


_jitted_reconstructed = jax.jit(_reconstructed, static_argnums=0)  # the boundary


def _pair(a: AnyArray, b: AnyArray) -> tuple[Array, Array]:
    check_array(a, "a")
    check_array(b, "b")
    if jnp.shape(a) != jnp.shape(b) or jnp.ndim(a) < 3:
        raise ValueError(
            f"a, b: expected two arrays of one shape [..., H, W, C], got {jnp.shape(a)} and {jnp.shape(b)}"
        )
    # bytes would wrap around when subtracted
    return jnp.asarray(a, jnp.result_type(a, jnp.float32)), jnp.asarray(b, jnp.result_type(b, jnp.float32))


def sharpness(images: AnyArray) -> float:
    """The mean length of images' gradients, by differences of neighbours: blur has less, clutter more.

    Args:
      images: [n, H, W, C].

    Raises:
      TypeError: no array of numbers, or a masked one.
      ValueError: the shape has other axes, or there is no image.
    """
    check_array(images, "images")
    x = np.asarray(images)
    if x.ndim != 4 or x.size == 0:
        raise ValueError(f"images: expected [n, H, W, C], got shape {x.shape}")
    x = x.astype(np.result_type(x, np.float32))  # bytes would wrap around when subtracted
    across = x[:, :-1, 1:] - x[:, :-1, :-1]
    down = x[:, 1:, :-1] - x[:, :-1, :-1]
    return float(np.hypot(across, down).mean(dtype=np.float64))


def _as_range(data_range: Any) -> float:
    """The number, as `x.max()` of jax gives it too; raise unless it is positive and finite."""
    if isinstance(data_range, jax.Array) and data_range.ndim == 0:
        data_range = data_range.item()
    check_positive(data_range, "data_range")
    return float(data_range)
