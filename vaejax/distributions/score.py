"""The one way in which x is scored."""

from __future__ import annotations

from vaejax.types import Array, Distribution

__all__ = ["score"]


def score(key: Array, px: Distribution, x: Array) -> Array:
    """log p(x|z), with the shapes checked: densities broadcast in silence, this does not.

    Args:
      key: used by likelihoods that are themselves bounds (those with `is_bound`).
      px: batch shape [B], events of the shape of one example.
      x: [B, ...].

    Returns:
      [B] nats, summed over event dimensions.

    Raises:
      ValueError: if x has another shape than a sample of px.
    """
    expected = tuple(px.batch_shape) + tuple(px.event_shape)
    if x.shape != expected:
        raise ValueError(f"x: expected the shape of p(x|z), {expected}; got {x.shape}")
    if getattr(px, "is_bound", False):
        return px.log_prob_bound(key, x)
    return px.log_prob(x)
