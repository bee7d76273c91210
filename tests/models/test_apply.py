"""Nets that keep state or ask for a key: refused by name when a model is initialised."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vaejax import distributions, models, nets, objectives

KEY = jax.random.key(0)
BATCH = {"x": jnp.ones((2, 3))}


class Layer(nn.Module):
    kind: str

    @nn.compact
    def __call__(self, h):
        if self.kind == "normalised":
            h = nn.BatchNorm(use_running_average=False)(h)
        elif self.kind == "averaged":
            h = nn.BatchNorm(use_running_average=True)(h)
        elif self.kind == "spectral":
            h = nn.SpectralNorm(nn.Dense(3))(h, update_stats=True)
        elif self.kind == "dropped":
            h = nn.Dropout(0.5, deterministic=False)(h)
        elif self.kind == "untold dropout":
            h = nn.Dropout(0.5)(h)
        elif self.kind == "untold norm":
            h = nn.BatchNorm()(h)
        elif self.kind == "noisy":
            h = h + jax.random.normal(self.make_rng("noise"), h.shape)
        elif self.kind == "constant":
            h = h * self.variable("constants", "scale", jnp.ones, 3).value
        elif self.kind == "loss":
            self.sow("losses", "norm", jnp.sum(h**2))
        elif self.kind == "late" and not self.is_initializing():
            h = h * self.variable("constants", "scale", jnp.ones, 3).value
        elif self.kind == "written" and not self.is_initializing():
            self.put_variable("memory", "last", h)
        elif self.kind == "intermediates":
            self.sow("intermediates", "h", h)
        elif self.kind == "evaluated":
            h = nn.Dropout(0.5, deterministic=True)(nn.LayerNorm()(h))
        return h


class Net(nn.Module):
    kind: str
    parts: int = 1

    @nn.compact
    def __call__(self, h):
        h = Layer(self.kind, name="layer")(nn.Dense(3)(h))
        out = tuple(nn.Dense(3)(h) for _ in range(self.parts))
        return out if self.parts > 1 else out[0]


def model(place, kind):
    """A model that has the net at the place."""
    vae = models.gaussian_vae(
        encoder=Net(kind, 2) if place == "encoder" else nets.MLPEncoder(latents=3, features=()),
        decoder=Net(kind) if place == "decoder" else nets.MLP(features=(), output_shape=(3,)),
        latents=3,
        likelihood=distributions.bernoulli(),
    )
    return models.with_heads(vae, critic=Net(kind)) if place == "critic" else vae


IMPURE = {
    "normalised": "has 'layer/BatchNorm_0/mean' in 'batch_stats'; .* use nn.GroupNorm or nn.LayerNorm",
    "averaged": "has 'layer/BatchNorm_0/mean' in 'batch_stats'; .* use nn.GroupNorm or nn.LayerNorm",
    "spectral": "has 'layer/SpectralNorm_0/Dense_0/kernel/sigma' in 'batch_stats'",
    "dropped": 'asks for a key: Dropout_0 needs PRNG for "dropout"; .*leave nn.Dropout out or make it',
    "untold dropout": "has a layer without 'deterministic'; .*leave nn.Dropout out or make it",
    "untold norm": "has a layer without 'use_running_average'; .* use nn.GroupNorm or nn.LayerNorm",
    "noisy": 'asks for a key: layer needs PRNG for "noise"; nets get no key',
    "constant": "has 'layer/scale' in 'constants'; nothing would keep it",
    "loss": "has 'layer/norm/0' in 'losses'; nothing would keep it",
    "late": 'asks for state: Tried to access "scale" from collection "constants" in "/layer"',
    "written": 'asks for state: Cannot update variable "last" in "/layer" because collection "memory"',
}
CASES = [("encoder", kind) for kind in IMPURE]
CASES += [(place, kind) for place in ("decoder", "critic") for kind in ("normalised", "dropped", "late")]


@pytest.mark.parametrize(("place", "kind"), CASES)
def test_a_net_that_is_no_function_of_parameters_and_input_is_refused(place, kind):
    message = f"^{place}: expected a net that is a function of its parameters and its input alone; Net "
    with pytest.raises(ValueError, match=message + IMPURE[kind]):
        jax.eval_shape(model(place, kind).init, KEY, BATCH)


@pytest.mark.parametrize("kind", ["normalised", "dropped"])
def test_and_where_parameters_from_elsewhere_are_bound(kind):
    params = jax.eval_shape(Net(kind, 2).init, KEY, BATCH["x"])["params"]
    params = {"encoder": jax.tree.map(lambda a: jnp.ones(a.shape), params), "decoder": {}}
    with pytest.raises(ValueError, match=r"^Net: expected a net that is a function .* Net asks for"):
        jax.eval_shape(model("encoder", kind).bind(params).encode, KEY, BATCH)


@pytest.mark.parametrize("kind", ["intermediates", "evaluated"])
def test_what_neither_keeps_nor_draws_is_taken(kind):
    bound = model("encoder", kind)

    @jax.jit
    def means(key):
        params, variables = bound.init(key, BATCH)
        draw = objectives.sample(key, bound.bind(params, variables), BATCH)
        return draw.q.mean(), Net(kind, 2).apply({"params": params["encoder"]}, BATCH["x"])[0]

    np.testing.assert_array_equal(*means(KEY))


def test_data_of_another_shape_than_the_parameters_are_for_say_so():
    made = model("encoder", "evaluated")
    params, _ = jax.eval_shape(made.init, KEY, BATCH)
    message = r"Net: expected inputs of the shapes that its parameters are for, got \(\(2, 5\),\)"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda p: made.bind(p).encode(KEY, {"x": jnp.ones((2, 5))}).z, params)
