"""How far a code moves when it goes through the model once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vaejax.evaluation.batches import even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.codes import check_real, coded, flat, vectors
from vaejax.evaluation.entry import check_model, enter, program, traced
from vaejax.objectives.draw import prior_codes
from vaejax.ops.aggregate import ACTIVE_VARIANCE
from vaejax.types import VAE, Array, Batch, Progress, Split

_WHY = "between which there are distances"


def latent_distances(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    batch_size: int = 256,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Measure how far codes move in a round trip: two distances, in L1 and in L2.

        code shift:  || E(mu_x(E(x))) - E(x) ||_p,  x from the split
        cycle:       || E(mu_x(z)) - z ||_p,        z ~ p(z), one for every example of the split

    with E(x) the code (`posterior_mean`) and mu_x the decoder's mean, divided by d for p = 1 and by sqrt(d)
    for p = 2, so that both are per latent. Latents have no unit of their own: the scaled forms divide every
    difference by the standard deviation of that latent's E(x) over the split. A collapsed latent has none to
    speak of, so they take the active latents alone (variance of E(x) > 0.01, Burda et al. 2015, 1509.00519),
    and d is their number.

    The encoder sees the decoder's mean as it is, also where data are binary or whole numbers.

    Args:
      key: typed PRNG key, for z and for the noise of the split's transform.
      vae: a bound model whose latents are one array of real numbers, [B, d] or of another shape.
      split: the examples (two at least); its transform runs first.
      batch_size: the most examples at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`, `active_units`; means over the split and their standard errors over examples (`_se`):
      `code_shift_l1`, `code_shift_l2`, `cycle_l1`, `cycle_l2`, in units of z, and where a latent is active
      `code_shift_l1_scaled` and so on; `per_example`: the same names, [N] each.

    Raises:
      TypeError, ValueError: an argument is of another kind, the split has fewer than two examples, the
        latents are several parts or levels or no real numbers, p(x|z) has no mean, the likelihood cannot
        score the split, or the model wants a c that the split has not, or none.
    """
    key = enter(key, vae, split, progress=progress, least=2, batch_size=batch_size)
    check_model(vae, "sample_prior")
    size = even_size(split, batch_size)
    traced(key, vae, split, size)
    codes = per_example(program(_jitted_cycle, split.transform, key, vae), split, size, progress)
    codes = {name: array.astype(np.float64) for name, array in codes.items()}
    std = codes["code"].std(axis=0, ddof=1)
    active = std**2 > ACTIVE_VARIANCE
    distances = {}
    for name in ("code_shift", "cycle"):
        distances |= _norms(name, "", codes[name])
        if active.any():
            distances |= _norms(name, "_scaled", codes[name][:, active] / std[active])
    result: dict[str, Any] = {"n": split.size, "active_units": int(active.sum())}
    for name, values in distances.items():
        result |= mean_and_error(name, values)
    return {**result, "per_example": distances}


def _norms(name: str, suffix: str, difference: np.ndarray) -> dict[str, np.ndarray]:
    """||.||_1 / d and ||.||_2 / sqrt(d) of every row of [N, d]."""
    return {
        f"{name}_l1{suffix}": np.mean(np.abs(difference), axis=1),
        f"{name}_l2{suffix}": np.sqrt(np.mean(np.square(difference), axis=1)),
    }


def _cycle(
    transform: Callable[[Array, Batch], Batch], key: Array, vae: VAE, batch: Batch
) -> dict[str, Array]:
    """E(x) and both differences, [B, d] each."""
    batch = transformed(transform, key, batch)

    def again(z: Array) -> Array:
        return vectors(vae, {**batch, "x": vae.decode(z, batch.get("c")).mean()}, _WHY)

    code, draw = coded(vae, batch)
    check_real(draw, _WHY)
    z = prior_codes(key, vae, batch)
    return {"code": flat(code), "code_shift": again(code) - flat(code), "cycle": again(z) - flat(z)}


_jitted_cycle = jax.jit(_cycle, static_argnums=0)  # the boundary
