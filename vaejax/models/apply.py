"""The one place where a Flax module meets its parameters."""

from __future__ import annotations

from typing import Any

from flax import linen as nn

from vaejax.types import PyTree


def apply(net: nn.Module, params: PyTree, *arrays: Any) -> Any:
    """`net(*arrays)` with these parameters; type checkers misread flax's own `apply`."""
    return net.apply({"params": params}, *arrays)
