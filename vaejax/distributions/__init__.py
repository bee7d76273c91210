"""Distributions over latents and data; the only importer of distrax."""

from vaejax.distributions.autoregressive import Autoregressive
from vaejax.distributions.categorical import Categorical, categorical
from vaejax.distributions.codes import AutoregressiveCodes, CodePoint, Codes, Coding
from vaejax.distributions.diffusion import Diffusion, diffusion
from vaejax.distributions.discrete import OneHot
from vaejax.distributions.flow_likelihood import Dequantised, flow
from vaejax.distributions.flows import Flow
from vaejax.distributions.gaussian import FullGaussian, GaussianOnPath, diagonal_gaussian
from vaejax.distributions.kl import (
    has_closed_form,
    has_kl_per_dimension,
    is_diagonal_gaussian,
    is_one_hot,
    kl_divergence,
    kl_or_sampled,
    kl_per_dimension,
    kl_per_dimension_or_sampled,
)
from vaejax.distributions.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    Likelihood,
    bernoulli,
    continuous_bernoulli,
    logits,
    mean,
)
from vaejax.distributions.location_scale import (
    Gaussian,
    Laplace,
    gaussian,
    gaussian_learned_scale,
    laplace,
)
from vaejax.distributions.logistic import (
    DiscretisedLogistic,
    DiscretisedLogisticMixture,
    discretised_logistic,
    discretised_logistic_mixture,
)
from vaejax.distributions.mixture import GaussianMixture, Mixture, mixture_of
from vaejax.distributions.point import Point
from vaejax.distributions.score import score
from vaejax.distributions.tokens import TokenSequence, token_sequence

__all__ = [
    "Autoregressive",
    "AutoregressiveCodes",
    "Bernoulli",
    "Categorical",
    "CodePoint",
    "Codes",
    "Coding",
    "ContinuousBernoulli",
    "Dequantised",
    "Diffusion",
    "DiscretisedLogistic",
    "DiscretisedLogisticMixture",
    "Flow",
    "FullGaussian",
    "Gaussian",
    "GaussianMixture",
    "GaussianOnPath",
    "Laplace",
    "Likelihood",
    "Mixture",
    "OneHot",
    "Point",
    "TokenSequence",
    "bernoulli",
    "categorical",
    "continuous_bernoulli",
    "diagonal_gaussian",
    "diffusion",
    "discretised_logistic",
    "discretised_logistic_mixture",
    "flow",
    "gaussian",
    "gaussian_learned_scale",
    "has_closed_form",
    "has_kl_per_dimension",
    "is_diagonal_gaussian",
    "is_one_hot",
    "kl_divergence",
    "kl_or_sampled",
    "kl_per_dimension",
    "kl_per_dimension_or_sampled",
    "laplace",
    "logits",
    "mean",
    "mixture_of",
    "score",
    "token_sequence",
]
