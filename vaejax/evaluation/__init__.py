"""Evaluation: from keys, models and data to numbers and arrays; nothing here plots or prints."""

from vaejax.evaluation.aggregate import aggregate_log_density
from vaejax.evaluation.disentanglement import Score, mig, mig_from, modularity, modularity_from
from vaejax.evaluation.elbo import elbo_parts, representation
from vaejax.evaluation.information import discretise, entropy, mutual_information
from vaejax.evaluation.local import LocalScores, local_clusters, local_scores, represent_factors, score_local
from vaejax.evaluation.views import interpolate, jacobian_images, prior_samples, reconstruct, traverse

__all__ = [
    "LocalScores",
    "Score",
    "aggregate_log_density",
    "discretise",
    "elbo_parts",
    "entropy",
    "interpolate",
    "jacobian_images",
    "local_clusters",
    "local_scores",
    "mig",
    "mig_from",
    "modularity",
    "modularity_from",
    "mutual_information",
    "prior_samples",
    "reconstruct",
    "represent_factors",
    "representation",
    "score_local",
    "traverse",
]
