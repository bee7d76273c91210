"""The codes of a split, a batch at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import small_vae
from vaejax import evaluation, nets
from vaejax.data.transforms import binarise
from vaejax.models import posteriors, priors
from vaejax.types import Split

KEY = jax.random.key(0)
MODEL, X = small_vae()
X = np.tile(X, (4, 1))[:11]


@pytest.fixture(scope="module")
def vae():
    return MODEL.bind(jax.jit(MODEL.init)(KEY, {"x": X})[0])


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_every_example_has_its_code_in_its_place(vae, batch_size):
    flipped = Split({"x": X}, "binary", lambda key, batch: {**batch, "x": 1 - batch["x"]})
    codes = evaluation.encode(vae, flipped, batch_size=batch_size)
    assert isinstance(codes, np.ndarray)
    np.testing.assert_allclose(codes, evaluation.posterior_mean(vae, {"x": 1 - X}), rtol=1e-5, atol=1e-6)


def test_latents_in_parts_and_conditions():
    own = {
        "encoder": nets.Heads(nets.MLP((4,), (4,)), (nets.GaussianHead(2), nets.GaussianHead(1))),
        "posterior": posteriors.product(posteriors.gaussian(2), posteriors.gaussian(1)),
        "prior": priors.product(priors.standard(), priors.standard()),
        "conditional": True,
    }
    base, _ = small_vae(parts=own)
    c = np.float32(np.arange(11)[:, None])
    bound = base.bind(jax.jit(base.init)(KEY, {"x": X, "c": c})[0])
    codes = evaluation.encode(bound, Split({"x": X, "c": c}, "binary"), batch_size=4)
    assert [code.shape for code in codes] == [(11, 2), (11, 1)]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        codes,
        evaluation.posterior_mean(bound, {"x": X, "c": c}),
    )


def test_a_transform_that_draws_wants_a_key(vae):
    split = Split({"x": np.uint8(127 + X)}, "binary", binarise)
    with pytest.raises(ValueError, match=r"key: expected .* since the split's transform draws; got None"):
        evaluation.encode(vae, split)
    codes = [evaluation.encode(vae, split, key=key, batch_size=4) for key in (KEY, KEY, jax.random.key(1))]
    np.testing.assert_array_equal(codes[0], codes[1])
    assert not np.allclose(codes[0], codes[2])
    np.testing.assert_array_equal(codes[0], evaluation.encode(vae, split, key=KEY, batch_size=4))
    with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
        evaluation.encode(vae, split, key=0)


def test_data_that_are_no_split_are_named(vae):
    for wrong, message in (
        (X, r"split: expected a vaejax\.Split, as Split\(\{\"x\": x\}"),
        ({"x": X}, r"split: expected a vaejax\.Split, as Split\(arrays"),
    ):
        with pytest.raises(TypeError, match=message):
            evaluation.encode(vae, wrong)
    with pytest.raises(TypeError, match=r"vae: expected a vaejax\.VAE"):
        evaluation.encode(MODEL, Split({"x": X}, "binary"))
    assert jnp.ndim(evaluation.encode(vae, Split({"x": X}, "binary"))) == 2
