"""MMD and sliced Wasserstein as terms: which codes meet which samples of the prior."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax import objectives
from vaejax.objectives.draw import prior_codes
from vaejax.ops import mmd, sliced

KEY = jax.random.key(0)
X = jnp.asarray(oracle.data(6), jnp.float32)


def bound_model(**changes):
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), oracle.exact_params())
    return oracle.linear_vae().bind(params)._replace(**changes)


def drawn(vae, **batch):
    return jax.jit(objectives.sample)(KEY, vae, {"x": X, **batch})


def conditional(key, n, c=None):
    return jnp.broadcast_to(c, (n, 2)) + 0.0


def test_the_prior_is_sampled_for_every_example_under_its_condition_and_place():
    c = jnp.arange(12.0).reshape(6, 2)
    vae = bound_model(sample_prior=Partial(conditional))

    @jax.jit
    def run(keys):
        many = jax.vmap(lambda k: prior_codes(k, bound_model(), {"x": X}))(keys)
        part = prior_codes(keys[0], bound_model(), {"x": X, "index": jnp.arange(6)[::-1]})
        return prior_codes(KEY, vae, {"x": X, "c": c}), many, part

    same, many, part = run(jax.random.split(KEY, 500))
    np.testing.assert_array_equal(same, c)
    np.testing.assert_allclose(part, many[0, ::-1], rtol=1e-5)
    assert len(np.unique(many[0])) == 12
    assert_mean_is(many[..., None] * many[..., None, :], np.broadcast_to(np.eye(2), (6, 2, 2)))


@pytest.mark.parametrize("at", ["sample", "mean"])
def test_the_terms_compare_codes_with_prior_samples(at):
    vae = bound_model()
    zero = vae._replace(sample_prior=Partial(lambda key, n, c=None: jnp.zeros((n, 2))))

    @jax.jit
    def run(x):
        draw = objectives.sample(KEY, vae, {"x": x})
        z, p = draw.z if at == "sample" else draw.q.mean(), prior_codes(KEY, vae, draw.batch)
        # inverse multiquadrics for N(0, I) by default
        options = ({"kernel": mmd.rbf(1.2)}, {}, {"kernel": "median"})
        kernels = mmd.rbf(1.2), mmd.imq(), mmd.rbf(mmd.median_length(z, p))
        terms = [objectives.mmd(**o, at=at)(KEY, vae, draw) for o in options]
        one_column = z.at[:, 1].set(0)  # many directions: E u_1^2 = 1/2
        out = objectives.sliced_wasserstein(directions=4000)(KEY, zero, draw._replace(z=one_column, q=None))
        return terms, [mmd.mmd(z, p, kernel) for kernel in kernels], out, jnp.mean(z[:, 0] ** 2) / 2

    terms, expected, out, half = run(X)
    np.testing.assert_allclose(terms, expected, rtol=1e-5)
    np.testing.assert_allclose(out, half, rtol=0.05)


def test_both_are_near_zero_where_the_aggregate_posterior_is_the_prior_and_only_there():
    vae = bound_model()  # exact: q(z) = N(0, I)

    @jax.jit
    @jax.vmap
    def terms(key):
        noise = jax.random.normal(key, (40, 6))
        x = noise[:, :2] @ jnp.asarray(oracle.W.T, jnp.float32) + oracle.B + oracle.SIGMA * noise[:, 2:]
        draw = objectives.sample(key, vae, {"x": x.astype(jnp.float32)})
        shifted = draw._replace(z=draw.z + jnp.array([1.0, 0.0]))
        both = (objectives.mmd(), objectives.sliced_wasserstein(), objectives.mmd(kernel="median"))
        return [[term(key, vae, d) for d in (draw, shifted)] for term in both]

    (same_mmd, other_mmd), (same_sw, other_sw), (same_median, other_median) = terms(
        jax.random.split(KEY, 400)
    )
    assert_mean_is(same_mmd, 0.0)
    assert np.mean(other_mmd) > 20 * np.std(same_mmd) / 20
    assert_mean_is(same_median, 0.0)
    assert np.mean(other_median) > 20 * np.std(same_median) / 20
    # |t|^2 / d = 1/2 more than between two samples of the prior, up to a cross term of mean 0
    assert_mean_is(np.asarray(other_sw) - np.asarray(same_sw), 0.5, errors=4.0)
    assert 0 < np.mean(same_sw) < 0.15


def test_one_median_length_of_the_pooled_points_leaves_no_bias_and_three_do():
    vae = bound_model()

    def inside(x, y):
        return mmd.rbf(mmd.median_length(x, y))(x, y)

    @jax.jit
    @jax.vmap
    def terms(key):
        z = jax.random.normal(jax.random.fold_in(key, 1), (6, 2))
        draw = drawn_once._replace(z=z)
        return [objectives.mmd(kernel=kernel)(key, vae, draw) for kernel in ("median", inside)]

    drawn_once = drawn(vae)
    pooled, three = terms(jax.random.split(KEY, 4000))
    assert_mean_is(pooled, 0.0)
    assert abs(np.mean(three)) > 6 * np.std(three) / np.sqrt(4000)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: objectives.mmd(kernel="mean"), TypeError, r"kernel: expected a function .* or 'median'"),
        (lambda: objectives.mmd(kernel=1.0), TypeError, r"kernel: expected a function .* got 1.0"),
        (lambda: objectives.mmd(at="mode"), ValueError, "at: expected one of 'sample', 'mean'; got 'mode'"),
        (lambda: objectives.sliced_wasserstein(directions=0), ValueError, "directions: expected at least 1"),
        (lambda: objectives.sliced_wasserstein(at="mode"), ValueError, "at: expected one of"),
    ],
)
def test_they_refuse(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_one_example_has_no_discrepancy():
    vae = bound_model()
    draw = jax.eval_shape(objectives.sample, KEY, vae, {"x": X[:1]})
    with pytest.raises(ValueError, match="x: expected at least 2 examples, got 1"):
        objectives.mmd()(KEY, vae, draw._replace(z=jnp.zeros((1, 2)), batch={"x": X[:1]}))
    u = sliced.random_directions(KEY, 3, 2)
    assert sliced.sliced_wasserstein(jnp.zeros((1, 2)), jnp.zeros((1, 2)), u) == 0
