"""Importance sampling of log p(x) against closed forms and against its own formula, written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.special import logsumexp

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax import log_weight, sample
from vaejax.evaluation import bits_per_dim, elbo_parts, marginal_log_likelihood, paired
from vaejax.evaluation.batches import transformed
from vaejax.evaluation.evidence import _estimate
from vaejax.evaluation.weights import samples_at_once, weigh
from vaejax.keys import example_keys, named_key
from vaejax.types import Split

KEY = jax.random.key(0)
MODEL = oracle.linear_vae()
X = oracle.data(13).astype(np.float32)


def _noisy(key, batch):
    return {"x": batch["x"] + 0.1 * jax.vmap(lambda k: jax.random.normal(k, (4,)))(example_keys(key, batch))}


def _vae(shift=0.0):
    """The exact model, or with its posterior off its place; one structure, and so one program, for both."""
    params = oracle.exact_params()
    params["encoder"]["a"] += shift
    return MODEL.bind(params)._replace(sample_prior=None)


def test_an_exact_posterior_gives_log_p_with_every_sample():
    split = Split({"x": X}, "real")
    result = marginal_log_likelihood(KEY, _vae(), split, num_samples=150)
    exact = oracle.log_evidence(X)
    each = result["per_example"]
    np.testing.assert_allclose(each["log_likelihood"], exact, atol=2e-5)
    np.testing.assert_allclose(each["curve"], np.tile(exact[:, None], 4), atol=2e-5)
    np.testing.assert_allclose(each["ess"], 150, rtol=1e-5)
    np.testing.assert_allclose(each["bias"], 0, atol=1e-7)
    assert result["nll"] == pytest.approx(-exact.mean(), abs=1e-5)
    assert result["nll_se"] == pytest.approx(exact.std(ddof=1) / np.sqrt(13), rel=1e-4)
    assert (result["n"], result["num_samples"]) == (13, 150)


# 13 examples are not batches of 5, nor 155 samples chunks of 100; chunks of 7 would not fit the curve
@pytest.mark.parametrize(("batch_size", "chunk"), [(5, None), (64, 7)])
def test_every_sample_and_example_counts_once(batch_size, chunk):
    vae, split = _vae(0.3), Split({"x": X}, "real", _noisy)
    result = marginal_log_likelihood(
        KEY, vae, split, num_samples=155, curve=(10, 1, 100, 155, 5000), batch_size=batch_size, chunk=chunk
    )
    batch = transformed(_noisy, KEY, {"x": X, "index": np.arange(13)})
    one = jax.jit(lambda j: log_weight(sample(jax.random.fold_in(named_key(KEY, "samples"), j), vae, batch)))
    log_w = np.stack([one(j) for j in range(155)]).astype(np.float64)  # [155, 13]

    def mean_of_groups(k):
        groups = log_w[: 155 // k * k].reshape(-1, k, 13)
        return np.mean(logsumexp(groups, axis=1) - np.log(k), axis=0)

    w = np.exp(log_w - log_w.max(axis=0))
    ess = w.sum(axis=0) ** 2 / (w**2).sum(axis=0)
    each = result["per_example"]
    np.testing.assert_array_equal(result["curve_samples"], [1, 10, 100, 155])
    curve = np.stack([mean_of_groups(k) for k in (1, 10, 100, 155)], axis=1)
    np.testing.assert_allclose(each["curve"], curve, rtol=1e-5)
    np.testing.assert_allclose(each["log_likelihood"], curve[:, -1], rtol=1e-5)
    np.testing.assert_allclose(each["ess"], ess, rtol=1e-4)
    np.testing.assert_allclose(each["bias"], -(155 / ess - 1) / 310, rtol=1e-4)
    np.testing.assert_allclose(result["curve_nll"], -curve.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(result["curve_nll_se"], curve.std(axis=0, ddof=1) / np.sqrt(13), rtol=1e-5)
    for name, value in (("nll", -curve[:, -1]), ("ess", ess), ("bias", each["bias"])):
        assert result[name] == pytest.approx(value.mean(), rel=1e-4)
        assert result[f"{name}_se"] == pytest.approx(value.std(ddof=1) / np.sqrt(13), rel=1e-3)


def test_the_bounds_and_the_bias_of_the_toy_are_the_printed_ones():
    # z ~ N(0, 1), x|z ~ N(.8 z, .7^2), x = 1.3, q = N(.2, exp(-.3)^2)
    params = {
        "encoder": {"A": jnp.zeros((1, 1)), "a": jnp.array([0.2]), "log_scale": jnp.array([-0.3])},
        "decoder": {"W": jnp.array([[0.8]]), "b": jnp.zeros(1)},
    }
    vae = oracle.linear_vae(sigma=0.7).bind(params)
    split = Split({"x": np.full((20_000, 1), 1.3, np.float32)}, "real")
    result = marginal_log_likelihood(KEY, vae, split, num_samples=6, batch_size=20_000)
    each = result["per_example"]
    assert_mean_is(each["curve"][:, 0], -2.3411995)  # L_1: the ELBO
    assert result["nll"] == pytest.approx(1.8323, abs=4 * result["nll_se"] + 5e-5)
    many = marginal_log_likelihood(KEY, vae, split, num_samples=200, batch_size=20_000)
    assert_mean_is(np.exp(many["per_example"]["log_likelihood"]), np.exp(-1.7278350))  # w is unbiased
    low = -many["nll"] + 1.7278350
    assert low < -4 * many["nll_se"]
    z = np.linspace(-8, 8, 100_001)  # p(z|x) / q = w / p(x): its variance by quadrature
    log_q = -0.5 * ((z - 0.2) * np.exp(0.3)) ** 2 + 0.3
    ratio = np.exp(-0.5 * (z - 0.8 * 1.3 / 1.13) ** 2 * 1.13 / 0.49 + 0.5 * np.log(1.13 / 0.49) - log_q)
    variance = np.trapezoid(np.exp(log_q) / np.sqrt(2 * np.pi) * ratio**2, z) - 1
    assert low == pytest.approx(-variance / 400, abs=4 * many["nll_se"] + variance / 4000)  # first order
    assert many["bias"] == pytest.approx(-variance / 400, rel=0.25)  # the rare large weights are missing


def test_weights_by_hand():
    log_w = jnp.log(jnp.array([[1.0], [2.0], [3.0], [4.0]]))

    def log_weights(place):
        return jnp.where(place[:, None] < 4, log_w[jnp.minimum(place, 3)], jnp.inf)  # never to be seen

    for c in (1, 2, 6):
        out = weigh(log_weights, 4, c, (2,))
        assert out.ess[0] == pytest.approx(100 / 30, rel=1e-5)
        assert out.bias[0] == pytest.approx(-(4 / (100 / 30) - 1) / 8, rel=1e-4)
        assert out.log_likelihood[0] == pytest.approx(np.log(2.5), rel=1e-6)
        assert out.curve[0, 0] == pytest.approx(np.log(1.5 * 3.5) / 2, rel=1e-6)


def test_impossible_samples_weigh_nothing():
    possible = jnp.array([True, False])  # of the second example no sample is
    out = weigh(lambda k: jnp.where((k == 2)[:, None] & possible, 0.0, -jnp.inf), 4, 2, (1,))
    np.testing.assert_allclose(out.log_likelihood, [-np.log(4), -np.inf])
    np.testing.assert_array_equal(out.ess, [1, np.nan])
    np.testing.assert_array_equal(out.bias, [-3 / 8, np.nan])


@pytest.mark.parametrize("c", [1, 5, 1000])
@pytest.mark.parametrize("level", [-240.0, -30_000.0])
def test_weights_far_below_one_add_up_whatever_the_chunk(level, c):
    """As those of large images: log (1 + 1/k) is below the last digit of log w."""
    noise = np.random.default_rng(0).normal(0, 2, 5000).astype(np.float32)
    log_w = np.float32(level) + noise
    out = weigh(lambda place: jnp.asarray(log_w)[jnp.minimum(place, 4999)][:, None], 5000, c, (1, 10, 100))
    exact = log_w.astype(np.float64)
    w = np.exp(exact - exact.max())
    assert out.log_likelihood[0] == pytest.approx(exact.max() + np.log(w.mean()), abs=1e-4 - level * 6e-8)
    assert out.ess[0] == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-3)
    for curve, k in zip(out.curve[0], (1, 10, 100), strict=False):
        groups = np.logaddexp.reduce(exact.reshape(-1, k), axis=1) - np.log(k)
        assert curve == pytest.approx(groups.mean(), abs=1e-4 - level * 6e-8)


def test_memory_does_not_grow_with_the_samples_or_the_examples():
    def bytes_at(K):
        program = jax.jit(lambda x: weigh(lambda j: jnp.sin(x * j[:, None]), K, 100, (1, 10, 100, 1000)))
        return program.lower(jnp.ones(64)).compile().memory_analysis().temp_size_in_bytes

    assert bytes_at(1_000_000) == bytes_at(2000)


def test_the_encoder_is_not_run_for_every_sample():
    vae = _vae()

    def encode(key, batch):  # through 17 hidden units
        hidden = jnp.concatenate([batch["x"], jnp.tanh(batch["x"] @ jnp.ones((4, 13)))], axis=1)
        return vae.encode(key, {**batch, "x": hidden[:, :4] + 0 * hidden[:, 4:8]})

    batch = {"x": X[:5], "index": np.arange(5)}
    wide = vae._replace(encode=Partial(encode))
    text = str(jax.make_jaxpr(lambda k: _estimate(lambda k, b: b, 40, 20, (1,), k, wide, batch))(KEY))
    assert "f32[5,13]" in text
    assert "f32[20,5,13]" not in text
    assert "f32[20,5,4]" in text  # the decoder is


def test_chunks_fill_the_memory_and_fit_the_curve():
    def chunk(examples, size, K, curve=(1, 10, 100, 1000), most=None, largest=0):
        x = jax.ShapeDtypeStruct((examples, size), jnp.float32)
        draw = jax.eval_shape(lambda x: _vae(0.3).encode(KEY, {"x": x[:, :4]})._replace(batch={"x": x}), x)
        return samples_at_once(draw, K, curve, most, largest)

    for examples, size, K in ((64, 784, 5000), (1, 784, 5000), (64, 4096, 1500), (10, 12288, 5001)):
        c = chunk(examples, size, K)
        assert all(c % k == 0 or k % c == 0 for k in (1, 10, 100, 1000))
        assert 2**21 < 32 * examples * (size + 2) * c <= 2**25  # 8 buffers of float32
        assert -(-K // c) * c < 1.1 * K  # little is drawn in vain
    assert chunk(2000, 784, 5000) == 1
    assert chunk(2, 784, 150, most=70) == 50
    assert chunk(2, 784, 5000, largest=2 * 64 * 784) == 20  # 28 such arrays in 32 MiB, of which 3 a sample
    assert chunk(2, 784, 9, curve=(1,)) == 9


def _two_levels(vae):
    def encode(key, batch):
        draw = vae.encode(key, batch)  # a second level of weight exp(-1)
        return draw._replace(
            log_q=(draw.log_q, draw.log_p + 1),
            log_p=(draw.log_p, draw.log_p),
            q=(draw.q, draw.p),
            p=(draw.p,) * 2,
        )

    return vae._replace(encode=Partial(encode))


def test_the_levels_of_a_hierarchy_are_summed():
    split = Split({"x": X}, "real")
    result = marginal_log_likelihood(KEY, _two_levels(_vae()), split, num_samples=3)
    np.testing.assert_allclose(result["per_example"]["log_likelihood"], oracle.log_evidence(X) - 1, atol=2e-5)


def test_one_program_for_all_batches_and_the_transform_of_the_elbo():
    seen, steps = [], []

    def transform(key, batch):
        seen.append(batch["x"].shape)
        return _noisy(key, batch)

    def progress(batches):
        steps.append(len(batches))
        return batches

    split = Split({"x": X}, "real", transform)
    vae = _vae()
    result = marginal_log_likelihood(KEY, vae, split, num_samples=2, batch_size=6, progress=progress)
    assert steps == [3]
    assert seen == [(5, 4)] * 2  # 13 as 5, 5 and 3: the shapes, then the program
    marginal_log_likelihood(jax.random.key(1), _vae(0.3), split, num_samples=2, batch_size=6)
    assert seen == [(5, 4)] * 3
    # an exact posterior: the ELBO of the same noisy x, by another function, is log p(x)
    parts = elbo_parts(KEY, vae, split, aggregate=False)
    x = transformed(_noisy, KEY, {"x": X, "index": np.arange(13)})["x"]
    assert result["nll"] == pytest.approx(-oracle.log_evidence(np.asarray(x, np.float64)).mean(), abs=2e-5)
    assert parts["reconstruction"] + parts["kl"] == pytest.approx(result["nll"], abs=1.0)


def test_one_example_has_no_standard_error():
    result = marginal_log_likelihood(KEY, _vae(0.3), Split({"x": X[:1]}, "real"), num_samples=2)
    assert np.isnan(result["nll_se"])


def test_what_cannot_be_is_refused_before_anything_compiles():
    vae, split = _vae(0.3), Split({"x": X}, "real")
    with pytest.raises(ValueError, match="the data have support 'bytes'"):
        marginal_log_likelihood(KEY, vae, Split({"x": X}, "bytes"))
    with pytest.raises(TypeError, match="key: expected a typed PRNG key"):
        marginal_log_likelihood(jax.random.PRNGKey(0), vae, split)
    for name in ("num_samples", "batch_size", "chunk"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            marginal_log_likelihood(KEY, vae, split, **{name: 0})
    with pytest.raises(TypeError, match="curve: expected an int"):
        marginal_log_likelihood(KEY, vae, split, curve=(1, 2.5))


def test_bits_per_dim():
    assert bits_per_dim(784 * np.log(2), 784) == pytest.approx(1.0)
    np.testing.assert_allclose(bits_per_dim(np.array([0.0, -10 * np.log(256)]), 10, dequantised=True), [8, 0])
    with pytest.raises(ValueError, match="num_dims: expected at least 1"):
        bits_per_dim(1.0, 0)


def test_paired_differences_by_hand():
    a, b = np.array([-3.0, -5.0, -10.0], np.float32), np.array([-4.0, -7.0, -14.0], np.float32)
    difference = paired(a, b)  # 1, 2 and 4 nats better
    variance = ((1 - 7 / 3) ** 2 + (2 - 7 / 3) ** 2 + (4 - 7 / 3) ** 2) / 2
    assert difference == pytest.approx({"nll": -7 / 3, "nll_se": np.sqrt(variance / 3)})
    assert paired(b, a)["nll"] == -difference["nll"]
    with pytest.raises(ValueError, match=r"log_a, log_b: expected the same images, got \(3,\) and \(2,\)"):
        paired(a, b[:2])
