"""Terms and what makes an objective of them: everything in a loss is a cost, in nats per example."""

from vaejax.objectives.auxiliary import (
    auxiliary_classification,
    auxiliary_reconstruction,
    auxiliary_regression,
    info_nce,
)
from vaejax.objectives.codes import codebook, commitment
from vaejax.objectives.compose import compose, logs, mixes_examples, scaled, sees_step
from vaejax.objectives.coupling import hessian_penalty, ima, orthogonality
from vaejax.objectives.critics import (
    adversarial,
    adversarial_critic,
    total_correlation,
    total_correlation_critic,
)
from vaejax.objectives.diffusion import denoising_error
from vaejax.objectives.discrete import enumerated, leave_one_out
from vaejax.objectives.draw import log_weight, sample
from vaejax.objectives.elbo import (
    cross_entropy,
    kl,
    kl_sampled,
    optimal_gaussian_reconstruction,
    reconstruction,
)
from vaejax.objectives.geometry import column_group_l1, jacobian_l1, jacobian_l2, row_group_l1, spectral_norm
from vaejax.objectives.gradients import dreg, kl_stl, piwae
from vaejax.objectives.importance import ciwae, iwae, miwae, renyi
from vaejax.objectives.independence import beta_tc, dip
from vaejax.objectives.levels import balanced_kl, spectral
from vaejax.objectives.mixture import siwae, stratified
from vaejax.objectives.modalities import modality_reconstruction, sub_sampled
from vaejax.objectives.pairs import group
from vaejax.objectives.posterior_mean import contractive, kumar_poole, reconstruction_at_mean
from vaejax.objectives.rate import capacity, free_bits, geco, target_rate
from vaejax.objectives.schedules import (
    cosine_schedule,
    cyclical_schedule,
    late_schedule,
    ramp_schedule,
    sigmoid_schedule,
)
from vaejax.objectives.semi_supervised import semi_supervised
from vaejax.objectives.sparse import spike_and_slab
from vaejax.objectives.supervised import supervised
from vaejax.objectives.transport import mmd, sliced_wasserstein

__all__ = [
    "adversarial",
    "adversarial_critic",
    "auxiliary_classification",
    "auxiliary_reconstruction",
    "auxiliary_regression",
    "balanced_kl",
    "beta_tc",
    "capacity",
    "ciwae",
    "codebook",
    "column_group_l1",
    "commitment",
    "compose",
    "contractive",
    "cosine_schedule",
    "cross_entropy",
    "cyclical_schedule",
    "denoising_error",
    "dip",
    "dreg",
    "enumerated",
    "free_bits",
    "geco",
    "group",
    "hessian_penalty",
    "ima",
    "info_nce",
    "iwae",
    "jacobian_l1",
    "jacobian_l2",
    "kl",
    "kl_sampled",
    "kl_stl",
    "kumar_poole",
    "late_schedule",
    "leave_one_out",
    "log_weight",
    "logs",
    "miwae",
    "mixes_examples",
    "mmd",
    "modality_reconstruction",
    "optimal_gaussian_reconstruction",
    "orthogonality",
    "piwae",
    "ramp_schedule",
    "reconstruction",
    "reconstruction_at_mean",
    "renyi",
    "row_group_l1",
    "sample",
    "scaled",
    "sees_step",
    "semi_supervised",
    "sigmoid_schedule",
    "siwae",
    "sliced_wasserstein",
    "spectral",
    "spectral_norm",
    "spike_and_slab",
    "stratified",
    "sub_sampled",
    "supervised",
    "target_rate",
    "total_correlation",
    "total_correlation_critic",
]
