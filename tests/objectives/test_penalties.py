"""All penalties on the decoder's derivatives: value, estimates, gradient, whom it reaches, nets."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from tests.objectives.test_geometry import KEY, LATENTS, PARAMS, D, X, smooth_vae
from vaejax import distributions, nets, objectives
from vaejax.ops import jacobian
from vaejax.types import VAE, Draw

RNG = np.random.default_rng(1)


def mixed_second_derivatives(decode, z):
    hessian = jax.vmap(jax.hessian(decode))(z)
    return jnp.sum(jnp.square(hessian) * (1 - jnp.eye(z.shape[1])), axis=(1, 2, 3))


def of_jacobian(op):
    return lambda decode, z: op(jax.vmap(jax.jacrev(decode))(z))


EXACT = {  # public name -> (options, its value from reverse mode or numpy)
    "jacobian_l1": ({}, of_jacobian(lambda j: jnp.abs(j).sum((1, 2)))),
    "jacobian_l2": ({}, of_jacobian(lambda j: (j**2).sum((1, 2)))),
    "column_group_l1": ({}, of_jacobian(lambda j: jnp.sqrt((j**2).sum(1)).sum(1))),
    "row_group_l1": ({}, of_jacobian(lambda j: jnp.sqrt((j**2).sum(2)).sum(1))),
    "orthogonality": ({}, of_jacobian(jacobian.orthogonality)),
    "hessian_penalty": ({}, mixed_second_derivatives),
    "spectral_norm": ({"iterations": 80}, of_jacobian(jacobian.spectral_norm)),
}
SAMPLED = {  # name -> public name, options, latents, distinct outcomes that are equally likely
    "l2, columns": ("jacobian_l2", {"method": "columns", "columns": 3}, 4, 4),
    "column groups, columns": ("column_group_l1", {"method": "columns"}, 4, 4),
    "orthogonality, columns": ("orthogonality", {"method": "columns"}, 4, 6),
    # in two dimensions two signs are equal or not: two outcomes
    "l2, a probe": ("jacobian_l2", {"method": "hutchinson"}, 2, 2),
    "orthogonality, probes": ("orthogonality", {"method": "hutchinson"}, 2, 2),
    "hessian, probes": ("hessian_penalty", {"method": "hutchinson"}, 2, 2),
}
EVERY = [(name, options) for name, (options, _) in EXACT.items()]
EVERY += [(name, options) for name, options, _, _ in SAMPLED.values()]


def make(name, options, **more):
    return getattr(objectives, name)(**options, **more)


def draw_of(vae, x=X):
    return objectives.sample(KEY, vae, {"x": jnp.asarray(x)})


def squared_logits(px):
    return (px.logits**2)[..., None]


def test_exact_penalties_have_their_formulas_at_either_point_of_any_statistic(x64):
    @jax.jit
    def evaluate():
        vae = smooth_vae(PARAMS)
        draw = draw_of(vae)
        pairs = {}
        for name, (options, formula) in EXACT.items():
            for at, z, of in (
                ("sample", draw.z, distributions.mean),
                ("mean", draw.q.mean(), squared_logits),
            ):
                value = make(name, options, at=at, of=of)(KEY, vae, draw)
                pairs[name, at] = value, formula(lambda z: of(vae.decode(z)).ravel(), z)  # noqa: B023
        return pairs

    for case, (value, truth) in evaluate().items():
        np.testing.assert_allclose(value, truth, rtol=1e-9, err_msg=str(case))


def test_the_mean_over_the_draws_is_the_exact_penalty(x64):
    """Every outcome is found among many keys; all are equally likely, so their plain mean is the expectation.

    That of their gradients is the gradient of it (as tests/ops enumerates): the outcomes are finitely many.
    """

    @jax.jit
    def evaluate():
        found = {}
        for case, (name, options, latents, _) in SAMPLED.items():
            encoder = {k: v[:latents] for k, v in PARAMS["encoder"].items()}
            decoder = {**PARAMS["decoder"], "inner": PARAMS["decoder"]["inner"][:, :latents]}
            vae = smooth_vae({"encoder": encoder, "decoder": decoder})
            draw = draw_of(vae)
            term = make(name, options)
            found[case] = make(name, {})(KEY, vae, draw), jax.vmap(lambda k: term(k, vae, draw))(keys)  # noqa: B023
        return found

    keys = jax.random.split(KEY, 60)
    for case, (value, values) in evaluate().items():
        for example in (0, 1):
            outcomes = np.unique(np.round(values[:, example] / value[example], 9))
            assert len(outcomes) == SAMPLED[case][3], case
            np.testing.assert_allclose(outcomes.mean(), 1, rtol=1e-8, err_msg=case)


def test_examples_draw_their_own_probes_and_subsets():
    """Twelve times the same latent: all draws of one example, but of the columns, which go round."""

    @jax.jit
    def evaluate():
        vae = smooth_vae(PARAMS)
        z = jnp.broadcast_to(jnp.linspace(-1.0, 1.0, LATENTS), (12, LATENTS))
        draw = Draw(z, None, None, None, None, {"x": jnp.zeros((12, D))}, None, None)
        return {name: make(*case[:2])(KEY, vae, draw) for name, case in SAMPLED.items()}

    for name, values in evaluate().items():
        assert len(np.unique(np.round(values, 4))) > 2, name
        round_robin = np.array_equal(values[:4], values[4:8])
        assert round_robin == (name in ("l2, columns", "column groups, columns")), name


def penalties(vae, draw, **options):
    """One form of every term, weighted and summed."""
    forms = {"jacobian_l1": {}, "row_group_l1": {}, "spectral_norm": {"iterations": 80}}
    forms |= {name: opts for name, opts, *_ in SAMPLED.values() if opts.get("columns") != 3}
    values = [make(name, opts, **options)(KEY, vae, draw).mean() for name, opts in forms.items()]
    return jnp.linspace(0.3, 1.7, len(EXACT)) @ jnp.stack(values)


def along(params):
    """A random direction in the space of parameters."""
    return jax.tree.map(lambda p: jnp.asarray(RNG.normal(size=np.shape(p))), params)


def assert_gradient_agrees_with_differences(value_and_grad, params, rtol):
    """Along a random direction, against a central difference."""
    u = along(params)
    _, gradient = value_and_grad(params)
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, a: jnp.vdot(g, a), gradient, u)))
    high, low = (value_and_grad(jax.tree.map(lambda p, a: p + e * a, params, u))[0] for e in (1e-5, -1e-5))  # noqa: B023
    np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=rtol)


@cache
def of_the_objective(**options):
    """value_and_grad of reconstruction + kl + all penalties, one program; without options no penalties."""

    def loss(params):
        vae = smooth_vae(params)
        draw = draw_of(vae, DATA)
        plain = (objectives.reconstruction(KEY, vae, draw) + objectives.kl(KEY, vae, draw)).mean()
        return plain + (penalties(vae, draw, **options) if options else 0)

    return jax.jit(jax.value_and_grad(loss))


DATA = RNG.integers(0, 2, size=(5, D)).astype(float)


def test_every_gradient_is_that_of_the_value_in_parameters_and_latents(x64):
    full = of_the_objective(stop_gradient=False)
    assert_gradient_agrees_with_differences(full, jax.tree.map(jnp.asarray, PARAMS), 1e-6)


def test_detached_penalties_leave_the_encoder_alone_in_the_whole_objective(x64):
    """XLA may merge the forward passes of penalties and reconstruction: it must not show."""
    cases = of_the_objective(), of_the_objective(stop_gradient=True), of_the_objective(stop_gradient=False)
    (_, plain), (value, detached), (same, full) = (case(PARAMS) for case in cases)
    np.testing.assert_allclose(value, same, rtol=1e-12)
    for name, gradient in plain["encoder"].items():
        np.testing.assert_allclose(detached["encoder"][name], gradient, rtol=1e-12, atol=1e-13, err_msg=name)
        assert np.abs(full["encoder"][name] - gradient).max() > 1e-3, name  # the control
    for name, gradient in plain["decoder"].items():
        np.testing.assert_allclose(detached["decoder"][name], full["decoder"][name], rtol=1e-11, atol=1e-12)
        assert np.abs(detached["decoder"][name] - gradient).max() > 1e-3, name


def test_every_kind_of_derivative_goes_through_the_convolutions(x64):
    """Up to the third order through transposed convolutions: products with J, J^T and H, and gradients."""
    net = nets.ConvDecoder(side=16, width=0.04, activation="tanh")
    params = jax.jit(net.init)(KEY, jnp.zeros((1, 2)))["params"]
    decoder = jax.tree.map(lambda p: 3 * np.asarray(p, np.float64), params)

    def decode(params, z, c=None):
        return distributions.Gaussian(net.apply({"params": params}, z), 1.0, 3)

    terms = (
        objectives.jacobian_l1(),
        objectives.hessian_penalty(method="hutchinson"),
        objectives.spectral_norm(),
    )

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        z = jnp.asarray([[0.3, -0.7]])
        draw = Draw(z, None, None, None, None, {"x": jnp.zeros((1, 1))})
        vae = VAE(None, Partial(decode, params), None, {})
        return sum(term(KEY, vae, draw).sum() for term in terms)

    assert_gradient_agrees_with_differences(loss, decoder, 1e-5)
