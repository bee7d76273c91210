"""Penalties that tie latents to factors, by hand in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax

from vaejax import nets
from vaejax.distributions import diagonal_gaussian
from vaejax.objectives import supervised
from vaejax.types import VAE, Draw

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
MU = RNG.normal(size=(6, 4)).astype(np.float32)
VALUES = (3, 5)
Y = np.stack([RNG.integers(0, n, 6) for n in VALUES], axis=1)
SCALED = Y / (np.array(VALUES) - 1)  # [0, 1]
PLACES = RNG.normal(size=(2, 5)).astype(np.float32)
HEADS = {
    "scaled_l2": lambda mu: jnp.full(len(mu), 0.3),
    "embedding": lambda mu: nets.Embeddings(2, 5, 0.8).apply({"params": {"places": PLACES}}, mu),
}
FEW = np.array([True, False, True, True, False, True])


def by_hand(form, mu=MU, y=Y, v=SCALED):
    """[B], or a number."""
    first = mu[:, :2]
    if form == "covariance":
        cov = np.cov(np.concatenate([mu, v], axis=1).T, bias=True)[: mu.shape[1], mu.shape[1] :]
        return sum(cov[i, j] ** 2 for i in range(len(cov)) for j in range(2) if i != j)
    if form == "embedding":
        logits = -((first[..., None] - PLACES) ** 2) / (2 * 0.8**2)
        return -np.take_along_axis(log_softmax(logits, axis=2), y[..., None], 2).sum((1, 2))
    return {
        "l2": (expit(first) - v) ** 2,
        "scaled_l2": (0.3 * first - v) ** 2,
        "cross_entropy": -v * np.log(expit(first)) - (1 - v) * np.log(expit(-first)),
    }[form].sum(1)


@jax.jit
def _values(mu, y):
    """Every form, of all rows and of those with a label, with its gradient in mu."""
    found = {}
    for form in FORMS:
        for partial in (False, True):

            def of(mu, form=form, partial=partial):
                q = diagonal_gaussian(mu, jnp.ones_like(mu))
                vae = VAE(None, None, None, {"supervision": HEADS.get(form)})
                draw = Draw(z=mu + 1, log_q=None, log_p=None, q=q, p=None, batch={"y": y})
                nats = supervised(form, VALUES, partial=partial)(KEY, vae, draw)
                return jnp.sum(nats), nats

            (_, nats), slope = jax.value_and_grad(of, has_aux=True)(mu)
            found[form, partial] = nats, slope
    return found


FORMS = ("l2", "scaled_l2", "cross_entropy", "covariance", "embedding")


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_its_formula_at_the_means_of_the_first_latents(form):
    found = _values(MU, Y)
    np.testing.assert_allclose(found[form, False][0], by_hand(form), rtol=2e-5)
    np.testing.assert_allclose(found[form, True][0], np.mean(by_hand(form)), rtol=2e-5)
    beyond = np.asarray(found[form, False][1])[:, 2:]
    assert beyond.any() == (form == "covariance")  # which alone sees the latents without a factor


@pytest.mark.parametrize("form", FORMS)
def test_rows_without_a_label_are_left_out_or_nan(form):
    y = np.where(FEW[:, None], Y, [[-1, 2]])  # one attribute is enough
    nats, slope = _values(MU, y)[form, True]
    few = by_hand(form, MU[FEW], Y[FEW], SCALED[FEW])
    np.testing.assert_allclose(nats, np.mean(few), rtol=2e-5)
    assert np.isfinite(slope).all()
    assert not np.asarray(slope)[~FEW].any()
    np.testing.assert_array_equal(
        np.isnan(_values(MU, y)[form, False][0]), ~FEW if form != "covariance" else True
    )
    assert _values(MU, np.full((6, 2), -1))[form, True][0] == 0
    for beyond in ((3, 0), (0, -2)):
        bad = np.where(FEW[:, None], Y, beyond)
        assert np.isnan(_values(MU, bad)[form, True][0]).all()


def test_what_does_not_fit_is_refused():
    def call(form="l2", values=VALUES, y=Y, mu=MU, heads=None):
        q = diagonal_gaussian(jnp.asarray(mu), jnp.ones_like(mu))
        draw = Draw(z=jnp.asarray(mu), log_q=None, log_p=None, q=q, p=None, batch={"y": y})
        return supervised(form, values)(KEY, VAE(None, None, None, heads or {}), draw)

    for make, error, message in (
        (lambda: supervised("l1", VALUES), ValueError, "form: expected one of 'l2', .* got 'l1'"),
        (lambda: supervised("l2", (3, 1)), ValueError, r"values\[1\]: expected at least 2, got 1"),
        (lambda: supervised("l2", (3, 2.0)), TypeError, r"values\[1\]: expected an int, got float"),
        (lambda: supervised("l2", ()), ValueError, "values: expected one number for each factor, got none"),
        (lambda: call(y=Y[:, :1]), ValueError, r"labels: expected \(6, 2\) in batch\['y'\], .* got \(6, 1\)"),
        (lambda: call(y=SCALED), TypeError, r"labels: expected integers in batch\['y'\], got float"),
        (lambda: call(mu=MU[:, :1]), ValueError, "values: expected at most one for each of 1 latents"),
        (lambda: call("embedding"), ValueError, "head: expected one of .*, got 'supervision'"),
        (
            lambda: call("embedding", heads={"supervision": lambda mu: mu}),
            ValueError,
            r"head: expected logits \(6, 2, 'V'\), as nets.Embeddings gives them; got \(6, 4\)",
        ),
        (
            lambda: call("scaled_l2", heads={"supervision": lambda mu: mu}),
            ValueError,
            r"head: expected a number an example, \(6,\), as nets.Constant; got \(6, 4\)",
        ),
        (lambda: nets.Embeddings(2, 3, scale=0.0), ValueError, "scale: expected a positive finite number"),
        (
            lambda: nets.Embeddings(5, 3).apply({"params": {"places": PLACES}}, MU),
            ValueError,
            r"z: expected at least 5 latents, one a factor; got \(6, 4\)",
        ),
    ):
        with pytest.raises(error, match=message):
            make()
