"""vaejax: variational autoencoders as pure functions in JAX.

A sub-package is imported when it is first used, and with it the libraries that it needs: matplotlib with
`plots`, distrax with `distributions`. `import vaejax` itself takes little longer than `import jax`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaejax.types import VAE, Draw, Model, Split, TrainState, Update

if TYPE_CHECKING:
    from vaejax import (
        data,
        disentanglement,
        distributions,
        evaluation,
        human,
        keys,
        models,
        nets,
        objectives,
        ops,
        plots,
        runs,
        train,
    )
    from vaejax.objectives import compose, log_weight, sample, scaled

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "Draw",
    "Model",
    "Split",
    "TrainState",
    "Update",
    "compose",
    "data",
    "disentanglement",
    "distributions",
    "evaluation",
    "human",
    "keys",
    "log_weight",
    "models",
    "nets",
    "objectives",
    "ops",
    "plots",
    "runs",
    "sample",
    "scaled",
    "train",
]

_OF_OBJECTIVES = ("compose", "log_weight", "sample", "scaled")


def __getattr__(name: str) -> Any:
    """Import what is used for the first time (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _OF_OBJECTIVES:
        globals()[name] = getattr(importlib.import_module(f"{__name__}.objectives"), name)
        return globals()[name]
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    """The public names, those that are not imported yet among them."""
    return sorted({*globals(), *__all__})
