"""A model that starts from given parameters, or from given weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import oracle
from tests.catalogue import small_vae
from vaejax import compose, distributions, models, nets, objectives, runs, scaled
from vaejax.models import posteriors, priors
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY = jax.random.key(0)
MODEL, X = small_vae()
BATCH = {"x": jnp.asarray(X)}


@pytest.fixture(scope="module")
def given():
    params, _ = jax.jit(MODEL.init)(jax.random.key(5), BATCH)
    return params


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def test_the_given_groups_start_as_they_are_and_the_others_afresh(given):
    init = jax.jit(models.starting_from(MODEL, {"encoder": given["encoder"]}).init)
    params, variables = init(KEY, BATCH)
    fresh, _ = jax.jit(MODEL.init)(KEY, BATCH)
    assert variables is None
    assert same(params["encoder"], given["encoder"])
    assert same(params["decoder"], fresh["decoder"])
    assert not same(params["decoder"], given["decoder"])
    assert models.starting_from(MODEL, given).spec == MODEL.spec


def test_variables_start_as_they_are_given():
    model = models.optimal_scale(small_vae(distributions.gaussian())[0])
    fresh, given = (
        jax.eval_shape(models.starting_from(model, {}, v).init, KEY, BATCH)[1]
        for v in (None, {"scale": np.float32(0.3)})
    )
    assert jax.tree.structure(fresh) == jax.tree.structure(given)
    init = models.starting_from(model, {}, {"scale": np.float32(0.3)}).init
    assert jax.jit(init)(KEY, BATCH)[1] == {"scale": np.float32(0.3)}
    for wrong in ({"scale": np.zeros(2, np.float32)}, {"book": np.float32(1.0)}):
        with pytest.raises(ValueError, match="variables: expected shapes"):
            jax.eval_shape(models.starting_from(model, {}, wrong).init, KEY, BATCH)


def test_a_pre_trained_encoder_goes_on_under_a_decoder_that_is_reset():
    data = Split({"x": X}, "binary")
    autoencoder = compose(reconstruction=objectives.reconstruction, kl=scaled(0.0, objectives.kl))
    options = {"batch_size": 3, "chunk": 1, "progress": False}
    first = fit(KEY, MODEL, gradient_update(autoencoder, MODEL, optax.sgd(0.1)), data, 2, **options)
    model = models.starting_from(MODEL, {"encoder": first.state.params["encoder"]})
    vae = compose(reconstruction=objectives.reconstruction, rate=objectives.target_rate(8.0))
    frozen = gradient_update(vae, model, optax.sgd(0.0))
    second = fit(jax.random.key(1), model, frozen, data, 1, **options)
    assert same(second.state.params["encoder"], first.state.params["encoder"])
    assert not same(second.state.params["decoder"], first.state.params["decoder"])
    assert second.metrics["rate"] == 8 > second.metrics["kl"]


def test_what_is_refused(given):
    with pytest.raises(TypeError, match=r"model: expected a vaejax\.Model, got dict"):
        models.starting_from(given, {})
    with pytest.raises(
        ValueError, match=r"params: expected groups among \['decoder', 'encoder'\], got 'critic'"
    ):
        jax.eval_shape(models.starting_from(MODEL, {"critic": 1.0}).init, KEY, BATCH)
    double = {"encoder": jax.tree.map(lambda a: np.concatenate([a, a]), given["encoder"])}
    with pytest.raises(ValueError, match=r"params\['encoder'\]: expected shapes .*\(8,\).*, got .*\(16,\)"):
        jax.eval_shape(models.starting_from(MODEL, double).init, KEY, BATCH)


def test_glorot_leaves_what_is_no_net_of_the_model_as_its_family_starts_it():
    """A flow whose kernels are stacks of matrices would be constant, pseudo-inputs of 0 would never part."""
    model = models.vae(
        encoder=nets.MLPEncoder(2, (3,), context=1), decoder=nets.MLP((3,), (4,)),
        posterior=posteriors.iaf(2, 2, (3,), context=1), likelihood=distributions.bernoulli(),
        prior=priors.vamp(3),
    )  # fmt: skip
    key_and_batch = KEY, {"x": jnp.zeros((1, 4))}
    params, fresh = jax.jit(
        lambda *a: (models.glorot(model, np.full(4, 0.5)).init(*a)[0], model.init(*a)[0])
    )(*key_and_batch)
    for group in ("posterior", "prior"):
        assert same(params[group], fresh[group])
    assert not same(params["encoder"], fresh["encoder"])


def test_glorot_weights_are_uniform_biases_0_and_the_output_the_mean():
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(2, (30, 40)), decoder=nets.MLP((40, 30), (4,)), latents=2,
        likelihood=distributions.bernoulli(),
    )  # fmt: skip
    mean = np.array([0.001, 0.999, 0.2, 0.4])
    given = models.glorot(model, mean)
    assert given.spec == model.spec
    params, variables = jax.jit(given.init)(KEY, {"x": jnp.zeros((1, 4))})
    assert variables is None
    bias = np.asarray(params["decoder"]["out"].pop("bias"), np.float64)
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), mean, rtol=1e-5)
    kernels = [np.asarray(a) for a in jax.tree.leaves(params) if a.ndim == 2]
    assert sorted(k.shape for k in kernels) == sorted(
        [(4, 30), (30, 40), (40, 2), (40, 2), (2, 40), (40, 30), (30, 4)]
    )
    for kernel in kernels:  # uniform on +- sqrt(6 / (in + out)): the variance is a third of the square
        assert np.abs(kernel).max() <= np.sqrt(6 / sum(kernel.shape))
    square = np.concatenate([(np.square(k) * sum(k.shape) / 2).ravel() for k in kernels])
    assert square.mean() == pytest.approx(1, abs=5 * 0.9 / np.sqrt(len(square)))  # of one: error .9
    first = [k.ravel()[0] for k in kernels]
    assert len(set(first)) == len(first)  # none repeats another's draws
    assert not any(a.any() for a in jax.tree.leaves(params) if a.ndim != 2)
    with pytest.raises(TypeError, match=r"model: expected a vaejax\.Model, got dict"):
        models.glorot({}, mean)
    with pytest.raises(ValueError, match=r"mean: expected values in \(0, 1\), got 0.0 to 0.5"):
        models.glorot(model, np.array([0.0, 0.5]))
    with pytest.raises(ValueError, match="mean: expected 4 values, got 3"):
        jax.eval_shape(models.glorot(model, mean[:3]).init, KEY, {"x": jnp.zeros((1, 4))})


# float64


def linear(**parts):
    return models.in_float64(oracle.linear_of(**parts))


@pytest.mark.usefixtures("x64")
def test_in_float64_the_bound_of_the_exact_posterior_is_the_evidence_to_its_digits():
    exact, x = oracle.exact_params(), jnp.asarray(oracle.data(6))
    layer = {"kernel": exact["decoder"]["W"].T, "bias": exact["decoder"]["b"]}
    scale = jnp.broadcast_to(exact["encoder"]["log_scale"], exact["encoder"]["a"].shape)
    head = {
        "loc": {"kernel": exact["encoder"]["A"].T, "bias": exact["encoder"]["a"]},
        "logvar": {"kernel": jnp.zeros_like(exact["encoder"]["A"].T), "bias": 2 * scale},
    }
    params = {"encoder": {"head": head}, "decoder": {"out": layer}}
    assert jax.tree.map(jnp.shape, jax.jit(linear().init)(KEY, {"x": x})[0]) == jax.tree.map(
        jnp.shape, params
    )
    errors = []
    for dtype in (jnp.float64, jnp.float32):
        vae = linear().bind(jax.tree.map(lambda a, t=dtype: jnp.asarray(a, t), params))
        draw = jax.jit(objectives.sample)(KEY, vae, {"x": x.astype(dtype)})
        errors.append(np.abs(objectives.log_weight(draw) - oracle.log_evidence(x)).max())
    assert errors[0] < 1e-12 < 1e-7 < errors[1]


EVERYTHING = {
    "gaussian": lambda: small_vae()[0],
    "mixture": lambda: small_vae(
        parts={
            "encoder": nets.MLPEncoder(latents=6, features=(4,), context=2),
            "posterior": posteriors.mixture(3, 2),
            "prior": priors.gaussian_mixture(2),
        }
    )[0],
    "flow": lambda: small_vae(
        parts={
            "encoder": nets.MLPEncoder(latents=3, features=(4,), context=2),
            "posterior": posteriors.autoregressive(3, 2, (4,), context=2),
            "prior": priors.flow(2, (4,)),
        }
    )[0],
    "codes": lambda: small_vae(
        parts={
            "encoder": nets.MLP((4,), (2, 2)),
            "decoder": nets.MLP((4,), (5,), event_ndims=2),
            "posterior": posteriors.vq(2, dim=2, codes=4),
            "prior": priors.codes(),
        }
    )[0],
    "levels": lambda: models.hierarchical_vae(
        encoder=nets.DenseLadder(((3,), (3,))),
        levels=(
            models.Level(posteriors.gaussian(2), nets.MLPEncoder(2, ()), nets.MLP((), (3,))),
            models.Level(
                posteriors.ladder(2), nets.MLPEncoder(2, ()), nets.MLP((), (3,)), nets.MLPEncoder(2, ())
            ),
        ),
        decoder=nets.MLP((), (5,)),
        likelihood=distributions.bernoulli(),
    ),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", EVERYTHING)
def test_in_float64_everything_is_and_without_it_nothing(name):
    def arrays(model):
        def of(key, x):
            params, variables = model.init(key, {"x": x})
            vae = model.bind(params, variables)
            draw = objectives.sample(key, vae, {"x": x})
            made = vae.decode(vae.sample_prior(key, 2)).mean()
            return (
                params,
                variables,
                draw.z,
                draw.log_q,
                draw.log_p,
                draw.log_px,
                vae.represent({"x": x}),
                made,
            )

        shapes = jax.tree.leaves(jax.eval_shape(of, KEY, jnp.asarray(X, jnp.float32)))
        return {a.dtype.name for a in shapes if jnp.issubdtype(a.dtype, jnp.floating)}

    assert arrays(models.in_float64(EVERYTHING[name]())) == {"float64"}
    assert arrays(EVERYTHING[name]()) == {"float32"}


@pytest.mark.usefixtures("x64")
def test_a_run_in_float64_trains_saves_and_loads_as_such(tmp_path):
    model = models.in_float64(MODEL)
    objective = compose(reconstruction=objectives.reconstruction, kl=scaled(0.5, objectives.kl))
    update = gradient_update(objective, model, optax.adam(0.1))
    options = {"batch_size": 3, "chunk": 1, "progress": False, "folder": tmp_path / "run"}
    fitted = fit(KEY, model, update, Split({"x": X}, "binary"), 3, **options)
    floats = [a for a in jax.tree.leaves(fitted.state) if jnp.issubdtype(a.dtype, jnp.floating)]
    assert {a.dtype.name for a in floats} == {"float64"}
    loaded = runs.load(tmp_path / "run")
    assert same(loaded.params, fitted.state.params)
    assert {a.dtype.name for a in jax.tree.leaves(loaded.params)} == {"float64"}
    assert loaded.model.spec == model.spec
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(ValueError, match="jax_enable_x64: expected True"):
        runs.load(tmp_path / "run")


def test_float64_that_is_not_enabled_is_refused():
    with pytest.raises(
        ValueError, match=r"jax_enable_x64: expected True, as jax\.config\.update.*; got False"
    ):
        models.in_float64(MODEL)
    with pytest.raises(TypeError, match=r"model: expected a vaejax\.Model, got VAE"):
        models.in_float64(MODEL.bind({"encoder": {}, "decoder": {}}))
