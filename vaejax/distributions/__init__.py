"""Distributions over latents and data; the only importer of distrax."""

from vaejax.distributions.gaussian import diagonal_gaussian
from vaejax.distributions.kl import has_closed_form, kl_divergence, kl_or_sampled, kl_per_dimension
from vaejax.distributions.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    Gaussian,
    Likelihood,
    bernoulli,
    continuous_bernoulli,
    gaussian,
    logits,
    mean,
)
from vaejax.distributions.score import score

__all__ = [
    "Bernoulli",
    "ContinuousBernoulli",
    "Gaussian",
    "Likelihood",
    "bernoulli",
    "continuous_bernoulli",
    "diagonal_gaussian",
    "gaussian",
    "has_closed_form",
    "kl_divergence",
    "kl_or_sampled",
    "kl_per_dimension",
    "logits",
    "mean",
    "score",
]
