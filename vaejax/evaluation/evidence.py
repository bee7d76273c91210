"""log p(x) of a split by importance sampling, and bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from vaejax.checks import check_positive_int, check_unmasked
from vaejax.evaluation.batches import even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.entry import check_weights, enter, program, traced
from vaejax.evaluation.weights import CURVE, Weights, samples_at_once, weigh
from vaejax.keys import named_key
from vaejax.objectives import log_weight, sample
from vaejax.types import VAE, AnyArray, Array, Batch, Progress, Split


def marginal_log_likelihood(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    num_samples: int = 5000,
    curve: Sequence[int] = CURVE,
    batch_size: int = 64,
    chunk: int | None = None,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Estimate log p(x) of every example of a split by importance sampling from q(z|x).

        L_K = log (1/K) sum_k w_k,  w_k = p(x, z_k) / q(z_k|x),  z_k ~ q(.|x) independent

    Every example counts once and gets exactly K samples; levels of a hierarchy are summed. The sums stream:
    memory grows neither with K nor with N. Neither `batch_size` nor `chunk` changes a number (but for the
    last digits), since every sample's noise derives from its own place and the example's.

    L_K is a lower bound on log p(x) in expectation, at any K, and how loose it is depends on q: models are
    still compared through their encoders. So three things come with it. The curve: where L_K still rises, it
    is not log p(x). The effective sample size ESS = (sum w)^2 / sum w^2: near 1 the number is a loose bound
    whatever K is. The first-order bias, -(K / ESS - 1) / (2 K), which sees only the weights that were drawn:
    with a small ESS (or K = 1, where it says 0) it is far too small. `gaps` and `annealed_log_likelihood`
    check the estimate. A quantiser's q is one code: all samples are alike, L_K is the ELBO at any K, and
    neither the ESS of K nor the bias of 0 says how loose it is.

    Args:
      key: typed PRNG key; it also draws the noise of the split's transform (a dynamic binarisation, say), the
        same as `elbo_parts` does.
      vae: a bound model.
      split: the examples; its transform runs first.
      num_samples: K.
      curve: further numbers of samples k; those of K and above are left out. L_k is the mean over the K // k
        disjoint groups of k samples: L_1 is the ELBO of all K.
      batch_size: the most examples at a time.
      chunk: the most samples of each example together; None aims at 32 MiB of temporaries, for a CPU's
        cache (an accelerator wants more). The number used divides, or is a multiple of, every k of the curve.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`, `num_samples`; means over the split and their standard errors over examples (nan for one example):
      `nll`, `nll_se` (nats), `ess`, `ess_se` (samples), `bias`, `bias_se` (nats); [C] each, K the last:
      `curve_samples`, `curve_nll`, `curve_nll_se`; `per_example`: `log_likelihood`, `ess` and `bias` [N],
      `curve` [N, C], higher is better. Where every weight of an example is 0, its `log_likelihood` is -inf,
      `ess` and `bias` are nan.

    Raises:
      TypeError, ValueError: an argument is of another kind, log p(x|z) is itself a bound, q a point, the
        likelihood cannot score the split, or the model wants a c that the split has not, or none.

    Source: Burda, Grosse & Salakhutdinov 2015, arXiv 1509.00519, eq. 8 and section 5.
    """
    key = enter(key, vae, split, progress=progress, num_samples=num_samples, batch_size=batch_size)
    _check_chunk_and_curve(chunk, curve)
    num_samples = int(num_samples)
    curve = tuple(sorted({int(k) for k in curve if k < num_samples}))
    size = even_size(split, batch_size)
    draw, largest = traced(key, vae, split, size)
    check_weights(draw, "marginal_log_likelihood")
    c = samples_at_once(draw, num_samples, curve, chunk, largest)
    estimate = program(_jitted_estimate, split.transform, num_samples, c, curve, key, vae)
    weights: Weights = per_example(estimate, split, size, progress)
    nll = -weights.curve.astype(np.float64)
    by_samples = [mean_and_error("nll", column) for column in nll.T]
    return {
        "n": split.size,
        "num_samples": num_samples,
        **by_samples[-1],
        **mean_and_error("ess", weights.ess),
        **mean_and_error("bias", weights.bias),
        "curve_samples": np.array([*curve, num_samples]),
        "curve_nll": np.array([point["nll"] for point in by_samples]),
        "curve_nll_se": np.array([point["nll_se"] for point in by_samples]),
        "per_example": weights._asdict(),
    }


def paired(log_a: AnyArray, log_b: AnyArray) -> dict[str, float]:
    """NLL of model a minus NLL of model b, image by image: {nll, nll_se}, the standard error over images.

    Differences of the same images spread much less than either NLL.

    Args:
      log_a: log p(x) by one model, [N] nats.
      log_b: log p(x) of the same images by the other, [N] nats.

    Raises:
      TypeError: a masked array.
      ValueError: the shapes differ.
    """
    check_unmasked(log_a, "log_a")
    check_unmasked(log_b, "log_b")
    a, b = np.asarray(log_a, np.float64), np.asarray(log_b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"log_a, log_b: expected the same images, got {a.shape} and {b.shape}")
    return mean_and_error("nll", b - a)


def bits_per_dim(nll: float | AnyArray, num_dims: int, *, dequantised: bool = False) -> Any:
    """Turn nats per example into bits per dimension: nll / (D log 2).

    Args:
      nll: -log p(x), nats; a number or an array.
      num_dims: D, pixels times channels.
      dequantised: nll is that of a density of bytes scaled to [0, 1] with uniform noise added; the 8 bits per
        dimension of the scale, log2 256, are added. Bernoulli probabilities and densities of data that
        never were bytes do not compare with either.

    Returns:
      Bits per dimension, of the shape of nll.

    Raises:
      TypeError, ValueError: num_dims is not a positive int.

    Source: Theis, van den Oord & Bethge 2016, arXiv 1511.01844, section 3.1.
    """
    check_positive_int(num_dims, "num_dims")
    return nll / (num_dims * math.log(2)) + (8.0 if dequantised else 0.0)


def _check_chunk_and_curve(chunk: Any, curve: Any) -> None:
    """Raise unless the chunk is None or a positive int, and the curve some positive ints."""
    if chunk is not None:
        check_positive_int(chunk, "chunk")
    if not isinstance(curve, Iterable):
        raise TypeError(f"curve: expected numbers of samples, got {type(curve).__name__} ({curve!r})")
    for k in curve:
        check_positive_int(k, "curve")


def _estimate(
    transform: Callable[[Array, Batch], Batch], K: int, c: int, curve: tuple[int, ...],
    key: Array, vae: VAE, batch: Batch,
) -> Weights:  # fmt: skip
    batch = transformed(transform, key, batch)
    of_samples = named_key(key, "samples")

    def log_weights(place: Array) -> Array:
        # only keys are mapped: the encoder's network runs once, and the decoder's layers are one product each
        keys = jax.vmap(partial(jax.random.fold_in, of_samples))(place)
        return jax.vmap(lambda k: log_weight(sample(k, vae, batch)))(keys)

    return weigh(log_weights, K, c, curve)


_jitted_estimate = jax.jit(_estimate, static_argnums=(0, 1, 2, 3))  # the boundary, as in `elbo`
