"""Terms and what makes an objective of them: everything in a loss is a cost, in nats per example."""

from vaejax.objectives.compose import compose, mixes_examples, scaled
from vaejax.objectives.coupling import hessian_penalty, orthogonality
from vaejax.objectives.critics import (
    adversarial,
    adversarial_critic,
    total_correlation,
    total_correlation_critic,
)
from vaejax.objectives.draw import log_weight, sample
from vaejax.objectives.elbo import kl, kl_sampled, optimal_gaussian_reconstruction, reconstruction
from vaejax.objectives.geometry import (
    column_group_l1,
    jacobian_l1,
    jacobian_l2,
    row_group_l1,
    spectral_norm,
)
from vaejax.objectives.gradients import dreg, kl_stl, piwae
from vaejax.objectives.importance import ciwae, iwae, miwae, renyi
from vaejax.objectives.independence import beta_tc, dip
from vaejax.objectives.posterior_mean import contractive, kumar_poole, reconstruction_at_mean
from vaejax.objectives.transport import mmd, sliced_wasserstein

__all__ = [
    "adversarial",
    "adversarial_critic",
    "beta_tc",
    "ciwae",
    "column_group_l1",
    "compose",
    "contractive",
    "dip",
    "dreg",
    "hessian_penalty",
    "iwae",
    "jacobian_l1",
    "jacobian_l2",
    "kl",
    "kl_sampled",
    "kl_stl",
    "kumar_poole",
    "log_weight",
    "miwae",
    "mixes_examples",
    "mmd",
    "optimal_gaussian_reconstruction",
    "orthogonality",
    "piwae",
    "reconstruction",
    "reconstruction_at_mean",
    "renyi",
    "row_group_l1",
    "sample",
    "scaled",
    "sliced_wasserstein",
    "spectral_norm",
    "total_correlation",
    "total_correlation_critic",
]
