"""A likelihood for every column: the sum of theirs, in their places."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.distributions.compiled import compiled
from vaejax import distributions, models, nets
from vaejax.distributions import bernoulli, by_columns, gaussian, gaussian_learned_scale, negative_binomial

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LIKELIHOOD = by_columns({"0,3": gaussian_learned_scale(), (1,): bernoulli(), range(4, 6): negative_binomial(), 2: gaussian(0.5)})  # fmt: skip  # noqa: E501
X = np.float32([[0.3, 1, -2.0, 0.1, 4, 0], [-1.0, 0, 0.5, 2.0, 0, 9]])
PARAMETERS = RNG.normal(size=(2, 4 + 1 + 4 + 1)).astype(np.float32)


def test_each_column_is_scored_by_its_own_in_its_place():
    @jax.jit
    def run(parameters, x):
        px = LIKELIHOOD.build(parameters, 1)
        a, b, d, c = jnp.split(parameters, [4, 5, 6], axis=-1)  # by their first columns: 0, 1, 2, 4
        of_scale = gaussian_learned_scale().build(a, 1)
        parts = (
            of_scale,
            bernoulli().build(b, 1),
            negative_binomial().build(c, 1),
            gaussian(0.5).build(d, 1),
        )
        columns = ([0, 3], [1], [4, 5], [2])
        each = [part.log_prob(x[:, jnp.array(at)]) for part, at in zip(parts, columns, strict=True)]
        means = [part.mean() for part in parts]
        return px.log_prob(x), px.log_prob_each(x), px.mean(), sum(each), means, px.sample(seed=KEY)

    log_p, log_each, mean, expected, (a, b, c, d), drawn = run(PARAMETERS, X)
    np.testing.assert_allclose(log_p, expected, rtol=1e-6)
    np.testing.assert_allclose(log_each.sum(axis=1), expected, rtol=1e-6)
    np.testing.assert_array_equal(mean, np.stack([a[:, 0], b[:, 0], d[:, 0], a[:, 1], c[:, 0], c[:, 1]], 1))
    assert drawn.shape == X.shape
    assert set(np.unique(drawn[:, 1])) <= {0, 1}
    assert (drawn[:, 4:] == np.round(drawn[:, 4:])).all()


def test_values_outside_a_columns_support_have_no_mass():
    rows = np.repeat(X[:1], 2, axis=0)
    rows[[0, 1], [1, 4]] = 0.5
    assert (compiled(LIKELIHOOD, PARAMETERS, rows, 1)[0] == -np.inf).all()
    grey = by_columns({0: distributions.continuous_bernoulli(), 1: bernoulli(cross_entropy=True)})
    rows = np.float32([[1.5, 0.3], [0.5, -0.1], [0.5, 0.3]])
    inside = np.isfinite(compiled(grey, np.zeros((3, 2), np.float32), rows, 1)[0])
    assert inside.tolist() == [False, False, True]


def test_equal_options_are_equal_and_a_model_is_built_again_from_its_spec():
    assert by_columns({0: gaussian(), "1:3": bernoulli()}) == by_columns(
        {"0": gaussian(), (1, 2): bernoulli()}
    )
    assert by_columns({1: bernoulli(), 0: gaussian()}) == by_columns({0: gaussian(), 1: bernoulli()})
    assert by_columns({0: gaussian(), 1: gaussian()}) != by_columns({0: gaussian(), 1: gaussian(2.0)})
    parts = {"encoder": nets.MLPEncoder(2, (4,)), "latents": 2, "likelihood": LIKELIHOOD}
    model = models.gaussian_vae(**parts, decoder=nets.MLP((4,), LIKELIHOOD.parameter_shape((6,))))
    again = models.from_spec(json.loads(json.dumps(model.spec, sort_keys=True)))
    assert again.spec == model.spec
    assert again.support == "mixed"
    assert again.bind.args == model.bind.args  # equal functions: one program serves both
    params = jax.eval_shape(again.init, KEY, {"x": X})[0]
    assert params["decoder"]["out"]["kernel"].shape[-1] == 10


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ([gaussian()], TypeError, "columns: expected a mapping of columns to likelihoods"),
        ({}, TypeError, "columns: expected a mapping"),
        ({0: "gaussian"}, TypeError, r"columns\[0\]: expected a distributions.Likelihood"),
        (
            {0: gaussian(), 2: gaussian()},
            ValueError,
            r"expected every place of 0..1 once, got \[\[0\], \[2\]\]",
        ),
        ({0: gaussian(), "0:2": gaussian()}, ValueError, "expected every place of 0..2 once"),
        ({"a": gaussian()}, ValueError, "columns: expected places such as 3"),
        ({-1: gaussian()}, ValueError, "columns: expected places of at least 0"),
        ({0: distributions.discretised_logistic_mixture()}, ValueError, "a family of single values"),
    ],
)
def test_what_is_no_partition_is_refused(columns, error, message):
    with pytest.raises(error, match=message):
        by_columns(columns)


def test_data_of_other_columns_are_refused():
    with pytest.raises(ValueError, match="x: expected 6 columns, of which by_columns has likelihoods; got 5"):
        LIKELIHOOD.parameter_shape((5,))
    with pytest.raises(ValueError, match=r"parameters: expected \[..., 10\], the channels of all columns"):
        LIKELIHOOD.build(jnp.zeros((2, 9)), 1)
