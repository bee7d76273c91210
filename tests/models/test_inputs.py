"""What a user gives a model in the place of what it takes: each is named, before anything compiles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

from vaejax import compose, distributions, evaluation, models, nets, objectives, sample, train
from vaejax.data.transforms import cast
from vaejax.models import posteriors, priors
from vaejax.types import Split, TrainState

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).random((6, 4, 4, 1)).astype(np.float32)
SHAPES = jax.ShapeDtypeStruct(IMAGES.shape, np.float32)


def vae_of(**parts):
    own = {
        "encoder": nets.MLPEncoder(2, (3,), event_ndims=3),
        "decoder": nets.MLP((3,), (4, 4, 1)),
        "likelihood": distributions.bernoulli(cross_entropy=True),
    }
    return models.gaussian_vae(**(own | {"latents": 2} | parts))


def bound(model, x=IMAGES):
    params, variables = jax.eval_shape(model.init, KEY, {"x": x})
    return model.bind(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), params), variables)


VAE = bound(vae_of())
LEVELS = bound(
    models.hierarchical_vae(
        encoder=nets.DenseLadder(((3,), (3,)), event_ndims=3),
        levels=(
            models.Level(posteriors.gaussian(2), nets.MLPEncoder(2, (3,)), nets.MLP((), (3,))),
            models.Level(
                posteriors.gaussian(2), nets.MLPEncoder(2, (3,)), nets.MLP((), (3,)), nets.MLPEncoder(2, ())
            ),
        ),
        decoder=nets.MLP((3,), (4, 4, 1)),
        likelihood=distributions.bernoulli(cross_entropy=True),
    )
)


# a batch that is none


@pytest.mark.parametrize("vae", [VAE, LEVELS], ids=["vae", "levels"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (IMAGES, r'got an array \[6, 4, 4, 1\], as {"x": array}'),
        ([1.0], "got list"),
        ({"images": IMAGES}, r"got a mapping of \['images'\]"),
        (None, "got NoneType"),
    ],
)
def test_a_batch_is_a_mapping_with_x(vae, given, message):
    expected = r'batch: expected {"x": \[B, \.\.\.\], "c"\?: \[B, \.\.\.\]}, ' + message
    for call in (
        lambda: vae.encode(KEY, given),
        lambda: vae.represent(given),
        lambda: sample(KEY, vae, given),
        lambda: evaluation.posterior_mean(vae, given),
        lambda: vae_of().init(KEY, given),
    ):
        with pytest.raises(TypeError, match=expected):
            call()


def test_swapped_arguments_are_named():
    batch = {"x": IMAGES}
    for call, message in (
        (lambda: VAE.encode(batch, KEY), "key: expected a typed PRNG key, .* got dict"),
        (lambda: sample(VAE, KEY, batch), "key: expected a typed PRNG key, .* got VAE"),
        (lambda: sample(KEY, batch, VAE), r"vae: expected a vaejax\.VAE, .* got dict"),
        (lambda: sample(KEY, vae_of(), batch), r"vae: expected a vaejax\.VAE, .* got Model"),
        (lambda: vae_of().init(batch, KEY), "key: expected a typed PRNG key, .* got dict"),
        (lambda: VAE.sample_prior(3, KEY), "key: expected a typed PRNG key, .* got int"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_parameters_that_are_none_are_named():
    model = vae_of()
    both = jax.eval_shape(model.init, KEY, {"x": SHAPES})
    state = TrainState(both[0], None, None, 0)
    fit = train.Fit(state, {}, [], None)
    for bound in (model, models.with_heads(model, critic=nets.MLP((), ()))):
        for given, message in (
            (fit, "got Fit$"),
            (state, "got TrainState$"),
            (both, r"got tuple; of \(params, variables\), as init gives them, bind\(\*both\)"),
            (IMAGES, "got ndarray"),
        ):
            with pytest.raises(TypeError, match=rf"params: expected a mapping of .* init gives; {message}"):
                bound.bind(given)
    with pytest.raises(ValueError, match=r"params: expected the groups encoder, .*; got \['encoder'\]"):
        model.bind({"encoder": both[0]["encoder"]})
    for vae in (VAE, LEVELS):
        with pytest.raises(TypeError, match=r"n: expected an int, got float \(3\.0\)"):
            vae.sample_prior(KEY, 3.0)


# integers


class Own(nn.Module):
    """A net of a user's own, which takes integers as they are."""

    @nn.compact
    def __call__(self, x):
        h = x.reshape(*x.shape[:-3], 16)
        return nn.Dense(2)(h), nn.Dense(2)(h)


BYTES = np.uint8(255 * IMAGES)


def test_integers_under_a_model_of_the_unit_interval_are_refused():
    """They would be 255 times too large, in silence."""
    model = vae_of(encoder=Own())
    vae = bound(model)
    expected = r"^x: expected floats, .* \(of bytes x / 255\), for a likelihood of support .*; got "
    for call in (
        lambda: evaluation.reconstruct(vae, BYTES),
        lambda: evaluation.posterior_mean(vae, {"x": BYTES}),
        lambda: evaluation.interpolate(vae, BYTES[0], BYTES[1], 3),
        lambda: sample(KEY, vae, {"x": BYTES}),
        lambda: vae.represent({"x": BYTES}),
        lambda: model.init(KEY, {"x": BYTES}),
        lambda: evaluation.elbo_parts(KEY, vae, Split({"x": BYTES}, "unit_interval")),
    ):
        with pytest.raises(TypeError, match=f"{expected}uint8"):
            call()
    with pytest.raises(TypeError, match=f"{expected}bool"):
        vae.encode(KEY, {"x": IMAGES > 0.5})
    assert evaluation.reconstruct(vae, IMAGES).shape == IMAGES.shape


def test_where_integers_mean_what_floats_do_they_are_the_same():
    model = vae_of(
        encoder=nets.FromBytes(Own()),
        decoder=nets.SharedScale(nets.MLP((3,), (4, 4, 1))),
        likelihood=distributions.discretised_logistic(),
    )
    params, _ = jax.jit(model.init)(KEY, {"x": np.float32(BYTES)})
    vae = model.bind(params)
    codes = [evaluation.posterior_mean(vae, {"x": x}) for x in (BYTES, np.float32(BYTES))]
    np.testing.assert_allclose(*codes, rtol=1e-6)


# bytes under a net that does not scale them


@pytest.mark.parametrize(
    ("encoder", "named"),
    [
        (nets.MLPEncoder(2, (3,), event_ndims=3), "MLPEncoder"),
        (nets.ConvEncoder(2, width=0.1), "ConvEncoder"),
        (nets.Masked(nets.GatedEncoder(2, (3,), event_ndims=3)), "GatedEncoder"),
        (nets.FromBytes(nets.MLPEncoder(2, (3,), event_ndims=3)), None),
        (nets.First(nets.FromBytes(nets.MLPEncoder(2, (3,), event_ndims=3))), None),
        (Own(), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bytes_under_a_net_of_vaejax_want_from_bytes(encoder, named):
    model = vae_of(
        encoder=encoder,
        decoder=nets.MLP((3,), (4, 4, 2)),
        likelihood=distributions.discretised_logistic(),
    )
    if named is None:
        jax.eval_shape(model.init, KEY, {"x": SHAPES})
        return
    message = (
        rf"encoder: expected nets\.FromBytes\({named}\(\.\.\.\)\), .*; got {named} on data of support 'bytes'"
    )
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, KEY, {"x": SHAPES})
    split = Split({"x": BYTES}, "bytes", cast)
    objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = train.gradient_update(objective, model, optax.adam(1e-3))
    with pytest.raises(ValueError, match=message):  # before step 1
        train.fit(KEY, model, update, split, 3, batch_size=2, progress=False)


def test_of_several_modalities_it_is_that_of_the_bytes():
    def model(image):
        return models.vae(
            encoder=nets.Modalities({"a": image, "b": nets.MLPEncoder(2, ())}),
            decoder=nets.PerModality({"a": nets.MLP((), (4, 4, 2)), "b": nets.MLP((), (3,))}),
            posterior=posteriors.poe(2, 2),
            likelihood=distributions.joint(
                a=distributions.discretised_logistic(), b=distributions.bernoulli()
            ),
        )

    batch = {"x": {"a": SHAPES, "b": jax.ShapeDtypeStruct((6, 3), np.float32)}}
    dense = nets.MLPEncoder(2, (), event_ndims=3)
    jax.eval_shape(model(nets.FromBytes(dense)).init, KEY, batch)
    with pytest.raises(ValueError, match=r"encoder: expected nets\.FromBytes\(MLPEncoder"):
        jax.eval_shape(model(dense).init, KEY, batch)


# axes of an example


@pytest.mark.parametrize("around", [lambda net: net, nets.First, nets.FromBytes])
def test_event_ndims_that_is_forgotten_is_named(around):
    model = vae_of(encoder=around(nets.MLPEncoder(2, (3,))))
    message = r"\(1, 4, 4, 2\).*: MLPEncoder takes the last 1 of x \[4, 4, 1\]; expected event_ndims=3 of it"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, KEY, {"x": SHAPES})
    with pytest.raises(ValueError, match=r"needs; got shapes \(\(1, 3\), \(1, 3\)\)(\n|$)"):  # another fault
        jax.eval_shape(vae_of(encoder=nets.MLPEncoder(3, (), event_ndims=3)).init, KEY, {"x": SHAPES})


class Decoder(nn.Module):
    """A net of a user's own; `kind` says how it reshapes."""

    kind: str

    @nn.compact
    def __call__(self, z):
        h = nn.Dense(16)(z)
        if self.kind == "first axis":
            return h.reshape(z.shape[0], 4, 4, 1)
        if self.kind == "all axes":
            return h.reshape(-1, 4, 4, 1)
        if self.kind == "unpacked":
            B, _ = z.shape
            return h.reshape(B, 4, 4, 1)
        return h.reshape(*z.shape[:-1], 4, 4, 1)


@pytest.mark.parametrize("around", [lambda net: net, nets.First], ids=["bare", "inside"])
@pytest.mark.parametrize(
    ("kind", "z", "message"),
    [
        ("first axis", (2,), "raises TypeError: .*reshape"),
        ("unpacked", (2,), "raises ValueError: not enough values"),
        ("all axes", (2,), r"gives shape \(1, 4, 4, 1\) in the place of \(4, 4, 1\)"),
        ("first axis", (3, 5, 2), "raises TypeError: .*reshape"),
        ("all axes", (3, 5, 2), r"gives shape \(15, 4, 4, 1\) in the place of \(3, 5, 4, 4, 1\)"),
    ],
)
def test_a_decoder_that_fails_under_leading_axes_is_named(around, kind, z, message):
    vae = bound(vae_of(decoder=around(Decoder(kind))))
    assert vae.decode(jnp.zeros((5, 2))).mean().shape == (5, 4, 4, 1)
    shape = str(z).replace("(", r"\(").replace(")", r"\)")
    expected = rf"decoder: expected a net that takes any leading axes, z \[\.\.\., 2\]; Decoder of z {shape} "
    with pytest.raises(ValueError, match=f"{expected}{message}.*; where it reshapes, z.shape") as caught:
        jax.eval_shape(vae.decode, jnp.zeros(z))
    assert (caught.value.__cause__ is None) == ("gives" in message)


def test_a_decoder_that_takes_them_and_another_fault_are_as_they_were():
    good = bound(vae_of(decoder=Decoder("good")))
    assert good.decode(jnp.zeros(2)).mean().shape == (4, 4, 1)
    assert good.decode(jnp.zeros((3, 5, 2))).mean().shape == (3, 5, 4, 4, 1)

    class Failing(nn.Module):
        @nn.compact
        def __call__(self, z):
            if not self.is_initializing():
                raise RuntimeError("of its own")
            return nn.Dense(16)(z).reshape(*z.shape[:-1], 4, 4, 1)

    with pytest.raises(RuntimeError, match=r"^of its own(\n|$)"):
        bound(vae_of(decoder=Failing())).decode(jnp.zeros(2))


def test_the_jacobian_of_such_a_decoder_says_so_too():
    model = vae_of(decoder=Decoder("first axis"))
    objective = compose(reconstruction=objectives.reconstruction, jacobian=objectives.jacobian_l1())
    update = train.gradient_update(objective, model, optax.adam(1e-3))
    split = Split({"x": IMAGES}, "unit_interval")
    with pytest.raises(ValueError, match=r"any leading axes.*Decoder of z"):
        train.fit(KEY, model, update, split, 1, batch_size=2, progress=False)


# nets of other libraries, classes and factories


class Nnx(nnx.Module):
    def __init__(self, width, *, rngs):
        self.loc, self.logvar = nnx.Linear(16, width, rngs=rngs), nnx.Linear(16, width, rngs=rngs)

    def __call__(self, x):
        h = x.reshape(*x.shape[:-3], 16)
        return self.loc(h), self.logvar(h)


class Dropped(nnx.Module):
    def __init__(self, *, rngs):
        self.inner, self.dropout = Nnx(2, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.inner(self.dropout(x))


class Normalised(nnx.Module):
    def __init__(self, *, rngs):
        self.inner, self.norm = Nnx(2, rngs=rngs), nnx.BatchNorm(1, rngs=rngs)

    def __call__(self, x):
        return self.inner(self.norm(x))


def test_a_module_of_nnx_is_refused_with_its_bridge():
    for given in (Nnx, Nnx(2, rngs=nnx.Rngs(0))):
        with pytest.raises(
            TypeError,
            match=r"encoder: expected .*, got Nnx, a module of flax\.nnx: .*to_linen\(Nnx, \.\.\.\)",
        ):
            vae_of(encoder=given)
    with pytest.raises(TypeError, match=r"critic: expected a flax\.linen\.Module, got Nnx, a module"):
        models.with_heads(vae_of(), critic=Nnx)


def test_over_the_bridge_it_trains_as_any_other():
    """The remedy that the error names."""
    model = vae_of(encoder=nnx.bridge.to_linen(Nnx, 2))
    split = Split({"x": IMAGES}, "unit_interval")
    objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = train.gradient_update(objective, model, optax.adam(0.1))
    fitted = train.fit(KEY, model, update, split, 8, batch_size=6, progress=False)
    vae = model.bind(fitted.state.params)
    moved = jax.jit(lambda p: model.init(KEY, {"x": IMAGES})[0])(0)["encoder"]
    assert set(moved) == {"loc", "logvar"}
    assert not np.allclose(moved["loc"]["kernel"], fitted.state.params["encoder"]["loc"]["kernel"])
    kernel, bias = (np.asarray(fitted.state.params["encoder"]["loc"][k]) for k in ("kernel", "bias"))
    by_hand = IMAGES.reshape(6, 16) @ kernel + bias
    np.testing.assert_allclose(evaluation.posterior_mean(vae, {"x": IMAGES}), by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Dropped, Normalised])
def test_over_the_bridge_what_keeps_state_or_draws_is_refused_too(kind):
    with pytest.raises(ValueError, match=r"^encoder: expected a net that is a function of its parameters"):
        jax.eval_shape(vae_of(encoder=nnx.bridge.to_linen(kind)).init, KEY, {"x": SHAPES})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"encoder": nets.MLPEncoder},
            r"encoder: .* got the class MLPEncoder: call it, as MLPEncoder\(",
        ),
        (
            {"likelihood": distributions.bernoulli},
            r"got the function bernoulli: call it, as bernoulli\(",
        ),
        ({"prior": priors.standard}, r"prior: .* got the function standard: call it, as standard\("),
        ({"posterior": posteriors.gaussian}, r"posterior: .* got the function gaussian: call it"),
        ({"decoder": nets.MLP}, "decoder: .* got the class MLP: call it"),
        ({"decoder": np.zeros((30, 30))}, r"decoder: .* got ndarray array\(\[\["),
    ],
)
def test_a_class_or_a_factory_that_was_not_called(parts, message):
    own = {
        "encoder": nets.MLPEncoder(2, ()),
        "decoder": nets.MLP((), (5,)),
        "posterior": posteriors.gaussian(2),
        "likelihood": distributions.bernoulli(),
    }
    with pytest.raises(TypeError, match=message) as caught:
        models.vae(**(own | parts))
    assert len(str(caught.value)) < 250
