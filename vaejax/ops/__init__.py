"""Mathematics on arrays; jax and chex only."""

from vaejax.ops import (
    aggregate,
    bounds,
    chunks,
    codes,
    flows,
    hierarchy,
    interpolation,
    jacobian,
    kl,
    metric,
    mixtures,
    mmd,
    probes,
    sliced,
    slopes,
    tokens,
)

__all__ = [
    "aggregate",
    "bounds",
    "chunks",
    "codes",
    "flows",
    "hierarchy",
    "interpolation",
    "jacobian",
    "kl",
    "metric",
    "mixtures",
    "mmd",
    "probes",
    "sliced",
    "slopes",
    "tokens",
]
