"""A model whose condition is the same for all is the model without one, from the data to the run folder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaejax import data, distributions, evaluation, models, nets, objectives, runs, train
from vaejax.models import posteriors, priors
from vaejax.types import Split

KEY = jax.random.key(0)
D, LATENTS, N = 4, 2, 12
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = RNG.integers(0, 3, N)
SPLIT = Split({"x": X, "y": Y}, "real")
PARTS = {
    "encoder": nets.MLPEncoder(LATENTS, (5,), activation="tanh"),
    "decoder": nets.MLP((5,), (D,), activation="tanh"),
    "posterior": posteriors.gaussian(LATENTS),
    "likelihood": distributions.gaussian(0.5),
}
PLAIN = models.vae(**PARTS)
GIVEN = models.vae(**PARTS, conditional=True)
CONSTANT = data.with_condition(SPLIT, lambda arrays: np.zeros((len(arrays["x"]), 3), np.float32))


def widened(params):
    """The same nets with three more inputs, weighted at random: 0 times them is added."""
    params = jax.tree.map(jnp.asarray, params)
    for group in ("encoder", "decoder"):
        kernel = params[group]["dense_0"]["kernel"]
        more = jax.random.normal(KEY, (3, kernel.shape[1]))
        params[group] = {
            **params[group],
            "dense_0": {**params[group]["dense_0"], "kernel": jnp.concatenate([kernel, more])},
        }
    return params


@pytest.fixture(scope="module")
def both():
    params = jax.jit(PLAIN.init)(KEY, {"x": X})[0]
    return PLAIN.bind(params), GIVEN.bind(widened(params))


def test_with_a_constant_condition_every_value_is_that_of_the_model_without(both):
    plain, given = both
    zeros = np.zeros((N, 3), np.float32)

    def measured(vae, split, c, one):
        of_split = {
            "elbo_parts": evaluation.elbo_parts(KEY, vae, split),
            "nll": evaluation.marginal_log_likelihood(KEY, vae, split, num_samples=20),
        }
        views = {
            "samples": evaluation.prior_samples(KEY, vae, N, **c),
            "seen": evaluation.reconstruct(vae, X, **c),
            "code": evaluation.posterior_mean(vae, {"x": X, **c}),
            "moved": evaluation.traverse(vae, X[0], np.float32([-1, 0, 2]), **one),
            "path": evaluation.interpolate(vae, X[0], X[1], 3, **one),
            "columns": evaluation.jacobian_images(vae, X, **c),
        }
        return of_split | views

    expected = measured(plain, SPLIT, {}, {})
    found = measured(given, CONSTANT, {"c": zeros}, {"c": zeros[0]})
    # not bit for bit: a product that is longer by zeros may be summed in another order
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6), found, expected)
    swapped = evaluation.swap_condition(given, X, zeros, zeros[:2])
    np.testing.assert_allclose(swapped, np.stack([found["seen"]] * 2), rtol=1e-4, atol=1e-6)
    loss = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    ends = [jax.jit(loss)(KEY, vae, {"x": X, **c}, 0)[0] for vae, c in ((plain, {}), (given, {"c": zeros}))]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-6)


def test_another_condition_changes_them(both):
    """A number that is not 0 is a bias more, of the first layer."""
    _, given = both
    ones = np.ones((N, 3), np.float32)
    swapped = evaluation.swap_condition(given, X, 0 * ones, ones[:1])
    assert np.abs(swapped[0] - evaluation.reconstruct(given, X, c=0 * ones)).max() > 0.1
    params = {"encoder": given.encode.args[0]["encoder"], "decoder": given.decode.args[0]}
    for group in params:
        layer = params[group]["dense_0"]
        kernel, bias = layer["kernel"][:-3], layer["bias"] + layer["kernel"][-3:].sum(0)
        params[group] = {**params[group], "dense_0": {"kernel": kernel, "bias": bias}}
    of_bias = PLAIN.bind(params)
    np.testing.assert_allclose(
        evaluation.reconstruct(given, X, c=ones), evaluation.reconstruct(of_bias, X), rtol=1e-5, atol=1e-6
    )
    loaded = evaluation.elbo_parts(
        KEY, given, data.with_condition(SPLIT, lambda a: np.ones((N, 3), np.float32))
    )
    assert loaded["neg_elbo"] == pytest.approx(
        evaluation.elbo_parts(KEY, of_bias, SPLIT)["neg_elbo"], rel=1e-5
    )


def test_a_run_folder_holds_the_condition_s_model_and_its_encoder_takes_c(tmp_path):
    split = data.with_condition(SPLIT, "y", classes=3)
    model = models.vae(**PARTS, conditional=True, prior=priors.conditional(nets.MLPEncoder(LATENTS, ())))
    loss = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = train.gradient_update(loss, model, optax.adam(1e-2))
    fitted = train.fit(KEY, model, update, split, 4, batch_size=6, chunk=2, folder=tmp_path, progress=False)
    vae = model.bind(fitted.state.params)
    loaded = runs.load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, dict(fitted.state.params))
    c, parts = split.arrays["c"], evaluation.elbo_parts(KEY, loaded.vae, split)
    assert "marginal_kl" not in parts
    np.testing.assert_array_equal(
        runs.load_encoder(tmp_path)(X, c), evaluation.posterior_mean(vae, {"x": X, "c": c})
    )
    for function, options in (
        (evaluation.elbo_parts, {}),
        (evaluation.marginal_log_likelihood, {"num_samples": 2}),
        (evaluation.reconstruction_quality, {"data_range": 1.0}),
    ):
        with pytest.raises(ValueError, match="c: expected an array, this model has a condition; got None"):
            function(KEY, loaded.vae, SPLIT, **options)
    with pytest.raises(ValueError, match="c: expected an array, this model has a condition; got None"):
        train.fit(KEY, model, update, SPLIT, 4, batch_size=6, progress=False)
    with pytest.raises(ValueError, match="c: expected None, this model has no condition; got an array"):
        evaluation.elbo_parts(KEY, PLAIN.bind(jax.jit(PLAIN.init)(KEY, {"x": X})[0]), replace(split))
