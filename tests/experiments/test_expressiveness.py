"""Posteriors and priors side by side: the model of each pair, what is minimised, what a report holds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import expressiveness as experiment
from tests.experiments.tiny import CONFIGS
from vaejax import objectives
from vaejax.keys import named_key
from vaejax.types import TrainState

TINY = CONFIGS[experiment]
KEY = jax.random.key(2)


@pytest.fixture(scope="module")
def trained():
    """The training of a VampPrior, its first parameters and six binary images."""
    made = experiment.training(replace(TINY, steps=8, ramp=4), "diagonal-vamp")
    split = made.data.train
    batch = split.transform(KEY, {"x": split.arrays["x"][:6]})
    return made, jax.jit(made.model.init)(jax.random.key(0), batch)[0], batch


@pytest.mark.parametrize("pair", experiment.PAIRS)
def test_a_pair_is_its_posterior_and_its_prior_between_the_same_nets(pair, trained):
    made = experiment.training(TINY, pair)
    shapes, _ = jax.eval_shape(made.model.init, jax.random.key(0), trained[2])
    own = set(shapes) - {"encoder", "decoder"}
    flows = {"posterior"} if pair.split("-")[0] in ("iaf", "spline") else set()
    learned = set() if pair.endswith("standard") else {"prior"}
    assert own == flows | learned
    assert jax.tree.map(jnp.shape, shapes["decoder"]) == jax.tree.map(jnp.shape, trained[1]["decoder"])
    assert shapes["encoder"]["dense_0"] == jax.eval_shape(lambda: trained[1]["encoder"]["dense_0"])


def test_the_loss_is_the_negative_elbo_with_the_weight_of_its_ramp(trained):
    made, params, batch = trained

    @jax.jit
    def run(params):
        vae, state = made.model.bind(params), made.update.init(params)
        draw = objectives.sample(named_key(KEY, "/draw"), vae, batch)
        steps = jnp.array([0, 1, 6])
        step_of = lambda n: made.update.apply(TrainState(params, None, state, n), KEY, batch, None)[1]  # noqa: E731
        return jax.vmap(step_of)(steps), draw.log_px.mean(), (draw.log_q - draw.log_p).mean()

    metrics, log_px, kl = jax.tree.map(np.asarray, run(params))
    np.testing.assert_allclose(metrics["loss"], -log_px + np.array([0, 0.25, 1]) * kl, rtol=1e-5)
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-4)


def test_scores_are_of_the_first_images_and_the_gaps_add_up(trained):
    made, params, _ = trained
    vae = made.model.bind(params)
    scores = experiment.score(TINY, "diagonal-vamp", vae, made.data)
    log_p = scores["arrays"]["log_likelihood"]
    assert log_p.shape == (TINY.test_images,)
    assert (scores["nll"], scores["num_samples"]) == (pytest.approx(-log_p.mean()), TINY.samples)
    both = scores["approximation_gap"] + scores["amortisation_gap"]
    assert scores["inference_gap"] == pytest.approx(both)
    assert scores["amortisation_gap"] > 0  # of an encoder that has learned nothing
    assert {"kl", "kl_se", "active_units", "kl_standard_normal"} < scores.keys()


def test_rows_are_compared_with_the_vae_image_by_image_and_steps_timed_by_their_median():
    log_p = {"diagonal-standard": {0: np.array([-3.0, -5.0])}, "iaf-flow": {0: np.array([-2.0, -5.0])}}
    log_p["iaf-flow"][1] = np.zeros(2)
    seconds = {0: 0.0, 10: 9.0, 20: 9.1, 30: None, 40: 9.3, 50: 9.6, 60: 9.7}
    run = SimpleNamespace(
        rows=dict.fromkeys(log_p), arrays=lambda name, array: log_p[name],
        read=lambda name, function: [seconds] * len(log_p[name]),
    )  # fmt: skip
    rows = experiment.beside_plain(run)["rows"]  # pyright: ignore
    here, other = rows["iaf-flow"]
    assert here == {"minus_nll": -0.5, "minus_nll_se": pytest.approx(0.5), "ms": pytest.approx(20.0)}
    assert other.keys() == {"ms"}  # no VAE of that seed
    assert rows["diagonal-standard"][0]["minus_nll"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": ("diagonal",)}, "pairs: expected one of 'diagonal-standard', 'diagonal-vamp'"),
        ({"components": 0}, "components: expected at least 1, got 0"),
        ({"ramp": -1}, "ramp: expected a finite number of at least 0, got -1"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)
