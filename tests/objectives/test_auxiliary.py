"""Terms on auxiliary heads, and the bound on the mutual information, against hand-made and exact numbers."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm

from tests import oracle
from vaejax import distributions, objectives
from vaejax.evaluation import elbo_parts
from vaejax.keys import named_key
from vaejax.objectives import (
    auxiliary_classification,
    auxiliary_reconstruction,
    auxiliary_regression,
    info_nce,
)
from vaejax.types import VAE, Draw, Split

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
Z = RNG.normal(size=(5, 3))
W = RNG.normal(size=(3, 4))


def value(term, heads, **fields):
    """A term and what it logs, at the codes Z, and the gradients with respect to Z and the weights W."""

    def of(z, w):
        vae = VAE(None, None, None, {name: lambda z, h=head: h(z, w) for name, head in heads.items()})
        draw = Draw(z=z, log_q=None, log_p=None, q=None, p=None, batch=fields)
        logged = {name: measure(KEY, vae, draw) for name, measure in getattr(term, "logs", {}).items()}
        out = term(KEY, vae, draw)
        return jnp.mean(out), (out, logged)

    (_, (out, logged)), slopes = jax.jit(jax.value_and_grad(of, (0, 1), has_aux=True))(Z, W)
    return np.asarray(out), logged, slopes


@pytest.mark.usefixtures("x64")
def test_classification_is_the_cross_entropy_of_the_classes():
    y = np.array([0, 3, 1, 1, 2])
    out, logged, (of_z, of_w) = value(auxiliary_classification(), {"classifier": lambda z, w: z @ w}, y=y)
    logits = Z @ W
    np.testing.assert_allclose(out, -log_softmax(logits, axis=1)[range(5), y], rtol=1e-12)
    np.testing.assert_array_equal(logged["classifier/accuracy"], logits.argmax(1) == y)
    error = (np.exp(log_softmax(logits, axis=1)) - np.eye(4)[y]) / 5
    np.testing.assert_allclose(of_w, Z.T @ error, rtol=1e-10)  # both are trained
    np.testing.assert_allclose(of_z, error @ W.T, rtol=1e-10)


@pytest.mark.usefixtures("x64")
def test_several_attributes_are_summed_and_rows_without_labels_left_out():
    y = np.array([[0, 1], [1, -1], [1, 1], [-1, -1], [0, 0]])  # two attributes of two classes
    term = auxiliary_classification("attributes", labels="a", partial=True)
    out, logged, (of_z, _) = value(term, {"attributes": lambda z, w: (z @ w).reshape(-1, 2, 2)}, a=y)
    log_r = log_softmax((Z @ W).reshape(5, 2, 2), axis=2)
    rows = [0, 2, 4]
    nll = [-sum(log_r[b, f, y[b, f]] for f in (0, 1)) for b in rows]
    np.testing.assert_allclose(out, np.mean(nll), rtol=1e-12)
    right = [(log_r[b].argmax(1) == y[b]).mean() for b in rows]
    np.testing.assert_allclose(logged["attributes/accuracy"], np.mean(right), rtol=1e-6)
    assert (np.asarray(of_z)[[1, 3]] == 0).all()
    assert (np.asarray(of_z)[rows] != 0).all()
    none = value(term, {"attributes": lambda z, w: (z @ w).reshape(-1, 2, 2)}, a=np.full((5, 2), -1))
    assert none[0] == 0
    assert all((np.asarray(g) == 0).all() for g in none[2])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_is_not_taken_for_one(label):
    y = np.array([0, label, 1, 1, 2])
    out, _, _ = value(auxiliary_classification(), {"classifier": lambda z, w: z @ w}, y=y)
    np.testing.assert_array_equal(np.isnan(out), [False, True, False, False, False])
    out, _, _ = value(auxiliary_classification(partial=True), {"classifier": lambda z, w: z @ w}, y=y)
    assert np.isnan(out) == (label == 4)  # -1 is no label, 4 is a wrong one


@pytest.mark.usefixtures("x64")
def test_regression_is_a_gaussian_log_density_and_rows_without_labels_are_left_out():
    y = RNG.normal(size=(5, 4))
    heads = {"regressor": lambda z, w: z @ w}
    out, logged, (of_z, of_w) = value(auxiliary_regression(scale=0.7), heads, y=y)
    np.testing.assert_allclose(out, -norm.logpdf(y, Z @ W, 0.7).sum(1), rtol=1e-12)
    np.testing.assert_allclose(logged["regressor/squared_error"], ((y - Z @ W) ** 2).sum(1), rtol=1e-12)
    np.testing.assert_allclose(of_w, Z.T @ (Z @ W - y) / 0.49 / 5, rtol=1e-10)
    np.testing.assert_allclose(of_z, (Z @ W - y) @ W.T / 0.49 / 5, rtol=1e-10)
    missing = np.where(np.arange(20).reshape(5, 4) % 9 == 4, np.nan, y)  # in rows 1 and 3
    assert np.isnan(value(auxiliary_regression(scale=0.7), heads, y=missing)[0]).tolist() == [0, 1, 0, 1, 0]
    masked, logged, (of_z, of_w) = value(auxiliary_regression(scale=0.7, partial=True), heads, y=missing)
    np.testing.assert_allclose(masked, out[[0, 2, 4]].mean(), rtol=1e-12)
    np.testing.assert_allclose(logged["regressor/squared_error"], ((y - Z @ W) ** 2).sum(1)[[0, 2, 4]].mean())
    assert np.isfinite(of_w).all()
    assert (np.asarray(of_z)[[1, 3]] == 0).all()


@pytest.mark.usefixtures("x64")
def test_one_attribute_is_a_column():
    y = RNG.normal(size=5)
    out, *_ = value(auxiliary_regression(), {"regressor": lambda z, w: (z @ w)[:, 0]}, y=y)
    np.testing.assert_allclose(out, -norm.logpdf(y, (Z @ W)[:, 0]), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_reconstruction_of_a_head_bounds_the_information_and_is_tight_at_its_posterior():
    # of the exact linear model x and z are jointly Gaussian: log r(x|z) = log p(x|z) is the best r
    model, params, x = oracle.linear_vae(), oracle.exact_params(), oracle.data(20_000)
    information = -0.5 * np.sum(2 * np.asarray(params["encoder"]["log_scale"]))  # q(z) = N(0, I): I = mean KL
    entropy = -oracle.log_evidence(x).mean()
    vae = model.bind(params)

    def bound(w, x):
        decode = jax.tree_util.Partial(lambda w, z: z @ w.T + params["decoder"]["b"], w)
        term = auxiliary_reconstruction(distributions.gaussian(oracle.SIGMA))
        draw = objectives.sample(KEY, vae, {"x": x})
        return entropy - jnp.mean(term(KEY, vae._replace(heads={"auxiliary": decode}), draw))

    bound = jax.jit(bound)
    best = bound(params["decoder"]["W"], jnp.asarray(x))
    assert float(best) == pytest.approx(information, abs=0.02)
    for w in (0.9, 1.1):
        assert bound(w * params["decoder"]["W"], jnp.asarray(x)) < best - 0.005


@pytest.mark.usefixtures("x64")
def test_info_nce_is_the_information_of_the_batch_and_ends_at_log_b():
    model, params, B = oracle.linear_vae(), oracle.exact_params(), 40
    x = oracle.data(B)
    loc = x @ np.asarray(params["encoder"]["A"]).T + np.asarray(params["encoder"]["a"])
    scale = np.exp(np.asarray(params["encoder"]["log_scale"]))

    @jax.jit
    def of(narrow, x):
        vae = model.bind({**params, "encoder": {**params["encoder"], "log_scale": jnp.log(scale * narrow)}})
        draw = objectives.sample(KEY, vae, {"x": x})
        return info_nce(KEY, vae, draw), draw.z

    out, z = of(1.0, jnp.asarray(x))
    log_q = norm.logpdf(np.asarray(z)[:, None], loc[None], scale).sum(-1)  # [z, x]
    np.testing.assert_allclose(out, logsumexp(log_q, axis=1) - np.log(B) - np.diagonal(log_q), rtol=1e-9)
    assert (out >= -np.log(B)).all()
    np.testing.assert_allclose(of(1e-4, jnp.asarray(x))[0], -np.log(B), rtol=1e-9)  # nothing overlaps
    np.testing.assert_allclose(of(1.0, 0 * x + x[0])[0], 0, atol=1e-9)  # nothing to tell


def test_info_nce_scores_where_q_was_taken():
    """A q that is the same for all x tells nothing, whatever point the decoder eats."""
    q = distrax.OneHotCategorical(jnp.tile(jnp.array([0.3, -1.0, 2.0]), (4, 1)))
    relaxed = jax.nn.softmax(jax.random.normal(KEY, (4, 3)))
    point = jax.nn.one_hot(jnp.argmax(relaxed, -1), 3)
    draw = Draw(z=relaxed, log_q=q.log_prob(point), log_p=None, q=q, p=None, batch={}, point=point)
    np.testing.assert_allclose(info_nce(KEY, None, draw), 0.0, atol=1e-6)
    other = distrax.OneHotCategorical(jax.random.normal(KEY, (4, 3)))
    draw = draw._replace(q=other, log_q=other.log_prob(point))
    log_q = np.asarray(jax.nn.log_softmax(other.logits))[:, np.argmax(relaxed, -1)].T  # [z, x]
    expected = logsumexp(log_q, axis=1) - np.log(4) - np.diagonal(log_q)
    np.testing.assert_allclose(info_nce(KEY, None, draw), expected, rtol=1e-5)


def test_over_a_whole_split_info_nce_is_the_information_of_the_evaluation():
    model, params, x = oracle.linear_vae(), oracle.exact_params(), oracle.data(600).astype(np.float32)
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    vae = model.bind(params)
    draw_key = named_key(KEY, "sample")  # the draws of the evaluation
    term = jax.jit(lambda: jnp.mean(info_nce(KEY, vae, objectives.sample(draw_key, vae, {"x": x}))))
    parts = elbo_parts(KEY, vae, Split({"x": x}, "real"), batch_size=600)
    assert -float(term()) == pytest.approx(parts["mutual_information"], rel=1e-5)


def _call(term, heads=None, z=Z, **fields):
    draw = Draw(z=jnp.asarray(z), log_q=None, log_p=None, q=(1, 2), p=None, batch=fields)
    return term(KEY, VAE(None, None, None, heads or {}), draw)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: _call(auxiliary_classification("a"), y=np.zeros(5, int)),
            ValueError,
            r"head: expected one of \[\]",
        ),
        (
            lambda: _call(auxiliary_regression(), {"regressor": abs}),
            ValueError,
            r"labels: expected a field among \[\]",
        ),
        (
            lambda: _call(auxiliary_classification(), {"classifier": abs}, y=np.zeros(5)),
            TypeError,
            r"labels: expected integers in batch\['y'\], got float",
        ),
        (
            lambda: _call(auxiliary_classification(), {"classifier": abs}, y=np.zeros((5, 2), int)),
            ValueError,
            r"head 'classifier': expected logits of shape \(5, 2, 'V'\), got \(5, 3\)",
        ),
        (
            lambda: _call(auxiliary_regression(), {"regressor": abs}, y=np.zeros(5, int)),
            TypeError,
            r"labels: expected floating point values in batch\['y'\], got int",
        ),
        (
            lambda: _call(auxiliary_regression(), {"regressor": abs}, y=np.zeros(5)),
            ValueError,
            r"head 'regressor': expected means of the shape of y, \(5,\), got \(5, 3\)",
        ),
        (
            lambda: auxiliary_regression(scale=0.0),
            ValueError,
            "scale: expected a positive finite number, got 0.0",
        ),
        (
            lambda: auxiliary_regression(scale=float("inf")),
            ValueError,
            "scale: expected a positive finite number",
        ),
        (lambda: auxiliary_regression(scale="1"), TypeError, "scale: expected a number, got str"),
        (lambda: auxiliary_regression(scale=True), TypeError, "scale: expected a number, got bool"),
        (
            lambda: auxiliary_reconstruction("bernoulli"),
            TypeError,
            "likelihood: expected a distributions.Likelihood",
        ),
        (lambda: _call(info_nce), TypeError, "q: expected one posterior distribution, got 2 levels"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_mixes_examples_says_so():
    for term in (info_nce, auxiliary_classification(partial=True), auxiliary_regression(partial=True)):
        assert objectives.compose(term=term).mixes_examples == ("term",)
    assert objectives.compose(term=auxiliary_regression()).mixes_examples == ()
