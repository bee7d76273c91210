"""Evaluation: from keys, models and data to numbers and arrays; nothing here plots or prints.

A model whose functions are `jax.tree_util.Partial`s over its parameters is compiled once, whatever these
are; a model of plain functions works too, and is compiled in each call.
"""

from vaejax.evaluation.ais import annealed_log_likelihood, sandwich
from vaejax.evaluation.classification import classification_error
from vaejax.evaluation.codes import posterior_mean
from vaejax.evaluation.collapse import collapse
from vaejax.evaluation.denoising import denoised, noise_of
from vaejax.evaluation.elbo import elbo_parts
from vaejax.evaluation.encode import encode
from vaejax.evaluation.evidence import bits_per_dim, marginal_log_likelihood, paired
from vaejax.evaluation.factor_codes import Codes, factor_codes
from vaejax.evaluation.features import (
    density_coverage,
    frechet_distance,
    precision_recall,
    sample_distances,
)
from vaejax.evaluation.gaps import gaps
from vaejax.evaluation.geometry import DecoderGeometry, decoder_geometry
from vaejax.evaluation.images import (
    mse,
    psnr,
    reconstruction_quality,
    sharpness,
    ssim,
    ssim_window,
    variance_explained,
)
from vaejax.evaluation.impute import Imputation, impute
from vaejax.evaluation.local_scores import local_scores
from vaejax.evaluation.modalities import coherence, conditional_log_likelihood
from vaejax.evaluation.moves import interpolate, jacobian_images, swap_condition, traverse
from vaejax.evaluation.round_trip import latent_distances
from vaejax.evaluation.scores import DisentanglementScores, disentanglement_scores
from vaejax.evaluation.sentences import perplexity, token_samples
from vaejax.evaluation.views import decoder_samples, level_reconstructions, prior_samples, reconstruct

__all__ = [
    "Codes",
    "DecoderGeometry",
    "DisentanglementScores",
    "Imputation",
    "annealed_log_likelihood",
    "bits_per_dim",
    "classification_error",
    "coherence",
    "collapse",
    "conditional_log_likelihood",
    "decoder_geometry",
    "decoder_samples",
    "denoised",
    "density_coverage",
    "disentanglement_scores",
    "elbo_parts",
    "encode",
    "factor_codes",
    "frechet_distance",
    "gaps",
    "impute",
    "interpolate",
    "jacobian_images",
    "latent_distances",
    "level_reconstructions",
    "local_scores",
    "marginal_log_likelihood",
    "mse",
    "noise_of",
    "paired",
    "perplexity",
    "posterior_mean",
    "precision_recall",
    "prior_samples",
    "psnr",
    "reconstruct",
    "reconstruction_quality",
    "sample_distances",
    "sandwich",
    "sharpness",
    "ssim",
    "ssim_window",
    "swap_condition",
    "token_samples",
    "traverse",
    "variance_explained",
]
