"""Every public function in jax's other modes: float64 enabled, products on an accelerator, nan refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import EVENTS, LIKELIHOODS, SCHEDULES, TERMS, D, small_vae
from tests.families import build
from tests.ops.catalogue import NOT_OF_FLOATS, OPS
from vaejax import distributions, models, nets, objectives, ops
from vaejax.data import transforms

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


def parts_of(**parts):
    """A model of one array x, its encoder dense."""
    own = {"latents": 2, "encoder": nets.MLPEncoder(2, (4,), event_ndims=3)}
    return models.gaussian_vae(**{**own, **parts})


BYTES = np.zeros((2, 4, 4, 1), np.uint8)  # as they are stored, where no transform has made floats of them
REALS, TABLE = (np.zeros((2, *event), np.float32) for event in ((4, 4, 1), (4,)))
WORDS = np.ones((2, 3), np.int32)
INVERTIBLE = nets.ImageFlow(nets.MLP((4,), (4, 4, 2)), (4, 4, 1), 1, features=4)
DENSE = {"encoder": nets.MLPEncoder(2, (4,)), "decoder": nets.MLP((4,), (4,))}
OF_NETWORKS = {  # what has networks in its likelihood, parameters in its prior, or a state
    "diffusion_of_bytes": (
        lambda: parts_of(
            encoder=nets.FromBytes(nets.MLPEncoder(2, (4,))),
            decoder=nets.Denoiser((4,), embed=4, features=(4,), schedule="learned"),
            likelihood=distributions.diffusion(support="bytes", sampling_steps=2),
        ),
        BYTES[:, 0, :, 0],
    ),
    "diffusion_in_steps": (
        lambda: parts_of(
            encoder=nets.MLPEncoder(2, (4,)),
            decoder=nets.Denoiser((4,), embed=4, features=(4,)),
            likelihood=distributions.diffusion(3, sampling_steps=2, eta=0.0),
        ),
        TABLE,
    ),
    "flow_of_bytes": (
        lambda: parts_of(
            encoder=nets.FromBytes(nets.MLPEncoder(2, (4,), event_ndims=3)),
            decoder=INVERTIBLE,
            likelihood=distributions.flow("uniform"),
        ),
        BYTES,
    ),
    "sentences": (
        lambda: parts_of(
            encoder=nets.LSTMEncoder(2, 5, features=4, embedding=3),
            decoder=nets.LSTMDecoder(3, 5, features=4, embedding=3),
            likelihood=distributions.token_sequence(),
        ),
        WORDS,
    ),
    "pixels": (
        lambda: parts_of(
            decoder=nets.GatedPixelCNN((4, 4, 1), 4, (3,)), likelihood=distributions.gaussian()
        ),
        REALS,
    ),
    "counts": (
        lambda: parts_of(
            encoder=nets.FromCounts(nets.MLPEncoder(2, (4,))),
            decoder=nets.MLP((4,), (8,)),
            likelihood=distributions.by_columns({"0:4": distributions.negative_binomial()}),
        ),
        WORDS[:, [0, 1, 2, 2]],
    ),
    "optimal_scale": (
        lambda: models.optimal_scale(parts_of(**DENSE, likelihood=distributions.gaussian())), TABLE,
    ),
    "feature_scales": (
        lambda: models.feature_scales(parts_of(**DENSE, likelihood=distributions.gaussian()), examples=9),
        TABLE,
    ),
    **{
        f"{posterior} and {prior}": (lambda q=posterior, p=prior: build(q, p, False), TABLE)
        for posterior, prior in (
            ("categorical", "categorical"), ("gaussian", "gaussian_mixture"), ("gaussian", "vamp"),
            ("vq_means", "codes"), ("fsq", "codes"),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_models_of_float32_stay_so_where_float64_is_enabled(name, x64):
    """What a program gives on must have the dtype that it takes: a training would not even compile."""
    make, x = OF_NETWORKS[name]
    model, batch = make(), {"x": jnp.asarray(x), "index": jnp.arange(len(x))}
    params, variables = jax.eval_shape(model.init, KEY, batch)

    def use(params, variables):
        def loss(params):
            vae = model.bind(params, variables, step=jnp.zeros((), jnp.int32))
            draw = objectives.sample(KEY, vae, batch)
            nats = draw.log_px - objectives.kl(KEY, vae, draw)
            return jnp.sum(nats), (draw.z, draw.log_q, draw.log_p, draw.log_px, draw.variables)

        vae = model.bind(params, variables)
        drawn = vae.decode(vae.sample_prior(KEY, 2)).sample(seed=KEY)
        return jax.value_and_grad(loss, has_aux=True)(params), drawn

    made = jax.eval_shape(use, params, variables)
    both = jax.tree.leaves((params, variables, made))
    floats = {leaf.dtype.name for leaf in both if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert floats == {"float32"}


def test_bits_are_drawn_alike_where_float64_is_enabled():
    x = np.arange(64, dtype=np.uint8).reshape(4, 16)
    drawn = transforms.binarise(KEY, {"x": x})["x"]
    with jax.enable_x64(True):
        again = transforms.binarise(KEY, {"x": x})["x"]
    np.testing.assert_array_equal(drawn, again)
