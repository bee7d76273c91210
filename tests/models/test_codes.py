"""Quantised posteriors in a model: the bound, costs, gradients, and codebooks that are running means."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaejax import distributions, models, nets, objectives
from vaejax.models import posteriors, priors
from vaejax.ops import codes as ops
from vaejax.train import fit, gradient_update, sequence
from vaejax.types import Split, TrainState

KEY = jax.random.key(0)
D, P, DIM, V = 5, 2, 4, 6
RNG = np.random.default_rng(0)
X = (RNG.random((8, D)) < 0.4).astype(np.float32)
Z = RNG.normal(size=(8, P, DIM)).astype(np.float32)
MEANS = {"decay": 0.9, "restart": 0.5}
FAMILIES = {
    "vq": lambda **o: posteriors.vq(P, DIM, V, **o),
    "groups": lambda **o: posteriors.vq(P, DIM, V, groups=2, **o),
    "residual": lambda **o: posteriors.residual_vq(P, DIM, V, 3, **o),
}
ALL = {
    **{name: make() for name, make in FAMILIES.items()},
    **{f"{name}, means": make(**MEANS) for name, make in FAMILIES.items()},
    "dropout": posteriors.residual_vq(P, DIM, V, 3, dropout=True, gradient="rotation", **MEANS),
    "fsq": posteriors.fsq(P, (3, 4, 2, 5)),
}
PLACES = {"groups": (P, 2), "residual": (P, 3), "dropout": (P, 3)}


def places_of(name):
    return PLACES.get(name.split(",")[0], (P,))


def build(posterior, **change):
    parts = {
        "encoder": nets.MLP(features=(6,), output_shape=(P, DIM), activation="tanh"),
        "decoder": nets.MLP(features=(6,), output_shape=(D,), activation="tanh", event_ndims=2),
        "posterior": posterior,
        "likelihood": distributions.bernoulli(),
        "prior": priors.codes(),
    }
    return models.vae(**(parts | change))


def init(model):
    return jax.jit(model.init)(KEY, {"x": X})


def start(posterior, z=Z):
    return posterior.init(KEY, jnp.zeros((1, *z.shape[1:])))


def drawn(posterior, own, state, z, key=KEY, step=0):
    return posterior.draw(posterior, own, state, z, key, {"x": z}, step)


each = pytest.mark.parametrize("name", ALL)


@each
def test_the_bound_is_the_reconstruction_and_the_nats_of_the_codes(name):
    """Of draws in evaluation, whose z is what the prior makes of the indices, and what the code is."""
    posterior = ALL[name]
    model = build(posterior)
    params, variables = init(model)

    @jax.jit
    def run(params, variables, x):
        vae = model.bind(params, variables)
        draw = objectives.sample(KEY, vae, {"x": x})
        coding = posterior.shared(params.get("posterior", {}), variables)
        point, z = draw.point, draw.z
        vectors = coding.vector(point)
        again = coding.index(z), vectors, coding.index(vectors), vae.represent({"x": x})
        ours = -objectives.log_weight(draw), objectives.kl(KEY, vae, draw), draw.q.log_prob(point)
        return draw.z, draw.log_px, point, again, ours, draw.p.log_prob(z), draw.q.log_prob((point + 1) % 2)

    for x in (X, X[:1]) if name in ("groups", "residual, means") else (X,):
        z, log_px, k, again, (cost, kl, log_q), log_p, elsewhere = run(params, variables, x)
        assert (k.shape, k.dtype) == ((len(x), *places_of(name)), jnp.int32)
        values = 120 if name == "fsq" else V
        nats = math.prod(places_of(name)) * math.log(values)
        np.testing.assert_allclose(kl, nats, rtol=1e-6)
        np.testing.assert_allclose(cost, nats - log_px, rtol=1e-5)
        np.testing.assert_allclose(log_p, -nats, rtol=1e-6)
        np.testing.assert_array_equal(log_q, 0)
        np.testing.assert_array_equal(elsewhere, -np.inf)
        for found, expected in zip(again, (k, z, k, z), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert z.dtype == log_px.dtype == cost.dtype == jnp.float32


@pytest.mark.parametrize(
    ("name", "gradient"),
    [(name, gradient) for name in FAMILIES for gradient in ("straight_through", "rotation")]
    + [("vq, means", "rotation"), ("residual, means", "straight_through")],
)
def test_costs_and_gradients_are_those_of_the_definition(name, gradient, x64):
    """In float64: what the decoder eats, its gradient to z_e, and both costs with theirs, by numpy."""
    posterior = FAMILIES[name.split(",")[0]](gradient=gradient, **(MEANS if "means" in name else {}))
    z = jnp.asarray(Z, jnp.float64)
    own, state = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), start(posterior))
    w = RNG.normal(size=Z.shape)

    def run(z, own):
        one = drawn(posterior, own, state, z, step=None)
        costs = [one.extra[n].sum() for n in ("commitment", "codebook") if n in one.extra]
        eaten = posterior.inputs(one.z)
        return [jnp.sum(w * eaten), *costs], (eaten, one)

    slopes, (eaten, one) = jax.jit(jax.jacobian(run, (0, 1), has_aux=True))(z, own)
    of_z, of_own = zip(*slopes, strict=True)
    books, k = np.asarray((own or state)["codebook"]), np.asarray(one.extra["indices"])
    e, rows = by_hand(name, books, k.reshape(8, P, -1))
    sums = e.sum(2) if "residual" in name else e.reshape(8, P, DIM)
    np.testing.assert_allclose(eaten, sums, rtol=1e-12, atol=1e-12)
    pull = jax.vjp(lambda z: ops.rotation(z, sums), z)[1](w)[0] if gradient == "rotation" else w
    np.testing.assert_allclose(of_z[0], pull, rtol=1e-10, atol=1e-10)
    apart = rows(np.asarray(z)) - e
    np.testing.assert_allclose(one.extra["commitment"], (apart**2).sum((1, 2, 3)), rtol=1e-10)
    slope = 2 * apart
    slope = slope.sum(2) if "residual" in name else slope.reshape(8, P, DIM)
    np.testing.assert_allclose(of_z[1], slope, rtol=1e-10, atol=1e-10)
    if own:
        np.testing.assert_allclose(one.extra["codebook"], one.extra["commitment"], rtol=1e-12)
        np.testing.assert_allclose(of_z[2], 0)
        hot = np.eye(V)[k.reshape(8, P, -1)]
        np.testing.assert_allclose(
            of_own[2]["codebook"], np.einsum("bpsv,bpsd->svd", hot, -2 * apart), rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(of_own[0]["codebook"], 0)


def by_hand(name, books, k):
    """The codes [B, P, S, width] of indices, and what each was for as a function of z."""
    e = np.stack([books[s][k[..., s]] for s in range(len(books))], axis=2)
    if "residual" in name:
        return e, lambda z: z[:, :, None] - (np.cumsum(e, axis=2) - e)
    return e, lambda z: z.reshape(8, P, len(books), -1)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_a_batch_twice_over_costs_what_it_does_once(decay):
    model = build(posteriors.vq(P, DIM, V, decay=decay))
    params, variables = init(model)
    terms = {"commitment": objectives.commitment} | ({} if decay else {"codebook": objectives.codebook})
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl, **terms)

    @jax.jit
    def run(params, x):
        return objective(KEY, model.bind(params, variables), {"x": x}, 0)[1][0]

    once, twice = run(params, X), run(params, np.concatenate([X, X]))
    assert {"perplexity", "used_share", "loss"} <= once.keys()
    for name in once:
        np.testing.assert_allclose(twice[name], once[name], rtol=1e-6)
    k = jax.jit(lambda params, x: model.bind(params, variables).encode(KEY, {"x": x}).point)(params, X)
    assert once["perplexity"] == pytest.approx(float(ops.perplexity(k, V)), rel=1e-6)
    assert once["used_share"] == pytest.approx(len(np.unique(k)) / V)


# State.


@pytest.mark.parametrize("name", FAMILIES)
def test_without_memory_the_codebook_is_the_means_of_a_batch(name):
    posterior = FAMILIES[name](decay=0.0)
    own, state = start(posterior)
    assert own == {}
    step = jax.jit(lambda state, z: drawn(posterior, {}, state, z))
    state = step(state, 3 * Z).state  # starts at k-means
    one = step(state, Z)
    k = np.asarray(one.extra["indices"]).reshape(8, P, -1)
    _, rows = by_hand(name, np.asarray(state["codebook"]), k)
    for s in range(k.shape[-1]):
        for v in range(V):
            mine = rows(Z)[:, :, s][k[..., s] == v]
            assert one.state["counts"][s, v] == len(mine)
            expected = mine.mean(0) if len(mine) else state["codebook"][s, v]  # what nothing chose stays
            np.testing.assert_allclose(one.state["codebook"][s, v], expected, rtol=1e-3, atol=1e-5)
    assert drawn(posterior, {}, state, Z, step=None).state is None


def clusters(n, spread):
    """n vectors around V centres, [n, DIM]."""
    rng = np.random.default_rng(1)
    centres = 10 * rng.normal(size=(V, DIM))
    return (centres[np.arange(n) % V] + spread * rng.normal(size=(n, DIM))).astype(np.float32)


def test_the_first_batch_gives_a_codebook_of_its_means():
    """Each of six clusters that k-means starts in; a later batch moves it a little, as running means do."""
    z = clusters(60, 0.01).reshape(30, 2, DIM)
    posterior = posteriors.vq(2, DIM, V, decay=0.9)
    step = jax.jit(lambda state, z, key: drawn(posterior, {}, state, z, key))
    _, empty = start(posterior)
    first = step(empty, z, KEY)
    e, n = np.asarray(first.state["codebook"][0]), np.asarray(first.state["counts"][0])
    found = np.asarray(first.extra["indices"]).reshape(-1)
    np.testing.assert_array_equal(n, np.bincount(found, minlength=V))
    for v in range(V):
        np.testing.assert_allclose(e[v], z.reshape(-1, DIM)[found == v].mean(0), rtol=1e-3, atol=1e-4)
    second, state = step(first.state, z + 1, KEY), jax.tree.map(lambda a: a[0], first.state)
    k = second.extra["indices"]
    moved = ops.ema_update(state["counts"], state["sums"], z + 1, k, 0.9, 1e-5)[2]
    chosen = np.isin(np.arange(V), k)
    np.testing.assert_allclose(second.state["codebook"][0][chosen], moved[chosen], rtol=1e-5)
    np.testing.assert_allclose(second.state["codebook"][0][~chosen], e[~chosen])
    other = step(empty, z, jax.random.key(1)).state["codebook"][0]
    assert not np.allclose(other, e)
    np.testing.assert_array_equal(step(empty, z, KEY).state["codebook"][0], e)
    one = step(empty, z[:1], KEY)  # fewer vectors than codes
    assert one.state["counts"].sum() == 2
    np.testing.assert_allclose(one.z, z[:1], rtol=1e-5)


def test_restarts_bring_every_code_into_use():
    """V clusters, V codes that all start in one place; without restarts one code remains."""
    z = clusters(120, 0.1)[:, None]
    shares = {}
    for restart in (None, 1.0):
        posterior = posteriors.vq(1, DIM, V, decay=0.8, restart=restart)
        e = jnp.full((1, V, DIM), 50.0)
        state = {"codebook": e, "counts": jnp.ones((1, V)), "sums": e}

        def step(state, key, posterior=posterior):
            one = drawn(posterior, {}, state, z, key)
            return one.state, (one.extra["used_share"][0], one.extra["commitment"].mean())

        _, (used, cost) = jax.jit(lambda s, k: jax.lax.scan(step, s, k))(state, jax.random.split(KEY, 60))
        shares[restart] = used[-1]
        assert cost[-1] < cost[0]
    assert shares[1.0] == 1
    assert shares[None] == pytest.approx(1 / V)  # of equal codes the first  # of equal codes the first


def test_the_means_move_once_a_step_by_what_moves_the_encoder():
    """Beside a second update in a sequence; a prior fitted alone leaves them."""
    net = nets.CausalTransformer(places=(P,), values=V, width=4, blocks=1, heads=1)
    model = build(posteriors.vq(P, DIM, V, decay=0.9), prior=priors.codes(net))
    params, variables = init(model)
    z = jax.jit(lambda p: model.bind(p, variables).encode(KEY, {"x": X}).extra["indices"])(params)
    variables = {**variables, "counts": jnp.bincount(z.ravel(), length=V)[None].astype(jnp.float32)}
    rec = objectives.compose(reconstruction=objectives.reconstruction, commitment=objectives.commitment)
    nll = objectives.compose(codes=objectives.cross_entropy)
    phi = gradient_update(rec, model, optax.sgd(0.0), wrt=("encoder", "decoder"))
    prior = gradient_update(nll, model, optax.sgd(0.1), wrt=("prior",))
    both = sequence(vae=phi, prior=prior)

    def moved(update):
        state = TrainState(params, variables, update.init(params), jnp.zeros((), jnp.int32))
        return jax.jit(lambda s: update.apply(s, KEY, {"x": X}, None)[0])(state)

    once, twice, none = moved(phi), moved(both), moved(prior)
    n = 0.9 * variables["counts"] + 0.1 * jnp.bincount(z.ravel(), length=V)
    np.testing.assert_allclose(once.variables["counts"], n, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, twice.variables, once.variables)
    jax.tree.map(np.testing.assert_array_equal, none.variables, variables)
    leaves = [jax.tree.leaves(s.params["prior"]) for s in (none, once)]
    assert any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(*leaves, strict=True))


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    """Start, restarts and dropped stages are functions of the step."""
    model = build(posteriors.residual_vq(P, DIM, V, 2, dropout=True, decay=0.9, restart=1.0))
    terms = {"reconstruction": objectives.reconstruction, "commitment": objectives.commitment}
    update = gradient_update(objectives.compose(**terms), model, optax.adam(0.01))
    split = Split({"x": np.tile(X, (4, 1))}, "binary")
    options = {"batch_size": 8, "progress": False, "chunk": 3}
    whole = fit(KEY, model, update, split, 6, **options)
    fit(KEY, model, update, split, 3, folder=tmp_path / "run", **options)
    resumed = fit(KEY, model, update, split, 6, folder=tmp_path / "run", resume=True, **options)
    jax.tree.map(np.testing.assert_array_equal, resumed.state, whole.state)
    assert (np.asarray(whole.state.variables["counts"]) > 0).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_several_runs_at_once_are_each_alone(name):
    """One that starts beside one that has started; a nan of the encoder stays one, in its example alone."""
    posterior = FAMILIES[name](**MEANS)
    _, empty = start(posterior)
    step = lambda state, z, key: drawn(posterior, {}, state, z, key)  # noqa: E731
    begun = jax.jit(step)(empty, Z, KEY).state
    states, keys = jax.tree.map(lambda *a: jnp.stack(a), empty, begun), jax.random.split(KEY, 2)
    together = jax.jit(jax.vmap(step, (0, None, 0)))(states, Z, keys)
    for i, state in enumerate((empty, begun)):
        alone = jax.jit(step)(state, Z, keys[i])
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(b[i], a, rtol=1e-5, atol=1e-6)
    broken = jax.jit(step)(begun, np.where(np.arange(8)[:, None, None] == 3, np.nan, Z), KEY)
    np.testing.assert_array_equal(np.isnan(posterior.inputs(broken.z)).any((1, 2)), np.arange(8) == 3)
    assert np.isnan(broken.extra["commitment"]).nonzero()[0].tolist() == [3]


# Stages.


def test_dropped_stages_are_unseen_and_do_not_count():
    posterior = posteriors.residual_vq(P, DIM, V, 3, dropout=True, decay=0.9)
    _, state = start(posterior)
    state = {**state, "counts": jnp.ones((3, V)), "sums": state["codebook"]}
    z = np.tile(Z, (50, 1, 1))
    train = jax.jit(lambda z, i: posterior.draw(posterior, {}, state, z, KEY, {"x": z, "index": i}, 0))
    one, full = train(z, jnp.arange(400)), drawn(posterior, {}, state, z, step=None)
    seen = np.asarray((one.z != 0).any((1, 3)))  # [B, S]
    stages = seen.sum(1)
    np.testing.assert_array_equal(seen, np.arange(3) < stages[:, None])
    assert (np.abs(np.bincount(stages, minlength=4)[1:] / 400 - 1 / 3) < 0.1).all()
    kept = seen[:, None, :, None]
    np.testing.assert_allclose(one.z, np.where(kept, full.z, 0), atol=1e-6)
    np.testing.assert_array_equal(one.point, full.point)
    np.testing.assert_allclose(one.state["counts"].sum(1), 0.9 * V + 0.1 * P * seen.sum(0), rtol=1e-5)
    all_costs = np.stack([(Z_left**2).sum((1, 2)) for Z_left in left(z, np.asarray(full.z))], axis=1)
    np.testing.assert_allclose(one.extra["commitment"], (all_costs * seen).sum(1), rtol=1e-4)
    part = train(z[100:103], jnp.arange(100, 103))
    np.testing.assert_array_equal(part.z, one.z[100:103])


def left(z, e):
    """What is left after each stage, [B, P, D] each."""
    return [z - e[:, :, : s + 1].sum(2) for s in range(e.shape[2])]


# Parts, and what refuses.


def two_parts():
    heads = (nets.MLP(features=(), output_shape=(1, 2)), nets.MLP(features=(), output_shape=(P, DIM)))
    return build(
        posteriors.product(posteriors.vq(1, 2, 3, decay=0.9), posteriors.vq(P, DIM, V)),
        encoder=nets.Heads(nets.MLP(features=(), output_shape=(6,)), heads, activation="tanh"),
        decoder=nets.MLP(features=(6,), output_shape=(D,)),
        prior=priors.product(priors.codes(), priors.codes()),
    )


def test_parts_that_are_codes_add_up():
    model = two_parts()
    params, variables = init(model)
    draw = jax.jit(lambda p, v: objectives.sample(KEY, model.bind(p, v, step=0), {"x": X}))(params, variables)
    assert [a.shape for a in draw.extra["indices"]] == [(8, 1), (8, P)]
    costs = draw.extra["commitment"]
    np.testing.assert_allclose(objectives.commitment(KEY, None, draw), costs[0] + costs[1], rtol=1e-6)
    np.testing.assert_array_equal(objectives.codebook(KEY, None, draw), draw.extra["codebook"])
    np.testing.assert_allclose(objectives.kl(KEY, None, draw), math.log(3) + P * math.log(V), rtol=1e-6)
    assert variables.keys() == {"0"}
    assert draw.variables["0"]["counts"].sum() == 8


def test_terms_say_what_they_need():
    fsq = build(ALL["fsq"])
    means = build(posteriors.vq(P, DIM, V, decay=0.9))
    for model, term, message in (
        (fsq, objectives.commitment, r'commitment: expected Draw.extra\["commitment"\], as posteriors.vq or'),
        (means, objectives.codebook, r"posteriors.vq\(..., decay=None\) gives it; got q CodePoint without"),
        (fsq, objectives.dreg(2), r"dreg: expected a reparameterised q, .*; got CodePoint, discrete"),
        (fsq, objectives.kl_stl, r"kl_stl: expected a reparameterised q, .*; got CodePoint, discrete"),
    ):
        objective = objectives.compose(mine=term)

        def run(model=model, objective=objective):
            return objective(KEY, model.bind(*model.init(KEY, {"x": X})), {"x": X}, 0)[0]

        with pytest.raises(TypeError, match=message):
            jax.eval_shape(run)


def test_half_precision_ends_at_the_codes():
    for posterior in (ALL["vq, means"], ALL["fsq"]):
        model = build(posterior, encoder=nets.MLP((6,), (P, DIM), dtype="bfloat16"))
        params, variables = jax.eval_shape(model.init, KEY, {"x": X})
        draw = jax.eval_shape(
            lambda p, v, m=model: m.bind(p, v, step=0).encode(KEY, {"x": X}), params, variables
        )
        floats = [a for a in jax.tree.leaves(draw[:3]) if jnp.issubdtype(a.dtype, jnp.floating)]
        assert {a.dtype.name for a in floats} == {"float32"}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: posteriors.vq((), 4, 6), ValueError, "shape: expected at least one axis"),
        (lambda: posteriors.vq((2, 0), 4, 6), ValueError, "shape: expected at least 1, got 0"),
        (lambda: posteriors.vq(2, 4.0, 6), TypeError, "dim: expected an int, got float"),
        (lambda: posteriors.vq(2, 4, 1), ValueError, "codes: expected at least 2, got 1"),
        (lambda: posteriors.vq(2, 4, 6, groups=3), ValueError, "groups: expected a divisor of dim 4, got 3"),
        (lambda: posteriors.vq(2, 4, 6, decay=1.0), ValueError, r"decay: expected a number in \[0, 1\)"),
        (lambda: posteriors.vq(2, 4, 6, decay=True), TypeError, "decay: expected a number, got bool"),
        (lambda: posteriors.vq(2, 4, 6, restart=1.0), ValueError, "restart: expected None for a codebook"),
        (lambda: posteriors.vq(2, 4, 6, decay=0.9, restart=0.0), ValueError, "restart: expected a positive"),
        (lambda: posteriors.vq(2, 4, 6, gradient="none"), ValueError, "gradient: expected one of 'rotation'"),
        (lambda: posteriors.residual_vq(2, 4, 6, 0), ValueError, "stages: expected at least 1, got 0"),
        (lambda: posteriors.residual_vq(2, 4, 6, 2, dropout=1), TypeError, "dropout: expected a bool"),
        (lambda: posteriors.fsq(2, (3, 1)), ValueError, "levels: expected ints of at least 2"),
        (lambda: posteriors.fsq(2, (2,) * 31), ValueError, "levels: expected ints of at least 2"),
        (lambda: posteriors.fsq(2, (2.5,)), TypeError, "levels: expected an int, got float"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_priors_of_other_latents_are_refused():
    """By what they are for, not by the shapes that they stumble on."""
    square = posteriors.vq(P, P, V)  # as large as one-hots of two values
    encoder = nets.MLP(features=(), output_shape=(P, P))
    for change, message in (
        ({"prior": priors.standard()}, "prior: expected one of latents without a path"),
        ({"prior": priors.flow(1, (4,))}, "prior: flow"),
        ({"prior": priors.vamp(2)}, "prior: expected"),
        ({"prior": priors.gaussian_mixture(2)}, "prior: expected one of latents without a path"),
        ({"prior": priors.uniform()}, r"prior: uniform\(\) expected one-hot latents, got codes"),
        ({"prior": priors.categorical()}, r"prior: categorical\(\) expected one-hot latents, got codes"),
    ):
        model = build(square, encoder=encoder, **change)
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda: model.init(KEY, {"x": X})[0])  # noqa: B023
