"""The builder over families: what it refuses, when its parts are equal, what of it is plain data."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.toy import assert_same_fit
from vaejax import compose, distributions, evaluation, models, nets, objectives, runs
from vaejax.distributions import diagonal_gaussian
from vaejax.models import posteriors, priors
from vaejax.models.posteriors.family import draw_per_example
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY = jax.random.key(0)
D, LATENTS = 4, 2
PARTS = {
    "encoder": nets.MLPEncoder(latents=LATENTS, features=(5,), activation="tanh"),
    "decoder": nets.MLP(features=(5,), output_shape=(D,), activation="tanh"),
    "posterior": posteriors.gaussian(LATENTS),
    "likelihood": distributions.bernoulli(),
}
X = jnp.asarray(np.random.default_rng(0).random((3, D)) < 0.5, jnp.float32)


def build(**change):
    return models.vae(**(PARTS | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"posterior": posteriors.gaussian},
            "posterior: expected a vaejax.*, got the function gaussian",
        ),
        ({"prior": "standard"}, "prior: expected a vaejax.*Prior, got 'standard'"),
        ({"prior": posteriors.gaussian(2)}, "prior: expected a vaejax.*Prior, got Posterior"),
        ({"conditional": 1}, "conditional: expected a builtins.bool, got 1"),
    ],
)
def test_bad_arguments_are_refused_when_built(change, message):
    with pytest.raises(TypeError, match=message):
        build(**change)


def test_gaussian_vae_is_its_simplest_case_to_the_last_bit():
    """It keeps the spec that old run folders have."""
    parts = {name: part for name, part in PARTS.items() if name != "posterior"}
    simple, general = models.gaussian_vae(**parts, latents=LATENTS), build()
    batch = {"x": X}
    params, variables = jax.jit(simple.init)(KEY, batch)
    assert variables is None
    jax.tree.map(np.testing.assert_array_equal, params, jax.jit(general.init)(KEY, batch)[0])
    assert jax.tree.structure(simple.bind(params)) == jax.tree.structure(general.bind(params))
    assert list(simple.spec) == ["builder", "encoder", "decoder", "likelihood", "latents"]
    assert simple.groups == general.groups == ("encoder", "decoder")


def test_the_noise_of_an_example_is_that_of_its_key_and_place():
    """As run folders and their seeds have it: normals of the shape of z."""
    model, places = build(), np.array([7, 2, 5])
    params = jax.jit(model.init)(KEY, {"x": X})[0]

    @jax.jit
    def run(params):
        vae = model.bind(params)
        draw, samples = vae.encode(KEY, {"x": X, "index": places}), vae.sample_prior(KEY, 4)
        eps = [jax.random.normal(jax.random.fold_in(KEY, i), (LATENTS,)) for i in places]
        return draw.z, draw.q.mean() + draw.q.stddev() * jnp.stack(eps), samples

    z, expected, samples = run(params)
    np.testing.assert_allclose(z, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(samples, jax.random.normal(KEY, (4, LATENTS)))


def own(loc, name="gaussian"):
    """A family of the user's, under a name of the house."""

    def build(own, state, parameters):
        return diagonal_gaussian(parameters[0] + loc, jnp.exp(parameters[1] / 2))

    return posteriors.Posterior(
        name, (LATENTS,), ((LATENTS,), (LATENTS,)), build, options={"latents": LATENTS}
    )


def test_families_are_equal_by_factory_and_options_and_a_namesake_is_another():
    assert posteriors.gaussian(2) == posteriors.gaussian((2,)) == posteriors.gaussian(np.int64(2))
    assert hash(posteriors.gaussian(2)) == hash(posteriors.gaussian(2))
    assert len({posteriors.gaussian(2), posteriors.gaussian(3), own(0.0), own(0.0), priors.standard()}) == 5
    assert priors.standard() == priors.standard()


def test_a_family_of_the_users_own_works_and_its_spec_is_refused_by_name():
    params = jax.jit(build().init)(KEY, {"x": X})[0]

    def z(family):
        return jax.jit(lambda params: build(posterior=family).bind(params).encode(KEY, {"x": X}).z)(params)

    np.testing.assert_allclose(z(own(5.0)) - z(own(0.0)), 5.0, rtol=1e-5)
    np.testing.assert_array_equal(z(own(0.0)), z(posteriors.gaussian(LATENTS)))  # by another kind of draw
    for family in (own(0.0), own(0.0, "mine")):
        spec = json.loads(json.dumps(build(posterior=family).spec))
        with pytest.raises(
            ValueError, match=r"expected a public name of vaejax.*; a model with parts of your"
        ):
            models.from_spec(spec)


def test_latents_have_any_shape():
    """One draw of [H, W, C] latents is the draw of the vector of the same numbers."""
    shape = (2, 1, 3)
    encoder = nets.MLPEncoder(latents=6, features=())
    flat = build(encoder=encoder, posterior=posteriors.gaussian(6))

    def maps(own, state, parameters):
        del own, state
        loc, logvar = (a.reshape(*a.shape[:-1], *shape) for a in parameters)
        return diagonal_gaussian(loc, jnp.exp(logvar / 2), 3)

    family = posteriors.Posterior("maps", shape, ((6,), (6,)), maps)
    decoder = nets.MLP(PARTS["decoder"].features, (D,), "tanh", event_ndims=3)
    shaped = build(encoder=encoder, posterior=family, decoder=decoder)
    params = jax.jit(flat.init)(KEY, {"x": X})[0]

    @jax.jit
    def run(params):
        return [
            (d.z.reshape(3, 6), d.log_q, d.log_p, v.decode(d.z).mean(), v.represent({"x": X}).reshape(3, 6))
            for v in (flat.bind(params), shaped.bind(params))
            for d in [v.encode(KEY, {"x": X})]
        ]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *run(params))
    assert shaped.bind(params).sample_prior(KEY, 7).shape == (7, *shape)


# conditions


def conditional(**change):
    return build(**({"conditional": True} | change))


def test_a_missing_or_superfluous_condition_is_refused():
    batch, c = {"x": X, "c": jnp.ones((3, 2))}, jnp.ones((3, 2))
    with_c, without = conditional(), build()
    params = jax.eval_shape(lambda: (with_c.init(KEY, batch)[0], without.init(KEY, {"x": X})[0]))
    bound = with_c.bind(params[0]), without.bind(params[1])
    z = jnp.zeros((3, LATENTS))
    calls = (
        lambda vae, batch, c: vae.encode(KEY, batch),
        lambda vae, batch, c: vae.represent(batch),
        lambda vae, batch, c: vae.decode(z, c),
        lambda vae, batch, c: vae.sample_prior(KEY, 3, c),
    )
    for call in (*calls, lambda vae, batch, c: with_c.init(KEY, batch)):
        with pytest.raises(ValueError, match=r"c: expected an array, this model has a condition; got None"):
            jax.eval_shape(call, bound[0], {"x": X}, None)
    for call in (*calls, lambda vae, batch, c: without.init(KEY, batch)):
        with pytest.raises(ValueError, match=r"c: expected None, this model has no condition; got an array"):
            jax.eval_shape(call, bound[1], batch, c)


@pytest.mark.parametrize(
    ("change", "c", "error", "message"),
    [
        ({}, np.ones((3, 2), int), TypeError, "c: expected floating point values; got dtype int"),
        (
            {},
            np.ones((2, 2), np.float32),
            ValueError,
            r"c: expected leading axes \(1,\).*|x: expected|c: exp",
        ),
        (
            {"conditional": False, "prior": priors.conditional(nets.MLPEncoder(2, ()))},
            None,
            ValueError,
            r"prior: conditional\(net\) needs a condition",
        ),
        (
            {"prior": priors.conditional(nets.MLPEncoder(3, ()))},
            np.ones((3, 2), np.float32),
            ValueError,
            r"prior: expected \(loc, logvar\) of shape \(1, 2\) from its net, got shapes \(\(1, 3",
        ),
        (
            {"conditional": False, "prior": priors.product(priors.standard(), priors.standard())},
            None,
            ValueError,
            "prior: expected latents in 2 parts, as posteriors.product; got one",
        ),
    ],
)
def test_conditions_and_priors_that_do_not_fit_are_refused(change, c, error, message):
    model, batch = conditional(**change), {"x": X} | ({} if c is None else {"c": c})

    def run():
        params, variables = model.init(KEY, batch)
        return model.bind(params, variables).encode(KEY, batch)

    with pytest.raises(error, match=message):
        jax.eval_shape(run)


def test_a_condition_of_zeros_changes_nothing():
    with_c, without, c = conditional(), build(), jnp.zeros((3, 2))
    params, _ = jax.jit(with_c.init)(KEY, {"x": X, "c": c})
    plain = jax.tree.map(lambda a: a, params)
    for group, size in (("encoder", D), ("decoder", LATENTS)):
        plain[group]["dense_0"]["kernel"] = params[group]["dense_0"]["kernel"][:size]

    @jax.jit
    def run(params, plain):
        given = objectives.sample(KEY, with_c.bind(params), {"x": X, "c": c})
        alone = objectives.sample(KEY, without.bind(plain), {"x": X})
        other = objectives.sample(KEY, with_c.bind(params), {"x": X, "c": c + 1})
        return [(d.z, d.log_q, d.log_p, d.log_px) for d in (given, alone, other)]

    given, alone, other = run(params, plain)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), given, alone)
    assert np.abs(other[0] - given[0]).min() > 1e-4
    assert np.abs(other[3] - given[3]).min() > 1e-4


def test_other_nets_see_a_condition_through_beside():
    """Beside an image c is channels that are the same everywhere; a PixelCNN sees it as more of z."""
    net = nets.Beside(nets.Conv(3, (2, 2), padding="VALID"), event_ndims=3)
    x, c = jax.random.normal(KEY, (2, 3, 3, 1)), jnp.array([[1.0, 2.0], [3.0, 4.0]])
    params = net.init(KEY, x, c)
    channels = jnp.broadcast_to(c[:, None, None], (2, 3, 3, 2))
    alone = nets.Conv(3, (2, 2), padding="VALID")
    expected = alone.apply({"params": params["params"]["net"]}, jnp.concatenate([x, channels], -1))
    np.testing.assert_array_equal(net.apply(params, x, c), expected)

    pixels = nets.Beside(nets.GatedPixelCNN((2, 2, 1), 4, (3,)))
    model = conditional(
        encoder=nets.MLPEncoder(LATENTS, (5,), event_ndims=3), decoder=pixels, prior=priors.standard()
    )
    images = X.reshape(3, 2, 2, 1)

    @jax.jit
    def run(c):
        vae = model.bind(model.init(KEY, {"x": images, "c": c})[0])
        px = vae.decode(jnp.ones((3, LATENTS)), c)
        return px.log_prob(images), px.sample(seed=KEY)

    (one, sample), (other, _) = run(jnp.ones((3, 2))), run(jnp.zeros((3, 2)))
    assert sample.shape == images.shape
    assert np.abs(one - other).min() > 1e-4


# parts


def test_parts_are_independent_models_side_by_side():
    """One part is the model of that part alone; both together are the model of the concatenated latents."""
    sizes, gaussian = (2, 3), posteriors.gaussian
    encoder = nets.Heads(nets.MLP((), (5,)), tuple(nets.GaussianHead(n) for n in sizes), activation="tanh")
    prior = priors.product(priors.standard(), priors.conditional(nets.MLPEncoder(3, ())))
    model = conditional(encoder=encoder, posterior=posteriors.product(*map(gaussian, sizes)), prior=prior)
    batch = {"x": X, "c": jnp.ones((3, 2))}
    params = jax.jit(model.init)(KEY, batch)[0]
    assert model.groups == ("encoder", "decoder", "prior")
    assert set(params["prior"]) == {"1"}  # the other part has no parameters

    @jax.jit
    def run(params):
        vae = model.bind(params)
        draw = objectives.sample(KEY, vae, batch)
        z = jnp.concatenate(draw.z, -1)
        loc, scale = (jnp.concatenate([getattr(q, f)() for q in draw.q], -1) for f in ("mean", "stddev"))
        side_by_side = diagonal_gaussian(loc, scale).log_prob(z)
        p = [q.log_prob(a) for q, a in zip(draw.p, draw.z, strict=True)]
        given = PARTS["decoder"].apply({"params": params["decoder"]}, z, batch["c"])
        samples = vae.sample_prior(KEY, 3, batch["c"])
        found = objectives.log_weight(draw), draw.px.logits, jnp.concatenate(vae.represent(batch), -1)
        return found, (draw.log_px + sum(p) - side_by_side, given, loc), draw.z, samples, draw.p[1].mean()

    found, expected, z, samples, mean = run(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
    assert [a.shape for a in z] == [a.shape for a in samples] == [(3, 2), (3, 3)]
    assert mean.shape == (3, 3)
    eps = np.concatenate(z, -1)
    assert len(np.unique(eps)) == eps.size  # parts have noise of their own


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: posteriors.product(), ValueError, "parts: expected at least two, got 0"),
        (lambda: priors.product(priors.standard()), ValueError, "parts: expected at least two, got 1"),
        (lambda: posteriors.product(priors.standard(), 1), TypeError, r"parts\[0\]: expected a .*Posterior"),
        (
            lambda: posteriors.product(*[posteriors.product(*[posteriors.gaussian(2)] * 2)] * 2),
            ValueError,
            "parts: expected families of one part each, got a product",
        ),
        (
            lambda: priors.product(*[priors.product(*[priors.standard()] * 2)] * 2),
            ValueError,
            "parts: expected priors of one part each, got a product",
        ),
        (lambda: posteriors.full(1), ValueError, "latents: expected at least 2"),
        (lambda: posteriors.gaussian(()), ValueError, r"latents: expected at least one axis, got \(\)"),
        (lambda: posteriors.gaussian((2, 0)), ValueError, "latents: expected at least 1, got 0"),
        (lambda: priors.conditional("net"), TypeError, "net: expected a flax.linen.Module, got 'net'"),
        (lambda: nets.Heads(nets.MLP((), (2,)), ()), ValueError, "heads: expected at least one net"),
        (lambda: nets.Beside(None), TypeError, "net: expected a flax.linen.Module, got None"),
        (lambda: nets.MLPEncoder(2, (), context=-1), ValueError, "context: expected at least 1, got -1"),
    ],
)
def test_families_and_nets_that_cannot_be_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_prior_of_one_part_is_refused_for_several():
    model = build(
        encoder=nets.Heads(nets.MLP((), (5,)), (nets.GaussianHead(2),) * 2),
        posterior=posteriors.product(posteriors.gaussian(2), posteriors.gaussian(2)),
    )
    with pytest.raises(
        ValueError, match=r"prior: expected priors.product of one .* 2 parts, got standard\(\)"
    ):
        jax.eval_shape(model.init, KEY, {"x": X})


def test_a_product_keeps_the_state_and_the_extras_of_its_parts():
    """A part with a state, one that did not move, and one with none."""

    def counting(name, moves):
        def build(own, state, parameters):
            return diagonal_gaussian(parameters[0] + own["shift"], jnp.exp(parameters[1] / 2))

        def draw(posterior, own, state, parameters, key, batch, step):
            drawn = draw_per_example(posterior, own, state, parameters, key, batch, step)
            new = state + 1 if moves and step is not None else None
            return drawn._replace(state=new, extra={name: drawn.log_q}, point=drawn.z if moves else None)

        init = lambda key, parameters: ({"shift": jnp.ones(2)}, jnp.zeros(()))  # noqa: E731
        return posteriors.Posterior(name, (2,), ((2,), (2,)), build, init, draw=draw)

    def model_of(*parts):
        encoder = nets.Heads(nets.MLP((), (5,)), (nets.GaussianHead(2),) * len(parts))
        prior = priors.product(*[priors.standard()] * len(parts))
        return build(encoder=encoder, posterior=posteriors.product(*parts), prior=prior)

    model = model_of(counting("a", True), posteriors.gaussian(2), counting("b", False))
    params, variables = jax.jit(model.init)(KEY, {"x": X})
    assert set(variables) == set(params["posterior"]) == {"0", "2"}
    assert model.groups == ("encoder", "decoder", "posterior")

    def encode(step):
        return jax.jit(lambda p: model.bind(p, variables, step=step).encode(KEY, {"x": X}))(params)

    draw = encode(0)
    assert (draw.variables["0"], draw.variables["2"]) == (1, 0)
    assert set(draw.extra) == {"a", "b"}
    assert len(draw.point) == 3
    assert encode(None).variables is None
    with pytest.raises(
        ValueError, match="variables: expected the posterior's state, as init makes it; got None"
    ):
        model.bind(params)
    twice = model_of(counting("a", True), counting("a", False))
    of_twice = jax.eval_shape(lambda: twice.bind(*twice.init(KEY, {"x": X})).encode(KEY, {"x": X}).extra)
    assert [a.shape for a in of_twice["a"]] == [(len(X),)] * 2  # of each part


def test_a_conditional_run_is_resumed_to_the_last_bit_and_evaluated(tmp_path):
    model = conditional(prior=priors.conditional(nets.MLPEncoder(LATENTS, ())))
    split = Split({"x": np.tile(np.asarray(X), (4, 1)), "c": np.ones((12, 2), np.float32)}, "binary")
    objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = gradient_update(objective, model, optax.adam(0.1), wrt=model.groups)
    options = {"batch_size": 3, "progress": False, "chunk": 1}
    runs.create(tmp_path, {}, model)
    fit(KEY, model, update, split, 2, folder=tmp_path, **options)
    resumed = fit(KEY, model, update, split, 3, folder=tmp_path, resume=True, **options)
    assert_same_fit(resumed, fit(KEY, model, update, split, 3, **options))
    parts = evaluation.elbo_parts(KEY, runs.load(tmp_path).vae, split, aggregate=False)
    assert parts["kl_is_analytic"]
    assert np.isfinite(parts["neg_elbo"])
