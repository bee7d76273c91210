"""The diffusion likelihood: a bound in nats, tight where it must be, and its samples."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from tests.monte_carlo import assert_mean_is
from vaejax import Split, distributions, evaluation, models, nets, objectives
from vaejax.ops import diffusion as ops
from vaejax.train import fit, gradient_update

KEY, V = jax.random.key(0), 0.49
LOW, HIGH = -9.0, 9.0
ENTROPY = 0.5 * np.log(2 * np.pi * np.e * V)


def exact(schedule, v, *inputs, method=None):
    """What knows the noise of x ~ N(0, v): s u / (a^2 v + s^2)."""
    *_, last = inputs
    if method == "gamma":
        return schedule(last, LOW, HIGH)
    u, g = inputs
    g = jnp.reshape(g, jnp.shape(g) + (1,) * (u.ndim - jnp.ndim(g)))
    return jnp.sqrt(jax.nn.sigmoid(g)) * u / (jax.nn.sigmoid(-g) * v + jax.nn.sigmoid(g))


def px_of(schedule=ops.linear, steps=None, batch=(), event=(1,), support="real", v=V, sampling=100, eta=1.0):
    network = Partial(Partial(exact, schedule), jnp.asarray(v))
    return distributions.Diffusion(network, batch, event, steps, support, sampling, eta, True)


def mse(g):
    """E||eps - eps_hat||^2 of the exact prediction."""
    a2, s2 = 1 / (1 + np.exp(g)), 1 / (1 + np.exp(-g))
    return a2 * V / (a2 * V + s2)


@pytest.mark.parametrize(("steps", "excess"), [(100, 0.347), (1000, 0.033), (10_000, 0.003)])
def test_the_bound_of_gaussian_data_tends_to_their_entropy_like_one_over_the_steps(steps, excess, x64):
    px = px_of(steps=steps)
    t = (np.arange(steps) + 0.5) / steps
    g, weight = px._at(jnp.asarray(t))
    ends = px._log_px_0(None, jnp.zeros(1), None), ops.prior_kl(jnp.full((1,), np.sqrt(V)), px.gamma(1.0), 1)
    bound = np.mean(weight * mse(np.asarray(g))) - ends[0] + ends[1]
    np.testing.assert_allclose(bound - ENTROPY, excess, atol=6e-4)


@pytest.mark.parametrize("steps", [None, 100])
def test_the_estimate_has_the_bound_as_its_mean(steps, x64):
    """E over x, t and noise, with times of its own and with spread ones, which vary less over a batch."""
    B, R, D = 64, 1000, 16
    px = px_of(steps=steps, batch=(B,), event=(D,))

    @jax.jit
    @jax.vmap
    def run(key):
        of_x, of_t, of_all = jax.random.split(key, 3)
        x = jnp.sqrt(V) * jax.random.normal(of_x, (B, D))
        times = ops.strata(jax.random.uniform(of_t), jnp.arange(B))
        keys = jax.random.split(of_all, B)
        return tuple(jnp.mean(px.log_prob_bound(keys, x, t)) for t in (None, times))

    own, spread = run(jax.random.split(KEY, R))
    excess = 0.347 if steps else 0.0
    for values in (own, spread):
        assert_mean_is(-values / D, ENTROPY + excess, errors=4.5)
    assert np.var(spread) < 0.5 * np.var(own)


def test_the_unweighted_error_is_the_mean_over_times_of_that_of_every_time(x64):
    """E over x, t and noise of ||eps - eps_hat||^2: the integral of the exact error."""
    B, R = 64, 1000
    px = px_of(batch=(B,))
    t = (np.arange(2000) + 0.5) / 2000
    expected = np.mean(mse(LOW + (HIGH - LOW) * t))

    @jax.jit
    @jax.vmap
    def run(key):
        of_x, of_t, of_all = jax.random.split(key, 3)
        x = jnp.sqrt(V) * jax.random.normal(of_x, (B, 1))
        times = ops.strata(jax.random.uniform(of_t), jnp.arange(B))
        keys = jax.random.split(of_all, B)
        return tuple(jnp.mean(px.denoising_error(keys, x, t)) for t in (None, times))

    for values in run(jax.random.split(KEY, R)):
        assert_mean_is(values, expected, errors=4.5)


def test_in_continuous_time_the_inside_of_the_schedule_does_not_matter(x64):
    """Both ends alike: the rate is the same integral for a linear, a cosine and a learned schedule."""
    learned = nets.Denoiser((1,), schedule="learned", low=LOW, high=HIGH, embed=4, features=(4,))
    params = learned.init(KEY, jnp.zeros(2), jnp.zeros(1), jnp.zeros(()))
    params["params"]["monotone"]["slope"] = params["params"]["monotone"]["slope"] + 3.0

    def of_net(t, low, high):
        del low, high
        return learned.apply(params, jnp.zeros(2), t, method="gamma")

    t = jnp.asarray((np.arange(20_000) + 0.5) / 20_000)
    rates, inside = [], []
    for schedule in (ops.linear, ops.cosine, of_net):
        px = px_of(schedule)
        g, weight = jax.jit(px._at)(t)
        assert (np.diff(g) > 0).all()
        rates.append(np.mean(np.asarray(weight) * mse(np.asarray(g))))
        inside.append(float(px.gamma(jnp.asarray(0.3))))
        np.testing.assert_allclose([px.gamma(jnp.zeros(())), px.gamma(jnp.ones(()))], [LOW, HIGH], rtol=1e-5)
    np.testing.assert_allclose(rates, rates[0], rtol=1e-4)
    assert len(np.unique(np.round(inside, 2))) == 3


def test_bytes_of_a_known_chance(x64):
    """p(x|u_0) sums to 1 over the 256 values, and uniform bytes cost 8 bits or more under any net."""
    px = px_of(event=(2,), support="bytes", v=0.33, batch=(4096,))
    g = px.gamma(jnp.zeros(()))
    values = jnp.arange(256.0)
    at = 0.013  # u_0 / a_0
    logits = -0.5 * jnp.exp(-g) * (at - (values / 127.5 - 1)) ** 2
    expected = jax.nn.log_softmax(logits)
    one = px_of(event=(1,), support="bytes")
    x = values[:, None]
    eps = (at - (x / 127.5 - 1)) * jnp.exp(-g / 2)
    got = jax.vmap(lambda x, eps: one._log_px_0(x, x / 127.5 - 1, eps))(x, eps)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)
    x = jax.random.randint(KEY, (4096, 2), 0, 256).astype(float)
    bits = -jax.jit(px.log_prob_bound)(jax.random.split(KEY, 4096), x) / (2 * np.log(2))
    assert 8 < bits.mean() < 8.6  # the exact net of a Gaussian of their variance


def test_a_chain_without_noise_encodes_and_decodes():
    vae = models.vae(
        encoder=nets.MLPEncoder(2, ()), decoder=nets.Denoiser((3,), embed=4, features=(8,), low=-6.0),
        posterior=models.posteriors.gaussian(2), likelihood=distributions.diffusion(),
    )  # fmt: skip
    params, _ = jax.jit(vae.init)(KEY, {"x": jnp.zeros((1, 3))})
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape, scale=0.2).astype(a.dtype), params)
    bound = vae.bind(params)
    z, x = rng.normal(size=(4, 2)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    seen = []
    u = evaluation.noise_of(bound, x, z, steps=400)
    back = evaluation.denoised(KEY, bound, z, start=u, steps=400, progress=lambda r: seen.append(r) or r)
    np.testing.assert_allclose(back, x, atol=0.05)
    assert np.abs(np.asarray(u) - x).max() > 0.3
    assert len(seen[0]) == 400
    again = evaluation.denoised(jax.random.key(5), bound, z, start=u, steps=400)
    np.testing.assert_array_equal(again, back)  # no noise of its own
    drawn = [evaluation.denoised(jax.random.key(k), bound, z, steps=5, eta=1.0) for k in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])
    for fn in (evaluation.denoised, evaluation.noise_of):
        with pytest.raises(TypeError, match="diffusion"):
            fn(
                *((KEY,) if fn is evaluation.denoised else ()),
                _plain(),
                *((x,) if fn is evaluation.noise_of else ()),
                z,
            )
    with pytest.raises(ValueError, match=r"start: expected \(4, 3\)"):
        evaluation.denoised(KEY, bound, z, start=u[:, :2])
    with pytest.raises(ValueError, match="eta: expected"):
        evaluation.denoised(KEY, bound, z, eta=2.0)


def _plain():
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(2, ()),
        decoder=nets.MLP((), (3,)),
        latents=2,
        likelihood=distributions.gaussian(1.0),
    )
    return model.bind(model.init(KEY, {"x": jnp.zeros((1, 3))})[0])


@pytest.mark.parametrize("support", ["real", "bytes"])
def test_in_a_model(support):
    """Spec, gradients in every group but where it starts at 0, slices as the whole, samples, refusals."""
    shape = (3, 4, 1)
    encoder = nets.MLPEncoder(2, (), event_ndims=3)
    model = models.vae(
        encoder=nets.FromBytes(encoder) if support == "bytes" else encoder,
        decoder=nets.UNet(shape, "learned", embed=4, features=(2, 4), groups=2),
        posterior=models.posteriors.gaussian(2),
        likelihood=distributions.diffusion(None, support=support, sampling_steps=3), conditional=True,
    )  # fmt: skip
    again = models.from_spec(json.loads(json.dumps(model.spec)))
    assert again.spec == model.spec
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(4, *shape)).astype(np.uint8 if support == "bytes" else np.float32)
    arrays = {
        "x": x if support == "bytes" else x / np.float32(255),
        "c": rng.normal(size=(4, 2)).astype(np.float32),
    }
    split = Split(arrays, support)
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    states = []
    for microbatch in (None, 2):
        update = gradient_update(objective, model, optax.sgd(1e-4), microbatch=microbatch)
        states.append(fit(KEY, model, update, split, 2, batch_size=4, chunk=2, progress=False))
    first, second = states
    np.testing.assert_allclose(first.metrics["loss"], second.metrics["loss"], rtol=1e-5)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape, scale=0.2).astype(a.dtype), first.state.params)
    batch = {"x": arrays["x"].astype(np.float32), "c": arrays["c"], "index": np.arange(4)}

    def loss(params):
        value, _ = objective(KEY, model.bind(params), batch, 0)
        return value

    grads = jax.jit(jax.grad(loss))(params)
    assert all(np.abs(g).max() > 0 and np.isfinite(g).all() for g in jax.tree.leaves(grads))
    vae = model.bind(params)
    shown = evaluation.prior_samples(KEY, vae, 2, c=arrays["c"][:2])
    assert shown.shape == (2, *shape)
    if support == "bytes":
        assert (shown == np.round(shown)).all()
    with pytest.raises(TypeError, match="bound"):
        evaluation.marginal_log_likelihood(KEY, vae, split, num_samples=2)
    with pytest.raises(TypeError, match="mean"):
        evaluation.reconstruct(vae, batch["x"], c=batch["c"])
    assert np.isfinite(evaluation.elbo_parts(KEY, vae, split, aggregate=False)["neg_elbo"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps: expected"),
        ({"support": "binary"}, ValueError, "support: expected"),
        ({"sampling_steps": 1.5}, TypeError, "sampling_steps: expected"),
        ({"eta": 2.0}, ValueError, "eta: expected"),
        ({"spread": 1}, TypeError, "spread: expected"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        distributions.diffusion(**options)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nets.Denoiser((2,), "square"), ValueError, "schedule: expected"),
        (lambda: nets.Denoiser((2,), low=3.0, high=3.0), ValueError, "expected low < high"),
        (lambda: nets.Denoiser((2,), embed=3), ValueError, "embed: expected an even"),
        (lambda: nets.UNet((4, 4)), ValueError, r"shape: expected \(H, W, C\)"),
        (
            lambda: nets.UNet((4, 4, 1), features=(6,), groups=4),
            ValueError,
            r"features\[0\]: expected a multiple",
        ),
        (lambda: nets.UNet((4, 4, 1), features=()), ValueError, "features: expected at least one"),
    ],
)
def test_wrong_nets_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
