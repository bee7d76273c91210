"""Imputation of tables and images: what is hidden, what is minimised, what is scored against what."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import holes as experiment
from tests.experiments.tiny import CONFIGS
from vaejax import objectives, sample
from vaejax.keys import named_key
from vaejax.types import TrainState

TINY = CONFIGS[experiment]
KEY = jax.random.key(2)


@pytest.fixture(scope="module")
def wine():
    """The table of wines, and a model with its first parameters."""
    made = experiment.training(TINY, "wine-miwae")
    split = made.data.train
    batch = split.transform(KEY, {name: a[:6] for name, a in split.arrays.items()})
    return made, jax.jit(made.model.init)(jax.random.key(0), batch)[0], batch


def test_rows_are_of_every_table_and_method_and_of_the_images():
    rows = experiment.rows(experiment.Config(tables=("wine",), images="digits"))
    assert rows == {"wine-miwae": "wine, MIWAE", "wine-vae": "wine, VAE", "digits-miwae": "digits, MIWAE"}


def test_half_of_a_table_is_hidden_and_it_is_standardised_by_the_rest(wine):
    made, _, batch = wine
    seen = np.concatenate(
        [s.arrays["observed"] for s in (made.data.train, made.data.validation, made.data.test)]
    )
    assert abs(seen.mean() - 0.5) < 4 * np.sqrt(0.25 / seen.size)
    x, observed = made.data.train.arrays["x"], made.data.train.arrays["observed"]
    np.testing.assert_allclose(made.data.train.transform.inner.mean, x.mean(0, where=observed), rtol=1e-4)
    np.testing.assert_array_equal(np.isnan(batch["x"]), ~observed[:6])
    images = experiment.data_of(TINY, "digits").test.arrays
    assert ((~images["observed"]).sum((1, 2, 3)) == TINY.side**2).all()


def test_a_bound_of_several_samples_is_trained_or_the_elbo(wine):
    made, params, batch = wine
    elbo = experiment.training(TINY, "wine-vae")

    @jax.jit
    def run(params):
        losses = []
        for each in (made, elbo):
            state = TrainState(params, None, each.update.init(params), jnp.int32(0))
            losses.append(each.update.apply(state, KEY, batch, None)[1]["loss"])
        vae = made.model.bind(params)
        draw = sample(named_key(KEY, "/draw"), vae, batch)
        bound = objectives.iwae(TINY.k)(named_key(KEY, "bound"), vae, draw).mean()
        return losses, [bound, (objectives.kl(KEY, None, draw) - draw.log_px).mean()]

    np.testing.assert_allclose(*run(params), rtol=1e-5)


def test_errors_are_over_what_is_missing_in_standard_deviations(wine):
    made, params, _ = wine
    scores = experiment.score(TINY, "wine-miwae", made.model.bind(params), made.data)
    x, seen = made.data.train.arrays["x"], made.data.train.arrays["observed"]
    z = (x - x.mean(0, where=seen)) / np.float32(made.data.train.transform.inner.scale)
    assert scores["rmse_mean"] == pytest.approx(np.sqrt(np.square(z)[~seen].mean()), rel=1e-4)
    assert 0 < scores["rmse_iterative"] < scores["rmse_mean"]
    assert 0 <= scores["covered"] <= 1
    assert 1 <= scores["ess"] <= TINY.samples
