"""Models of equal parts have equal functions: what is compiled for one serves the next."""

from __future__ import annotations

import json
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from tests.catalogue import LIKELIHOODS, small_vae
from vaejax import distributions, evaluation, models, nets, objectives, runs
from vaejax.fixed import Fixed
from vaejax.models.spec import net_spec
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY = jax.random.key(0)


class Own(nn.Module):
    """A net of the user's, with a field of any kind."""

    width: int
    field: Any = None

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.width)(x), nn.Dense(self.width)(x)


def plain(**change):
    parts = {
        "encoder": nets.MLPEncoder(latents=2, features=(3,)),
        "decoder": nets.SharedScale(nets.MLP(features=(3,), output_shape=(6,))),
        "latents": 2,
        "likelihood": distributions.gaussian_learned_scale(),
    }
    return models.gaussian_vae(**(parts | change))


def pixels(features=4):
    return plain(
        encoder=nets.FromBytes(nets.MLPEncoder(latents=2, features=(3,), event_ndims=3)),
        decoder=nets.GatedPixelCNN((2, 3, 1), features, (3,), 256, context=None),
        likelihood=distributions.categorical(),
    )


def optimal(scale=1.0, slope=0.2):
    vae = plain(decoder=nets.MLP((3,), (6,)), likelihood=distributions.gaussian(scale))
    return models.with_heads(models.optimal_scale(vae), critic=nets.Critic((3,), slope))


# how a model is made, what makes another of it, the shape of x
MODELS = {
    "plain": (plain, {"encoder": nets.MLPEncoder(latents=2, features=(3,), activation="tanh")}, (6,)),
    "decoder": (plain, {"decoder": nets.SharedScale(nets.MLP((3,), (6,), "tanh"))}, (6,)),
    "likelihood": (plain, {"likelihood": distributions.gaussian_learned_scale(-5.0)}, (6,)),
    "autoregressive": (pixels, {"features": 8}, (2, 3, 1)),
    "heads": (optimal, {"slope": 0.1}, (6,)),
    "scale": (optimal, {"scale": 2.0}, (6,)),
    "started": (lambda **c: models.starting_from(plain(**c), {}), {"latents": 1, "encoder": Own(1)}, (6,)),
    "sequential": (
        lambda width=3: models.with_heads(plain(), critic=nn.Sequential([nn.Dense(width), nn.relu])),
        {"width": 4},
        (6,),
    ),
    "dict": (lambda field=1: plain(encoder=Own(2, {"a": [field], "b": (1, {})})), {"field": 2}, (6,)),
    "own": (lambda field=1: plain(encoder=Own(2, field)), {"field": 2}, (6,)),
}


def structure(model, shape):
    x = jnp.zeros((1, *shape))
    params, variables = jax.eval_shape(model.init, KEY, {"x": x})
    return jax.tree.structure(model.bind(params, variables))


@pytest.mark.parametrize("name", MODELS)
def test_equal_parts_make_equal_functions_and_others_do_not(name):
    make, change, shape = MODELS[name]
    one, again, other = (structure(m, shape) for m in (make(), make(), make(**change)))
    assert one == again
    assert hash(one) == hash(again)
    assert one != other
    if name not in ("sequential", "dict", "own"):
        assert structure(models.from_spec(json.loads(json.dumps(make().spec))), shape) == one


@pytest.mark.parametrize("field", [np.ones(2), {"a": [np.ones(2)]}, {1}], ids=str)
def test_a_net_without_a_hash_works_and_is_equal_to_itself_alone(field):
    model = plain(encoder=Own(2, field))
    one, same = (structure(model, (6,)) for _ in range(2))
    assert one == same
    assert structure(plain(encoder=Own(2, field)), (6,)) != one
    shape = jax.eval_shape(lambda: model.bind(model.init(KEY, {"x": jnp.ones((1, 6))})[0]).encode(
        KEY, {"x": jnp.ones((4, 6))}).z)  # fmt: skip
    assert shape.shape == (4, 2)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_are_equal_by_factory_and_options(name):
    make = LIKELIHOODS[name]
    assert make() == make()
    assert hash(make()) == hash(make())
    assert sum(make() == other() for other in LIKELIHOODS.values()) == 1
    own = distributions.Likelihood(make().name, make().support, lambda parameters, n: None, make().options)
    assert own != make()


def test_fixed_is_partial_with_equality():
    fixed = Fixed(divmod, 7)
    assert fixed(2) == (3, 1)
    assert Fixed(dict, [("a", 1)])(b=2) == {"a": 1, "b": 2}
    assert fixed == Fixed(divmod, 7)
    assert fixed not in (Fixed(divmod, 8), Fixed(pow, 7), Fixed(divmod), divmod)
    assert repr(fixed) == "Fixed(<built-in function divmod>, 7)"


@pytest.fixture
def compiled(caplog):
    """A function that runs another and counts what was compiled meanwhile."""

    def count(function):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            function()
        return sum(record.getMessage().startswith("Compiling ") for record in caplog.records)

    return count


def test_a_model_that_is_built_again_compiles_nothing_again(compiled):
    split = Split({"x": np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)}, "real")
    numbers = []

    def evaluate(**change):
        model = plain(**change)
        params = jax.tree.map(
            lambda a: np.full(a.shape, 0.1, np.float32),
            jax.eval_shape(model.init, KEY, {"x": split.arrays["x"]}),
        )[0]
        numbers.append(evaluation.elbo_parts(KEY, model.bind(params), split)["neg_elbo"])

    assert compiled(evaluate) > 0
    assert compiled(evaluate) == 0
    assert compiled(evaluate) == 0
    tanh = nets.MLPEncoder(latents=2, features=(3,), activation="tanh")  # of the same shapes
    assert compiled(lambda: evaluate(encoder=tanh)) > 0
    assert numbers[0] == numbers[1] == numbers[2] != numbers[3]


def test_runs_of_one_architecture_are_evaluated_by_one_program(compiled, tmp_path):
    model, x = small_vae()
    split = Split({"x": x}, "binary")
    update = gradient_update(
        objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl), model, optax.sgd(0.1)
    )
    runs.create(tmp_path, {}, model)
    fit(KEY, model, update, split, 1, batch_size=3, folder=tmp_path, progress=False)

    def evaluate():
        evaluation.elbo_parts(KEY, runs.load(tmp_path).vae, split, aggregate=False)

    assert [compiled(evaluate) > 0, compiled(evaluate), compiled(evaluate)] == [True, 0, 0]


def test_nets_inside_a_tuple_are_plain_data(monkeypatch):
    class Chain(nn.Module):
        """A net with a tuple of nets, as if it were one of the house's."""

        links: tuple[nn.Module, ...]
        sizes: tuple[tuple[int, int], ...] = ()

        @nn.compact
        def __call__(self, x):
            for net in self.links:
                x = net(x)
            return x

    monkeypatch.setattr(nets, "Chain", Chain, raising=False)
    monkeypatch.setattr(nets, "__all__", [*nets.__all__, "Chain"])
    links = (nets.MLP((3,), (4,)), nets.FromBytes(nets.MLPEncoder(latents=2, features=())))
    model = plain(encoder=Chain(links, ((1, 2), (3, 4))))
    again = models.from_spec(json.loads(json.dumps(model.spec)))
    assert again.spec == model.spec
    assert structure(again, (6,)) == structure(model, (6,))


def test_a_mask_is_plain_data():
    net = nets.Conv(2, (1, 2), mask=jnp.asarray([[[[1.0, 0.0]], [[0.0, 1.0]]]]))
    spec = json.loads(json.dumps(net_spec(net)))
    assert spec["options"]["mask"] == [[[[1.0, 0.0]], [[0.0, 1.0]]]]
    again = models.spec._built(nets, spec)
    x = jnp.arange(12.0).reshape(3, 4, 1)
    params = {"params": {"kernel": jnp.ones((1, 2, 1, 2)), "bias": jnp.ones(2)}}
    np.testing.assert_array_equal(again.apply(params, x), net.apply(params, x))
    assert net_spec(again) == net_spec(net)
