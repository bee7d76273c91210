"""Terms that bring the aggregate posterior to the prior, without a critic: MMD and sliced Wasserstein."""

from __future__ import annotations

from collections.abc import Callable

from vaejax.checks import check_choice, check_positive_int
from vaejax.keys import named_key
from vaejax.objectives.compose import Term, mixes_examples
from vaejax.objectives.draw import prior_codes
from vaejax.objectives.linearised import codes
from vaejax.ops import mmd as ops_mmd
from vaejax.ops import sliced
from vaejax.types import VAE, Array, Draw

__all__ = ["mmd", "sliced_wasserstein"]


def mmd(*, kernel: Callable[[Array, Array], Array] | str | None = None, at: str = "sample") -> Term:
    """The squared maximum mean discrepancy between the codes of the batch and as many prior samples.

    The U-statistic (`ops.mmd.mmd`): unbiased, around 0 where q(z) = p(z), and negative now and then. Two
    families use it:

    WAE-MMD: reconstruction + lam MMD. The WAE's cost is the squared error summed over D, which is
      -log p(x|z) of `gaussian(0.5 ** 0.5)` up to a constant. A deterministic encoder is
      `reconstruction_at_mean` with at="mean" here.
    InfoVAE: reconstruction + (1 - a) KL + (a + lam - 1) MMD; MMD-VAE has a = 1.

    Args:
      kernel: (x [n, d], y [m, d]) -> [n, m]; None: `ops.mmd.imq()`, scales for the prior N(0, I); "median":
        `ops.mmd.rbf` with the `median_length` of codes and prior samples, one for the three sums. A function
        that computes that length inside would have three, and a term that is biased where q(z) = p(z).
      at: "sample", the drawn z, or "mean", the posterior's.

    Returns:
      A term, scalar, in units of the kernel, that mixes examples.

    Raises:
      TypeError, ValueError: for a kernel that is not a function, another at; when called, for latents that
        are not one array [B, d], or a batch of one.

    Source: Tolstikhin et al. 2018, arXiv 1711.01558, algorithm 2; Zhao, Song & Ermon 2017, arXiv 1706.02262.
    """
    check_choice(at, ("sample", "mean"), "at")
    if kernel is None:
        kernel = ops_mmd.imq()
    if not callable(kernel) and kernel != "median":
        raise TypeError(f"kernel: expected a function (x, y) -> [n, m] or 'median', got {kernel!r}")

    @mixes_examples
    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        z, p = codes(draw, at), prior_codes(key, vae, draw.batch)
        k = kernel if callable(kernel) else ops_mmd.rbf(ops_mmd.median_length(z, p))
        return ops_mmd.mmd(z, p, k)

    return term


def sliced_wasserstein(*, directions: int = 50, at: str = "sample") -> Term:
    """The mean W_2^2 of the codes' and as many prior samples' projections on random directions.

    (1/P) sum_p (1/B) sum_i (a_(i) - b_(i))^2, a and b the sorted projections (`ops.sliced`). Finite
    batches leave it positive, of order 1/B, where q(z) = p(z).

    Args:
      directions: P, drawn anew at every call.
      at: "sample", the drawn z, or "mean", the posterior's.

    Returns:
      A term, scalar >= 0, in squared units of z, that mixes examples.

    Raises:
      TypeError, ValueError: for directions that are not a positive int, another at; when called, for latents
        that are not one array [B, d].

    Source: Kolouri, Pope, Martin & Rohde 2018, arXiv 1804.01947.
    """
    check_positive_int(directions, "directions")
    check_choice(at, ("sample", "mean"), "at")

    @mixes_examples
    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        z = codes(draw, at)
        u = sliced.random_directions(named_key(key, "directions"), directions, z.shape[-1], z.dtype)
        return sliced.sliced_wasserstein(z, prior_codes(key, vae, draw.batch), u)

    return term
