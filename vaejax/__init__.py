"""vaejax: variational autoencoders as pure functions in JAX."""

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
from vaejax.types import VAE, Draw, Model, Split, TrainState, Update

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
