"""Terms and what makes an objective of them: everything in a loss is a cost, in nats per example."""

from vaejax.objectives.compose import compose, mixes_examples, scaled
from vaejax.objectives.draw import log_weight, sample
from vaejax.objectives.elbo import kl, kl_sampled, reconstruction
from vaejax.objectives.geometry import jacobian_l1
from vaejax.objectives.importance import iwae

__all__ = [
    "compose",
    "iwae",
    "jacobian_l1",
    "kl",
    "kl_sampled",
    "log_weight",
    "mixes_examples",
    "reconstruction",
    "sample",
    "scaled",
]
