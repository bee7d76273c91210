"""One latent, one datum: z ~ N(m, 1), x|z ~ N(w z, .7^2), x = 1.3, q = N(loc, exp(log_scale)^2).

The noise of sample k of example b is read from `batch["eps"][b, k]`: with the nodes of a quadrature as
examples, weighted means over the batch are expectations, without Monte Carlo.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from tests import oracle
from vaejax import objectives
from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.keys import named_key
from vaejax.types import VAE, Draw

KEY = jax.random.key(0)
X, SIGMA = 1.3, 0.7
PARAMS = {"encoder": {"loc": 0.2, "log_scale": -0.3}, "decoder": {"w": 0.8}, "prior": {"m": 0.0}}
LOG_PX, ELBO = -1.7278350, -2.3411995


def grid(K, n=48):
    """Nodes [n^K, K] and weights [n^K] of the standard normal in K dimensions."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    meshes = np.meshgrid(*[nodes] * K, indexing="ij")
    products = np.prod(np.meshgrid(*[weights / weights.sum()] * K, indexing="ij"), axis=0)
    return np.stack([mesh.ravel() for mesh in meshes], -1), products.ravel()


def vae_of(params, K):
    """The model whose k-th private sample under KEY, of K, has the k-th column of noise."""
    keys = jax.random.key_data(jax.vmap(lambda k: named_key(k, "encode"))(jax.random.split(KEY, K)))

    def encode(encoder, prior, key, batch):
        k = jnp.argmax((keys == jax.random.key_data(key)).all(-1))  # 0 for a key that is none of them
        eps = batch["eps"][:, k, None]
        q = diagonal_gaussian(encoder["loc"] + 0 * eps, jnp.exp(encoder["log_scale"]) + 0 * eps)
        p = diagonal_gaussian(prior["m"] + 0 * eps, 1 + 0 * eps)
        z = encoder["loc"] + jnp.exp(encoder["log_scale"]) * eps
        return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)

    def decode(decoder, z, c=None):
        return Gaussian(decoder["w"] * z, SIGMA, 1)

    encode = Partial(encode, params["encoder"], params["prior"])
    return VAE(encode, Partial(decode, params["decoder"]), None, {})


def values_and_gradients(term, K, n=48, params=None):
    """Of one term at every node, as costs: values [n^K], gradients with leaves [n^K], and the weights."""
    eps, weights = grid(K, n)

    def cost(params, eps):
        vae, batch = vae_of(params, K), {"x": jnp.full((1, 1), X), "eps": eps[None]}
        return term(KEY, vae, objectives.sample(KEY, vae, batch))[0]

    run = jax.jit(jax.vmap(jax.value_and_grad(cost), (None, 0)))
    return *run(jax.tree.map(jnp.asarray, params or PARAMS), jnp.asarray(eps)), weights


def at_nodes(K, bound=None, n=48, **terms):
    """One program of several terms: {name: (values, gradients)}, `expected_bound` with gradient, weights."""

    @jax.jit
    def run(params):
        found = {name: values_and_gradients(term, K, n, params)[:2] for name, term in terms.items()}
        return found, jax.value_and_grad(expected_bound)(params, bound, K, n) if bound else None

    return *jax.tree.map(np.asarray, run(PARAMS)), grid(K, n)[1]


def expected_bound(params, bound_of, K, n=48):
    """E bound_of(log w [K, ...]) by quadrature, every density written out."""
    eps, weights = grid(K, n)
    loc, scale = params["encoder"]["loc"], jnp.exp(params["encoder"]["log_scale"])
    log_normal = lambda v, m, s: -0.5 * ((v - m) / s) ** 2 - jnp.log(s) - 0.5 * jnp.log(2 * jnp.pi)  # noqa: E731
    z = loc + scale * eps.T
    joint = log_normal(X, params["decoder"]["w"] * z, SIGMA) + log_normal(z, params["prior"]["m"], 1.0)
    return jnp.sum(weights * bound_of(joint - log_normal(z, loc, scale)))


def monte_carlo(term, seed, keys=40, copies=500):
    """A bound (the negative cost) and its gradients in q, one mean over copies of x per key: [keys]."""
    params = {
        "encoder": {"A": jnp.zeros((1, 1)), "a": jnp.array([0.2]), "log_scale": jnp.array([-0.3])},
        "decoder": {"W": jnp.array([[0.8]]), "b": jnp.zeros(1)},
    }
    model, x = oracle.linear_vae(SIGMA), jnp.full((copies, 1), X)
    objective = objectives.compose(bound=term)

    def bound(encoder, key):
        vae = model.bind({"encoder": encoder, "decoder": params["decoder"]})
        return -objective(key, vae, {"x": x}, 0)[0]

    run = jax.jit(jax.vmap(jax.value_and_grad(bound), (None, 0)))
    return run(params["encoder"], jax.random.split(jax.random.fold_in(KEY, seed), keys))
