"""Six decoders on data with a known mask: what each minimises, what its scores are of."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import identify as experiment
from tests.experiments.tiny import CONFIGS
from vaejax.types import TrainState

TINY = replace(CONFIGS[experiment], beta=0.5, orojar=0.2, ima=0.4, prior=3.0)
WEIGHTS = {"orojar": {"orojar": 0.2}, "ima": {"ima": 0.4}, "sparse": {"prior": 3.0}}


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_loss_is_the_bound_and_what_the_row_adds(name):
    made = experiment.training(TINY, name)
    batch = {"x": jnp.asarray(made.data.train.arrays["x"][:6])}

    @jax.jit
    def step(key):
        params, variables = made.model.init(key, batch)
        state = TrainState(params, variables, made.update.init(params), jnp.int32(0))
        return made.update.apply(state, key, batch, None)[1]

    metrics = step(jax.random.key(0))
    terms = {"reconstruction": 1.0, "kl": 0.5, **WEIGHTS[name]}
    assert {k for k in metrics if "/" not in k} == {*terms, "loss", "grad_norm"}
    np.testing.assert_allclose(metrics["loss"], sum(w * metrics[k] for k, w in terms.items()), rtol=1e-5)


def test_anchors_are_fixed_in_the_row_that_knows_them_alone():
    for name in experiment.MASKED:
        made = experiment.training(TINY, name)
        W = jax.jit(made.model.init)(jax.random.key(0), made.data.train.arrays)[0]["decoder"]["W"]
        assert W.shape == (7, 3)
        zero = np.zeros((7, 3), bool)
        zero[[j for j, _ in made.data.anchors]] = name == "anchors"
        zero[tuple(np.transpose(made.data.anchors))] = False
        np.testing.assert_array_equal(W == 0, zero)


@pytest.fixture(scope="module")
def scored():
    """A linear model whose codes are -v1, v0 and nothing, and which decodes along the true mask."""
    config = replace(TINY, hidden=(), examples=400)
    made = experiment.training(config, "vae")
    params, variables = jax.jit(made.model.init)(jax.random.key(0), made.data.train.arrays)
    select, mask = np.zeros((7, 3), np.float32), np.zeros((3, 7), np.float32)
    select[4, 0], select[1, 1] = -0.2, 0.5  # x_4 = 5 v1, x_1 = 2 v0
    mask[1, [0, 1, 2, 6]], mask[0, [3, 4, 5]] = [1, 2, 3, 7], [-4, -5, -6]
    params["encoder"]["head"]["loc"]["kernel"] = select
    params["decoder"]["out"]["kernel"] = mask
    return experiment.score(config, "vae", made.model.bind(params, variables), made.data), mask


def test_scores_of_codes_that_are_the_factors(scored):
    scores, _ = scored
    for name in ("mcc", "mcc_spearman", "mcc_linear"):
        assert scores[name] > 0.97, name
    assert scores["dci"] > 0.8  # trees on 200 rows
    assert scores["on_mask"] == pytest.approx(1)
    assert scores["active_units"] == 2
    assert np.isfinite(scores["neg_elbo"])


def test_columns_stand_in_the_order_of_the_factors_and_in_standard_deviations(scored):
    scores, mask = scored
    jac = scores["arrays"]["jacobian"]
    assert jac.shape == (7, 3)
    np.testing.assert_array_equal(jac != 0, np.abs(mask[[1, 0, 2]].T) != 0)
    np.testing.assert_allclose(jac[4, 1], 1, rtol=1e-5)  # x_4 = -5 z_0, whose z_0 is -x_4 / 5
    assert "mask" not in scores["arrays"]
