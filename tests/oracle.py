"""The exact linear-Gaussian VAE: everything that a VAE estimates, in closed form.

x = W z + b + sigma eps, z ~ N(0, I):  p(x) = N(b, W W^T + sigma^2 I), and with M = W^T W + sigma^2 I the
posterior is N(M^-1 W^T (x - b), sigma^2 M^-1). With orthogonal columns of W it is diagonal.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from scipy import stats

from vaejax import models, nets
from vaejax.distributions import Gaussian, diagonal_gaussian, gaussian
from vaejax.keys import example_keys
from vaejax.models import posteriors
from vaejax.types import VAE, Draw, Model

W = np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0], [0.0, -0.5]])  # orthogonal columns
B = np.array([0.1, -0.2, 0.3, 0.0])
SIGMA = 0.5


def linear_vae(sigma: float = SIGMA) -> Model:
    """q(z|x) = N(A x + a, diag(exp(log_scale)^2)), p(x|z) = N(W z + b, sigma^2 I)."""

    def encode(params, key, batch):
        x = batch["x"]
        loc = x @ params["A"].T + params["a"]
        scale = jnp.broadcast_to(jnp.exp(params["log_scale"]), loc.shape)
        q, p = diagonal_gaussian(loc, scale), diagonal_gaussian(jnp.zeros_like(loc), jnp.ones_like(loc))
        eps = jax.vmap(lambda k: jax.random.normal(k, loc.shape[1:], loc.dtype))(example_keys(key, batch))
        z = loc + scale * eps
        return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)

    def decode(params, z, c=None):
        assert c is None
        return Gaussian(z @ params["W"].T + params["b"], sigma, 1)

    def sample_prior(d, key, n, c=None):
        return jax.random.normal(key, (n, d))

    def bind(params, variables=None, *, step=None):
        d = params["decoder"]["W"].shape[1]
        prior = Partial(lambda key, n, c=None: sample_prior(d, key, n))
        return VAE(Partial(encode, params["encoder"]), Partial(decode, params["decoder"]), prior, {})

    def init(key, batch):
        return exact_params(), None

    return Model(init, bind, "real", {})


def linear_of(**parts) -> Model:
    """The same by the builder, of linear nets; `parts` of `models.vae` take the place of its own."""
    D, d = W.shape
    own = {
        "encoder": nets.MLPEncoder(latents=d, features=()),
        "decoder": nets.MLP(features=(), output_shape=(D,)),
        "posterior": posteriors.gaussian(d),
        "likelihood": gaussian(SIGMA),
    }
    return models.vae(**(own | parts))


def exact_params(w=W, b=B, sigma=SIGMA):
    """The decoder (W, b) and the encoder that is its exact posterior; W has orthogonal columns."""
    w, b = np.asarray(w), np.asarray(b)
    m = np.diag(w.T @ w) + sigma**2
    assert np.allclose(w.T @ w, np.diag(np.diag(w.T @ w)))
    a = w.T / m[:, None]
    encoder = {"A": a, "a": -a @ b, "log_scale": 0.5 * np.log(sigma**2 / m)}
    return jax.tree.map(jnp.asarray, {"encoder": encoder, "decoder": {"W": w, "b": b}})


def log_evidence(x, w=W, b=B, sigma=SIGMA):
    """log p(x) of [n, D] points."""
    return stats.multivariate_normal(b, w @ w.T + sigma**2 * np.eye(len(b))).logpdf(x)


def data(n, seed=0, w=W, b=B, sigma=SIGMA):
    """n draws of p(x), [n, D]."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, w.shape[1]))
    return z @ w.T + b + sigma * rng.normal(size=(n, len(b)))
