"""Numbers of numpy in the place of Python's: kept as Python's, so that a spec is JSON, or refused."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.catalogue import small_vae
from vaejax import distributions, models, nets, objectives, train
from vaejax.checks import plain

KEY = jax.random.key(0)
FLOATS = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": lambda v: np.asarray(jnp.asarray(v, jnp.bfloat16))[()],
}
FACTORIES = {  # factory of likelihoods with one number, and that number's name
    "gaussian": ("scale", 0.25),
    "laplace": ("scale", 0.25),
    "gaussian_learned_scale": ("min_log_scale", -4.5),
    "discretised_logistic": ("min_log_scale", -4.5),
    "discretised_logistic_mixture": ("min_log_scale", -4.5),
}


@pytest.mark.parametrize("kind", FLOATS)
def test_likelihoods_keep_plain_numbers(kind):
    for name, (argument, number) in FACTORIES.items():
        make = getattr(distributions, name)
        likelihood = make(**{argument: FLOATS[kind](number)})
        assert likelihood.options == make(**{argument: number}).options
        assert type(likelihood.options[argument]) is float
    assert type(distributions.gaussian(np.int64(2)).options["scale"]) is int
    assert distributions.bernoulli(np.bool_(True)).options == {"cross_entropy": True}
    with pytest.raises(TypeError, match="cross_entropy: expected a bool, got 'yes'"):
        distributions.bernoulli("yes")
    for bad in (np.ones(2), np.ones(()), jnp.ones(()), np.bool_(True), "1", None, np.complex64(1)):
        with pytest.raises(TypeError, match="scale: expected a float, got"):
            distributions.gaussian(bad)
    with pytest.raises(ValueError, match="scale: expected a positive finite number, got nan"):
        distributions.gaussian(np.float32(np.nan))


def test_a_spec_of_numpy_numbers_is_json_and_that_of_python_s():
    def build(i, f):
        model = models.gaussian_vae(
            encoder=nets.MLPEncoder(latents=i(3), features=(i(8), i(4)), logvar_bias=f(-0.5)),
            decoder=nets.SharedScale(nets.MLP(features=[i(8)], output_shape=(i(5),)), f(0.25)),
            latents=i(3),
            likelihood=distributions.gaussian_learned_scale(f(-4.5)),
        )
        heads = {"critic": nets.Critic(features=(i(6),), slope=f(0.5)), "level": nets.Constant(f(0.25))}
        return models.with_heads(model, **heads)

    plain = build(int, float)
    for i, f in ((np.int64, np.float32), (np.int32, np.float64), (np.uint8, np.float16)):
        model = build(i, f)
        assert json.loads(json.dumps(model.spec)) == json.loads(json.dumps(plain.spec))
        again = models.from_spec(json.loads(json.dumps(model.spec)))
        assert json.dumps(again.spec) == json.dumps(models.from_spec(plain.spec).spec)


TERMS = {  # with Python's numbers, and with numpy's
    "auxiliary_regression": lambda i, f: objectives.auxiliary_regression(labels="x", scale=f(0.5)),
    "beta_tc": lambda i, f: objectives.beta_tc(dataset_size=i(50), alpha=f(1), beta=f(2.5), gamma=f(0.5)),
    "capacity": lambda i, f: objectives.capacity(f(0.5)),
    "ciwae": lambda i, f: objectives.ciwae(i(3), f(0.5), chunk=i(2)),
    "dip": lambda i, f: objectives.dip(lam_od=f(2.5), lam_d=f(0.5)),
    "dreg": lambda i, f: objectives.dreg(i(3)),
    "free_bits": lambda i, f: objectives.free_bits(f(0.25), groups=np.array([0, 1, 0])),
    "hessian": lambda i, f: objectives.hessian_penalty(method="hutchinson", probes=i(3), chunk=i(2)),
    "ima": lambda i, f: objectives.ima(ridge=f(0.25)),
    "iwae": lambda i, f: objectives.iwae(i(3), chunk=i(2)),
    "jacobian_l1": lambda i, f: objectives.jacobian_l1(method="columns", columns=i(2)),
    "finite differences": lambda i, f: objectives.jacobian_l1(method="finite_difference", eps=f(0.125)),
    "kumar_poole": lambda i, f: objectives.kumar_poole(beta=f(2.5), chunk=i(1)),
    "miwae": lambda i, f: objectives.miwae(i(2), i(3)),
    "orthogonality": lambda i, f: objectives.orthogonality(method="columns", columns=i(2)),
    "piwae": lambda i, f: objectives.piwae(i(2), i(2)),
    "renyi": lambda i, f: objectives.renyi(i(3), f(0.5)),
    "sliced_wasserstein": lambda i, f: objectives.sliced_wasserstein(directions=i(7)),
    "spectral_norm": lambda i, f: objectives.spectral_norm(iterations=i(3)),
    "target_rate": lambda i, f: objectives.target_rate(f(0.5)),
    "geco": lambda i, f: objectives.geco(objectives.reconstruction, f(1.5)),
}
HEADS = {"regressor": nets.MLP((), (5,)), "multiplier": nets.Constant(0.3)}


def test_terms_and_weights_of_numpy_numbers_are_those_of_python_s():
    model, x = small_vae(heads=HEADS)
    batch = {"x": jnp.asarray(x)}
    params = jax.eval_shape(lambda: model.init(KEY, batch)[0])

    def objective(i, f):
        scaled = {name: objectives.scaled(f(0.5), make(i, f)) for name, make in TERMS.items()}
        ramp = objectives.cosine_schedule(f(0), f(2), i(8))
        late = objectives.sigmoid_schedule(f(0), f(2), f(8), f(0.5))
        cycle = objectives.cyclical_schedule(f(2), i(8), cycles=i(2), ratio=f(0.5))
        schedules = {"ramp": ramp, "late": late, "cycle": cycle}
        rates = {name: objectives.scaled(s, objectives.kl) for name, s in schedules.items()}
        return objectives.compose(**scaled, **rates)

    def program(make):
        """Traced, not run, without addresses of functions; a shape may be of numpy's ints."""
        jaxpr = jax.make_jaxpr(lambda params: make(KEY, model.bind(params), batch, 3)[1][0])(params)
        return re.sub(r"np\.int64\((\d+)\)", r"\1", re.sub("0x[0-9a-f]+", "", str(jaxpr)))

    assert program(objective(np.int64, np.float32)) == program(objective(int, float))
    assert type(objectives.scaled(np.float32(0.5), objectives.kl).weight) is float
    assert type(objectives.scaled(np.int32(2), objectives.kl).weight) is int
    assert objectives.scaled(jnp.asarray(0.5), objectives.kl).weight == 0.5


def test_numbers_that_are_none_are_named():
    assert type(plain(np.uint8(3))) is int
    assert type(plain(np.float16(0.5))) is float
    for bad in (np.float32(3), np.asarray(3), jnp.asarray(3), np.bool_(True)):
        with pytest.raises(TypeError, match="K: expected an int, got"):
            objectives.iwae(bad)
    for bad in (np.ones(1), jnp.ones(()), np.bool_(True), "2"):
        with pytest.raises(TypeError, match="lam: expected a number, got"):
            objectives.free_bits(bad)
    with pytest.raises(ValueError, match=r"beta: expected a positive finite number, got 0\.0"):
        objectives.kumar_poole(beta=np.float32(0))

    def traced(beta):
        return objectives.kumar_poole(beta=beta)

    with pytest.raises(TypeError, match=r"beta: expected a number, got .*Tracer"):
        jax.jit(traced)(2.0)


def test_the_optimiser_of_geco_takes_them_too():
    numpy, python = (
        train.geco_optimizer(optax.sgd(0.1), rate=f(0.5), decay=f(0.5)) for f in (np.float32, float)
    )
    params = {"multiplier": jnp.zeros(()), "encoder": jnp.ones(2)}
    grads = {"multiplier": jnp.asarray(-2.0), "encoder": jnp.ones(2)}
    for one, other in zip(
        *(jax.tree.leaves(o.update(grads, o.init(params), params)[0]) for o in (numpy, python)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
