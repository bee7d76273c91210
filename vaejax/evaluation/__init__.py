"""Evaluation: from keys, models and data to numbers and arrays; nothing here plots or prints."""

from vaejax.evaluation.aggregate import aggregate_log_density
from vaejax.evaluation.ais import annealed_log_likelihood, sandwich
from vaejax.evaluation.collapse import collapse
from vaejax.evaluation.dci import DCI, dci, dci_from, dci_linear
from vaejax.evaluation.disentanglement import Score, mig, mig_from, modularity, modularity_from, sap, sap_from
from vaejax.evaluation.elbo import elbo_parts, representation
from vaejax.evaluation.factor_codes import Codes, factor_codes
from vaejax.evaluation.geometry import DecoderGeometry, decoder_geometry
from vaejax.evaluation.images import mse, psnr, reconstruction_quality, sharpness, ssim, ssim_window
from vaejax.evaluation.information import discretise, entropy, mutual_information
from vaejax.evaluation.interventions import (
    FactorSampler,
    beta_vae_score,
    factor_sampler,
    factor_vae_score,
    image_sampler,
    irs,
)
from vaejax.evaluation.latents import latent_distances
from vaejax.evaluation.likelihood import bits_per_dim, marginal_log_likelihood, paired
from vaejax.evaluation.local import LocalScores, local_clusters, local_scores, represent_factors, score_local
from vaejax.evaluation.posterior import gaps
from vaejax.evaluation.posterior_mig import mig_chen
from vaejax.evaluation.predictors import explicitness, sap_svm
from vaejax.evaluation.scores import DisentanglementScores, disentanglement_scores
from vaejax.evaluation.sparsity import hoyer, kurtosis, main_share
from vaejax.evaluation.unsupervised import (
    gaussian_total_correlation,
    pairwise_information,
    wasserstein_correlation,
)
from vaejax.evaluation.views import (
    decoder_samples,
    interpolate,
    jacobian_images,
    prior_samples,
    reconstruct,
    traverse,
)

__all__ = [
    "DCI",
    "Codes",
    "DecoderGeometry",
    "DisentanglementScores",
    "FactorSampler",
    "LocalScores",
    "Score",
    "aggregate_log_density",
    "annealed_log_likelihood",
    "beta_vae_score",
    "bits_per_dim",
    "collapse",
    "dci",
    "dci_from",
    "dci_linear",
    "decoder_geometry",
    "decoder_samples",
    "discretise",
    "disentanglement_scores",
    "elbo_parts",
    "entropy",
    "explicitness",
    "factor_codes",
    "factor_sampler",
    "factor_vae_score",
    "gaps",
    "gaussian_total_correlation",
    "hoyer",
    "image_sampler",
    "interpolate",
    "irs",
    "jacobian_images",
    "kurtosis",
    "latent_distances",
    "local_clusters",
    "local_scores",
    "main_share",
    "marginal_log_likelihood",
    "mig",
    "mig_chen",
    "mig_from",
    "modularity",
    "modularity_from",
    "mse",
    "mutual_information",
    "paired",
    "pairwise_information",
    "prior_samples",
    "psnr",
    "reconstruct",
    "reconstruction_quality",
    "represent_factors",
    "representation",
    "sandwich",
    "sap",
    "sap_from",
    "sap_svm",
    "score_local",
    "sharpness",
    "ssim",
    "ssim_window",
    "traverse",
    "wasserstein_correlation",
]
