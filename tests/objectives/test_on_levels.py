"""Every public term on the levels of a hierarchy: it takes them, or says in one sentence why not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import BATCH, TERMS
from tests.catalogue import D as D_OF_TERMS
from tests.models.test_hierarchy import B, D, chain, exact, log_px
from tests.models.test_levels import model_of
from vaejax import models, nets, objectives

KEY = jax.random.key(0)
X = np.asarray(jax.random.normal(KEY, (B, D)))
TAKEN = {
    "auxiliary_classification", "auxiliary_reconstruction", "auxiliary_regression", "balanced_kl",
    "capacity", "ciwae", "cross_entropy",
    "denoising_error", "free_bits", "geco", "iwae", "kl", "kl_sampled", "miwae",
    "optimal_gaussian_reconstruction", "reconstruction", "renyi", "target_rate",
}  # fmt: skip


SHAPES = {}


def parameters_of(likelihood, heads, model, batch):
    """Shapes of the parameters, made once for all models of one likelihood and heads."""
    if (likelihood, heads) not in SHAPES:
        SHAPES[likelihood, heads] = jax.eval_shape(model.init, KEY, batch)[0]
    return SHAPES[likelihood, heads]


@pytest.mark.parametrize("name", TERMS)
def test_a_term_takes_levels_or_says_why_not(name):
    entry = TERMS[name]
    likelihood, plain = entry.likelihood(), nets.MLP((), (D_OF_TERMS,))
    decoder = entry.parts()["decoder"] if likelihood.decodes else plain
    model = model_of(likelihood=likelihood, n=2, decoder=decoder)
    heads = entry.heads()
    model = models.with_heads(model, **heads) if heads else model
    batch = {"x": jnp.ones((BATCH, D_OF_TERMS)), "index": jnp.arange(BATCH)}

    shapes = parameters_of(likelihood.name, repr(heads), model, batch)

    def run(params):
        vae = model.bind(params, step=jnp.zeros((), jnp.int32))
        term = objectives.free_bits(0.5, groups="levels") if entry.public == "free_bits" else entry.make()
        objective = objectives.compose(mine=term)
        return objective(KEY, vae, batch, 0)[0]

    if entry.public in TAKEN:
        assert jax.eval_shape(run, shapes).shape == ()
        return
    with pytest.raises((TypeError, ValueError), match=r"^[^:]+: expected .*got ") as raised:
        jax.eval_shape(run, shapes)
    assert "\n" not in str(raised.value)


def test_bounds_of_any_number_of_samples_are_the_evidence_at_the_posterior(x64):
    vae = chain("residual", 3).bind(exact("residual", 3))
    terms = {"iwae": objectives.iwae(3), "miwae": objectives.miwae(2, 2), "ciwae": objectives.ciwae(2, 0.3)}
    terms |= {"renyi": objectives.renyi(3, 0.5), "iwae_chunked": objectives.iwae(4, chunk=3)}
    _, (metrics, _) = jax.jit(objectives.compose(**terms))(KEY, vae, {"x": jnp.asarray(X, float)}, 0)
    for name in terms:
        np.testing.assert_allclose(-metrics[name], log_px(X, 3).mean(), rtol=1e-9)
