"""Terms on the KL against hand-made numbers and the exact linear beta-VAE."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import oracle
from vaejax import objectives
from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.objectives import (
    beta_tc,
    capacity,
    compose,
    free_bits,
    geco,
    kl,
    reconstruction,
    scaled,
    target_rate,
)
from vaejax.train import geco_optimizer, gradient_update
from vaejax.types import VAE, Draw, Model, TrainState

KEY = jax.random.key(0)
K = np.array([[0.1, 0.9, 2.0], [0.5, 0.3, 1.0]])  # of two examples and three latents


def draw_of(rates, levels=None):
    """A draw whose KL per example and latent is `rates`, by posteriors N(sqrt(2 K), 1)."""
    loc = jnp.sqrt(2 * jnp.asarray(rates))
    q, p = diagonal_gaussian(loc, jnp.ones_like(loc)), diagonal_gaussian(0 * loc, jnp.ones_like(loc))
    if levels is None:
        return Draw(z=loc, log_q=q.log_prob(loc), log_p=p.log_prob(loc), q=q, p=p, batch={"x": loc})
    parts = [draw_of(rates[:, columns]) for columns in levels]
    return Draw(*(tuple(part[i] for part in parts) for i in range(5)), batch={"x": loc})


def values_and_slopes(terms, rates, levels=None):
    """The mean of each term and its gradient with respect to every KL."""

    def of(term):
        return jax.value_and_grad(lambda r: jnp.mean(term(KEY, None, draw_of(r, levels))))

    return jax.jit(lambda rates: [of(term)(rates) for term in terms])(jnp.asarray(rates))


BY_HAND = (  # a slope is the share of the mean where the KL is above the threshold, exactly 0 below
    (free_bits(0.5), 2.6, [[0, 0.5, 0.5], [0, 0.5, 0.5]]),
    (free_bits(0.5, form="example"), 2.7, [[0, 0.5, 0.5], [0, 0, 0.5]]),
    (free_bits(1.0, groups=(0, 0, 1)), 2.5, [[0, 0, 0.5], [0, 0, 0.5]]),
    (free_bits(1.0, groups=(1, 0, 1), form="example"), 2.8, [[0.5, 0, 0.5], [0.5, 0, 0.5]]),
    (free_bits(0.0), 2.4, np.full((2, 3), 0.5)),
    (free_bits(9.0), 27.0, np.zeros((2, 3))),
    (target_rate(2.0), 2.4, np.full((2, 3), 0.5)),
    (target_rate(2.5), 2.5, np.zeros((2, 3))),
    (capacity(2.4 + 1e-9), 0.0, np.full((2, 3), -0.5)),
    (capacity(1.0), 1.4, np.full((2, 3), 0.5)),
    (capacity(2.4, form="example"), 0.6, [[0.5] * 3, [-0.5] * 3]),
)


@pytest.fixture(scope="module")
def found_by_hand():
    """Of every term of the table, in one program."""
    with jax.enable_x64(True):
        return values_and_slopes([term for term, _, _ in BY_HAND], K)


@pytest.mark.parametrize("case", range(len(BY_HAND)))
def test_values_and_slopes_by_hand(case, found_by_hand):
    (_, value, slopes), (got, gradient) = BY_HAND[case], found_by_hand[case]
    np.testing.assert_allclose(got, value, atol=2e-9)
    np.testing.assert_allclose(gradient, slopes, atol=1e-12)
    assert (np.asarray(gradient)[np.asarray(slopes) == 0] == 0).all()


@pytest.mark.usefixtures("x64")
def test_at_the_tie_free_bits_has_no_gradient():
    @jax.jit
    def both(m):
        q, p = diagonal_gaussian(m, jnp.ones((1, 1))), diagonal_gaussian(0 * m, jnp.ones((1, 1)))
        draw = Draw(z=m, log_q=None, log_p=None, q=q, p=p, batch={})
        return kl(KEY, None, draw)[0], free_bits(0.5)(KEY, None, draw)

    assert both(jnp.ones((1, 1)))[0] == 0.5
    assert jax.jit(jax.jacrev(both))(jnp.ones((1, 1)))[1] == 0


@pytest.mark.usefixtures("x64")
def test_of_a_hierarchy_every_latent_of_every_level_counts_the_top_first():
    whole = values_and_slopes([free_bits(1.0, groups=(0, 0, 1))], K)
    levels = values_and_slopes([free_bits(1.0, groups=(0, 0, 1))], K, levels=([0, 1], [2]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), whole, levels)
    by_level = free_bits(0.95, groups="levels"), free_bits(0.95, groups="levels", form="example")
    (of_batch, slope), (of_each, each) = values_and_slopes(by_level, K, levels=([0, 1], [2]))
    np.testing.assert_allclose([of_batch, of_each], [0.95 + 1.5, (3 + 1.95) / 2], rtol=1e-12)
    np.testing.assert_allclose(slope, [[0, 0, 0.5], [0, 0, 0.5]], atol=1e-12)
    np.testing.assert_allclose(each, [[0.5, 0.5, 0.5], [0, 0, 0.5]], atol=1e-12)
    one = values_and_slopes([free_bits(0.95, groups="levels"), objectives.target_rate(0.95)], K)
    jax.tree.map(np.testing.assert_array_equal, *one)
    with pytest.raises(ValueError, match=r"groups: expected the numbers 0\.\.G-1, .* got 'level'"):
        free_bits(0.95, groups="level")
    with pytest.raises(ValueError, match="groups: expected one for each of 3 latents, got 2"):
        jax.eval_shape(lambda rates: free_bits(1.0, groups=(0, 1))(KEY, None, draw_of(rates)), K)


def sampled_draw(log_q, log_p, levels=False):
    """A draw of a q whose KL has no closed form, of three latents; with a level of a Gaussian before it."""
    zero = jnp.zeros((2, 3))
    base, p = diagonal_gaussian(zero, 1 + zero), diagonal_gaussian(zero, 1 + zero)
    q = distrax.Transformed(base, distrax.Block(distrax.Tanh(), 1))
    one = Draw(z=zero, log_q=jnp.asarray(log_q), log_p=jnp.asarray(log_p), q=q, p=p, batch={"x": zero})
    if not levels:
        return one
    both = [draw_of(K), one]
    return Draw(*(tuple(part[i] for part in both) for i in range(5)), batch={"x": zero})


@pytest.mark.usefixtures("x64")
def test_of_a_flow_the_free_bits_are_those_of_a_group_by_the_sampled_kl():
    """What its paper does: the group of a level is its whole KL, log q - log p at the drawn z."""
    group, each = free_bits(1.0, groups=(0, 0, 0)), free_bits(1.0, groups=(0, 0, 0), form="example")
    for rates, of_batch, of_each in (([2.5, 0.1], 1.3, [2.5, 1.0]), ([0.5, 0.1], 1.0, [1.0, 1.0])):
        draw = sampled_draw([3.0, 3.0], 3 - np.array(rates))
        np.testing.assert_allclose(group(KEY, None, draw), of_batch)
        np.testing.assert_allclose(each(KEY, None, draw), of_each)
    slope = jax.grad(lambda log_q: jnp.mean(each(KEY, None, sampled_draw(log_q, [0.0, 0.0]))))
    np.testing.assert_array_equal(slope(jnp.array([2.0, 0.5])), [0.5, 0.0])
    term = free_bits(1.0, groups=(0, 0, 1, 2, 2, 2))
    levels = sampled_draw([2.5, 0.1], [0.0, 0.0], levels=True)
    np.testing.assert_allclose(term(KEY, None, levels), 1.0 + 1.5 + 1.3)
    np.testing.assert_allclose(free_bits(1.0, groups="levels")(KEY, None, levels), 2.4 + 1.3)
    message = r"groups: expected one number for all latents of KL\(Transformed \|\| Independent\)"
    for groups in (None, (0, 1, 0)):
        with pytest.raises(TypeError, match=message):
            free_bits(1.0, groups=groups)(KEY, None, sampled_draw([1.0, 1.0], [0.0, 0.0]))


def test_a_nan_is_not_free():
    terms = (free_bits(0.5), free_bits(0.5, form="example"), target_rate(9.0), capacity(1.0))
    for value, _ in values_and_slopes(terms, np.where(K == 0.9, np.nan, K)):
        assert np.isnan(value)


# the exact linear beta-VAE: data of variances lambda, decoder N(w z, sigma^2), beta sigma^2 = t, lambda > t

LAMBDA, SIGMA2 = np.array([4.0, 1.5]), 0.1
C = 2.0  # nats: sum 1/2 log(lambda / t) = C at this t
T = np.exp((np.log(LAMBDA).sum() - 2 * C) / 2)
BETA = T / SIGMA2
# x = +-sqrt(lambda), noise +-1: second moments are those of the Gaussians, and the cost has no others
SIGNS = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1], [-1, 1]), -1).reshape(16, 4)
BATCH = {"x": SIGNS[:, :2] * np.sqrt(LAMBDA), "eps": SIGNS[:, 2:]}
OPTIMUM = {"encoder": {"a": np.sqrt(LAMBDA - T) / LAMBDA, "log_scale": 0.5 * np.log(T / LAMBDA)},
           "decoder": np.sqrt(LAMBDA - T)}  # fmt: skip


def linear(params, heads=None):
    def encode(key, batch):
        loc = batch["x"] * params["encoder"]["a"]
        scale = jnp.broadcast_to(jnp.exp(params["encoder"]["log_scale"]), loc.shape)
        q, p = diagonal_gaussian(loc, scale), diagonal_gaussian(0 * loc, 1 + 0 * loc)
        z = loc + scale * batch["eps"]
        return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)

    return VAE(encode, lambda z, c=None: Gaussian(z * params["decoder"], SIGMA2**0.5, 1), None, heads or {})


def cost(params, objective, step=0):
    return objective(KEY, linear(params), BATCH, step)[0]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("target", [C, lambda step: C * step / 7])
def test_capacity_holds_the_kl_at_c_from_the_gamma_on_that_is_beta_of_c(target):
    at = jax.tree.map(jnp.asarray, OPTIMUM)
    capped = compose(reconstruction=reconstruction, rate=capacity(target))

    @jax.jit
    def measured(params):
        slope = {
            name: jax.flatten_util.ravel_pytree(jax.grad(cost)(params, compose(term=term)))[0]
            for name, term in (("reconstruction", reconstruction), ("kl", kl))
        }
        return capped(KEY, linear(params), BATCH, 7)[1][0], slope

    metrics, slope = measured(at)
    assert float(metrics["kl"]) == pytest.approx(C, abs=1e-12)
    np.testing.assert_allclose(
        slope["reconstruction"], -BETA * slope["kl"], atol=1e-12
    )  # the beta-VAE's optimum
    flat, unravel = jax.flatten_util.ravel_pytree(at)
    directions = np.concatenate([np.random.default_rng(0).normal(size=(200, len(flat))), [-slope["kl"]]])
    steps = flat + 1e-4 * directions / np.linalg.norm(directions, axis=1, keepdims=True)

    @jax.jit
    def both(points):
        objectives_ = [
            compose(reconstruction=reconstruction, rate=scaled(gamma, capacity(target)))
            for gamma in (1.5 * BETA, 0.5 * BETA)
        ]
        return [jax.vmap(lambda p, o=o: cost(unravel(p), o, 7))(points) for o in objectives_]

    for costs, is_minimum in zip(both(np.vstack([flat, steps])), (True, False), strict=True):
        assert (costs[1:] > costs[0]).all() == is_minimum


def test_compose_logs_the_true_kl_beside_the_modified_one():
    model = oracle.linear_vae()
    vae, batch = model.bind(oracle.exact_params()), {"x": jnp.asarray(oracle.data(6), jnp.float32)}
    modified = (capacity(1.0), free_bits(0.8, form="example"), target_rate(30.0), beta_tc(dataset_size=99))
    objectives_ = [
        compose(reconstruction=reconstruction, kl=kl),
        compose(kl=scaled(2.0, kl), rate=modified[0]),
    ]
    objectives_ += [compose(reconstruction=reconstruction, rate=scaled(0.5, term)) for term in modified]
    values = jax.jit(lambda: [objective(KEY, vae, batch, 0) for objective in objectives_])()
    (_, (plain, _)), (loss, (both, _)), *others = values
    for other_loss, (metrics, _) in others:
        np.testing.assert_allclose(metrics["kl"], plain["kl"], rtol=1e-6)
        assert abs(metrics["rate"] - plain["kl"]) > 1e-3
        np.testing.assert_allclose(other_loss, metrics["reconstruction"] + 0.5 * metrics["rate"], rtol=1e-6)
    # also where the true one is a term as well, once
    np.testing.assert_allclose(loss, 2 * plain["kl"] + both["rate"], rtol=1e-6)
    assert set(both) == {"loss", "kl", "weight/kl", "rate"}
    for term in modified:
        with pytest.raises(ValueError, match="'kl' logs 'kl' beside itself; expected that name to be free"):
            compose(kl=term)


# GECO


def scalar_model():
    """Minimise a^2 ("kl") where (a - 3)^2 <= 1: a = 2, and 2a + lam 2(a - 3) = 0 at lam = 2."""

    def bind(params, variables=None, *, step=None):
        def encode(key, batch):
            loc = jnp.sqrt(2.0) * params["encoder"] + 0 * batch["x"]  # KL = loc^2 / 2 = a^2
            one = jnp.ones_like(loc)
            q, p = diagonal_gaussian(loc, one), diagonal_gaussian(0 * loc, one)
            return Draw(z=loc, log_q=q.log_prob(loc), log_p=p.log_prob(loc), q=q, p=p, batch=batch)

        heads = {"multiplier": lambda z: params["multiplier"] + 0 * z[:, 0], "a": lambda: params["encoder"]}
        return VAE(encode, lambda z, c=None: Gaussian(z, 1.0, 1), None, heads)

    return Model(None, bind, "real", {})


def error(key, vae, draw):
    return jnp.square(vae.heads["a"]() + draw.batch["x"][:, 0] - 3) - 0.25  # x = +-1/2: mean (a - 3)^2


def run_geco(steps, *, decay=0.99, bounds=(1e-6, 1e6), rate=0.05, lam=1.0, learning_rate=0.02):
    model = scalar_model()
    optimizer = geco_optimizer(optax.sgd(learning_rate), rate=rate, decay=decay, bounds=bounds)
    update = gradient_update(compose(kl=kl, error=geco(error, 1.0)), model, optimizer)
    params = {"encoder": jnp.zeros(()), "multiplier": jnp.log(lam)}
    batch = {"x": jnp.array([[-0.5], [0.5]])}

    def step(state, _):
        new, metrics = update.apply(state, KEY, batch, None)
        return new, (state.params, metrics)

    state = TrainState(params, None, update.init(params), jnp.zeros((), jnp.int32))
    return jax.jit(lambda s: jax.lax.scan(step, s, None, steps))(state)


@pytest.mark.usefixtures("x64")
def test_geco_ends_where_the_error_is_kappa_with_the_multiplier_of_lagrange():
    state, (_, metrics) = run_geco(6000)
    np.testing.assert_allclose(state.params["encoder"], 2.0, rtol=1e-4)
    np.testing.assert_allclose(np.exp(state.params["multiplier"]), 2.0, rtol=1e-4)
    assert metrics["constraint"][-1] == pytest.approx(0, abs=1e-4)
    assert metrics["kl"][-1] == pytest.approx(4, rel=1e-4)


@pytest.mark.usefixtures("x64")
def test_geco_takes_the_steps_of_its_algorithm():
    _, (params, metrics) = run_geco(5, decay=0.9, rate=0.3, lam=0.5)
    a, lam, weights, average = 0.0, 0.5, 0.0, 0.0
    for t in range(5):
        assert params["encoder"][t] == pytest.approx(a, rel=1e-9)
        assert metrics["multiplier"][t] == pytest.approx(lam, rel=1e-9)
        violation = (a - 3) ** 2 - 1
        assert metrics["constraint"][t] == pytest.approx(violation, rel=1e-9)
        assert metrics["loss"][t] == pytest.approx(a**2 + lam * violation, rel=1e-9)
        average, weights = 0.9 * average + 0.1 * violation, 0.9 * weights + 0.1
        a -= 0.02 * (2 * a + lam * 2 * (a - 3))
        lam *= np.exp(0.3 * average / weights)


@pytest.mark.parametrize(("bound", "kept"), [(-99.0, 1.5), (99.0, 0.9)])  # violated, satisfied
def test_geco_keeps_the_multiplier_within_its_bounds(bound, kept):
    optimizer = geco_optimizer(optax.sgd(0.0), rate=1.0, bounds=(0.9, 1.5))
    update = gradient_update(compose(error=geco(error, bound)), scalar_model(), optimizer)
    params = {"encoder": jnp.zeros(()), "multiplier": jnp.zeros(())}
    state = TrainState(params, None, update.init(params), jnp.zeros((), jnp.int32))
    state, _ = jax.jit(lambda s: update.apply(s, KEY, {"x": jnp.zeros((2, 1))}, None))(state)
    assert np.exp(state.params["multiplier"]) == pytest.approx(kept, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: capacity(-1.0), ValueError, "target: expected a finite number of nats >= 0, got -1.0"),
        (lambda: capacity("2"), TypeError, "target: expected a number, got str"),
        (
            lambda: capacity(1.0, form="mean"),
            ValueError,
            "form: expected one of 'batch', 'example'; got 'mean'",
        ),
        (lambda: free_bits(np.nan), ValueError, "lam: expected a finite number of nats >= 0, got nan"),
        (lambda: free_bits(True), TypeError, "lam: expected a number, got bool"),
        (lambda: free_bits(0.5, groups=(0, 2)), ValueError, r"groups: expected the numbers 0..G-1"),
        (lambda: free_bits(0.5, groups=(0.0, 1.0)), ValueError, r"groups: expected the numbers 0..G-1"),
        (lambda: target_rate(-0.1), ValueError, "lam: expected a finite number of nats >= 0, got -0.1"),
        (lambda: geco(reconstruction, np.inf), ValueError, "bound: expected a finite number, got inf"),
        (lambda: geco_optimizer(optax.sgd(1.0), rate="1"), TypeError, "rate: expected a number, got str"),
        (
            lambda: geco_optimizer(optax.sgd(1.0), rate=0.1, decay=True),
            TypeError,
            "decay: expected a number, got bool",
        ),
        (
            lambda: geco_optimizer(optax.sgd(1.0), rate=0.1, bounds=(1, 2, 3)),
            ValueError,
            r"bounds: expected two numbers \(lo, hi\), got \(1, 2, 3\)",
        ),
        (lambda: geco_optimizer(optax.sgd(1.0), rate=0.0), ValueError, "rate: expected a positive finite"),
        (
            lambda: geco_optimizer(optax.sgd(1.0), rate=1.0, decay=1.0),
            ValueError,
            r"decay: expected a number in",
        ),
        (
            lambda: geco_optimizer(optax.sgd(1.0), rate=1.0, bounds=(2, 1)),
            ValueError,
            "bounds: expected 0 < lo",
        ),
        (
            lambda: geco_optimizer(optax.sgd(1.0), rate=1.0).init({"encoder": 0.0}),
            ValueError,
            r"multiplier: expected a group among \['encoder'\], got 'multiplier'",
        ),
        (
            lambda: geco(reconstruction, 1.0)(KEY, linear(OPTIMUM), None),
            ValueError,
            r"multiplier: expected a head among \[\], got 'multiplier'",
        ),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_step_reaches_a_scheduled_target_only():
    term = objectives.capacity(lambda step: step + 0.5, form="example")
    objective = compose(rate=term)
    vae, batch = linear(jax.tree.map(jnp.asarray, OPTIMUM)), jax.tree.map(jnp.asarray, BATCH)
    rates, losses = jax.jit(
        lambda: (
            kl(KEY, vae, objectives.sample(KEY, vae, batch)),
            [objective(KEY, vae, batch, step)[0] for step in (0, 3)],
        )
    )()
    for step, loss in zip((0, 3), losses, strict=True):
        np.testing.assert_allclose(loss, np.abs(rates - step - 0.5).mean(), rtol=1e-5)
    assert objective.mixes_examples == ()
    assert compose(a=capacity(1.0), b=free_bits(1.0), c=target_rate(1.0)).mixes_examples == ("a", "b", "c")
