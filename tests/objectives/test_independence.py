"""beta-TCVAE's parts and DIP, against densities and covariances written out."""

from __future__ import annotations

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests import oracle
from vaejax import objectives
from vaejax.ops import aggregate

KEY = jax.random.key(0)
B, SIZE = 4, 7


@pytest.fixture(scope="module")
def drawn():
    with jax.enable_x64(True):
        params = oracle.exact_params()
        params["encoder"]["log_scale"] = jnp.array([-0.3, 0.1])
        vae = oracle.linear_vae().bind(params)
        return jax.jit(objectives.sample)(KEY, vae, {"x": jnp.asarray(oracle.data(B))})


@pytest.fixture
def draw(x64, drawn):
    return drawn


def values(draw, *options):
    """Of the term with each of the options, one program."""
    terms = [objectives.beta_tc(**({"dataset_size": SIZE} | o)) for o in options]
    return jax.jit(lambda draw: [term(KEY, None, draw) for term in terms])(draw)


def parts(draw, w):
    """I, TC and DW, each [B], from scipy's densities under the weights w [B, B]."""
    z, loc, scale = (np.asarray(a) for a in (draw.z, draw.q.mean(), draw.q.stddev()))
    each = stats.norm(loc, scale).pdf(z[:, None])
    own = np.log(each[np.arange(B), np.arange(B)].prod(-1))
    qz, marginals = (w * each.prod(-1)).sum(1), (w[..., None] * each).sum(1)
    product = np.log(marginals).sum(-1)
    return own - np.log(qz), np.log(qz) - product, product - stats.norm.logpdf(z).sum(-1)


@pytest.mark.parametrize(
    ("method", "size", "w"),
    [
        ("mws", SIZE, np.full((B, B), 1 / (SIZE * B))),
        ("mss", SIZE, np.where(np.eye(B), 1 / SIZE, (SIZE - 1) / (SIZE * (B - 1)))),
        ("exact", B, np.full((B, B), 1 / B)),
    ],
)
def test_every_part_is_its_formula_and_together_they_are_the_kl(draw, method, size, w):
    options = {"dataset_size": size, "method": method}
    expected = parts(draw, w)
    alone = [dict(zip(("alpha", "beta", "gamma"), weights, strict=True)) for weights in np.eye(3)]
    *each, whole, printed = values(draw, *(options | o for o in (*alone, {"beta": 1.0}, {})))
    np.testing.assert_allclose(each, expected, rtol=1e-11)
    np.testing.assert_allclose(whole, objectives.kl_sampled(KEY, None, draw), rtol=1e-11)
    np.testing.assert_allclose(printed, whole + 5 * expected[1], rtol=1e-11)


def test_estimates_differ_by_a_constant_where_rows_are_alike(draw):
    alike = draw._replace(q=distrax.Independent(distrax.Normal(0 * draw.z, 1 + 0 * draw.z), 1))
    alone = {"alpha": 0, "beta": 1, "gamma": 0}
    off, right = values(alike, *(alone | {"method": m} for m in ("mws", "mss")))
    np.testing.assert_allclose(right, 0, atol=1e-12)
    np.testing.assert_allclose(off, np.log(SIZE), rtol=1e-12)  # (d - 1) log N


@pytest.mark.parametrize("form", ["i", "ii"])
def test_dip_is_the_penalty_on_the_posteriors_of_the_batch(draw, form):
    out = jax.jit(lambda draw: objectives.dip(lam_od=2.0, lam_d=0.5, form=form)(KEY, None, draw))(draw)
    S = np.cov(np.asarray(draw.q.mean()).T, bias=True)
    S = S + np.diag(np.mean(np.asarray(draw.q.stddev()) ** 2, axis=0)) if form == "ii" else S
    np.testing.assert_allclose(out, 4 * S[0, 1] ** 2 + 0.5 * np.sum((np.diag(S) - 1) ** 2), rtol=1e-12)
    assert abs(S[0, 1]) > 0.02


def test_they_refuse():
    for make, error, message in (
        (lambda: objectives.beta_tc(dataset_size=0), ValueError, "dataset_size: expected at least 1, got 0"),
        (lambda: objectives.beta_tc(dataset_size=9, method="sms"), ValueError, "method: expected one of"),
        (
            lambda: objectives.beta_tc(dataset_size=9, beta=float("nan")),
            ValueError,
            "beta: expected a finite number, got nan",
        ),
        (
            lambda: objectives.beta_tc(dataset_size=9, alpha=True),
            TypeError,
            "alpha: expected a number, got bool",
        ),
        (lambda: objectives.dip(lam_od=1.0, lam_d="10"), TypeError, "lam_d: expected a number, got str"),
        (
            lambda: objectives.dip(lam_od=1.0, lam_d=1.0, form="3"),
            ValueError,
            "form: expected one of 'i', 'ii'",
        ),
    ):
        with pytest.raises(error, match=message):
            make()


def test_a_posterior_that_is_no_diagonal_gaussian_is_refused(draw):
    other = draw._replace(q=distrax.Independent(distrax.Laplace(draw.z, 1 + 0 * draw.z), 1))
    levels = draw._replace(z=(draw.z, draw.z))
    for term in (objectives.beta_tc(dataset_size=SIZE), objectives.dip(lam_od=1.0, lam_d=1.0)):
        with pytest.raises(TypeError, match="q: expected a diagonal Gaussian posterior, got Independent"):
            jax.eval_shape(lambda draw: term(KEY, None, draw), other)  # noqa: B023
        with pytest.raises(TypeError, match=r"z: expected one array of latents \[B, d\]"):
            term(KEY, None, levels)


def test_the_size_of_the_data_reaches_the_estimate(draw):
    alone = {"alpha": 1, "beta": 0, "gamma": 0}
    small, large = values(draw, *(alone | {"dataset_size": n} for n in (SIZE, 10 * SIZE)))
    np.testing.assert_allclose(large - small, np.log(10), rtol=1e-11)  # mws: log q(z) falls by log 10
    loc, scale = draw.q.mean(), draw.q.stddev()
    log_qz = jax.jit(lambda *a: aggregate.log_density(*a, SIZE, "mws"))(draw.z, loc, scale)[0]
    np.testing.assert_allclose(small, draw.log_q - log_qz, rtol=1e-12)
