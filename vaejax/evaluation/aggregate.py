"""The aggregate posterior q(z) = (1/N) sum_n q(z|x_n) of diagonal Gaussians over a whole split."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int
from vaejax.evaluation.entry import checked
from vaejax.types import AnyArray, Array


def aggregate_log_density(z: AnyArray, loc: AnyArray, scale: AnyArray, *, block: int = 128) -> Array:
    """Evaluate log q(z) = lse_n log N(z; loc_n, diag scale_n^2) - log N, exactly, over all N rows.

    The logsumexp streams over blocks of rows for a block of z at a time, so memory does not grow with
    N times n; time does.

    Args:
      z: [n, d].
      loc, scale: [N, d], the posteriors.
      block: rows, and z, at a time.

    Returns:
      [n] nats.

    Raises:
      TypeError, ValueError: an argument is of another kind, or the shapes do not fit together.
    """
    check_positive_int(block, "block")
    given = checked(z, "z", "[n, d]"), checked(loc, "loc", "[N, d]"), checked(scale, "scale", "[N, d]")
    z, loc, scale = (jnp.asarray(a, jnp.result_type(*given, jnp.float32)) for a in given)
    if scale.shape != loc.shape or z.shape[1] != loc.shape[1]:
        raise ValueError(
            f"z, loc, scale: expected [n, d], [N, d] and [N, d], got {z.shape}, {loc.shape} and {scale.shape}"
        )
    N, d = loc.shape
    log_norm = -jnp.sum(jnp.log(scale), axis=1) - 0.5 * d * math.log(2 * math.pi)
    rows = (  # rows that fill the last block weigh exp(-inf)
        _blocks(loc, block, 0.0),
        _blocks(1 / scale, block, 1.0),
        _blocks(log_norm, block, -jnp.inf),
    )

    def of_block(z: Array) -> Array:
        def add(log_sum: Array, row: tuple[Array, Array, Array]) -> tuple[Array, None]:
            loc, precision, log_norm = row  # precision: 1 / scale
            standard = (z[:, None, :] - loc) * precision
            log_q = log_norm - 0.5 * jnp.sum(jnp.square(standard), axis=-1)  # [block of z, block of rows]
            return jnp.logaddexp(log_sum, jax.nn.logsumexp(log_q, axis=1)), None

        return jax.lax.scan(add, jnp.full(len(z), -jnp.inf, loc.dtype), rows)[0]

    return jax.lax.map(of_block, _blocks(z, block, 0.0)).reshape(-1)[: len(z)] - math.log(N)


def _blocks(rows: Array, block: int, fill: float | Array) -> Array:
    """[N, ...] -> [ceil(N / block), block, ...], filled up with `fill`."""
    surplus = -len(rows) % block
    widths = [(0, surplus)] + [(0, 0)] * (rows.ndim - 1)
    return jnp.pad(rows, widths, constant_values=fill).reshape(-1, block, *rows.shape[1:])
