"""Two players: optimal critics on Gaussians, what reaches whom, and both trained against each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.tree_util import Partial
from scipy import integrate, stats

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax import models, objectives
from vaejax.keys import named_key
from vaejax.train import gradient_update, sequence
from vaejax.types import VAE, Draw, TrainState

KEY = jax.random.key(0)
RHO, NOISE = 0.7, 0.3
TC = -0.5 * np.log(1 - RHO**2)


class Quadratic(nn.Module):
    """A critic that holds the log-ratio of two Gaussians in two dimensions."""

    @nn.compact
    def __call__(self, z):
        features = jnp.stack([z[..., 0] ** 2, z[..., 1] ** 2, z[..., 0] * z[..., 1]], -1)
        return nn.Dense(1, kernel_init=nn.initializers.zeros)(features)[..., 0]


# D(z) of the best critic between N(0, [[1, rho], [rho, 1]]) and the product of its marginals
BEST = {
    "kernel": np.array([[-(RHO**2)], [-(RHO**2)], [2 * RHO]]) / (2 * (1 - RHO**2)),
    "bias": np.array([TC]),
}
MODEL = models.with_heads(oracle.linear_vae(1.0), critic=Quadratic())
VAE_COST = objectives.compose(
    reconstruction=objectives.reconstruction, tc=objectives.scaled(5.0, objectives.total_correlation())
)
CRITIC_COST = objectives.compose(critic=objectives.total_correlation_critic())


def correlated_params(critic=None):
    """x ~ N(0, I) in two dimensions and z = A x + noise ~ N(0, [[1, rho], [rho, 1]])."""
    params = oracle.exact_params(np.eye(2), np.zeros(2), 1.0)
    A = np.linalg.cholesky(np.array([[1, RHO], [RHO, 1]]) - NOISE**2 * np.eye(2))
    params["encoder"] |= {"A": A, "log_scale": np.full(2, np.log(NOISE))}
    zeros = {"kernel": np.zeros((3, 1)), "bias": np.zeros(1)}
    params["critic"] = {"Dense_0": critic or zeros}
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(float)), params)


def state_of(update, params):
    return TrainState(params, None, update.init(params), jnp.zeros((), jnp.int32))


def codes(z):
    """A draw of codes z [B, d]."""
    return Draw(z, None, None, None, None, {"x": z})


def judge(critic, sample_prior=None):
    return VAE(None, None, sample_prior, {"critic": critic})  # pyright: ignore[reportArgumentType]


def nodes_of(cov, n=24):
    """Nodes [n^2, 2] and weights of N(0, cov)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    z = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2) @ np.linalg.cholesky(cov).T
    return jnp.asarray(z), np.outer(weights, weights).ravel() / weights.sum() ** 2


def total_correlation_of(encoder):
    """Of the Gaussian aggregate posterior A A^T + s^2, in closed form."""
    cov = encoder["A"] @ encoder["A"].T + np.diag(np.exp(2 * np.asarray(encoder["log_scale"])))
    return -0.5 * np.log(1 - cov[0, 1] ** 2 / (cov[0, 0] * cov[1, 1]))


# FactorVAE


def test_with_the_best_critic_the_estimate_is_the_total_correlation(x64):
    z, w = nodes_of(np.array([[1, RHO], [RHO, 1]]))
    vae = MODEL.bind(correlated_params(BEST))
    d = jax.jit(lambda z: objectives.total_correlation()(KEY, vae, codes(z)))(z)
    ratio = stats.multivariate_normal([0, 0], [[1, RHO], [RHO, 1]]).logpdf(z) - stats.norm.logpdf(z).sum(-1)
    np.testing.assert_allclose(d, ratio, rtol=1e-9)
    np.testing.assert_allclose(w @ d, TC, rtol=1e-12)


def test_a_critic_that_learns_from_codes_ends_at_the_density_ratio(x64):
    rate = optax.cosine_decay_schedule(0.1, 400)
    update = gradient_update(CRITIC_COST, MODEL, optax.adam(rate), wrt=("critic",))

    def step(state, key):
        state, metrics = update.apply(state, key, {"x": jax.random.normal(key, (512, 2))}, None)
        return state, metrics["critic"]

    before = state_of(update, correlated_params())
    after, costs = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(KEY, 400)))(before)
    np.testing.assert_allclose(costs[0], np.log(2), rtol=1e-12)  # a blind critic
    kernel, bias = (after.params["critic"]["Dense_0"][k] for k in ("kernel", "bias"))
    np.testing.assert_allclose(kernel, BEST["kernel"], rtol=0.06)
    np.testing.assert_allclose(bias, TC, rtol=0.06)
    for group in ("encoder", "decoder"):
        jax.tree.map(np.testing.assert_array_equal, after.params[group], before.params[group])


def test_the_critics_halves_are_codes_and_permuted_codes(x64):
    z = jnp.arange(7.0)[:, None] + jnp.array([0.0, 100.0])
    seen = []
    vae = judge(lambda v: seen.append(np.asarray(v)) or v[:, 0] * 0 + jnp.log(3.0))
    cost = objectives.total_correlation_critic()(KEY, vae, codes(z))
    np.testing.assert_allclose(cost, 0.5 * np.log(4 / 3) + 0.5 * np.log(4), rtol=1e-12)
    real, permuted = seen
    np.testing.assert_array_equal(real, z[:3])
    np.testing.assert_array_equal(np.sort(permuted, axis=0), z[3:])
    assert (permuted[:, 1] != permuted[:, 0] + 100).any()


@pytest.mark.parametrize(
    ("term", "critic_term"),
    [
        (objectives.total_correlation, objectives.total_correlation_critic),
        (objectives.adversarial, objectives.adversarial_critic),
    ],
)
def test_no_player_sees_the_others_gradient_even_where_every_group_moves(term, critic_term, x64):
    params, batch = correlated_params(BEST), {"x": jax.random.normal(KEY, (6, 2))}

    @jax.jit
    def gradients(params):
        costs = [objectives.compose(it=make()) for make in (term, critic_term)]
        return [jax.grad(lambda p, c=c: c(KEY, MODEL.bind(p), batch, 0)[0])(params) for c in costs]

    for grads, moves in zip(gradients(params), ({"encoder"}, {"critic"}), strict=True):
        moved = {
            g for g, tree in grads.items() if any((np.asarray(a) != 0).any() for a in jax.tree.leaves(tree))
        }
        assert moved == moves


def test_a_step_of_both_players_is_the_step_of_each_on_its_own_groups(x64):
    params, batch = correlated_params(BEST), {"x": jax.random.normal(KEY, (8, 2))}
    update = sequence(
        vae=gradient_update(VAE_COST, MODEL, optax.sgd(0.1), wrt=("encoder", "decoder")),
        critic=gradient_update(CRITIC_COST, MODEL, optax.sgd(0.2), wrt=("critic",)),
    )
    assert update.mixes_examples == ("critic",)

    @jax.jit
    def both(params):
        after, metrics = update.apply(state_of(update, params), KEY, batch, None)

        def cost(objective, name):
            return jax.grad(lambda p: objective(named_key(KEY, name), MODEL.bind(p), batch, 0)[0])

        first = cost(VAE_COST, "vae")(params)
        moved = {
            g: jax.tree.map(lambda p, d: p - 0.1 * d, params[g], first[g]) for g in ("encoder", "decoder")
        }
        second = cost(CRITIC_COST, "critic")({**params, **moved})["critic"]  # sees the encoder after its step
        critic = jax.tree.map(lambda p, d: p - 0.2 * d, params["critic"], second)
        return after, metrics, {**moved, "critic": critic}

    after, metrics, expected = both(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), after.params, expected)
    assert all(
        any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (after.params[g], params[g])), strict=True))
        for g in params
    )
    assert set(metrics) >= {"vae/tc", "vae/reconstruction", "critic/critic"}


def test_two_players_take_the_correlation_out_of_the_codes():
    params = correlated_params()
    params["decoder"]["W"] = jnp.linalg.inv(params["encoder"]["A"])  # stays: it wants correlated codes

    def trained(gamma):
        cost = objectives.compose(
            reconstruction=objectives.reconstruction,
            tc=objectives.scaled(gamma, objectives.total_correlation()),
        )
        update = sequence(
            vae=gradient_update(cost, MODEL, optax.adam(0.01), wrt=("encoder",)),
            critic=gradient_update(CRITIC_COST, MODEL, optax.adam(0.05), wrt=("critic",)),
            held=("decoder",),
        )

        def step(state, key):
            return update.apply(state, key, {"x": jax.random.normal(key, (128, 2))}, None)[0], None

        state = jax.lax.scan(step, state_of(update, params), jax.random.split(KEY, 300))[0]
        return state.params

    after = jax.jit(jax.vmap(trained))(jnp.array([0.0, 20.0]))
    without, with_tc = (total_correlation_of({k: a[i] for k, a in after["encoder"].items()}) for i in (0, 1))
    assert without > 0.25  # .34 at the start
    assert with_tc < 0.08  # .05
    for name, a in params["decoder"].items():
        np.testing.assert_array_equal(after["decoder"][name], jnp.stack([a, a]))


# adversarial


M, S = 0.8, 0.6


def log_ratio(z):
    """log p(z) - log q(z), p = N(0, 1), q = N(M, S^2): the best critic."""
    return -0.5 * z**2 + 0.5 * ((z - M) / S) ** 2 + np.log(S)


def expected(f, loc, scale):
    density = stats.norm(loc, scale).pdf
    return integrate.quad(lambda z: density(z) * f(z), loc - 9 * scale, loc + 9 * scale)[0]


def test_at_the_best_critic_both_costs_are_their_integrals(x64):
    def prior(key, n, c=None):
        return jax.random.normal(key, (n, 1))

    vae = judge(Partial(lambda z: log_ratio(z[:, 0])), Partial(prior))

    @jax.jit
    @jax.vmap
    def costs(key):
        z = M + S * jax.random.normal(named_key(key, "codes"), (20, 1))
        return [
            term(key, vae, codes(z)) for term in (objectives.adversarial(), objectives.adversarial_critic())
        ]

    term, critic = costs(jax.random.split(KEY, 1000))
    against = expected(lambda z: np.logaddexp(0, -log_ratio(z)), M, S)
    assert_mean_is(np.ravel(term), against)
    of_prior = expected(lambda z: np.logaddexp(0, -log_ratio(z)), 0, 1)
    of_codes = expected(lambda z: np.logaddexp(0, log_ratio(z)), M, S)
    assert_mean_is(np.ravel(critic), of_prior + of_codes)
    assert of_prior + of_codes < 2 * np.log(2) - 0.2  # 2 log 2 - 2 Jensen-Shannon
    assert abs(against - of_prior) > 0.2  # the sides would not be confused


def test_a_critic_that_cannot_tell_gives_no_gradient(x64):
    z, prior = jnp.linspace(-1, 1, 6).reshape(3, 2), Partial(lambda key, n, c=None: jnp.ones((n, 2)))
    vae = judge(Partial(lambda c, z: c + 0 * z[:, 0], jnp.zeros(())), prior)

    @jax.jit
    def run(z):
        slope = jax.grad(lambda z: objectives.adversarial()(KEY, vae, codes(z)).sum())(z)
        return slope, [
            make()(KEY, vae, codes(z)) for make in (objectives.adversarial, objectives.adversarial_critic)
        ]

    slope, costs = run(z)
    np.testing.assert_array_equal(slope, 0)
    np.testing.assert_allclose(costs[0], np.log(2), rtol=1e-12)
    np.testing.assert_allclose(costs[1], 2 * np.log(2), rtol=1e-12)


def test_at_the_mean_the_critics_see_posterior_means(x64):
    params = oracle.exact_params()
    vae = oracle.linear_vae().bind(params)._replace(heads={"judge": Partial(lambda z: z[:, 0])})

    @jax.jit
    def run(x):
        draw = objectives.sample(KEY, vae, {"x": x})
        terms = (objectives.adversarial, objectives.adversarial_critic)
        costs = [[term(critic="judge", at=at)(KEY, vae, draw) for term in terms] for at in ("sample", "mean")]
        return costs, (draw.z, draw.q.mean())

    of_prior = []
    for (mine, critics), z in zip(*jax.tree.map(np.asarray, run(jnp.asarray(oracle.data(4)))), strict=True):
        np.testing.assert_allclose(mine, np.logaddexp(0, -z[:, 0]), rtol=1e-12)
        of_prior.append(critics - np.logaddexp(0, z[:, 0]))
    np.testing.assert_allclose(*of_prior, rtol=1e-9)


# accuracy


@pytest.mark.parametrize("term", [objectives.total_correlation_critic, objectives.adversarial_critic])
def test_the_critics_accuracy_is_logged(term):
    prior = Partial(lambda key, n, c=None: jnp.full((n, 2), 50.0))
    draw = codes(jnp.concatenate([jnp.full((5, 2), 50.0), jnp.zeros((6, 2))]))  # halves: 50, and 0 to permute
    ((name, accuracy),) = term(critic="judge").logs.items()
    assert name == "judge/accuracy"

    @jax.jit
    @jax.vmap
    def of(slope, shift):
        vae = judge(None, prior)._replace(heads={"judge": lambda z: slope * z[:, 0] + shift})
        return jnp.mean(accuracy(KEY, vae, draw))

    constants = [(0.0, 3.0), (0.0, 0.0), (0.0, -3.0)]  # say the same of all: half is right
    *half, right, wrong = of(*jnp.array([*constants, (1.0, -25.0), (-1.0, 25.0)]).T)
    np.testing.assert_array_equal(half, 0.5)
    # five of the eleven codes are the prior's
    told = 1.0 if term is objectives.total_correlation_critic else (1 + 6 / 11) / 2
    assert right == pytest.approx(told)
    assert wrong == pytest.approx(1 - told)


def test_the_accuracy_stands_beside_the_cross_entropy_in_the_metrics():
    cost = objectives.compose(critic=objectives.adversarial_critic(), tc=objectives.total_correlation())
    params = correlated_params({"kernel": np.zeros((3, 1)), "bias": np.full(1, -2.0)})
    batch = {"x": jax.random.normal(KEY, (8, 2))}
    loss, (metrics, _) = jax.jit(lambda p: cost(KEY, MODEL.bind(p), batch, 0))(params)
    assert metrics["critic/accuracy"] == 0.5
    np.testing.assert_allclose(loss, metrics["critic"] + metrics["tc"], rtol=1e-6)  # it is not in the loss


# refusals


TERMS = (
    objectives.total_correlation,
    objectives.total_correlation_critic,
    objectives.adversarial,
    objectives.adversarial_critic,
)


@pytest.mark.parametrize("term", TERMS)
def test_a_head_is_named_and_gives_one_logit(term):
    with pytest.raises(TypeError, match="critic: expected the name of a head, got"):
        term(critic=Quadratic())
    draw, prior = codes(jnp.ones((4, 2))), Partial(lambda key, n, c=None: jnp.ones((n, 2)))
    with pytest.raises(
        ValueError, match=r"critic: expected one of the model's heads \['critic'\], got 'judge'"
    ):
        term(critic="judge")(KEY, judge(Partial(jnp.sum), prior), draw)
    with pytest.raises(
        ValueError, match=r"critic: expected one logit an example, \([24],\); got \([24], 2\)"
    ):
        term()(KEY, judge(Partial(jnp.asarray), prior), draw)


def test_small_batches_and_other_codes_are_refused():
    with pytest.raises(ValueError, match=r"x: expected a batch of at least 3 examples, .* got 2"):
        objectives.total_correlation_critic()(KEY, judge(Partial(jnp.sum)), codes(jnp.ones((2, 2))))
    for make in (objectives.adversarial, objectives.adversarial_critic):
        with pytest.raises(ValueError, match="at: expected one of 'sample', 'mean'; got 'mode'"):
            make(at="mode")
