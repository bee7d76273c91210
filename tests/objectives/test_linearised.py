"""What the penalties on the decoder share: their chunks, and what they refuse."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from tests.objectives.test_geometry import KEY, PARAMS, smooth_vae
from tests.objectives.test_penalties import DATA, EVERY, draw_of, make
from vaejax import distributions, objectives
from vaejax.types import VAE, Draw


def test_every_penalty_takes_its_chunk():
    """The numbers of chunks are those of the whole (tests/ops/test_chunks.py); here: chunks there are."""

    def scans(chunk):
        vae = smooth_vae(jax.tree.map(jnp.asarray, PARAMS))
        draw = draw_of(vae, DATA[:4])
        terms = [jax.make_jaxpr(partial(make(name, o, chunk=chunk), KEY, vae))(draw) for name, o in EVERY]
        return [sum(e.primitive.name == "scan" and e.params["length"] == 2 for e in t.eqns) for t in terms]

    assert scans(2) == [1] * len(EVERY)
    assert scans(None) == [0] * len(EVERY)


def test_the_chunk_changes_neither_value_nor_gradient(x64):
    @jax.jit
    def evaluate(params):
        def loss(params, chunk):
            vae = smooth_vae(params)
            term = objectives.hessian_penalty(method="hutchinson", stop_gradient=False, chunk=chunk)
            return term(KEY, vae, draw_of(vae, DATA)) @ jnp.arange(5.0)

        return [jax.value_and_grad(loss)(params, chunk) for chunk in (5, 2)]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), *evaluate(PARAMS))


def test_beside_a_term_that_mixes_the_batch_memory_is_that_of_a_chunk():
    """compose evaluates the whole batch; the penalty holds four examples of it at a time."""
    w, out = jnp.zeros((4, 500)), jnp.zeros((500, 20))
    mixing = objectives.mixes_examples(lambda key, vae, draw: jnp.square(draw.z.mean(0)).sum())

    def temporaries(examples, chunk):
        objective = objectives.compose(mixing=mixing, jac=objectives.jacobian_l1(chunk=chunk))

        def loss(params, x):
            decode = Partial(
                lambda p, z, c=None: distributions.Gaussian(jnp.tanh(z @ p[0]) @ p[1], 1.0, 1), params
            )
            encoder = {"A": jnp.ones((4, 20)), "a": jnp.zeros(4), "log_scale": jnp.zeros(4)}
            linear = oracle.linear_vae().bind({"encoder": encoder, "decoder": {"W": np.zeros((20, 4))}})
            return objective(KEY, VAE(linear.encode, decode, linear.sample_prior, {}), {"x": x}, 0)[0]

        compiled = jax.jit(jax.grad(loss)).lower((w, out), jnp.zeros((examples, 20))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    small, large = temporaries(8, 4), temporaries(96, 4)
    assert large - small < 20 * 96 * 4 * 4  # a few arrays of the size of the batch
    assert temporaries(96, 96) > 3 * large  # the control


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("jacobian_l1", {"chunk": 0}, ValueError, "chunk: expected at least 1, got 0"),
        ("jacobian_l1", {"chunk": 2.0}, TypeError, "chunk: expected an int, got float"),
        ("jacobian_l1", {"at": "prior"}, ValueError, "at: expected one of 'sample', 'mean'; got 'prior'"),
        (
            "jacobian_l2",
            {"method": "projections"},
            ValueError,
            "method: expected one of 'exact', 'columns', 'hutc",
        ),
        ("jacobian_l2", {"probes": 2}, ValueError, 'probes: only method="hutchinson" has them; got probes=2'),
        (
            "jacobian_l2",
            {"method": "hutchinson", "columns": 2},
            ValueError,
            'columns: only method="columns" has',
        ),
        ("jacobian_l2", {"of": 3}, TypeError, r"of: expected a function of p\(x\|z\) to an array, got 3"),
        (
            "column_group_l1",
            {"method": "hutchinson"},
            ValueError,
            "method: expected one of 'exact', 'columns'; got",
        ),
        ("column_group_l1", {"columns": 2}, ValueError, 'columns: only method="columns" has them'),
        (
            "orthogonality",
            {"method": "columns", "columns": 1},
            ValueError,
            "columns: expected at least 2, got 1",
        ),
        (
            "orthogonality",
            {"method": "hutchinson", "probes": 1},
            ValueError,
            "probes: expected at least 2, got 1",
        ),
        (
            "orthogonality",
            {"probes": 3},
            ValueError,
            'probes: only method="hutchinson" has them; got probes=3',
        ),
        (
            "hessian_penalty",
            {"method": "columns"},
            ValueError,
            "method: expected one of 'exact', 'hutchinson'",
        ),
        (
            "hessian_penalty",
            {"method": "hutchinson", "probes": 1},
            ValueError,
            "probes: expected at least 2, got 1",
        ),
        ("spectral_norm", {"iterations": 0}, ValueError, "iterations: expected at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(name, options, error, message):
    with pytest.raises(error, match=message):
        getattr(objectives, name)(**options)


def test_latents_and_posteriors_that_do_not_fit_are_refused():
    z = jnp.zeros((2, 3))
    q = distributions.diagonal_gaussian(jnp.zeros((2, 4)), jnp.ones((2, 4)))
    for name, options in EVERY:
        draw = Draw((z, z), None, None, (q, q), None, {"x": z})
        for at in ("sample", "mean"):
            with pytest.raises(
                TypeError, match=r"z: expected one array of latents \[B, d\]; got .*\(2, 3\), \(2, 3\)"
            ):
                make(name, options, at=at)(KEY, None, draw)
    at_mean = objectives.jacobian_l2(at="mean")
    with pytest.raises(
        TypeError, match=r"q: expected a posterior mean of the shape of z, \(2, 3\); got \(2, 4\)"
    ):
        at_mean(KEY, None, Draw(z, None, None, q, None, {"x": z}))
    with pytest.raises(TypeError, match="q: expected one posterior that knows its mean, got NoneType"):
        at_mean(KEY, None, Draw(z, None, None, None, None, {"x": z}))
    with pytest.raises(ValueError, match="columns: expected at most the number of latents, 3; got 4"):
        objectives.orthogonality(method="columns", columns=4)(
            KEY, None, Draw(z, None, None, q, None, {"x": z})
        )
