"""Small flow posteriors and priors, with parameters of order one: what the tests of flows share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.models import posteriors, priors

NET = {"features": (6,), "activation": "tanh"}  # smooth, so that quadrature is exact to many digits
POSTERIORS = {  # d -> a family
    "planar": lambda d=2: posteriors.planar(d, 3),
    "radial": lambda d=2: posteriors.radial(d, 3),
    "sylvester": lambda d=2: posteriors.sylvester(d, 2, 2),
    "iaf": lambda d=2: posteriors.iaf(d, 3, context=4, **NET),
    "iaf_alone": lambda d=2: posteriors.iaf(d, 2, **NET),
    "autoregressive": lambda d=2: posteriors.autoregressive(d, 2, context=4, **NET),
    "autoregressive_affine": lambda d=2: posteriors.autoregressive(d, 3, context=4, kind="affine", **NET),
    "coupling": lambda d=2: posteriors.coupling(d, 3, context=4, **NET),
    "coupling_spline": lambda d=2: posteriors.coupling(
        d, 2, context=4, kind="spline", bins=5, bound=3.0, **NET
    ),
    "stack": lambda d=2: posteriors.stack(
        posteriors.planar(d, 2), posteriors.iaf(d, 1, context=3, **NET), posteriors.coupling(d, 2, **NET)
    ),
}
PRIORS = {
    "coupling": lambda: priors.flow(3, **NET),
    "coupling_spline": lambda: priors.flow(2, kind="spline", **NET),
    "autoregressive": lambda: priors.flow(2, autoregressive=True, **NET),
    "autoregressive_spline": lambda: priors.flow(2, kind="spline", autoregressive=True, **NET),
}


def random_like(tree, seed=0, scale=0.35):
    """Numbers below one in place of every array of a tree, or of its shapes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(scale * rng.normal(size=a.shape)), tree)


def parameters_of(family, B, seed=0):
    """What an encoder may give for B examples: (loc, logvar) near a standard normal, numbers of order one."""
    rng = np.random.default_rng(seed)
    loc, logvar, *numbers = (rng.normal(size=(B, *shape)) for shape in family.parameters)
    return jax.tree.map(jnp.asarray, (0.5 * loc, 0.3 * logvar, *numbers))


def own_of(family, seed=0):
    """Random parameters of the family's own, in place of those that it starts from."""
    zeros = tuple(jnp.zeros((1, *shape)) for shape in family.parameters)
    return random_like(jax.eval_shape(lambda: family.init(jax.random.key(0), zeros)[0]), seed)
