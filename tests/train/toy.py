"""A model of two vectors that compiles in a moment, and what the tests of the loop do with it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from vaejax.keys import example_keys
from vaejax.train import fit, gradient_update
from vaejax.types import VAE, Model, Split

KEY = jax.random.key(7)
DATA = Split({"x": np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)}, "real")
START = {"encoder": [1.0, -2.0, 0.5], "decoder": 3.0, "critic": [0.25, 4.0]}


def toy_model(start=START, support="real", variables=None) -> Model:
    """Groups of plain arrays, exposed as heads: vae.heads["encoder"]() is the array."""

    def bind(params, variables=None, *, step=None):
        return VAE(None, None, None, {name: Partial(jnp.asarray, p) for name, p in params.items()})

    def init(key, batch):
        return {name: jnp.asarray(a, jnp.float32) for name, a in start.items()}, variables

    return Model(init, bind, support, {})


def toy_objective(traces=None, nan_from=None):
    """mean_b |x_b - encoder + eps_b|^2 + decoder^2; a list counts traces; nan from a step on."""

    def objective(key, vae, batch, step):
        if traces is not None:
            traces.append(1)
        eps = jax.vmap(lambda k: jax.random.normal(k, (3,)))(example_keys(key, batch))
        near = jnp.mean(jnp.sum((batch["x"] - vae.heads["encoder"]() + eps) ** 2, axis=-1))
        if nan_from is not None:
            near = jnp.where(step >= nan_from, jnp.nan, near)
        size = vae.heads["decoder"]() ** 2
        loss = near + size
        return loss, ({"loss": loss, "near": near, "size": size}, None)

    return objective


def toy_update(objective=None, optimizer=None, model=None, **options):
    optimizer = optax.adam(0.05) if optimizer is None else optimizer
    return gradient_update(objective or toy_objective(), model or toy_model(), optimizer, **options)


def toy_fit(steps, *, update=None, model=None, data=DATA, key=KEY, batch_size=6, progress=False, **options):
    model = model or toy_model()
    update = update or toy_update(model=model)
    return fit(key, model, update, data, steps, batch_size=batch_size, progress=progress, **options)


def assert_same(a, b):
    """Two trees are bit-identical, dtypes included."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


def assert_same_fit(a, b):
    assert_same(a.state, b.state)
    assert a.metrics.keys() == b.metrics.keys()
    for name in a.metrics:
        np.testing.assert_array_equal(a.metrics[name], b.metrics[name], err_msg=name)
