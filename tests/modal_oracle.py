"""The exact linear-Gaussian model of three modalities: p(x_A) of every subset, posteriors, conditionals.

x_m = W_m z + b_m + sigma_m eps, z ~ N(0, I). The columns of each W_m are orthogonal, so that a modality's
likelihood, as a function of z, is a Gaussian with a diagonal covariance: N(W_m^+ (x_m - b_m), sigma_m^2
(W_m^T W_m)^-1).
"""

from __future__ import annotations

from itertools import combinations

import jax.numpy as jnp
import numpy as np
from scipy import stats

from vaejax import models, nets
from vaejax.distributions import gaussian, joint
from vaejax.models import posteriors

W = {
    "image": np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0], [0.0, -0.5]]),
    "sound": np.array([[0.7, 0.0], [0.0, 0.9]]),
    "text": np.array([[0.6, 0.8], [0.8, -0.6], [0.0, 0.0]]),
}
B = {
    "image": np.array([0.1, -0.2, 0.3, 0.0]),
    "sound": np.array([0.5, -0.1]),
    "text": np.array([0.2, 0.0, -0.4]),
}
SIGMA = {"image": 0.5, "sound": 0.7, "text": 0.4}
NAMES = tuple(sorted(W))
SUBSETS = [of for n in (1, 2, 3) for of in combinations(NAMES, n)]
D = 2


def data(n, seed=0):
    """n draws of all modalities: {name: [n, D_m]}."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, D))
    return {k: z @ W[k].T + B[k] + SIGMA[k] * rng.normal(size=(n, len(B[k]))) for k in NAMES}


def factor(name):
    """(A, a, v): the likelihood of x_m as a function of z is prop. to N(z; A x_m + a, diag v)."""
    gram = np.diag(W[name].T @ W[name])
    A = W[name].T / gram[:, None]
    return A, -A @ B[name], SIGMA[name] ** 2 / gram


def posterior_factor(name):
    """(A, a, v) of p(z|x_m): the factor times the prior."""
    A, a, v = factor(name)
    share = 1 / (1 + v)
    return share[:, None] * A, share * a, v * share


def moments(names):
    """Mean and covariance of the modalities side by side."""
    w = np.concatenate([W[k] for k in names])
    noise = np.concatenate([np.full(len(B[k]), SIGMA[k] ** 2) for k in names])
    return np.concatenate([B[k] for k in names]), w @ w.T + np.diag(noise)


def log_evidence(x, names=NAMES):
    """log p(x_A), [n]."""
    side_by_side = np.concatenate([x[k] for k in names], axis=1)
    return np.atleast_1d(stats.multivariate_normal(*moments(names)).logpdf(side_by_side))


def model(posterior=None):
    """The model by the builder, of linear nets."""
    return models.vae(
        encoder=nets.Modalities({k: nets.MLPEncoder(D, ()) for k in NAMES}),
        decoder=nets.PerModality({k: nets.MLP((), (len(B[k]),)) for k in NAMES}),
        posterior=posterior or posteriors.poe(D, len(NAMES)),
        likelihood=joint(**{k: gaussian(SIGMA[k]) for k in NAMES}),
    )


def exact_params(expert=factor):
    """The decoder of the definition, and for encoders the exact experts of either kind."""
    encoder, decoder = {}, {}
    for k in NAMES:
        A, a, v = expert(k)
        head = {
            "loc": {"kernel": A.T, "bias": a},
            "logvar": {"kernel": np.zeros_like(A.T), "bias": np.log(v)},
        }
        encoder[f"nets_{k}"] = {"head": head}
        decoder[f"nets_{k}"] = {"out": {"kernel": W[k].T, "bias": B[k]}}
    params = {"encoder": encoder, "decoder": decoder}
    return {group: _arrays(of) for group, of in params.items()}


def _arrays(tree):
    return {k: _arrays(v) if isinstance(v, dict) else jnp.asarray(v) for k, v in tree.items()}
