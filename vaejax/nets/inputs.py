"""What goes before another network to fit it to the data: masks, counts, bytes."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from vaejax.nets.around import check_net
from vaejax.precision import as_floats
from vaejax.types import Array


class Masked(nn.Module):
    """An encoder that sees where x was observed, beside x with 0 in its holes: what `net` gives, of any kind.

    The mask is appended to the last axis: C channels, or D numbers of a vector, become twice as many. It is
    the outermost net, but for `FromBytes`, `FromCounts` and, as a body, `Heads`: a `Beside` goes inside. A
    batch without a mask is one without holes.

    Args:
      net: what takes x and the mask as one, and whatever else it is called with.

    Raises:
      TypeError: if net is not a Flax module.

    Source: Mattei & Frellsen 2019, arXiv 1812.02633, whose encoder sees the zeros alone; the mask, as for
    instance Collier, Nazabal & Williams 2020, arXiv 2006.05301, tells a hole from a zero.
    """

    net: nn.Module
    sees_observed = True  # how a builder knows that the net wants the mask

    def __post_init__(self) -> None:
        check_net(self.net, "net")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, observed: Array, *others: Array):
        return self.net(jnp.concatenate([x, observed.astype(x.dtype)], axis=-1), *others)


class FromCounts(nn.Module):
    """A network that sees log(1 + x) for counts x: what `net` gives, of any kind.

    Args:
      net: what takes x, and whatever else it is called with.
      columns: the places of the counts on the last axis; None: all are counts.

    Raises:
      TypeError: if net is not a Flax module.
      ValueError: if columns are no ints of at least 0.
    """

    net: nn.Module
    columns: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_net(self.net, "net")
        columns = self.columns
        if columns is not None and not (columns and all(type(i) is int and i >= 0 for i in columns)):
            raise ValueError(f"columns: expected places of at least 0, as (4, 5), or None; got {columns!r}")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array):
        x = as_floats(x)
        if self.columns is None:
            return self.net(jnp.log1p(x), *others)
        places = jnp.array(self.columns)
        return self.net(x.at[..., places].set(jnp.log1p(x[..., places])), *others)

    @property
    def sees_observed(self) -> bool:
        """Whether the net wants the mask of data with holes."""
        return getattr(self.net, "sees_observed", False)


class FromBytes(nn.Module):
    """A network that sees bytes 0..255 as x / 127.5 - 1 in [-1, 1]: what `net` gives, of any kind.

    Args:
      net: what takes x, and whatever else it is called with.

    Raises:
      TypeError: if net is not a Flax module.
    """

    net: nn.Module

    def __post_init__(self) -> None:
        check_net(self.net, "net")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *others: Array):
        return self.net(as_floats(x) / 127.5 - 1, *others)

    @property
    def sees_observed(self) -> bool:
        """Whether the net wants the mask of data with holes."""
        return getattr(self.net, "sees_observed", False)
