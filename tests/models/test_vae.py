"""The builder over families: what it refuses, when its parts are equal, what of it is plain data."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import distributions, models, nets
from vaejax.distributions import diagonal_gaussian
from vaejax.models import posteriors, priors

KEY = jax.random.key(0)
D, LATENTS = 4, 2
PARTS = {
    "encoder": nets.MLPEncoder(latents=LATENTS, features=(5,), activation="tanh"),
    "decoder": nets.MLP(features=(5,), output_shape=(D,), activation="tanh"),
    "posterior": posteriors.gaussian(LATENTS),
    "likelihood": distributions.bernoulli(),
}
X = jnp.asarray(np.random.default_rng(0).random((3, D)) < 0.5, jnp.float32)


def build(**change):
    return models.vae(**(PARTS | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"posterior": posteriors.gaussian}, "posterior: expected a vaejax.*Posterior, got <function"),
        ({"prior": "standard"}, "prior: expected a vaejax.*Prior, got 'standard'"),
        ({"prior": posteriors.gaussian(2)}, "prior: expected a vaejax.*Prior, got Posterior"),
        ({"conditional": 1}, "conditional: expected a builtins.bool, got 1"),
    ],
)
def test_bad_arguments_are_refused_when_built(change, message):
    with pytest.raises(TypeError, match=message):
        build(**change)


def test_gaussian_vae_is_its_simplest_case_to_the_last_bit():
    """It keeps the spec that old run folders have."""
    parts = {name: part for name, part in PARTS.items() if name != "posterior"}
    simple, general = models.gaussian_vae(**parts, latents=LATENTS), build()
    batch = {"x": X}
    params, variables = jax.jit(simple.init)(KEY, batch)
    assert variables is None
    jax.tree.map(np.testing.assert_array_equal, params, jax.jit(general.init)(KEY, batch)[0])
    assert jax.tree.structure(simple.bind(params)) == jax.tree.structure(general.bind(params))
    assert list(simple.spec) == ["builder", "encoder", "decoder", "likelihood", "latents"]
    assert simple.groups == general.groups == ("encoder", "decoder")


def own(loc, name="gaussian"):
    """A family of the user's, under a name of the house."""

    def build(own, state, parameters):
        return diagonal_gaussian(parameters[0] + loc, jnp.exp(parameters[1] / 2))

    return posteriors.Posterior(
        name, (LATENTS,), ((LATENTS,), (LATENTS,)), build, options={"latents": LATENTS}
    )


def test_families_are_equal_by_factory_and_options_and_a_namesake_is_another():
    assert posteriors.gaussian(2) == posteriors.gaussian((2,)) == posteriors.gaussian(np.int64(2))
    assert hash(posteriors.gaussian(2)) == hash(posteriors.gaussian(2))
    assert len({posteriors.gaussian(2), posteriors.gaussian(3), own(0.0), own(0.0), priors.standard()}) == 5
    assert priors.standard() == priors.standard()


def test_a_family_of_the_users_own_works_and_its_spec_is_refused_by_name():
    params = jax.jit(build().init)(KEY, {"x": X})[0]

    def z(family):
        return jax.jit(lambda params: build(posterior=family).bind(params).encode(KEY, {"x": X}).z)(params)

    np.testing.assert_allclose(z(own(5.0)) - z(own(0.0)), 5.0, rtol=1e-5)
    np.testing.assert_array_equal(z(own(0.0)), z(posteriors.gaussian(LATENTS)))
    for family in (own(0.0), own(0.0, "mine")):
        spec = json.loads(json.dumps(build(posterior=family).spec))
        with pytest.raises(
            ValueError, match=r"expected a public name of vaejax.*; a model with parts of your"
        ):
            models.from_spec(spec)


def test_latents_have_any_shape():
    """One draw of [H, W, C] latents is the draw of the vector of the same numbers."""
    shape = (2, 1, 3)
    encoder = nets.MLPEncoder(latents=6, features=())
    flat = build(encoder=encoder, posterior=posteriors.gaussian(6))

    def maps(own, state, parameters):
        del own, state
        loc, logvar = (a.reshape(*a.shape[:-1], *shape) for a in parameters)
        return diagonal_gaussian(loc, jnp.exp(logvar / 2), 3)

    family = posteriors.Posterior("maps", shape, ((6,), (6,)), maps)
    decoder = nets.MLP(PARTS["decoder"].features, (D,), "tanh", event_ndims=3)
    shaped = build(encoder=encoder, posterior=family, decoder=decoder)
    params = jax.jit(flat.init)(KEY, {"x": X})[0]

    @jax.jit
    def run(params):
        return [
            (d.z.reshape(3, 6), d.log_q, d.log_p, v.decode(d.z).mean(), v.represent({"x": X}).reshape(3, 6))
            for v in (flat.bind(params), shaped.bind(params))
            for d in [v.encode(KEY, {"x": X})]
        ]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *run(params))
    assert shaped.bind(params).sample_prior(KEY, 7).shape == (7, *shape)
