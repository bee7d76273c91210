"""Training in float64 mode and with the check for nans, both at once: the same laws."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.toy import KEY, assert_same_fit, toy_fit, toy_update
from vaejax import distributions, evaluation, models, nets, objectives
from vaejax.data.transforms import binarise
from vaejax.train import aggressive, averaged, fit, gradient_update, repeat, sequence
from vaejax.types import Split

PLATEAU = optax.chain(optax.sgd(0.01), optax.contrib.reduce_on_plateau(factor=0.5, patience=2))
N = np.int64


@pytest.fixture(scope="module", autouse=True)
def modes():
    for mode in ("jax_enable_x64", "jax_debug_nans"):
        jax.config.update(mode, True)
    yield
    for mode in ("jax_enable_x64", "jax_debug_nans"):
        jax.config.update(mode, False)


def test_every_combination_of_updates_keeps_its_dtypes_and_resumes(tmp_path):
    # numbers of numpy, which are not weakly typed
    vae = averaged(repeat(toy_update(wrt=("encoder",), microbatch=N(3)), N(2)), np.float64(0.9))
    theta = toy_update(wrt=("decoder",), optimizer=PLATEAU)
    caught_up = aggressive(toy_update(wrt=("critic",)), theta, window=N(2), most=N(4))
    options = {"update": sequence(vae=vae, other=caught_up), "chunk": 2}
    toy_fit(2, folder=tmp_path, **options)
    resumed = toy_fit(4, folder=tmp_path, resume=True, **options)
    assert_same_fit(resumed, toy_fit(4, **options))
    floats = jax.tree.leaves((resumed.state.params, resumed.state.opt_state["vae"]["ema"]))
    assert {a.dtype for a in floats} == {jnp.dtype("float32")}
    assert np.isfinite(resumed.metrics["other/loss"]).all()


def test_a_model_trains_with_a_validation_and_resumes(tmp_path):
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=2, features=(5,)),
        decoder=nets.MLP(features=(5,), output_shape=(6,)),
        latents=2,
        likelihood=distributions.bernoulli(),
    )
    objective = objectives.compose(
        reconstruction=objectives.reconstruction,
        kl=objectives.scaled(optax.linear_schedule(0.1, 1.0, 4), objectives.kl_sampled),
        columns=objectives.scaled(0.1, objectives.jacobian_l1(method="columns", columns=1)),
    )
    update = gradient_update(objective, model, optax.adam(optax.cosine_decay_schedule(1e-2, 10)))
    data = Split({"x": np.random.default_rng(0).integers(0, 256, (12, 6), np.uint8)}, "binary", binarise)

    def validate(key, vae):
        return evaluation.elbo_parts(key, vae, data, aggregate=False)

    def run(steps, **options):
        return fit(
            KEY, model, update, data, steps, batch_size=4, chunk=2, save_every=1, validate=validate,
            progress=False, **options,
        )  # fmt: skip

    run(2, folder=tmp_path)
    resumed, whole = run(4, folder=tmp_path, resume=True), run(4)
    assert_same_fit(resumed, whole)
    assert resumed.validation == whole.validation
    assert {a.dtype for a in jax.tree.leaves(whole.state.params)} == {jnp.dtype("float32")}
