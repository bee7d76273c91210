"""Hierarchies with a condition, in half precision and float64, and inside what goes around a model."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.families import C, D, build
from tests.models.test_hierarchy import chain, exact
from vaejax import distributions, models, nets, objectives, sample
from vaejax.models import posteriors
from vaejax.models.levels import runs_of
from vaejax.objectives import log_weight
from vaejax.train import gradient_update, sequence
from vaejax.types import TrainState

KEY, B = jax.random.key(0), 3
RNG = np.random.default_rng(0)
X, CONDITION = (RNG.random((B, D)) < 0.5).astype(np.float32), RNG.normal(size=(B, C)).astype(np.float32)


def random_params(model, batch, dtype=np.float32):
    """Of no special size."""
    shapes = jax.eval_shape(model.init, KEY, batch)[0]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape, scale=0.4), dtype), shapes)


def levels_of(n=3, dtype=None, posterior=posteriors.ladder):
    """n levels of 2 latents, of which those below the top are equal."""
    head, decoder = nets.MLPEncoder(2, (6,), "tanh", dtype=dtype), nets.MLP((6,), (5,), "tanh", dtype=dtype)
    top = models.Level(posteriors.gaussian(2), nets.First(head), decoder)
    return [top] + [models.Level(posterior(2), nets.First(head), decoder, head)] * (n - 1)


def model_of(dtype=None, likelihood=None, n=3, **options):
    parts = {
        "encoder": nets.DenseLadder(((6,),) * n, dtype=dtype),
        "levels": levels_of(n, dtype),
        "decoder": nets.MLP((6,), (D,), "tanh", dtype=dtype),
        "likelihood": likelihood or distributions.bernoulli(),
    }
    return models.hierarchical_vae(**parts | options)


def test_under_a_condition_of_zeros_a_model_is_the_one_without(x64):
    """Every row of weights that sees c is met; and another c moves p(z_0|c), or else q and p(x|z, c)."""
    batch = {"x": X.astype(np.float64)}
    given, without = build("levels_residual", "standard", True), build("levels_residual", "standard", False)
    params = random_params(given, batch | {"c": CONDITION}, np.float64)
    shapes = jax.eval_shape(without.init, KEY, batch)[0]
    fewer = jax.tree.map(lambda a, like: a[tuple(map(slice, like.shape))], params, shapes)
    assert sum(a.shape != b.shape for a, b in zip(*map(jax.tree.leaves, (params, fewer)), strict=True)) == 5

    @jax.jit
    def run(of_given, of_without, c):
        vae, plain = given.bind(of_given), without.bind(of_without)
        draws = sample(KEY, vae, batch | {"c": c}), sample(KEY, plain, batch)
        kept = [(d.z, d.log_q, d.log_p, d.log_px) for d in draws]
        priors = vae.sample_prior(KEY, B, c), plain.sample_prior(KEY, B)
        tops = vae.decode(priors[0][:1], c).mean(), plain.decode(priors[1][:1]).mean()
        codes = vae.represent(batch | {"c": c}), plain.represent(batch)
        return [list(of) for of in zip(kept, priors, tops, codes, strict=True)]

    for one, other in zip(*run(params, fewer, np.zeros((B, C))), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), one, other)
    moved, still = run(params, fewer, CONDITION.astype(np.float64))
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(moved[0][0], still[0][0], strict=True))
    assert np.abs(moved[2] - still[2]).max() > 1e-3
    for batch, message in (({"x": X}, "this model has a condition; got None"),):
        with pytest.raises(ValueError, match=f"c: expected an array, {message}"):
            given.bind(params).encode(KEY, batch)
    with pytest.raises(ValueError, match="c: expected None, this model has no condition"):
        without.bind(fewer).decode((jnp.zeros((B, 2)),) * 3, CONDITION)


def test_half_precision_ends_before_noise_and_densities():
    """The same noise as in float32, and every array that leaves a net is float32."""

    @functools.partial(jax.jit, static_argnums=0)
    def run(dtype, params):
        vae = model_of(dtype, n=2).bind(params)
        draw, z = sample(KEY, vae, {"x": X}), vae.sample_prior(KEY, B)
        noise = [(z - q.mean()) / q.stddev() for z, q in zip(draw.z, draw.q, strict=True)]
        return noise, (draw.z, draw.log_q, draw.log_p, draw.log_px, z, vae.decode(z[:1]).mean())

    params = random_params(model_of(n=2), {"x": X})
    (noise, _), (same, arrays) = run(None, params), run("bfloat16", params)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(arrays))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), noise, same)


def test_float32_stays_where_float64_is_enabled(x64):
    """Zeros that stand for missing levels, and temperatures, have the dtype of what they meet in a scan."""
    model = model_of()

    def arrays(params):
        vae = model.bind(params)
        z = vae.sample_prior(KEY, B)
        cold = vae.sample_prior(KEY, B, given=z[:1], temperature=(1.0, 0.7, 0.0))
        return z, cold, vae.decode(z[:1]).mean(), vae.represent({"x": X}), vae.encode(KEY, {"x": X}).z

    found = jax.eval_shape(arrays, random_params(model, {"x": X}))
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(found))


def test_decode_takes_any_leading_axes():
    model = model_of()

    def run(params):
        vae, keys = model.bind(params), jax.random.split(KEY, 2)
        z = jax.tree.map(lambda *a: jnp.stack(a), *(vae.sample_prior(key, B) for key in keys))
        for k in (1, 2, 3):
            whole, one = vae.decode(z[:k]), vae.decode(jax.tree.map(lambda a: a[1, 2], z[:k]))
            assert (whole.batch_shape, whole.event_shape, one.batch_shape) == ((2, B), (D,), ())
            yield whole.mean()[1, 2], one.mean()

    for whole, one in jax.jit(lambda params: list(run(params)))(random_params(model, {"x": X})):
        np.testing.assert_allclose(whole, one, rtol=1e-5, atol=1e-6)


def test_equal_levels_see_equal_activations():
    levels = levels_of()
    assert runs_of(levels, "top_down") == ((0, 1), (1, 2))
    assert runs_of(levels, "bottom_up") == ((0, 1), (1, 1), (2, 1))  # the lowest sees x, the others a z
    model = model_of(encoder=nets.DenseLadder(((6,), (6,), (7,))))
    with pytest.raises(
        ValueError, match=r"encoder: expected activations of one shape for the equal levels 1 to 2; got"
    ):
        jax.eval_shape(model.init, KEY, {"x": X})


def test_what_is_given_to_the_prior_is_checked():
    vae = chain("gaussian", 2).bind(exact("gaussian", 2))
    z = vae.sample_prior(KEY, 2)
    for options, message in (
        (
            {"given": z[0]},
            r"given: expected a tuple of at most 2 levels \[n, \*event\], the top first; got Array",
        ),
        ({"given": (*z, z[0])}, "given: expected a tuple of at most 2 levels .* got 3 levels"),
        (
            {"given": (z[0].ravel(),)},
            r"given: expected levels of shapes \[\(2, 1\)\], the top first; got \[\(2,\)\]",
        ),
        (
            {"temperature": "warm"},
            "temperature: expected a number >= 0, or 2, one for each level; got 'warm'",
        ),
        ({"temperature": np.nan}, "temperature: expected a number >= 0"),
    ):
        with pytest.raises(ValueError, match=message):
            vae.sample_prior(KEY, 2, **options)
    with pytest.raises(ValueError, match=r"temperature: expected a number >= 0.* got .*racer"):
        jax.jit(lambda t: vae.sample_prior(KEY, 2, temperature=t))(0.5)
    np.testing.assert_array_equal(vae.sample_prior(KEY, 2, given=list(z[:1]))[0], z[0])


# What goes around a model.


def test_glorot_starts_the_nets_of_levels_and_the_output_at_the_mean():
    """Also the stacked kernels of equal levels; norms and priors start as they say."""
    mean = np.array([0.001, 0.999, 0.2, 0.4])
    model = model_of(n=4, decoder=nets.GatedMLP((40,), (D,)))
    params, fresh = jax.jit(lambda *a: (models.glorot(model, mean).init(*a)[0], model.init(*a)[0]))(
        KEY, {"x": X}
    )
    jax.tree.map(np.testing.assert_array_equal, params["prior"], fresh["prior"])
    out = params["decoder"]["out"]
    np.testing.assert_allclose(jax.nn.sigmoid(out["out"]["bias"]), mean, rtol=1e-5)
    assert np.all(out["gated"]["norm_0"]["scale"] == 1)
    stacked = np.asarray(params["encoder"]["level_1"]["net"]["dense_0"]["kernel"])
    assert stacked.shape == (3, 6, 6)
    assert np.abs(stacked).max() <= np.sqrt(6 / 12)
    assert len(np.unique(stacked)) == stacked.size  # no level repeats another's
    square = np.square(np.asarray(out["gated"]["gate_0"]["kernel"])) * (5 + 40) / 2
    assert square.mean() == pytest.approx(1, abs=5 * 0.9 / np.sqrt(square.size))
    assert not params["encoder"]["level_1"]["net"]["head"]["logvar"]["bias"].any()


def test_heads_see_every_level():
    """A net takes them side by side; and GECO's multiplier is a head of any latents."""
    heads = {"classes": nets.MLP((), (), "tanh"), "multiplier": nets.Constant(0.3)}
    model = models.with_heads(model_of(n=2), **heads)
    params = random_params(model, {"x": X})

    @jax.jit
    def run(params):
        vae = model.bind(params)
        draw = sample(KEY, vae, {"x": X})
        cost = objectives.geco(objectives.reconstruction, bound=1.0)(KEY, vae, draw)
        return draw.z, vae.heads["classes"](draw.z), draw.log_px, cost

    z, seen, log_px, cost = run(params)
    linear = params["classes"]["out"]
    expected = np.concatenate(z, axis=1) @ linear["kernel"] + linear["bias"]
    np.testing.assert_allclose(seen, expected[:, 0], rtol=1e-5, atol=1e-6)
    lam = np.exp(params["multiplier"]["value"])
    np.testing.assert_allclose(cost, lam * (-log_px - 1), rtol=1e-5)
    assert set(model.groups) == {"encoder", "decoder", "prior", *heads}


def test_a_scale_around_a_hierarchy_is_that_of_its_draws():
    """p(x|z) of encode would have the scale of the model within."""
    model = models.optimal_scale(model_of(likelihood=distributions.gaussian(0.1), n=2))
    params = random_params(model, {"x": X})

    def run(params):
        for step in (None, 0):
            vae = model.bind(params, {"scale": jnp.asarray(2.0)}, step=step)
            draw = sample(KEY, vae, {"x": X})
            mean = vae.decode(draw.z).mean()
            expected = distributions.diagonal_gaussian(mean, jnp.full_like(mean, 2.0)).log_prob(X)
            yield draw.log_px, expected, mean, draw.variables

    (evaluated, expected, *_), (trained, same, mean, variables) = jax.jit(lambda params: list(run(params)))(
        params
    )
    np.testing.assert_allclose([evaluated, trained], [expected, same], rtol=1e-5)
    np.testing.assert_allclose(variables["scale"], np.sqrt(np.mean((X - mean) ** 2)), rtol=1e-5)
    bound = [m.bind(params, {"scale": 2.0}) for m in (models.from_spec(model.spec), model)]
    assert len(set(map(jax.tree.structure, bound))) == 1


def test_a_hierarchy_starts_from_groups_of_another():
    model = model_of(n=2)
    given = random_params(model, {"x": X})
    started = models.starting_from(model, {name: given[name] for name in ("encoder", "prior")})
    params, fresh = jax.jit(lambda *a: (started.init(*a)[0], model.init(*a)[0]))(KEY, {"x": X})
    for group, expected in (("encoder", given), ("prior", given), ("decoder", fresh)):
        jax.tree.map(np.testing.assert_array_equal, params[group], expected[group])
    with pytest.raises(ValueError, match=r"params\['prior'\]: expected shapes"):
        jax.eval_shape(models.starting_from(model, {"prior": given["encoder"]}).init, KEY, {"x": X})


def test_inference_and_generation_move_one_after_the_other():
    """Each by its groups, of which none may be left out."""
    model = model_of(n=2)
    params = random_params(model, {"x": X})
    loss = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)

    def update(*wrt):
        return gradient_update(loss, model, optax.sgd(0.1), wrt=wrt)

    both = sequence(phi=update("encoder"), theta=update("decoder", "prior"))
    state = TrainState(params, None, both.init(params), jnp.zeros((), jnp.int32))
    moved, metrics = jax.jit(lambda state: both.apply(state, KEY, {"x": X}, None))(state)
    assert {"phi/kl", "theta/kl"} < set(metrics)
    assert all((a != b).any() for a, b in zip(*map(jax.tree.leaves, (params, moved.params)), strict=True))
    with pytest.raises(ValueError, match=r"wrt: expected every group .* \['prior'\] are not"):
        sequence(phi=update("encoder"), theta=update("decoder")).init(params)


def test_a_pixel_decoder_sees_what_the_last_level_hands_on():
    """p(x|z) of an autoregressive decoder, of encode as of decode."""
    levels = levels_of(2)
    model = model_of(
        encoder=nets.DenseLadder(((6,),) * 2, event_ndims=3),
        levels=levels,
        decoder=nets.GatedPixelCNN((2, 2, 1), 2, (3,)),
    )
    x = X.reshape(B, 2, 2, 1)
    vae = model.bind(random_params(model, {"x": x}))
    draw = jax.jit(lambda vae: sample(KEY, vae, {"x": x}))(vae)
    np.testing.assert_allclose(vae.decode(draw.z).log_prob(x), draw.log_px, rtol=1e-5)


def test_gradients_of_terms_stop_where_the_model_is_stopped():
    model = model_of(n=2)
    params = random_params(model, {"x": X})

    def loss(params):
        return jnp.mean(log_weight(sample(KEY, jax.lax.stop_gradient(model.bind(params)), {"x": X})))

    assert not any(a.any() for a in jax.tree.leaves(jax.jit(jax.grad(loss))(params)))
