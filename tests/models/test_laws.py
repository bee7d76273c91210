"""What holds for every family of posteriors and priors, with a condition and without (tests/families.py)."""

from __future__ import annotations

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.families import EACH, ENTRIES, ONCE, PAIRS, POSTERIORS, PRIORS, C, D, build
from vaejax import models, objectives, runs
from vaejax.models import posteriors, priors
from vaejax.models.latents import check_latents, log_prob
from vaejax.objectives.draw import scored_at
from vaejax.train import Checkpoints, fit, gradient_update
from vaejax.types import Split, TrainState

KEY, B = jax.random.key(0), 4
RNG = np.random.default_rng(0)
X, CONDITION = (RNG.random((B, D)) < 0.5).astype(np.float32), RNG.normal(size=(B, C)).astype(np.float32)

each_pair = pytest.mark.parametrize(("q", "p", "conditional"), PAIRS)
each_family = pytest.mark.parametrize(("q", "p", "conditional"), EACH)
each_combination = pytest.mark.parametrize(("q", "p", "conditional"), ONCE)


def batch_of(conditional, places=slice(None), dtype=np.float32):
    arrays = {"x": X[places].astype(dtype), "index": np.arange(B)[places]}
    return arrays | ({"c": CONDITION[places].astype(dtype)} if conditional else {})


@functools.cache
def made(q, p, conditional):
    """A model, and the shapes of its parameters and of its state: one for all its laws."""
    model = build(q, p, conditional)
    return model, *jax.eval_shape(model.init, KEY, batch_of(conditional))


def params_of(shapes, seed=1):
    """Of no special size: what starts at 0 or 1 is moved, as training would."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: rng.normal(size=a.shape, scale=0.4).astype(a.dtype), shapes)


@functools.cache
def state_of(q, p, conditional):
    """What it starts with beside parameters; few have such, and of the others nothing is compiled."""
    model, _, shapes = made(q, p, conditional)
    if not jax.tree.leaves(shapes):
        return shapes
    return jax.device_get(jax.jit(lambda: model.init(KEY, batch_of(conditional))[1])())


def test_every_public_family_is_here():
    for home, table in ((posteriors, POSTERIORS), (priors, PRIORS)):
        public = {name for name in home.__all__ if name.islower()}
        assert public == {entry.public for entry in table.values()}


@pytest.mark.parametrize("entry", [*POSTERIORS.values(), *PRIORS.values()], ids=lambda e: e.public)
def test_families_are_equal_by_factory_and_options(entry):
    assert entry.make() == entry.make()
    assert hash(entry.make()) == hash(entry.make())
    assert entry.make().name == entry.public
    assert sum(entry.make() == other.make() for other in (*POSTERIORS.values(), *PRIORS.values())) == 1


@each_combination
def test_a_model_is_plain_data(q, p, conditional):
    """It is built again from its spec, as JSON has it, and what one compiled serves the other."""
    model, params, variables = made(q, p, conditional)
    again = models.from_spec(json.loads(json.dumps(model.spec)))
    assert json.dumps(again.spec) == json.dumps(model.spec)
    assert set(params) == set(model.groups)
    assert jax.tree.structure(again.bind(params, variables)) == jax.tree.structure(
        model.bind(params, variables)
    )


@each_pair
def test_shapes_and_dtypes(q, p, conditional):
    (model, *shapes), batch = made(q, p, conditional), batch_of(conditional)
    event = ENTRIES[q].make().event

    def everything(params, variables, step):
        vae = model.bind(params, variables, step=step)
        draw, c = objectives.sample(KEY, vae, batch), batch.get("c")
        assert draw.variables is None or types_of(draw.variables) == types_of(variables)  # a step gives it on
        one, c_one = jax.tree.map(lambda a: a[0], (draw.z, c))
        codes = vae.represent(batch), vae.sample_prior(KEY, B, c), draw.z
        assert all(check_latents(z, event) == 1 for z in codes)
        densities = draw.log_q, draw.log_p, draw.log_px, objectives.kl(KEY, vae, draw)
        assert vae.decode(one, c_one).batch_shape == ()
        return codes, densities, vae.decode(draw.z, c).mean()

    for step in (None, jnp.zeros((), jnp.int32)):
        codes, densities, mean = jax.eval_shape(everything, *shapes, step)
        assert all(a.shape == (B,) for a in jax.tree.leaves(densities))
        assert all(a.shape[0] == B for a in jax.tree.leaves(codes))
        assert mean.shape == (B, D)
        assert all(a.dtype == jnp.float32 for a in jax.tree.leaves((codes, densities, mean)))


def types_of(tree):
    """Structure, shapes and dtypes, as a loop over steps wants them unchanged."""
    return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


@each_pair
def test_a_draw_is_what_its_densities_say_wherever_it_is_drawn(q, p, conditional, x64):
    """In float64: log q and log p at z; a slice draws what the whole draws, also among others in a map."""
    (model, shapes, _), entry = made(q, p, conditional), ENTRIES[q]
    own = params_of(shapes), state_of(q, p, conditional)
    params, variables = jax.tree.map(lambda a: np.asarray(a, np.float64), own)

    @jax.jit
    def run(params, variables, whole, part, keys):
        vae = model.bind(params, variables)

        def kept(draw):
            return draw.z, draw.log_q, draw.log_p, draw.log_px

        draw = objectives.sample(KEY, vae, whole)
        point = scored_at(draw)
        again = log_prob(draw.q, point) if entry.density else draw.log_q
        sliced = jax.vmap(lambda key: kept(objectives.sample(key, vae, part)))(keys)
        densities = (draw.log_q, draw.log_p), (again, log_prob(draw.p, point))
        return densities, jax.tree.map(lambda a: a[2:], kept(draw)), jax.tree.map(lambda a: a[1], sliced)

    whole, part = batch_of(conditional, dtype=np.float64), batch_of(conditional, slice(2, None), np.float64)
    first, last = jax.random.split(KEY)
    (taken, again), kept, sliced = run(params, variables, whole, part, jnp.stack([first, KEY, last]))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)  # noqa: E731
    jax.tree.map(close, taken, again)
    jax.tree.map(close, sliced, kept)
    if entry.kind == "vector":  # distinct examples have noise of their own
        assert len(np.unique(np.asarray(sliced[0])[:, 0])) == B - 2


@each_pair
def test_gradients_reach_every_group_and_nothing_compiles_twice(q, p, conditional):
    (model, shapes, _), variables = made(q, p, conditional), state_of(q, p, conditional)

    @jax.jit
    def gradient(params, variables, batch):
        def loss(params):
            vae = model.bind(params, variables, step=jnp.zeros((), jnp.int32))
            draw = objectives.sample(KEY, vae, batch)
            extra = sum((jnp.mean(v) for n, v in (draw.extra or {}).items() if n in LOSSES), 0.0)
            return extra + jnp.mean(rate_of(q)(KEY, vae, draw) - draw.log_px)

        return jax.value_and_grad(loss)(params)

    values = []
    for seed in (1, 2):
        value, grads = gradient(params_of(shapes, seed), variables, batch_of(conditional))
        values.append(value)
        assert np.isfinite(value)
        assert set(grads) == set(model.groups)
        for group, of_group in grads.items():
            leaves = jax.tree.leaves(of_group)
            assert all(np.isfinite(a).all() for a in leaves), group
            assert max(np.abs(a).max() for a in leaves) > 1e-6, group
            assert all(a.dtype == jnp.float32 for a in leaves)
    assert gradient._cache_size() == 1
    assert values[0] != values[1]


def rate_of(q):
    return objectives.kl if ENTRIES[q].bound else objectives.cross_entropy


LOSSES = ("codebook", "commitment")  # of codes, beside the bound


TRAINED = [("vq_means", "codes", True), ("levels_residual", "standard", True)]  # with state, and with a scan


@pytest.mark.parametrize(("q", "p", "conditional"), TRAINED)
def test_a_run_folder_of_two_steps_gives_the_model_back(q, p, conditional, tmp_path):
    """The same functions, and the parameters and the state after training."""
    model = build(q, p, conditional)
    arrays = {name: a for name, a in batch_of(conditional).items() if name != "index"}
    split = Split(arrays, "binary")
    objective = objectives.compose(reconstruction=objectives.reconstruction, rate=rate_of(q))
    update = gradient_update(objective, model, optax.sgd(0.01))
    runs.create(tmp_path, {}, model)
    options = {"batch_size": B, "folder": tmp_path, "progress": False, "chunk": 2}
    state = fit(KEY, model, update, split, 2, **options).state
    assert_loaded(tmp_path, model, state.params, state.variables)


@each_family
def test_a_run_folder_gives_the_model_back(q, p, conditional, tmp_path):
    """What `fit` saves, by what `fit` saves it with: the tree of a group's parameters is its family's."""
    (model, shapes, _), variables = made(q, p, conditional), state_of(q, p, conditional)
    params = params_of(shapes)
    runs.create(tmp_path, {}, model)
    checkpoints = Checkpoints(tmp_path / "checkpoints" / "latest")
    checkpoints.save(TrainState(params, variables, {}, np.int32(1)), {})
    checkpoints.close()
    assert_loaded(tmp_path, model, params, variables)


def assert_loaded(folder, model, params, variables):
    loaded = runs.load(folder)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, dict(params))
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, variables)
    assert types_of((loaded.params, loaded.variables)) == types_of((dict(params), variables))
    vae = model.bind(params, variables)
    assert jax.tree.structure(loaded.vae) == jax.tree.structure(vae)  # one program would serve both
