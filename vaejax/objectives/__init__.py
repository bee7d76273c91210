"""Terms and what makes an objective of them: everything in a loss is a cost, in nats per example."""

from vaejax.objectives.compose import compose, mixes_examples, scaled
from vaejax.objectives.draw import log_weight, sample
from vaejax.objectives.elbo import kl, kl_sampled, optimal_gaussian_reconstruction, reconstruction
from vaejax.objectives.geometry import jacobian_l1
from vaejax.objectives.gradients import dreg, kl_stl, piwae
from vaejax.objectives.importance import ciwae, iwae, miwae, renyi

__all__ = [
    "ciwae",
    "compose",
    "dreg",
    "iwae",
    "jacobian_l1",
    "kl",
    "kl_sampled",
    "kl_stl",
    "log_weight",
    "miwae",
    "mixes_examples",
    "optimal_gaussian_reconstruction",
    "piwae",
    "reconstruction",
    "renyi",
    "sample",
    "scaled",
]
