"""Networks over codes: what each place sees, by all codes that there are, and the layers by hand."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.nets.test_pixelcnn import random_params
from vaejax import nets

KEY, V = jax.random.key(0), 3


def transformer(places, values=V, **options):
    return nets.CausalTransformer(places, values, width=8, blocks=2, heads=2, **options)


def pixelcnn(places, values=V, **options):
    return nets.CodePixelCNN(places, values, features=16, kernels=(3, 3), embed=5, **options)


def all_codes(places):
    k = itertools.product(range(V), repeat=int(np.prod(places)))
    return np.array(list(k), np.int32).reshape(-1, *places)


@pytest.mark.parametrize("make", [transformer, pixelcnn])
@pytest.mark.parametrize("places", [(2, 2), (1, 2, 2)])
def test_a_place_sees_just_the_codes_before_it(make, places):
    """Codes of one beginning have the same logits next, any other beginning has others; c reaches all."""
    net, k = make(places), all_codes(places)
    P, n = int(np.prod(places)), len(k)
    c = np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32)
    params = random_params(net, k, c)

    @jax.jit
    def run(params, k, c):
        given = net.apply({"params": params}, k, jnp.broadcast_to(c[0], c.shape))
        return net.apply({"params": params}, k), given, net.apply({"params": params}, k[0], c[1])

    for logits in run(params, k, c)[:2]:
        assert logits.shape == (n, *places, V)
        assert logits.dtype == jnp.float32
        logits = np.asarray(logits).reshape(n, P, V)
        for i in range(P):
            beginnings = k.reshape(n, P)[:, :i] @ V ** np.arange(i)
            _, first, which = np.unique(beginnings, return_index=True, return_inverse=True)
            each = logits[first, i]  # of every beginning
            np.testing.assert_allclose(logits[:, i], each[which], rtol=1e-6, atol=1e-6)
            apart = np.abs(each[:, None] - each).max(-1) + np.eye(len(each))
            assert apart.min() > 1e-5
            assert len(each) == V**i
    none, given, other = run(params, k, c)
    for i in range(P):  # c reaches every place
        logits = [np.asarray(a).reshape(-1, P, V)[0, i] for a in (none, given, other)]
        assert all(np.abs(a - b).max() > 1e-4 for a, b in itertools.combinations(logits, 2))


def test_a_transformer_by_hand(x64):
    """Place by place, head by head, in numpy."""
    net = nets.CausalTransformer((3,), V, width=4, blocks=1, heads=2)
    k, c = np.array([2, 0, 1]), np.array([0.3, -1.0])
    params = random_params(net, k, c)
    logits = jax.jit(net.apply)({"params": params}, k, c)
    of = jax.tree.map(np.asarray, params)

    def dense(name, x):
        return x @ of[name]["kernel"] + of[name].get("bias", 0.0)

    def norm(name, x):
        scaled = (x - x.mean()) / np.sqrt(x.var() + 1e-6)
        return scaled * of[name]["scale"] + of[name]["bias"]

    seen = [of["start"], *of["embedding"]["embedding"][k[:-1]]]
    h = [seen[i] + of["position"][i] + dense("condition", c) for i in range(3)]
    each = [dense("qkv_0", norm("norm_a_0", a)).reshape(3, 2, 2) for a in h]  # of q, k, v, of two heads
    for i in range(3):
        mixed = []
        for head in range(2):
            scores = np.array([each[i][0, head] @ each[j][1, head] for j in range(i + 1)]) / np.sqrt(2)
            weights = np.exp(scores) / np.exp(scores).sum()
            mixed.append(sum(w * each[j][2, head] for j, w in enumerate(weights)))
        a = h[i] + dense("mix_0", np.concatenate(mixed))
        a = a + dense("out_0", np.asarray(jax.nn.gelu(dense("hidden_0", norm("norm_b_0", a)))))
        np.testing.assert_allclose(logits[i], dense("head", norm("norm", a)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("stages", [1, 2])
def test_of_two_values_it_is_the_pixelcnn_of_bits(stages):
    """With -1 and 1 for vectors and logits (0, l) in the place of l; c in the place of z."""
    shape = (2, 3, stages)
    bits = nets.GatedPixelCNN(shape, 4, (3, 3))
    codes = nets.CodePixelCNN(shape, 2, 4, (3, 3), embed=1)
    k = np.random.default_rng(1).integers(0, 2, (5, *shape))
    z = np.random.default_rng(2).normal(size=(5, 2)).astype(np.float32)
    params = random_params(bits, z, np.float32(k))
    head = jax.tree.map(lambda a: jnp.stack([0 * a, a], -1).reshape(*a.shape[:-1], -1), params["head"])
    table = {"embedding": np.tile(np.float32([[-1.0], [1.0]]), (stages, 1))}

    @jax.jit
    def run(params, k, z):
        of_bits = bits.apply({"params": params}, z, k.astype(jnp.float32))
        return of_bits, codes.apply({"params": {**params, "head": head, "embedding": table}}, k, z)

    of_bits, of_codes = run(params, k, z)
    np.testing.assert_allclose(of_codes[..., 1] - of_codes[..., 0], of_bits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(of_codes[..., 0], np.zeros_like(of_codes[..., 0]))


class Everywhere(nn.Module):
    """c at every place, times its number."""

    places: tuple[int, ...]
    slope: float = 0.0

    def __call__(self, c):
        place = 1 + self.slope * jnp.arange(float(np.prod(self.places))).reshape(*self.places, 1)
        return c.reshape(*c.shape[:-1], *(1,) * len(self.places), -1) * place


@pytest.mark.parametrize("make", [transformer, pixelcnn])
def test_a_context_takes_the_place_of_c(make):
    places = (2, 2)
    plain, k = make(places), all_codes(places)[:5]
    plain = plain.clone(**({"kernels": (3,)} if make is pixelcnn else {}))  # by more a place sees other c
    c = np.random.default_rng(2).normal(size=(5, 2)).astype(np.float32)
    params = {"params": random_params(plain, k, c)}

    @jax.jit
    def logits(params, k, c):
        contexts = [plain.clone(context=Everywhere(places, slope)) for slope in (0.0, 1.0)]
        return plain.apply(params, k, c), *(net.apply(params, k, c) for net in contexts)

    same, flat, sloped = logits(params, k, c)
    np.testing.assert_allclose(flat, same, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sloped[:, 0, 0], same[:, 0, 0], rtol=1e-5, atol=1e-6)
    assert (np.abs(sloped - same)[:, 1, 1] > 1e-3).any()
    with pytest.raises(ValueError, match=r"context: expected maps \[..., 2, 2, F\], got \[3, 2, 2\]"):
        plain.clone(context=Everywhere((3, 2))).init(KEY, k[0], c[0])


def test_one_place_has_the_logits_of_its_start_alone():
    net = transformer((1,))
    params = {"params": random_params(net, np.zeros(1, int), np.ones(1))}
    logits = jax.jit(net.apply)(params, np.arange(V)[:, None])
    np.testing.assert_array_equal(logits, np.broadcast_to(logits[:1], (V, 1, V)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: transformer(()), ValueError, r"places: expected at least one axis, got \(\)"),
        (lambda: transformer((2, 0)), ValueError, r"places\[1\]: expected at least 1, got 0"),
        (lambda: transformer((2,), 2.0), TypeError, "values: expected an int, got float"),
        (lambda: transformer((2,), context=3), TypeError, "context: expected a flax.linen.Module or None"),
        (lambda: nets.CausalTransformer((2,), V, 6, 1), ValueError, "width: expected a multiple of 4 heads"),
        (lambda: nets.CausalTransformer((2,), V, 8, 0), ValueError, "blocks: expected at least 1, got 0"),
        (lambda: pixelcnn((4,)), ValueError, r"places: expected \(H, W\) or \(H, W, S\), got \(4,\)"),
        (
            lambda: pixelcnn((2, 2, 3)),
            ValueError,
            "features: expected a multiple of 3 codes at a place, got 16",
        ),
        (
            lambda: nets.CodePixelCNN((2, 2), V, 4, (2,)),
            ValueError,
            r"kernels\[0\]: expected an odd number of at least 3, got 2",
        ),
        (lambda: transformer((2,)).init(KEY, jnp.ones(2)), TypeError, "k: expected integers, the indices"),
        (
            lambda: pixelcnn((2, 2)).init(KEY, jnp.ones((2, 3), int)),
            ValueError,
            r"k: expected \[..., 2, 2\], got \(2, 3\)",
        ),
    ],
)
def test_bad_fields_and_codes_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
