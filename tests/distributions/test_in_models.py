"""Every likelihood as a part of a model: trained, written down, loaded and shown."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

from tests.catalogue import EVENTS, LIKELIHOODS
from vaejax import distributions, evaluation, models, nets, objectives, runs
from vaejax.data import from_arrays
from vaejax.train import fit, gradient_update
from vaejax.types import SUPPORTS

KEY = jax.random.key(0)
GREY, RGB, LATENTS = (2, 2, 1), (2, 2, 3), 2


def model_of(likelihood, event, decoder=None):
    encoder = nets.MLPEncoder(latents=LATENTS, features=(), event_ndims=3)
    if likelihood.support == "bytes":
        encoder = nets.FromBytes(encoder)
    decoder = decoder or nets.MLP(features=(), output_shape=likelihood.parameter_shape(event))
    return models.gaussian_vae(encoder=encoder, decoder=decoder, latents=LATENTS, likelihood=likelihood)


def data_of(support, event):
    """12 images in the support, with the transform that data of it have."""
    rng = np.random.default_rng(0)
    draw = {
        "binary": lambda n: rng.integers(0, 2, size=(n, *event)).astype(np.uint8),
        "unit_interval": lambda n: rng.random((n, *event), np.float32),
        "bytes": lambda n: rng.integers(0, 256, size=(n, *event)).astype(np.uint8),
        "real": lambda n: rng.normal(size=(n, *event)).astype(np.float32),
        "counts": lambda n: rng.poisson(3, size=(n, *event)).astype(np.uint8),
    }[support]
    return from_arrays(draw(8), draw(2), support=support, validation=draw(2)).train


@pytest.mark.parametrize("name", sorted({*LIKELIHOODS} - {"by_columns", "one_hot"}))
def test_it_trains_and_the_run_folder_gives_the_model_back(name, tmp_path):
    """By images; what is of tables or of tokens has tests of its own."""
    likelihood, event = LIKELIHOODS[name](), GREY if EVENTS.get(name, RGB)[-1] == 1 else RGB
    decoder = None
    if name == "gaussian_learned_scale":
        decoder = nets.SharedScale(nets.MLP(features=(), output_shape=event))
    model, data = model_of(likelihood, event, decoder), data_of(SUPPORTS[likelihood.support][0], event)
    runs.create(tmp_path, {"name": name}, model)
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = gradient_update(objective, model, optax.sgd(1e-5))
    fitted = fit(KEY, model, update, data, 3, batch_size=4, chunk=3, folder=tmp_path, progress=False)
    assert np.isfinite(fitted.metrics["loss"]).all()
    assert len(fitted.metrics["loss"]) == 3
    assert all((np.asarray(p) != 0).any() for p in jax.tree.leaves(fitted.state.params))  # biases start at 0

    run = runs.load(tmp_path)
    assert run.model.spec == model.spec
    assert run.model.support == likelihood.support
    jax.tree.map(np.testing.assert_array_equal, run.params, fitted.state.params)
    views = jax.jit(lambda vae, x: (evaluation.reconstruct(vae, x), evaluation.prior_samples(KEY, vae, 3)))
    x = data.transform(KEY, data.arrays)["x"]
    images, drawn = views(run.vae, x)
    assert images.shape == x.shape
    if likelihood.support != "real":
        top = {"bytes": 255, "counts": np.inf}.get(likelihood.support, 1)
        for shown in (images, drawn):
            assert ((shown >= 0) & (shown <= top)).all()
            assert np.ptp(shown) > 0.05 * (top if top < np.inf else 1)


@pytest.mark.parametrize(
    ("likelihood", "event", "expected"),
    [
        (distributions.bernoulli(), RGB, r"\(1, 2, 2, 3\) .* bernoulli"),
        (distributions.gaussian_learned_scale(), RGB, r"\(1, 2, 2, 6\) .* gaussian_learned_scale"),
        (distributions.discretised_logistic(), GREY, r"\(1, 2, 2, 2\) .* discretised_logistic"),
        (
            distributions.discretised_logistic_mixture(5),
            RGB,
            r"\(1, 2, 2, 50\) .* discretised_logistic_mixture",
        ),
        (distributions.discretised_logistic_mixture(5), GREY, r"\(1, 2, 2, 15\) .*"),
        (distributions.categorical(), RGB, r"\(1, 2, 2, 768\) .* categorical"),
    ],
)
def test_the_error_names_the_channels_that_the_decoder_must_have(likelihood, event, expected):
    model = model_of(likelihood, event, nets.MLP(features=(), output_shape=(2, 2, 7)))
    x = jax.ShapeDtypeStruct((4, *event), np.float32)
    message = rf"decoder: expected an output of shape {expected} needs for x of shape .* got \(1, 2, 2, 7\)"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, KEY, {"x": x})
