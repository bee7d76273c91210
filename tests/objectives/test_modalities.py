"""Sub-sampled training and weighted modalities, on the exact model of three: every bound is an evidence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import modal_oracle as oracle
from tests.modal_oracle import NAMES
from tests.monte_carlo import assert_mean_is
from vaejax import objectives
from vaejax.distributions import gaussian

KEY, N = jax.random.key(0), 3
X = {name: jnp.asarray(a, jnp.float32) for name, a in oracle.data(N, seed=3).items()}
OBSERVED = {"text": jnp.array([True, True, False])}
PARAMS = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), oracle.exact_params())


def evidence(names, row):
    """log p of those of a row that are there; of none 0."""
    names = [k for k in names if k != "text" or row < 2]
    return oracle.log_evidence({k: X[k][row : row + 1] for k in names}, names)[0] if names else 0.0


def expected(pairs_of_two):
    """-sum_A log p(x_A): all, singles, and that many random pairs on average."""
    twos = [of for of in oracle.SUBSETS if len(of) == 2]
    total = []
    for row in range(N):
        parts = [evidence(NAMES, row), *(evidence((k,), row) for k in NAMES)]
        total.append(-sum(parts) - pairs_of_two * np.mean([evidence(of, row) for of in twos]))
    return np.array(total)


def test_the_cost_is_minus_the_evidence_of_every_subset():
    """At exact experts every ELBO is log p(x_A), of what an example has of A."""
    vae = oracle.model().bind(PARAMS)
    terms = {0: objectives.sub_sampled(), 2: objectives.sub_sampled(2)}

    def costs(key):
        draw = objectives.sample(key, vae, {"x": X, "observed": OBSERVED})
        return {k: term(key, vae, draw) for k, term in terms.items()}

    found = jax.jit(jax.vmap(costs))(jax.random.split(KEY, 3000))
    for k in terms:
        assert_mean_is(found[k], expected(k))


def test_weights_count_modalities_and_the_true_sum_is_logged():
    vae = oracle.model().bind(PARAMS)
    objective = objectives.compose(mine=objectives.modality_reconstruction(text=3.0, image=0.5))

    @jax.jit
    def run():
        batch = {"x": X, "observed": OBSERVED}
        draw = objectives.sample(jax.random.key(0), vae, batch)
        return (
            draw.z,
            objectives.modality_reconstruction(text=3.0, image=0.5)(KEY, vae, draw),
            draw.log_px,
            objective(KEY, vae, batch, 0)[1][0],
        )

    z, cost, log_px, metrics = run()
    each = {
        k: gaussian(oracle.SIGMA[k]).build(z @ oracle.W[k].T + oracle.B[k], 1).log_prob(X[k]) for k in NAMES
    }
    each["text"] = jnp.where(OBSERVED["text"], each["text"], 0.0)
    weighted = 0.5 * each["image"] + each["sound"] + 3 * each["text"]
    np.testing.assert_allclose(cost, -weighted, rtol=1e-5)
    np.testing.assert_allclose(log_px, sum(each.values()), rtol=1e-5)
    # of another draw, `compose`'s: the weighted sum is made of what is logged
    sound = metrics["reconstruction"] - metrics["reconstruction_text"] - metrics["reconstruction_image"]
    by_hand = sound + 3 * metrics["reconstruction_text"] + 0.5 * metrics["reconstruction_image"]
    np.testing.assert_allclose(metrics["mine"], by_hand, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: objectives.sub_sampled(-1), ValueError, "subsets: expected at least 0"),
        (lambda: objectives.sub_sampled(1.0), TypeError, "subsets: expected an int"),
        (lambda: objectives.sub_sampled(beta=-1), ValueError, "beta: expected a finite number of at least 0"),
        (lambda: objectives.modality_reconstruction(), ValueError, "weights: expected at least one"),
        (lambda: objectives.modality_reconstruction(a=np.inf), ValueError, "a: expected a finite number"),
        (
            lambda: traced(objectives.modality_reconstruction(smell=2.0)),
            ValueError,
            "weights: expected names among",
        ),
        (
            lambda: traced(objectives.sub_sampled(1), ("text", "image")),
            ValueError,
            "subsets: expected 0, of 2 modalities",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def traced(term, names=NAMES):
    vae = oracle.model().bind(PARAMS)
    batch = {"x": {name: X[name] for name in names}}
    jax.eval_shape(lambda: term(KEY, vae, objectives.sample(KEY, vae, batch)))
