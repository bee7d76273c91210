"""Distributions over latents and data; the only importer of distrax."""

from vaejax.distributions.autoregressive import Autoregressive
from vaejax.distributions.categorical import Categorical, categorical
from vaejax.distributions.codes import AutoregressiveCodes, CodePoint, Codes, Coding
from vaejax.distributions.columns import ByColumns, by_columns
from vaejax.distributions.counts import NegativeBinomial, negative_binomial
from vaejax.distributions.diffusion import Diffusion, diffusion
from vaejax.distributions.discrete import OneHot
from vaejax.distributions.flow_likelihood import Dequantised, flow
from vaejax.distributions.flows import Flow
from vaejax.distributions.gaussian import FullGaussian, GaussianOnPath, diagonal_gaussian
from vaejax.distributions.joint import Joint, joint
from vaejax.distributions.kl import (
    has_closed_form,
    has_kl_per_dimension,
    is_diagonal_gaussian,
    is_one_hot,
    kl_divergence,
    kl_of_levels,
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
from vaejax.distributions.location_scale import Gaussian, Laplace, gaussian, gaussian_learned_scale, laplace
from vaejax.distributions.logistic import (
    DiscretisedLogistic,
    DiscretisedLogisticMixture,
    discretised_logistic,
    discretised_logistic_mixture,
)
from vaejax.distributions.mixture import GaussianMixture, Mixture, mixture_of
from vaejax.distributions.point import Point
from vaejax.distributions.score import score, score_each
from vaejax.distributions.token_sequence import TokenSequence, token_sequence
from vaejax.distributions.tokens import Tokens, one_hot

__all__ = [
    "Autoregressive",
    "AutoregressiveCodes",
    "Bernoulli",
    "ByColumns",
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
    "Joint",
    "Laplace",
    "Likelihood",
    "Mixture",
    "NegativeBinomial",
    "OneHot",
    "Point",
    "TokenSequence",
    "Tokens",
    "bernoulli",
    "by_columns",
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
    "joint",
    "kl_divergence",
    "kl_of_levels",
    "kl_or_sampled",
    "kl_per_dimension",
    "kl_per_dimension_or_sampled",
    "laplace",
    "logits",
    "mean",
    "mixture_of",
    "negative_binomial",
    "one_hot",
    "score",
    "score_each",
    "token_sequence",
]
