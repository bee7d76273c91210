"""M2 on a linear-Gaussian model of three classes, where every log p(x, y) and p(y|x) is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, logsumexp

from tests import oracle
from tests.monte_carlo import assert_mean_is
from vaejax import models, nets, objectives
from vaejax.objectives import semi_supervised

KEY = jax.random.key(0)
V, PRIOR = 3, np.array([0.5, 0.3, 0.2])
SHIFT = np.array(
    [[0.0, 0.4, -0.3, 0.2], [0.9, -0.5, 0.6, 0.1], [-0.8, 0.2, 0.7, -0.4]]
)  # of the mean by class
X = oracle.data(5, seed=1) + SHIFT[[0, 1, 2, 0, 1]]
Y = np.array([0, -1, 2, 1, -1])
BATCH = {"x": jnp.asarray(X, jnp.float32), "y": jnp.asarray(Y), "c": jnp.zeros((5, V))}
MODEL = models.with_heads(oracle.linear_of(conditional=True), on="x", classifier=nets.MLP((), (V,)))
COVARIANCE = oracle.W @ oracle.W.T + oracle.SIGMA**2 * np.eye(4)


def exact_params():
    """The posteriors q(z|x, y) and p(y|x) of the model, which a linear net can be."""
    of = jax.tree.map(np.asarray, oracle.exact_params())
    A, inverse = of["encoder"]["A"], np.linalg.inv(COVARIANCE)
    mean = oracle.B + SHIFT
    loc = {"kernel": np.concatenate([A.T, -SHIFT @ A.T]), "bias": of["encoder"]["a"]}
    logvar = {"kernel": np.zeros((4 + V, 2)), "bias": 2 * of["encoder"]["log_scale"]}
    bias = np.log(PRIOR) - 0.5 * np.einsum("vi,ij,vj->v", mean, inverse, mean)
    params = {
        "encoder": {"head": {"loc": loc, "logvar": logvar}},
        "decoder": {"out": {"kernel": np.concatenate([oracle.W.T, SHIFT]), "bias": oracle.B}},
        "classifier": {"out": {"kernel": inverse @ mean.T, "bias": bias}},
    }
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)


LOG_JOINT = np.stack([stats.multivariate_normal(oracle.B + b, COVARIANCE).logpdf(X) for b in SHIFT], 1)
LOG_JOINT += np.log(PRIOR)  # log p(x, y), [B, V]
PARAMS = exact_params()


def cost(term, key, vae, batch=BATCH):
    """The term's value under a key of its own."""
    return term(key, vae, objectives.sample(KEY, vae, batch))


@pytest.fixture(scope="module")
def bounds():
    """Lb of every class [B, V] under KEY; U at the best q, at another one, and its slope at the best."""

    @jax.jit
    def run(params):
        vae = MODEL.bind(params)
        plain = semi_supervised(V, 0.0, prior=PRIOR)

        def of(y, vae=vae):
            return cost(plain, KEY, vae, {**BATCH, "y": jnp.full(5, y)})

        Lb = jnp.stack([of(y) for y in range(V)], axis=1)

        def at(logits):
            return of(-1, vae._replace(heads={"classifier": lambda x: logits}))

        other = jnp.asarray(np.random.default_rng(3).normal(size=(5, V)), jnp.float32)
        slope = jax.grad(lambda logits: at(logits).sum())(-Lb)
        return Lb, at(-Lb), at(other), other, slope

    return [np.asarray(a, np.float64) for a in run(PARAMS)]


def test_without_a_label_it_is_the_evidence_of_all_classes_at_the_best_classifier_and_more_elsewhere(bounds):
    Lb, at_best, at_other, other, slope = bounds
    best = -logsumexp(-Lb, axis=1)
    np.testing.assert_allclose(at_best, best, rtol=1e-6)
    log_q = log_softmax(other, axis=1)
    excess = np.sum(np.exp(log_q) * (log_q - log_softmax(-Lb, axis=1)), axis=1)  # KL(q || best q)
    assert (excess > 0.01).all()
    np.testing.assert_allclose(at_other, best + excess, rtol=1e-5)
    np.testing.assert_allclose(slope, 0, atol=2e-6)


def test_at_the_posteriors_the_mean_is_the_evidence_of_x_or_of_x_and_y():
    term = semi_supervised(V, 0.7, labelled=0.4, prior=PRIOR)

    @jax.jit
    def run(params):
        vae = MODEL.bind(params)
        keys = jax.random.split(KEY, 4000)
        return jax.vmap(lambda key: cost(term, key, vae))(keys), vae.heads["classifier"](BATCH["x"])

    nats, logits = run(PARAMS)
    log_posterior = log_softmax(LOG_JOINT, axis=1)
    np.testing.assert_allclose(log_softmax(np.asarray(logits), axis=1), log_posterior, rtol=1e-4, atol=1e-4)
    of_label = -0.4 * LOG_JOINT[range(5), Y] - 0.7 * log_posterior[range(5), Y]
    assert_mean_is(nats, np.where(Y >= 0, of_label, -logsumexp(LOG_JOINT, axis=1)))


def test_an_objective_logs_bound_and_accuracy_and_what_is_no_class_is_nan():
    weighted = objectives.compose(m2=semi_supervised(V, 0.7, labelled=0.4))
    plain = objectives.compose(m2=semi_supervised(V, 0.0))

    @jax.jit
    def run(params, y):
        vae, batch = MODEL.bind(params), {**BATCH, "y": y}
        return [f(KEY, vae, batch, 0)[1][0] for f in (weighted, plain)], cost(
            semi_supervised(V, 1.0), KEY, vae, batch
        )

    (metrics, of_plain), _ = run(PARAMS, BATCH["y"])
    right = LOG_JOINT.argmax(1) == Y
    assert metrics["classifier/accuracy"] == pytest.approx(right[Y >= 0].mean())
    assert metrics["bound"] == of_plain["bound"] == of_plain["m2"] != metrics["m2"]
    (metrics, _), nats = run(PARAMS, jnp.array([0, 3, -1, -2, 2]))
    np.testing.assert_array_equal(np.isnan(nats), [False, True, False, True, False])
    (metrics, _), _ = run(PARAMS, jnp.full(5, -1))
    assert metrics["classifier/accuracy"] == 0


def test_what_does_not_fit_is_refused():
    vae = MODEL.bind(PARAMS)

    def call(batch, vae=vae, term=None):
        return jax.eval_shape(lambda: cost(term or semi_supervised(V, 0.1), KEY, vae, batch))

    for make, message in (
        (lambda: semi_supervised(0, 0.1), "classes: expected at least 1, got 0"),
        (lambda: semi_supervised(3, -1.0), r"alpha: expected at least 0, got -1\.0"),
        (lambda: semi_supervised(3, 0.1, labelled=-1), "labelled: expected at least 0, got -1"),
        (
            lambda: semi_supervised(3, 0.1, prior=(0.5, 0.5)),
            "prior: expected 3 positive numbers that sum to 1",
        ),
        (lambda: semi_supervised(3, 0.1, prior=(0.5, 0.6, 0.2)), "prior: expected 3 positive numbers"),
        (
            lambda: call({**BATCH, "y": jnp.full(5, 3)}),
            r"labels: expected 0\.\.2, or -1 where missing; got 3",
        ),
        (lambda: call({**BATCH, "y": jnp.full((5, 1), 1)}), r"labels: expected \(5,\) in batch\['y'\], got"),
        (lambda: call({k: a for k, a in BATCH.items() if k != "y"}), "labels: expected a field among"),
        (lambda: call(BATCH, vae._replace(heads={})), "head: expected one of"),
        (lambda: call(BATCH, term=semi_supervised(4, 0.1)), r"logits of shape \(5, 4\), got \(5, 3\)"),
        (
            lambda: call({**BATCH, "c": jnp.zeros((5, 1))}, _of_narrow_condition()),
            r"c: expected the classes as one-hot rows \(5, 3\), .* got \(5, 1\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="alpha: expected a number, got str"):
        semi_supervised(3, "0.1")
    with pytest.raises(TypeError, match=r"labels: expected integers in batch\['y'\], got float32"):
        call({**BATCH, "y": jnp.zeros(5)})


def _of_narrow_condition():
    """A model whose condition is one number."""
    batch = {**BATCH, "c": jnp.zeros((5, 1))}
    shapes = jax.eval_shape(MODEL.init, KEY, batch)[0]
    return MODEL.bind(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes))
