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


def products(net, variables, inputs):
    """The dtypes of a net's matrix products and convolutions, in order."""
    jaxpr = jax.make_jaxpr(net.apply)(variables, *inputs)
    names = ("dot_general", "strided_convolve", "strided_convolve_transpose")
    return [e.outvars[0].aval.dtype.name for e in jaxpr.eqns if e.primitive.name in names]


def test_all_nets_with_layers_of_their_own_have_it():
    assert set(NETS) - set(WITH_DTYPE) == {
        "Beside", "BlockDecoder", "Constant", "Denoiser", "Embeddings", "First", "FlatFlow", "FromBytes",
        "FromCounts", "GaussianHead", "Heads", "ImageFlow", "LSTMDecoder", "LSTMEncoder", "Masked",
        "Modalities", "PerModality", "PixelHead", "SharedScale", "UNet",
    }  # fmt: skip


@pytest.mark.parametrize("name", WITH_DTYPE)
def test_inner_layers_are_in_half_precision_and_nothing_else(name):
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
