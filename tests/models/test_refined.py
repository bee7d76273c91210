"""A model whose reconstruction a second decoder refines."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaejax import Split, distributions, evaluation, models, nets, objectives
from vaejax.train import fit, gradient_update

KEY, SHAPE = jax.random.key(0), (4, 4, 1)


def first_of(support="bytes", conditional=False):
    likelihood = distributions.discretised_logistic() if support == "bytes" else distributions.gaussian(0.3)
    encoder = nets.MLPEncoder(2, (), event_ndims=3)
    return models.vae(
        encoder=nets.FromBytes(encoder) if support == "bytes" else encoder,
        decoder=nets.MLP((), likelihood.parameter_shape(SHAPE)), posterior=models.posteriors.gaussian(2),
        likelihood=likelihood, conditional=conditional,
    )  # fmt: skip


def unet():
    return nets.UNet(SHAPE, embed=4, features=(2,), groups=2)


def moved(params):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: rng.normal(size=a.shape, scale=0.3).astype(a.dtype), params)


def test_the_refiner_sees_the_first_reconstruction_and_moves_alone():
    first = first_of(conditional=True)
    model = models.refined(first, unet(), distributions.diffusion(support="bytes", sampling_steps=2))
    assert models.from_spec(json.loads(json.dumps(model.spec))).spec == model.spec
    assert model.groups == ("encoder", "decoder", "refiner")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(4, *SHAPE)).astype(np.uint8)
    split = Split({"x": x, "c": rng.normal(size=(4, 3)).astype(np.float32)}, "bytes")
    batch = {"x": jnp.asarray(x, jnp.float32), "c": split.arrays["c"], "index": jnp.arange(4)}
    params = moved(jax.jit(model.init)(KEY, batch)[0])
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)

    def loss(params):
        return objective(KEY, model.bind(params), batch, 0)[0]

    grads = jax.jit(jax.grad(loss))(params)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves((grads["refiner"], grads["encoder"])))
    assert all(np.abs(g).max() == 0 for g in jax.tree.leaves(grads["decoder"]))  # none passes through x_0
    update = gradient_update(objective, model, optax.sgd(1e-4), wrt=("refiner",))
    start = models.starting_from(model, params)
    fitted = fit(KEY, start, update, split, 1, batch_size=4, chunk=1, progress=False).state.params
    for group in ("encoder", "decoder"):
        jax.tree.map(np.testing.assert_array_equal, fitted[group], params[group])
    drawn = evaluation.prior_samples(KEY, model.bind(params), 2, c=split.arrays["c"][:2])
    assert drawn.shape == (2, *SHAPE)
    assert not np.array_equal(*(jax.tree.leaves(p["refiner"])[-1] for p in (fitted, params)))


def test_what_it_predicts_depends_on_the_first_decoder(x64):
    first = first_of("real")
    model = models.refined(first, unet(), distributions.diffusion(sampling_steps=2))
    batch = {"x": jnp.zeros((2, *SHAPE)), "index": jnp.arange(2)}
    params = moved(jax.jit(model.init)(KEY, batch)[0])
    other = {**params, "decoder": jax.tree.map(lambda a: a + 0.5, params["decoder"])}
    z, u, g = jnp.ones((2, 2)), jnp.ones((2, *SHAPE)), jnp.zeros(2)
    predicted = [model.bind(p).decode(z).predicted(u, g) for p in (params, other)]
    assert np.abs(predicted[0] - predicted[1]).max() > 1e-3
    x_0 = model.bind(params).heads["first"](z).mean()
    by_hand = unet().apply({"params": params["refiner"]}, z, x_0, u, g)
    np.testing.assert_allclose(predicted[0], by_hand, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: models.refined(None, unet(), distributions.diffusion()), TypeError, "model: expected"),
        (lambda: models.refined(first_of(), None, distributions.diffusion()), TypeError, "net: expected"),
        (lambda: models.refined(first_of(), unet(), None), TypeError, "likelihood: expected"),
        (lambda: models.refined(first_of(), unet(), distributions.bernoulli()), ValueError, "support|binary"),
        (
            lambda: models.refined(first_of(), nets.MLP((), (3,)), distributions.diffusion(support="bytes")),
            TypeError,
            "decoder: expected a net that predicts noise",
        ),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
