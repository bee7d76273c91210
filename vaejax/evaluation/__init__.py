"""Evaluation: from keys, models and data to numbers and arrays; nothing here plots or prints."""

from vaejax.evaluation.aggregate import aggregate_log_density
from vaejax.evaluation.ais import annealed_log_likelihood, sandwich
from vaejax.evaluation.collapse import collapse
from vaejax.evaluation.disentanglement import Score, mig, mig_from, modularity, modularity_from
from vaejax.evaluation.elbo import elbo_parts, representation
from vaejax.evaluation.geometry import DecoderGeometry, decoder_geometry
from vaejax.evaluation.images import mse, psnr, reconstruction_quality, ssim, ssim_window
from vaejax.evaluation.information import discretise, entropy, mutual_information
from vaejax.evaluation.latents import latent_distances
from vaejax.evaluation.likelihood import bits_per_dim, marginal_log_likelihood
from vaejax.evaluation.local import LocalScores, local_clusters, local_scores, represent_factors, score_local
from vaejax.evaluation.posterior import gaps
from vaejax.evaluation.sparsity import hoyer, kurtosis, main_share
from vaejax.evaluation.views import interpolate, jacobian_images, prior_samples, reconstruct, traverse

__all__ = [
    "DecoderGeometry",
    "LocalScores",
    "Score",
    "aggregate_log_density",
    "annealed_log_likelihood",
    "bits_per_dim",
    "collapse",
    "decoder_geometry",
    "discretise",
    "elbo_parts",
    "entropy",
    "gaps",
    "hoyer",
    "interpolate",
    "jacobian_images",
    "kurtosis",
    "latent_distances",
    "local_clusters",
    "local_scores",
    "main_share",
    "marginal_log_likelihood",
    "mig",
    "mig_from",
    "modularity",
    "modularity_from",
    "mse",
    "mutual_information",
    "prior_samples",
    "psnr",
    "reconstruct",
    "reconstruction_quality",
    "represent_factors",
    "representation",
    "sandwich",
    "score_local",
    "ssim",
    "ssim_window",
    "traverse",
]
