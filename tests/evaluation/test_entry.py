"""A model on its way into a compiled program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from vaejax import distributions, models, nets
from vaejax.evaluation import entry
from vaejax.types import VAE


def test_what_several_functions_of_a_model_hold_enters_once():
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=2, features=(3,)), decoder=nets.MLP((), (4,)), latents=2,
        likelihood=distributions.bernoulli(),
    )  # fmt: skip
    batch = {"x": jnp.ones((2, 4))}
    params, _ = model.init(jax.random.key(0), batch)
    vae = model.bind(params)
    once = entry._Once(vae)
    assert len(jax.tree.leaves(once)) == len(jax.tree.leaves(params)) < len(jax.tree.leaves(vae))
    inside = jax.tree.map(lambda a: 2 * a, once)
    assert isinstance(inside, VAE)
    jax.tree.map(np.testing.assert_array_equal, inside, jax.tree.map(lambda a: 2 * a, vae))
    seen = jax.jit(lambda vae: vae.represent(batch))(once)
    np.testing.assert_allclose(seen, vae.represent(batch), rtol=1e-6)


def test_equal_arrays_of_two_kinds_stay_two():
    """What is one object in one model and two in the next has programs of its own."""
    a, b = jnp.ones(2), jnp.ones(2)
    shared, apart = (
        entry._Once(VAE(Partial(jnp.add, x), Partial(jnp.add, y), None, {})) for x, y in ((a, a), (a, b))
    )
    traced = []

    @jax.jit
    def total(vae):
        traced.append(vae)
        return vae.encode(1.0) + 2 * vae.decode(1.0)

    for vae in (shared, apart, shared):
        np.testing.assert_array_equal(total(vae), [6.0, 6.0])
    assert len(traced) == 2
