"""Distributions over latents and data; the only importer of distrax."""

from vaejax.distributions.autoregressive import Autoregressive
from vaejax.distributions.categorical import Categorical, categorical
from vaejax.distributions.codes import AutoregressiveCodes, CodePoint, Codes, Coding
from vaejax.distributions.discrete import OneHot
from vaejax.distributions.flows import Flow
from vaejax.distributions.gaussian import FullGaussian, GaussianOnPath, diagonal_gaussian
from vaejax.distributions.joint import Joint, joint
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
from vaejax.distributions.score import score, score_each
from vaejax.distributions.tokens import Tokens, one_hot

__all__ = [
    "Autoregressive",
    "AutoregressiveCodes",
    "Bernoulli",
    "Categorical",
    "CodePoint",
    "Codes",
    "Coding",
    "ContinuousBernoulli",
    "DiscretisedLogistic",
    "DiscretisedLogisticMixture",
    "Flow",
    "FullGaussian",
    "Gaussian",
    "GaussianMixture",
    "GaussianOnPath",
    "Joint",
    "Laplace",
    "Likelihood",
    "Mixture",
    "OneHot",
    "Point",
    "Tokens",
    "bernoulli",
    "categorical",
    "continuous_bernoulli",
    "diagonal_gaussian",
    "discretised_logistic",
    "discretised_logistic_mixture",
    "gaussian",
    "gaussian_learned_scale",
    "has_closed_form",
    "has_kl_per_dimension",
    "is_diagonal_gaussian",
    "is_one_hot",
    "joint",
    "kl_divergence",
    "kl_or_sampled",
    "kl_per_dimension",
    "kl_per_dimension_or_sampled",
    "laplace",
    "logits",
    "mean",
    "mixture_of",
    "one_hot",
    "score",
    "score_each",
]
