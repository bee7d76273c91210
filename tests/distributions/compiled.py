"""Evaluating a likelihood in one program, where eager operations would each compile."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def compiled(likelihood, parameters, x, event_ndims):
    """log p(x) and the mean."""

    @jax.jit
    def run(parameters, x):
        px = likelihood.build(parameters, event_ndims)
        return px.log_prob(x), px.mean()

    log_p, mean = run(jnp.asarray(parameters), jnp.asarray(x))
    return np.asarray(log_p), np.asarray(mean)
