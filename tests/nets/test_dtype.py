"""The house's nets in half precision: inner layers in it, parameters and heads in float32."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import NETS, net_inputs
from vaejax import distributions, models, nets
from vaejax.models.spec import _built, net_spec

KEY = jax.random.key(0)
LAYERS = ("Conv", "ConvTranspose")  # of nets, not nets: their output is in what they compute in
HEADS = {"DenseLadder": 0, "GatedEncoder": 3}  # one has none, one a context
WITH_DTYPE = [name for name, (make, *_) in NETS.items() if hasattr(make(), "dtype")]
# what has products in loops: how many it has in float32, of heads, of the net `start` and of the 1x1 maps
LOOPS = {"Denoiser": 1, "FlatFlow": 3, "ImageFlow": 10, "LSTMDecoder": 1, "LSTMEncoder": 2, "UNet": 1}


PRODUCTS = ("dot_general", "strided_convolve", "strided_convolve_transpose")


def products(net, variables, inputs):
    """The dtypes of a net's matrix products and convolutions, in order."""
    jaxpr = jax.make_jaxpr(net.apply)(variables, *inputs)
    return [e.outvars[0].aval.dtype.name for e in jaxpr.eqns if e.primitive.name in PRODUCTS]


def all_products(jaxpr):
    """Those in loops too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in PRODUCTS:
            yield equation.outvars[0].aval.dtype.name
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            if hasattr(inner, "eqns"):
                yield from all_products(getattr(inner, "jaxpr", inner))


def test_all_nets_with_layers_of_their_own_have_it():
    assert set(NETS) - set(WITH_DTYPE) == {
        "Beside", "BlockDecoder", "Constant", "Embeddings", "First", "FromBytes", "FromCounts",
        "GaussianHead", "Heads", "Masked", "Modalities", "PerModality", "PixelHead", "SharedScale",
    }  # fmt: skip


def two(name):
    """A net, itself in half precision, inputs of both, and parameters none of which is zero."""
    make = NETS[name][0]
    plain, half = make(), make().clone(dtype=jnp.bfloat16)
    inputs = net_inputs(name, 2)
    shapes_of = [jax.eval_shape(net.init, KEY, *inputs) for net in (plain, half)]
    assert shapes_of[0] == shapes_of[1]
    assert {a.dtype.name for a in jax.tree.leaves(shapes_of[1])} == {"float32"}
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda a: jnp.float32(rng.normal(size=a.shape) * (a.shape[-1] / a.size) ** 0.5), shapes_of[0]
    )
    return plain, half, inputs, variables


@pytest.mark.parametrize("name", sorted({*WITH_DTYPE} - {*LOOPS}))
def test_inner_layers_are_in_half_precision_and_nothing_else(name):
    plain, half, inputs, variables = two(name)
    out, rounded = jax.jit(lambda v, x: (plain.apply(v, *x), half.apply(v, *x)))(variables, inputs)
    heads = HEADS.get(name, 0 if name in LAYERS else 2 if name.endswith("Encoder") else 1)
    dtypes = products(half, variables, inputs)
    assert set(dtypes[: len(dtypes) - heads]) == {"bfloat16"}
    assert dtypes[len(dtypes) - heads :] == ["float32"] * heads
    assert set(products(plain, variables, inputs)) == {"float32"}
    for a, b in zip(jax.tree.leaves(out), jax.tree.leaves(rounded), strict=True):
        assert b.dtype == (jnp.bfloat16 if name in LAYERS else jnp.float32)
        error = np.abs(np.asarray(b, np.float32) - a).max()
        assert 0 < error < 0.05 * max(1.0, np.abs(a).max())


@pytest.mark.parametrize("name", LOOPS)
def test_inner_layers_of_what_has_loops_are_in_half_precision_and_nothing_else(name):
    """In the value, and in the gradient, which is near that in float32."""
    plain, half, inputs, variables = two(name)
    variables = jax.tree.map(lambda a: 0.3 * a, variables)  # flows have exponents of what nets give

    def loss(variables, net):
        out = jax.tree.leaves(net.apply(variables, *inputs))
        return sum(jnp.sum(jnp.tanh(a)) for a in out), out

    @jax.jit
    def both(variables):
        return [jax.value_and_grad(loss, has_aux=True)(variables, net) for net in (plain, half)]

    ((_, out), gradient), ((_, rounded), of_rounded) = both(variables)
    for a, b in zip(out, rounded, strict=True):
        assert b.dtype == jnp.float32
        error = np.abs(b - a).max()
        assert 0 < error < 0.05 * max(1.0, np.abs(a).max())
    assert {a.dtype.name for a in jax.tree.leaves(of_rounded)} == {"float32"}
    a, b = (np.concatenate([np.ravel(g) for g in jax.tree.leaves(tree)]) for tree in (gradient, of_rounded))
    assert np.linalg.norm(a - b) < 0.05 * np.linalg.norm(a)
    jaxprs = [jax.make_jaxpr(net.apply)(variables, *inputs).jaxpr for net in (plain, half)]
    of_plain, of_half = (list(all_products(jaxpr)) for jaxpr in jaxprs)
    assert set(of_plain) == {"float32"}
    assert of_half.count("float32") == LOOPS[name]
    assert of_half.count("bfloat16") == len(of_plain) - LOOPS[name] > 0


def test_a_sentence_word_by_word_is_what_it_is_in_one_pass_in_half_precision_too():
    net = nets.LSTMDecoder(3, 5, features=4, embedding=3, dtype="bfloat16")
    z, x = net_inputs("LSTMDecoder", 2)
    variables = two("LSTMDecoder")[3]

    @jax.jit
    def both(z, x):
        carry, before, steps = net.apply(variables, z, method="start"), jnp.full((2,), -1), []
        for t in range(3):
            carry, logits = net.apply(variables, z, carry, before, method="step")
            before, steps = x[:, t], [*steps, logits]
        return net.apply(variables, z, x), jnp.stack(steps, axis=1)

    np.testing.assert_allclose(*both(z, x), atol=0.02)


@pytest.mark.parametrize("name", WITH_DTYPE)
def test_a_dtype_is_its_name_in_a_spec_and_absent_where_there_is_none(name):
    net = NETS[name][0]()
    assert "dtype" not in net_spec(net)["options"]  # so that specs of old runs are what they were
    assert _built(nets, json.loads(json.dumps(net_spec(net)))) == net
    for dtype in ("bfloat16", jnp.bfloat16, np.dtype(jnp.bfloat16)):
        half = net.clone(dtype=dtype)
        assert half.dtype == net_spec(half)["options"]["dtype"] == "bfloat16"
        assert _built(nets, json.loads(json.dumps(net_spec(half)))) == half
    assert half != net


def test_a_model_in_half_precision_is_built_again_from_its_spec():
    model = models.gaussian_vae(
        encoder=nets.FromBytes(nets.MLPEncoder(latents=2, features=(3,), dtype="bfloat16")),
        decoder=nets.SharedScale(nets.MLP((3,), (5,), dtype="float16")),
        latents=2,
        likelihood=distributions.discretised_logistic(),
    )
    again = models.from_spec(json.loads(json.dumps(model.spec)))
    assert again.spec == model.spec
    assert again.spec["encoder"]["options"]["net"]["options"]["dtype"] == "bfloat16"


@pytest.mark.parametrize("dtype", ["int8", "half precision", 16, bool, np.complex64])
def test_what_is_no_floating_point_dtype_is_refused(dtype):
    with pytest.raises(TypeError, match="dtype: expected a floating point dtype or None, got"):
        nets.MLP((2,), (1,), dtype=dtype)
