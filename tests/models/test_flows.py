"""Flow posteriors and priors: densities that integrate to 1 and have the samples, and where they start."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from tests.models.flow_families import NET, POSTERIORS, PRIORS, own_of, parameters_of, random_like
from tests.monte_carlo import assert_mean_is
from vaejax import distributions, models, nets, objectives
from vaejax.distributions import diagonal_gaussian
from vaejax.models import posteriors, priors
from vaejax.types import VAE, Draw

KEY = jax.random.key(0)
D, B = 5, 3
X = jnp.asarray(np.random.default_rng(0).random((B, D)) < 0.5, jnp.float32)
SIDE, SAMPLES = 241, 10_000


def grid_around(z):
    """[SIDE^2, 2] points, all that samples [n, 2] reach and half as much beyond; the edges of 4 x 4 cells.

    The edges lie between the points, near the quartiles.
    """
    spread = np.ptp(z, 0)
    sides = [np.linspace(z[:, i].min() - spread[i] / 2, z[:, i].max() + spread[i] / 2, SIDE) for i in (0, 1)]
    middles = [(side[1:] + side[:-1]) / 2 for side in sides]
    edges = [m[np.searchsorted(m, np.quantile(z[:, i], [0.25, 0.5, 0.75]))] for i, m in enumerate(middles)]
    return np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2), edges


def check_on_a_grid(build, exact):
    """The density of build(), of events [2], integrates to 1 and is that of its samples."""
    z, log_q = jax.jit(lambda: build().sample_and_log_prob(seed=KEY, sample_shape=(SAMPLES,)))()
    grid, edges = grid_around(np.asarray(z))
    log_prob = np.asarray(jax.jit(lambda z: build().log_prob(z))(np.concatenate([grid, z])))
    np.testing.assert_allclose(log_q, log_prob[len(grid) :], rtol=1e-8, atol=1e-8)
    mass = np.exp(log_prob[: len(grid)]) * np.prod(grid[-1] - grid[0]) / (SIDE - 1) ** 2
    np.testing.assert_allclose(mass.sum(), 1, atol=exact)
    for feature in (lambda z: z, lambda z: z**2, lambda z: z[:, :1] * z[:, 1:]):
        assert_mean_is(feature(z), mass @ feature(grid), errors=4.5)
    cells = [np.searchsorted(edges[0], a[:, 0]) * 4 + np.searchsorted(edges[1], a[:, 1]) for a in (z, grid)]
    found, share = (
        np.bincount(c, w, 16) for c, w in zip(cells, (np.full(SAMPLES, 1 / SAMPLES), mass), strict=True)
    )
    assert (np.abs(found - share) < 4.5 * np.sqrt(share * (1 - share) / SAMPLES) + 1e-5).all()


def around_of(d, c=None, dtype=jnp.float64):
    return priors.Around((d,), dtype, "binary", None, c, None, None)


@pytest.mark.parametrize("name", POSTERIORS)
def test_the_density_of_a_posterior_integrates_to_one_and_is_that_of_its_samples(name, x64):
    family = POSTERIORS[name]()
    own, parameters = own_of(family), jax.tree.map(lambda a: a[0], parameters_of(family, 1))
    splines = "spline" in name or name == "autoregressive"  # of which the second derivative jumps at knots
    check_on_a_grid(lambda: family.build(own, None, parameters), exact=2e-3 if splines else 1e-5)


@pytest.mark.parametrize("name", PRIORS)
def test_the_density_of_a_prior_integrates_to_one_and_is_that_of_its_samples(name, x64):
    around = around_of(2)
    own = random_like(jax.eval_shape(lambda: PRIORS[name]().init(KEY, around)))
    check_on_a_grid(lambda: PRIORS[name]().build(own, around), exact=2e-3 if "spline" in name else 1e-6)


@pytest.mark.parametrize("name", POSTERIORS)
def test_all_steps_together_are_one_invertible_map_with_the_determinant_of_its_jacobian(name, x64):
    """Of three latents, an odd number, so that halves are not equal; every one of them is moved."""
    family = POSTERIORS[name](3)
    own, parameters = own_of(family), jax.tree.map(lambda a: a[0], parameters_of(family, 1))
    z = np.random.default_rng(1).normal(size=(20, 3))

    @jax.jit
    @jax.vmap
    def run(z):
        q = family.build(own, None, parameters)
        y, log_det = q._forward(z)
        jacobian = jax.jacfwd(lambda z: q._forward(z)[0])(z)
        return y, log_det, jnp.linalg.slogdet(jacobian), q._inverse(y)

    y, log_det, (sign, of_jacobian), (back, log_det_back) = run(z)
    assert (np.abs(sign) == 1).all()
    np.testing.assert_allclose(log_det, of_jacobian, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(back, z, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-7, atol=1e-8)
    assert (np.abs(y - z).max(0) > 0.05).all()


KEPT = {"iaf": 3, "iaf_alone": 2, "stack": 1}  # gates in a row, which keep sigmoid(1.5) of z each


@pytest.mark.parametrize("name", POSTERIORS)
def test_it_starts_as_the_gaussian_of_the_encoder_and_has_its_elbo(name):
    family, shared = POSTERIORS[name](3), {"features": (6,), "activation": "tanh"}
    numbers = sum(shape[0] for shape in family.parameters[2:])
    parts = {"decoder": nets.MLP(output_shape=(D,), **shared), "likelihood": distributions.bernoulli()}
    plain = models.gaussian_vae(encoder=nets.MLPEncoder(3, **shared), latents=3, **parts)
    flow = models.vae(encoder=nets.MLPEncoder(3, context=numbers, **shared), posterior=family, **parts)

    @jax.jit
    def run():
        params, _ = flow.init(KEY, {"x": X})
        encoder = params["encoder"]
        if numbers:
            head = {"context": jax.tree.map(jnp.zeros_like, encoder["head"]["context"])}
            params = params | {"encoder": encoder | {"head": encoder["head"] | head}}
        draws = [objectives.sample(KEY, model.bind(params), {"x": X}) for model in (plain, flow)]
        codes = [model.bind(params).represent({"x": X}) for model in (plain, flow)]
        return [(d.z, d.log_q, objectives.log_weight(d)) for d in draws], codes

    ((z, log_q, log_w), (of_flow, log_q_of_flow, log_w_of_flow)), codes = run()
    kept = (1 / (1 + np.exp(-1.5))) ** KEPT.get(name, 0)
    np.testing.assert_allclose(of_flow, kept * z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(codes[1], kept * codes[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_q_of_flow, log_q - 3 * np.log(kept), rtol=1e-5)
    if kept == 1:
        np.testing.assert_allclose(log_w_of_flow, log_w, rtol=1e-5)


@pytest.mark.parametrize("name", ["planar", "iaf", "coupling"])
def test_where_q_is_the_posterior_the_path_gradients_through_the_inverse_are_zero(name, x64):
    """x says nothing of z and the prior is q: log w is constant, STL and DReG have gradient 0, others not."""
    family = POSTERIORS[name]()
    start = {"encoder": jax.tree.map(lambda a: a[0], parameters_of(family, 1)), "posterior": own_of(family)}
    p = family.build(start["posterior"], None, start["encoder"])

    def encode(params, key, batch):
        parameters = jax.tree.map(lambda a: jnp.broadcast_to(a, (B, *a.shape)), params["encoder"])
        drawn = family.draw(family, params["posterior"], None, parameters, key, batch, None)
        return Draw(drawn.z, drawn.log_q, p.log_prob(drawn.z), drawn.q, p, batch)

    def decode(z, c=None):
        return distributions.bernoulli().build(jnp.zeros((*z.shape[:-1], D)), 1)

    @jax.jit
    def run(params):
        def value(params, term):
            vae = VAE(Partial(encode, params), Partial(decode), None, {})
            return jnp.mean(term(KEY, vae, objectives.sample(KEY, vae, {"x": X})))

        terms = (objectives.kl_sampled, objectives.kl_stl, *([objectives.dreg(3)] if name == "iaf" else []))
        return [jax.value_and_grad(value)(params, term) for term in terms]

    (_, plain), *found = run(start)
    for (value, slopes), expected in zip(found, (0, D * np.log(2)), strict=False):
        np.testing.assert_allclose(value, expected, atol=1e-10)
        jax.tree.map(lambda a: np.testing.assert_allclose(a, 0, atol=1e-8), slopes)
    assert all(np.abs(a).max() > 1e-3 for a in jax.tree.leaves(plain["encoder"]))


def equations(jaxpr):
    """How many a jaxpr holds, with those inside of others."""
    inner = (value for eqn in jaxpr.eqns for value in eqn.params.values())
    return len(jaxpr.eqns) + sum(equations(i.jaxpr) for i in inner if hasattr(i, "jaxpr"))


@pytest.mark.parametrize(
    "family",
    [
        lambda steps: posteriors.planar(2, steps),
        lambda steps: posteriors.radial(2, steps),
        lambda steps: posteriors.sylvester(2, steps, 1),
        lambda steps: posteriors.iaf(2, steps, context=3, **NET),
        lambda steps: posteriors.coupling(2, steps, kind="spline", **NET),
    ],
)
def test_a_program_does_not_grow_with_the_number_of_steps(family):
    def size(steps):
        q = family(steps)

        def both(own, parameters):
            z, log_q = q.build(own, None, parameters).sample_and_log_prob(seed=KEY)
            return log_q, q.build(own, None, parameters).log_prob(z)

        arguments = own_of(q), parameters_of(q, B)
        return equations(jax.make_jaxpr(both)(*arguments).jaxpr)

    assert size(2) == size(6)


def test_a_stack_is_its_parts_with_the_order_turned_between_them(x64):
    parts = [posteriors.planar(3, 2), posteriors.iaf(3, 1, context=2, **NET), posteriors.radial(3, 1)]
    family = posteriors.stack(*parts)
    assert family.parameters == ((3,), (3,), (14 + 2 + 5,))
    own, (loc, logvar, numbers) = own_of(family), parameters_of(family, B)
    assert set(own) == {"1"}  # what the others need the encoder gives
    z0 = np.random.default_rng(2).normal(size=(B, 3))

    def by_hand(z):
        total = 0.0
        for i, (part, given) in enumerate(zip(parts, jnp.split(numbers, [14, 16], -1), strict=True)):
            q = part.build(own.get(str(i), {}), None, (loc, logvar, given))
            z, log_det = q._forward(z if i == 0 else z[..., ::-1])
            total = total + log_det
        return z, total

    q = family.build(own, None, (loc, logvar, numbers))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10),
        *jax.jit(lambda: (by_hand(z0), q._forward(z0)))(),
    )


@pytest.mark.parametrize(("name", "least"), [("coupling", 0.25), ("planar", 0.35)])
def test_it_learns_a_posterior_that_no_gaussian_has(name, least):
    """z_1 ~ N(0, 1), z_2 ~ N(z_1^2 - 1, .3^2): a diagonal Gaussian learns to KL(q||p) = .77."""

    def log_p(z):
        log_scales = np.log(0.3) + np.log(2 * np.pi)
        return -0.5 * (z[..., 0] ** 2 + ((z[..., 1] - z[..., 0] ** 2 + 1) / 0.3) ** 2) - log_scales

    family = POSTERIORS[name]()
    start = jax.tree.map(lambda a: 0.05 * a[0], parameters_of(family, 1))
    optimizer = optax.adam(0.02)

    def kl(params, key, n):
        q = family.build(params["own"], None, params["given"])
        z, log_q = q.sample_and_log_prob(seed=key, sample_shape=(n,))
        return jnp.mean(log_q - log_p(z))

    @jax.jit
    def learn():
        def step(carry, key):
            params, state = carry
            updates, state = optimizer.update(jax.grad(kl)(params, key, 64), state)
            return (optax.apply_updates(params, updates), state), None

        params = {"given": start, "own": family.init(KEY, jax.tree.map(lambda a: a[None], start))[0]}
        keys = jax.random.split(jax.random.key(1), 1000)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return kl(params, KEY, 10_000)

    assert -0.02 < learn() < least


def test_one_step_and_the_order_of_an_inverse_autoregressive_flow(x64):
    """z_j sees what came before it; after the second step, which goes backwards, all see all."""
    for steps in (1, 2):
        family = posteriors.iaf(4, steps, (8,), activation="tanh")
        own, parameters = own_of(family), parameters_of(family, 1)
        q = family.build(own, None, jax.tree.map(lambda a: a[0], parameters))
        jacobian = jax.jit(jax.jacfwd(lambda z: q._forward(z)[0]))(jnp.arange(4.0))  # noqa: B023
        np.testing.assert_array_equal(
            jacobian != 0, np.tril(np.ones((4, 4))) if steps == 1 else np.ones((4, 4))
        )


def test_a_prior_of_a_condition_is_for_each_condition_the_prior_of_nets_that_see_it(x64):
    prior, c = priors.flow(2, **NET), jnp.asarray([[1.0, 0.0, -1.0], [-2.0, 1.0, 0.5]])
    own = random_like(jax.eval_shape(lambda: prior.init(KEY, around_of(2, c))))
    for b in range(2):  # c beside z is a bias of the first layer
        alone = dict(own)
        first = own["dense_0"]
        bias = first["bias"] + first["kernel"][:, 1:].swapaxes(-1, -2) @ c[b]
        alone["dense_0"] = {"kernel": first["kernel"][:, :1], "bias": bias}

        def both(z):
            of_both = prior.build(own, around_of(2, c))
            z_of_both, log_p = of_both.sample_and_log_prob(seed=KEY)
            one = prior.build(alone, around_of(2))  # noqa: B023
            return of_both.log_prob(z)[:, b], one.log_prob(z[:, 0]), log_p[b], one.log_prob(z_of_both[b])  # noqa: B023

        of_both, of_one, drawn, scored = jax.jit(both)(np.random.default_rng(b).normal(size=(9, 1, 2)))
        np.testing.assert_allclose(of_both, of_one, rtol=1e-10)
        np.testing.assert_allclose(drawn, scored, rtol=1e-10)


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_starts_as_the_standard_normal(name):
    @jax.jit
    def run():
        around = around_of(3, dtype=jnp.float32)
        p = PRIORS[name]().build(PRIORS[name]().init(KEY, around), around)
        return p.sample_and_log_prob(seed=KEY, sample_shape=(4,)), p.log_prob(jnp.ones((4, 3)))

    (z, log_p), elsewhere = run()
    standard = diagonal_gaussian(jnp.zeros(3), jnp.ones(3))
    np.testing.assert_allclose(log_p, standard.log_prob(z), rtol=1e-5)
    np.testing.assert_allclose(elsewhere, -1.5 * (1 + np.log(2 * np.pi)), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: posteriors.planar(0, 3), ValueError, "latents: expected at least 1, got 0"),
        (lambda: posteriors.radial(2, 1.5), TypeError, "steps: expected an int, got float"),
        (
            lambda: posteriors.sylvester(2, 1, 3),
            ValueError,
            "columns: expected at most 2, the latents, got 3",
        ),
        (lambda: posteriors.iaf(2, 2, ()), ValueError, "features: expected at least one hidden layer"),
        (lambda: posteriors.iaf(2, 2, (4,), -1), ValueError, "context: expected at least 1, got -1"),
        (lambda: posteriors.iaf(2, 2, (4,), True), TypeError, "context: expected an int, got bool"),
        (lambda: posteriors.iaf(2, 2, (4,), gate=np.inf), ValueError, "gate: expected a finite number"),
        (
            lambda: posteriors.coupling(1, 2, (4,)),
            ValueError,
            "latents: expected at least 2, which a coupling",
        ),
        (
            lambda: posteriors.coupling(2, 2, (4,), kind="cubic"),
            ValueError,
            "kind: expected one of 'affine', 's",
        ),
        (lambda: posteriors.coupling(2, 2, (4,), bins=4), ValueError, "bins: expected None for affine maps"),
        (
            lambda: posteriors.autoregressive(2, 2, (4,), bins=0),
            ValueError,
            "bins: expected at least 1, got 0",
        ),
        (lambda: posteriors.autoregressive(2, 2, (4,), bound=0), ValueError, "bound: expected a positive"),
        (
            lambda: posteriors.autoregressive(2, 2, (4,), activation="sin"),
            ValueError,
            "activation: expected one",
        ),
        (lambda: posteriors.stack(), ValueError, "parts: expected at least one posterior, got none"),
        (
            lambda: posteriors.stack(posteriors.gaussian(2)),
            TypeError,
            r"parts\[0\]: expected a posterior that is",
        ),
        (
            lambda: posteriors.stack(posteriors.planar(2, 1), posteriors.radial(3, 1)),
            ValueError,
            r"parts\[1\]: expected 2 latents, as parts\[0\]; got 3",
        ),
        (lambda: priors.flow(0, (4,)), ValueError, "steps: expected at least 1, got 0"),
        (lambda: priors.flow(2, (0,)), ValueError, r"features\[0\]: expected at least 1, got 0"),
        (lambda: priors.flow(2, (4,), autoregressive=1), TypeError, "autoregressive: expected True or False"),
        (lambda: priors.flow(2, (4,), bound=-1.0), ValueError, "bound: expected a positive finite number"),
    ],
)
def test_bad_options_are_refused_when_built(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("around", "error", "message"),
    [
        (
            around_of(2, np.arange(3), np.float32),
            TypeError,
            "c: expected floating point values, such as one-hot",
        ),
        (
            around_of(1, dtype=np.float32),
            ValueError,
            "latents: expected at least 2, which a coupling takes apart",
        ),
        (
            around_of(1)._replace(event=(2, 3), dtype=np.float32),
            ValueError,
            r"prior: flow\(\) needs latents that are a vector, \[d\]; got \[2, 3\]",
        ),
        (
            around_of(1)._replace(event=((2,), (3,)), dtype=np.float32),
            ValueError,
            "prior: expected priors.product of one prior for each of 2 parts",
        ),
    ],
)
def test_what_a_flow_prior_cannot_stand_beside_is_refused(around, error, message):
    with pytest.raises(error, match=message):
        priors.flow(2, (4,)).init(KEY, around)
