"""Every public function in jax's other modes: float64 enabled, products on an accelerator, nan refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import EVENTS, LIKELIHOODS, SCHEDULES, TERMS, D, small_vae
from tests.ops.catalogue import NOT_OF_FLOATS, OPS
from vaejax import distributions, objectives, ops

KEY = jax.random.key(0)


def total(tree):
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(tree))


def dtypes(tree):
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


def equations(jaxpr):
    """All equations of a jaxpr and of those inside."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def test_every_public_function_of_ops_is_catalogued():
    public = {f"{file}.{name}" for file in ops.__all__ for name in getattr(ops, file).__all__}
    assert set(OPS) | NOT_OF_FLOATS == public


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ops_keep_the_dtype_of_their_arrays_where_float64_is_enabled(dtype, x64):
    """Traced, not run: a loop whose carry changes its dtype fails there already."""
    for name, (fn, arrays) in OPS.items():
        given = [jnp.asarray(a, dtype) for a in arrays]
        out = jax.eval_shape(fn, *given)
        assert dtypes(out) == {dtype}, name
        gradients = jax.eval_shape(jax.grad(lambda *a: total(fn(*a)), tuple(range(len(given)))), *given)  # noqa: B023
        assert dtypes(gradients) == {dtype}, name


def test_no_product_of_ops_is_left_to_the_accelerator_s_default_precision():
    """TPUs multiply in bfloat16, GPUs in tf32, unless told; what decoders multiply is the user's choice."""
    checked = []
    for name, (fn, arrays) in OPS.items():
        if arrays[-1].shape == (4, 5):  # the weights of a decoder
            continue
        jaxpr = jax.make_jaxpr(fn)(*[jnp.asarray(a, jnp.float32) for a in arrays]).jaxpr
        for eqn in equations(jaxpr):
            if eqn.primitive.name == "dot_general" and name != "sliced.random_directions":
                assert eqn.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2, name
                checked.append(name)
    assert {"aggregate.dip_penalty", "jacobian.orthogonality", "metric.log_det_diagonal"} <= set(checked)


def loss_of(entry, weight):
    """A composed loss of a float32 model as a function of its parameters, and their shapes."""
    model, x = small_vae(entry.likelihood(), entry.heads(), entry.parts())
    model = entry.wrap(model)
    batch = entry.batch({"x": jnp.asarray(x), "index": jnp.arange(len(x))})
    objective = objectives.compose(mine=objectives.scaled(weight, entry.make()))
    params, variables = jax.eval_shape(lambda: model.init(KEY, batch))
    variables = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), variables)

    def loss(params):
        value, (metrics, _) = objective(KEY, model.bind(params, variables), batch, jnp.asarray(3, jnp.int32))
        return value, metrics

    return loss, params


@pytest.mark.parametrize("name", TERMS)
def test_terms_of_a_float32_model_stay_float32_where_float64_is_enabled(name, x64):
    loss, params = loss_of(TERMS[name], np.float64(0.5))
    assert dtypes(params) == {"float32"}
    assert dtypes(jax.eval_shape(jax.value_and_grad(loss, has_aux=True), params)) == {"float32"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_leave_the_dtype_of_what_they_weigh(name, x64):
    loss, params = loss_of(TERMS["kl"], SCHEDULES[name][0]())
    assert dtypes(jax.eval_shape(jax.value_and_grad(loss, has_aux=True), params)) == {"float32"}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_of_float32_stay_float32_where_float64_is_enabled(name, x64):
    likelihood, event = LIKELIHOODS[name](), EVENTS.get(name, (D,))
    parameters = jnp.zeros((2, *likelihood.parameter_shape(event)), jnp.float32)
    x = jnp.zeros((2, *event), jnp.float32)

    def use(parameters):
        px = likelihood.build(parameters, len(event))
        return distributions.score(KEY, px, x), px.mean(), px.sample(seed=KEY)

    assert dtypes(jax.eval_shape(use, parameters)[:2]) == {"float32"}
    assert dtypes(jax.eval_shape(jax.grad(lambda p: total(use(p)[:2])), parameters)) == {"float32"}
