"""Local disentanglement of a model: sample factors in small neighbourhoods, render, encode and score them."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from vaejax.checks import check_positive_int, check_progress
from vaejax.disentanglement.local import LocalScores, local_clusters, represent_factors, score_local
from vaejax.evaluation.codes import in_slices, vectors
from vaejax.evaluation.entry import check_model, program
from vaejax.evaluation.factor_codes import WHY, Condition, FactorSet, check_factor_set, renderer
from vaejax.types import VAE, Array, Batch, Progress


def local_scores(
    key: Array,
    vae: VAE,
    data: FactorSet,
    *,
    c: Condition | None = None,
    locality: float = 0.1,
    clusters: int = 20,
    num_samples: int = 10_000,
    bins: int = 5,
    frozen: Sequence[int] = (),
    batch_size: int = 500,
    progress: Progress = iter,
) -> LocalScores:
    """Local MIG and local modularity of a model's codes (Rhodes & Lee 2021, 2106.02923).

    `local_clusters`, then `represent_factors`, then `score_local`: their docstrings say what the
    arguments mean. The defaults are the paper's; locality is one of 0.1, 0.2, 0.3, 0.6 and 1 there.

    Args:
      key: typed PRNG key; the same one gives all models the same images.
      vae: a bound model whose latents are one array of real numbers.
      data: a set with `num_values` and `sample_images`, such as `data.three_dots()`.
      c: as `disentanglement_scores`.
      locality: of `local_clusters`.
      clusters: of `local_clusters`.
      num_samples: of `local_clusters`.
      bins: of `score_local`.
      frozen: of `local_clusters`.
      batch_size: of `represent_factors`.
      progress: of `represent_factors`.

    Returns:
      LocalScores.

    Raises:
      TypeError, ValueError: as the three functions do, the data render no factors, the latents are several
        parts or levels or no real numbers, or c is missing or one too many.
    """
    check_model(vae, "encode")
    check_factor_set(data)
    check_positive_int(bins, "bins")
    check_progress(progress)
    render, codes_of = renderer(data, c), program(_jitted_codes, vae)
    factors = local_clusters(
        key, data.num_values, locality=locality, clusters=clusters, num_samples=num_samples, frozen=frozen
    )
    codes = represent_factors(codes_of, render, factors, batch_size=batch_size, progress=progress)
    return score_local(codes, factors, bins=bins)


def _codes(vae: VAE, batch: Batch) -> Array:
    return in_slices(lambda batch: vectors(vae, batch, WHY), batch)


_jitted_codes = jax.jit(_codes)  # the boundary: a second model of the same shapes finds the program
