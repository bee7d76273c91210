"""Disentanglement: functions of codes and factors; `evaluation` takes them on a model."""

from vaejax.disentanglement.dci import DCI, dci, dci_from, dci_linear, dci_real
from vaejax.disentanglement.information import discrete_entropy, discrete_mutual_information, discretise
from vaejax.disentanglement.interventions import (
    FactorSampler,
    beta_vae_score,
    factor_sampler,
    factor_vae_score,
    image_sampler,
    irs,
)
from vaejax.disentanglement.linear import LinearModel, linear_models
from vaejax.disentanglement.local import LocalScores, local_clusters, represent_factors, score_local
from vaejax.disentanglement.matrices import mig, mig_from, modularity, modularity_from, sap, sap_from
from vaejax.disentanglement.mcc import mcc, mcc_linear
from vaejax.disentanglement.posterior_mig import mig_chen
from vaejax.disentanglement.predictors import explicitness, sap_svm
from vaejax.disentanglement.score import Score
from vaejax.disentanglement.sparsity import hoyer, kurtosis, main_share
from vaejax.disentanglement.unsupervised import (
    gaussian_total_correlation,
    pairwise_information,
    wasserstein_correlation,
)

__all__ = [
    "DCI",
    "FactorSampler",
    "LinearModel",
    "LocalScores",
    "Score",
    "beta_vae_score",
    "dci",
    "dci_from",
    "dci_linear",
    "dci_real",
    "discrete_entropy",
    "discrete_mutual_information",
    "discretise",
    "explicitness",
    "factor_sampler",
    "factor_vae_score",
    "gaussian_total_correlation",
    "hoyer",
    "image_sampler",
    "irs",
    "kurtosis",
    "linear_models",
    "local_clusters",
    "main_share",
    "mcc",
    "mcc_linear",
    "mig",
    "mig_chen",
    "mig_from",
    "modularity",
    "modularity_from",
    "pairwise_information",
    "represent_factors",
    "sap",
    "sap_from",
    "sap_svm",
    "score_local",
    "wasserstein_correlation",
]
