"""The aggregate posterior q(z) = (1/N) sum_n q(z|x_n) of diagonal Gaussians: of a minibatch, of all rows."""

from __future__ import annotations

import math

import chex
import jax
import jax.numpy as jnp

from vaejax.checks import check_choice, check_positive_int
from vaejax.types import Array

__all__ = [
    "ACTIVE_VARIANCE",
    "FORMS",
    "METHODS",
    "dip_penalty",
    "log_density",
    "permute_columns",
    "streamed_log_density",
]

ACTIVE_VARIANCE = 0.01  # Burda et al. 2015 (1509.00519): a unit is active above this variance of its mean

AT_ONCE = 16  # dimensions that one loop sums over

METHODS = ("mws", "mss", "exact")
FORMS = ("i", "ii")


def log_density(
    z: Array, loc: Array, scale: Array, dataset_size: int, method: str = "mws"
) -> tuple[Array, Array]:
    """Estimate log q(z_b) and every log q(z_bj) from the posteriors of a batch, z_b drawn from the b-th.

    log q(z_b)  = lse_b' [ log w_bb' + sum_j log N(z_bj; loc_b'j, scale_b'j^2) ]
    log q(z_bj) = lse_b' [ log w_bb' +       log N(z_bj; loc_b'j, scale_b'j^2) ]

    "mws", minibatch-weighted sampling: w = 1/(N B). Both densities are too low, by a factor between B
      (the own row dominates) and N (all rows are alike), so that a total correlation is too high by up
      to d log N - log B nats: only its gradient means something, which is that of w = 1/B.
    "mss", minibatch-stratified sampling: w = 1/N for the own row, (N - 1) / (N (B - 1)) for the others. For B
      distinct rows of the data both densities are unbiased; their logarithms are not, nor is a product
      of marginals.
    "exact": w = 1/N, with all N rows in `loc` and `scale`; z may then be any points.

    Deviation: the paper gives one of the other rows the weight (N - B + 1) / (N (B - 1)) and the rest
    1/(B - 1). "mss" is the mean of that over the choice of the row: unbiased too, of less variance, and
    it does not depend on the order of the batch.

    Args:
      z: [B, d]; for "exact" [n, d].
      loc: [B, d], means of the posteriors of the batch; for "exact" [N, d].
      scale: their standard deviations, of the same shape.
      dataset_size: N.
      method: "mws", "mss" or "exact".

    Returns:
      (log q(z) [B], log q(z_j) [B, d]), nats. Memory: B^2 d.

    Raises:
      TypeError, ValueError: for an unknown method, a dataset_size that is not an int or is smaller than
        the batch, "mss" with one example, and "exact" with another number of rows than dataset_size.

    Source: Chen, Li, Grosse & Duvenaud 2018, arXiv 1802.04942, section 4.1 and appendix C.
    """
    chex.assert_rank([z, loc, scale], 2)
    chex.assert_equal_shape([loc, scale])
    log_w = jnp.asarray(_log_weights(len(z), len(loc), dataset_size, method), z.dtype)  # [B, B']
    standard = (z[:, None, :] - loc) / scale
    log_q = -0.5 * jnp.square(standard) - jnp.log(scale) - 0.5 * math.log(2 * math.pi)  # [B, B', d]
    # the weights enter once, after the sum over j
    log_qz = jax.nn.logsumexp(log_w + jnp.sum(log_q, axis=-1), axis=1)
    return log_qz, jax.nn.logsumexp(log_w[..., None] + log_q, axis=1)


def _log_weights(n: int, B: int, N: int, method: str) -> Array:
    """log w_bb', [n, B]."""
    check_choice(method, METHODS, "method")
    check_positive_int(N, "dataset_size")
    if method == "exact":
        if N != B:
            raise ValueError(f'dataset_size: method="exact" needs all {N} rows of the data, got {B}')
        return jnp.full((n, B), -math.log(N))
    if n != B:
        raise ValueError(f"z: expected one for each of the {B} posteriors of the batch, got {n}")
    if N < B:
        raise ValueError(f"dataset_size: expected at least the batch of {B} examples, got {N}")
    if method == "mws":
        return jnp.full((n, B), -math.log(N * B))
    if B < 2:
        raise ValueError('z: method="mss" needs a batch of at least 2 examples, got 1')
    own = jnp.eye(B, dtype=bool)
    return jnp.where(own, -math.log(N), math.log((N - 1) / (N * (B - 1))))


def dip_penalty(loc: Array, scale: Array, lam_od: float, lam_d: float, form: str = "i") -> Array:
    """lam_od sum_{i != j} S_ij^2 + lam_d sum_i (S_ii - 1)^2: a covariance of codes near I.

    Form "i": S = Cov_b(loc_b), over the batch, divided by B. Form "ii": S = Cov_b(loc_b) +
    diag(mean_b scale_b^2), the covariance of the aggregate posterior.

    Args:
      loc: [B, d], means of the posteriors of a batch.
      scale: [B, d], their standard deviations; form "i" does not use them.
      lam_od: the weight of the off-diagonal entries.
      lam_d: the weight of the diagonal ones.
      form: "i" or "ii".

    Returns:
      Scalar.

    Raises:
      ValueError: for an unknown form.

    Source: Kumar, Sattigeri & Balakrishnan 2018, arXiv 1711.00848.
    """
    chex.assert_rank([loc, scale], 2)
    chex.assert_equal_shape([loc, scale])
    check_choice(form, FORMS, "form")
    centred = loc - jnp.mean(loc, axis=0)
    S = jnp.matmul(centred.T, centred, precision="highest") / len(loc)
    if form == "ii":
        S += jnp.diag(jnp.mean(jnp.square(scale), axis=0))
    diagonal = jnp.diagonal(S)
    off_diagonal = S - jnp.diag(diagonal)
    return lam_od * jnp.sum(jnp.square(off_diagonal)) + lam_d * jnp.sum(jnp.square(diagonal - 1))


def permute_columns(key: Array, z: Array) -> Array:
    """Shuffle every column over the batch by a permutation of its own: codes of prod_j q(z_j).

    Args:
      key: typed PRNG key, of the permutations.
      z: [B, d] codes.

    Returns:
      [B, d].

    Source: Kim & Mnih 2018, arXiv 1802.05983, algorithm 1.
    """
    chex.assert_rank(z, 2)
    return jax.random.permutation(key, z, axis=0, independent=True)


def streamed_log_density(z: Array, loc: Array, scale: Array, *, block: int = 128) -> Array:
    """Evaluate log q(z) = lse_n log N(z; loc_n, diag scale_n^2) - log N, exactly, over all N rows.

    The logsumexp streams over blocks of rows for a block of z at a time, so memory does not grow with
    N times n; time does.

    Args:
      z: [n, d].
      loc: [N, d], means of the posteriors.
      scale: [N, d], their standard deviations.
      block: rows, and z, at a time.

    Returns:
      [n] nats.

    Raises:
      TypeError, ValueError: block is not a positive int, or the shapes do not fit together.
    """
    check_positive_int(block, "block")
    if loc.ndim != 2 or scale.shape != loc.shape or z.ndim != 2 or z.shape[1] != loc.shape[1]:
        raise ValueError(
            f"z, loc, scale: expected [n, d], [N, d] and [N, d], got {z.shape}, {loc.shape} and {scale.shape}"
        )
    N, d = loc.shape
    log_norm = -jnp.sum(jnp.log(scale), axis=1) - 0.5 * d * math.log(2 * math.pi)
    rows = (  # rows that fill the last block weigh exp(-inf)
        _dimensions(_blocks(loc, block, 0.0)),
        _dimensions(_blocks(1 / scale, block, 1.0)),
        _blocks(log_norm, block, -jnp.inf),
    )

    def of_block(z: Array) -> Array:  # [groups, <= AT_ONCE, n]
        def add(sums: tuple[Array, Array], row: tuple[Array, Array, Array]) -> tuple[tuple, None]:
            log_q = row[2][:, None] - 0.5 * _squares(z, *row[:2])  # [rows, n]: sums over rows run along n
            top = jnp.maximum(sums[0], jnp.max(log_q, axis=0))
            level = jnp.where(jnp.isfinite(top), top, 0.0)
            return (top, sums[1] * jnp.exp(sums[0] - level) + jnp.sum(jnp.exp(log_q - level), axis=0)), None

        none = jnp.zeros(z.shape[-1], jnp.result_type(z, *rows))
        top, total = jax.lax.scan(add, (none - jnp.inf, none), rows)[0]
        return top + jnp.log(total)

    return jax.lax.map(of_block, _dimensions(_blocks(z, block, 0.0))).reshape(-1)[: len(z)] - math.log(N)


def _squares(z: Array, loc: Array, precision: Array) -> Array:
    """|(z - loc) precision|^2 of every row and z, [rows, n]; z [g, m, n], the others [g, m, rows]."""

    def add(total: Array, group: tuple[Array, Array, Array]) -> tuple[Array, None]:
        for z_j, loc_j, precision_j in zip(*group, strict=True):  # one loop, whose terms are never stored
            total = total + jnp.square((z_j - loc_j[:, None]) * precision_j[:, None])
        return total, None

    zeros = jnp.zeros((loc.shape[-1], z.shape[-1]), jnp.result_type(z, loc, precision))
    if len(z) == 1:
        return add(zeros, (z[0], loc[0], precision[0]))[0]
    return jax.lax.scan(add, zeros, (z, loc, precision))[0]


def _dimensions(blocks: Array) -> Array:
    """[..., rows, d] -> [..., g, m, rows]: even groups of dimensions, the last filled up with zeros."""
    d = blocks.shape[-1]
    groups = max(1, -(-d // AT_ONCE))
    m = d if groups == 1 else AT_ONCE
    filled = jnp.pad(blocks, [(0, 0)] * (blocks.ndim - 1) + [(0, groups * m - d)])
    return jnp.moveaxis(filled, -1, -2).reshape(*blocks.shape[:-2], groups, m, blocks.shape[-2])


def _blocks(rows: Array, block: int, fill: float | Array) -> Array:
    """[N, ...] -> [ceil(N / block), block, ...], filled up with `fill`."""
    surplus = -len(rows) % block
    widths = [(0, surplus)] + [(0, 0)] * (rows.ndim - 1)
    return jnp.pad(rows, widths, constant_values=fill).reshape(-1, block, *rows.shape[1:])
