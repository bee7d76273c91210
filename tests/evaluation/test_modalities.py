"""log p(x_a|x_b) and coherence of several modalities, on the exact linear-Gaussian model of three."""

from __future__ import annotations

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import modal_oracle as oracle
from tests.evaluation import test_every_function as plain
from tests.modal_oracle import NAMES
from vaejax import data, evaluation
from vaejax.models import posteriors
from vaejax.types import Split

KEY, N, K = jax.random.key(0), 6, 4000
X = {name: a.astype(np.float32) for name, a in oracle.data(N).items()}
Y = np.stack([X["text"][:, 0] > 0, X["text"][:, 1] > 0], axis=1).astype(np.int32)
SPLIT = Split({"x": X, "y": Y}, dict.fromkeys(NAMES, "real"))
PARAMS = jax.tree.map(lambda a: np.asarray(a, np.float32), oracle.exact_params())
VAE = oracle.model().bind(PARAMS)


@cache
def conditional():
    return evaluation.conditional_log_likelihood(KEY, VAE, SPLIT, ("text",), num_samples=K, batch_size=4)


def test_the_conditional_is_that_of_the_gaussian():
    """q(z|x_b) is exact: log p(x_b) has no noise, and log p(x_a|x_b) that of a mean of p(x_a|z)."""
    found = conditional()
    log_b = oracle.log_evidence(X, ("text",))
    expected = oracle.log_evidence(X) - log_b
    each = found["per_example"]
    np.testing.assert_allclose(each["log_given"], log_b, atol=2e-5)
    error = np.sqrt((K / each["ess"] - 1) / K)
    assert (error < 0.2).all()
    assert (np.abs(each["log_likelihood"] - expected) < 4.5 * error).all()
    assert found["nll"] == pytest.approx(-each["log_likelihood"].mean())
    assert found["nll_given"] == pytest.approx(-log_b.mean(), abs=2e-5)
    assert found["ess"] == pytest.approx(each["ess"].mean())


def test_log_p_of_all_and_of_some_modalities_is_exact_at_the_posterior():
    for names in (NAMES, ("sound",), ("image", "text")):
        found = evaluation.marginal_log_likelihood(KEY, VAE, data.only(SPLIT, names), num_samples=2)
        np.testing.assert_allclose(
            found["per_example"]["log_likelihood"],
            oracle.log_evidence(X, names),
            atol=5e-5,
            err_msg=str(names),
        )
    parts = evaluation.elbo_parts(KEY, VAE, SPLIT)
    assert parts["kl_is_analytic"]
    assert parts["active_units"] == oracle.D


def test_a_row_without_what_is_given_has_the_marginal_and_without_the_rest_nothing():
    observed = {"text": np.arange(N) > 0, "image": np.arange(N) != 1, "sound": np.arange(N) != 1}
    split = dataclasses.replace(SPLIT, arrays={**SPLIT.arrays, "observed": observed})
    found = evaluation.conditional_log_likelihood(KEY, VAE, split, ("text",), num_samples=K, batch_size=4)
    each = found["per_example"]
    assert each["log_given"][0] == 0.0  # q is the prior there
    marginal = oracle.log_evidence({k: a[:1] for k, a in X.items()}, ("image", "sound"))
    assert abs(each["log_likelihood"][0] - marginal[0]) < 4.5 * np.sqrt((K / each["ess"][0] - 1) / K)
    assert each["log_likelihood"][1] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(
        each["log_likelihood"][2:], conditional()["per_example"]["log_likelihood"][2:], rtol=1e-5
    )


def test_neither_batches_nor_chunks_change_a_number_and_a_second_model_compiles_nothing():
    options = {"num_samples": 40, "batch_size": 4}
    first = evaluation.conditional_log_likelihood(KEY, VAE, SPLIT, ("text",), **options)
    seen = len(plain.COMPILED)
    again = evaluation.conditional_log_likelihood(
        KEY, oracle.model().bind(PARAMS), SPLIT, ["text"], **options
    )
    assert len(plain.COMPILED) == seen
    assert again["nll"] == first["nll"]
    other = evaluation.conditional_log_likelihood(
        KEY, VAE, SPLIT, ("text",), num_samples=40, batch_size=6, chunk=7
    )
    np.testing.assert_allclose(
        other["per_example"]["log_likelihood"], first["per_example"]["log_likelihood"], rtol=2e-5, atol=2e-5
    )


def read(x):
    """The labels of a text."""
    return (np.asarray(x)[:, :2] > 0).astype(np.int32)


def test_coherence_is_the_share_of_right_labels_of_what_is_made_from_z():
    """By hand: z of the encoder that sees the image alone, decoded, read."""
    found = evaluation.coherence(KEY, VAE, SPLIT, {"text": read}, ("image",), batch_size=4)
    seen = []
    evaluation.coherence(
        KEY, VAE, SPLIT, {"text": lambda x: seen.append(x) or read(x)}, ("image",), batch_size=6
    )
    np.testing.assert_allclose(seen[0].shape, (N, 3))
    # what is made is W z + b of a z from p(z|image)
    z = (seen[0] - oracle.B["text"]) @ oracle.W["text"]
    np.testing.assert_allclose(z @ oracle.W["text"].T + oracle.B["text"], seen[0], atol=1e-5)
    q = VAE.encode(KEY, {"x": {"image": X["image"]}}).q
    standard = (z - np.asarray(q.mean())) / np.asarray(q.stddev())
    assert np.abs(standard).max() < 4
    assert len(np.unique(np.round(standard, 4))) == standard.size
    right = read(seen[0]) == Y
    assert found["text"] == pytest.approx(right.mean())
    np.testing.assert_allclose(found["per_factor"]["text"], right.mean(axis=0))
    assert evaluation.coherence(KEY, VAE, SPLIT, {"text": lambda x: Y}, ("image",))["text"] == 1.0
    flat = dataclasses.replace(SPLIT, arrays={**SPLIT.arrays, "y": Y[:, 0]})
    assert "per_factor" not in evaluation.coherence(
        KEY, VAE, flat, {"text": lambda x: 1 - Y[:, 0]}, ("image",)
    )


def test_from_the_prior_it_is_how_often_classifiers_agree():
    both = {"text": lambda x: read(x)[:, 0], "sound": lambda x: (np.asarray(x)[:, 0] > 0.5).astype(int)}
    split = dataclasses.replace(SPLIT, arrays={**SPLIT.arrays, "y": Y[:, 0]})
    found = evaluation.coherence(KEY, VAE, split, both)
    assert set(found) == {"n", "agreement", "agreement_se"}
    assert evaluation.coherence(KEY, VAE, split, {k: lambda x: np.zeros(N) for k in both})["agreement"] == 1.0


def test_one_modality_makes_the_others():
    made = evaluation.reconstruct(VAE, {"text": X["text"]})
    assert {k: v.shape for k, v in made.items()} == {k: v.shape for k, v in X.items()}
    code = evaluation.posterior_mean(VAE, {"x": {"text": X["text"]}})
    np.testing.assert_allclose(made["image"], code @ oracle.W["image"].T + oracle.B["image"], atol=1e-5)
    drawn = evaluation.decoder_samples(KEY, VAE, jnp.zeros((5, 2)), batch_size=2)
    assert {k: v.shape[0] for k, v in drawn.items()} == dict.fromkeys(NAMES, 5)
    assert evaluation.prior_samples(KEY, VAE, 3)["sound"].shape == (3, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda f: f(KEY, VAE, SPLIT, ("text", "image", "sound")),
            ValueError,
            "given: expected some of the modalities",
        ),
        (
            lambda f: f(KEY, VAE, SPLIT, ("smell",)),
            ValueError,
            r"given: expected names among .*; got \['smell'\]",
        ),
        (lambda f: f(KEY, VAE, SPLIT, "text"), TypeError, "given: expected names, as"),
        (lambda f: f(KEY, VAE, SPLIT, (1, "text")), TypeError, "given: expected names, as"),
        (lambda f: f(KEY, VAE, SPLIT, ()), ValueError, "given: expected names among"),
        (
            lambda f: f(KEY, plain.VAE_OF, plain.SPLIT, ("text",)),
            TypeError,
            "split: expected several modalities",
        ),
        (lambda f: f(KEY, VAE, SPLIT, ("text",), chunk=0), ValueError, "chunk: expected at least 1"),
        (
            lambda f: f(KEY, VAE, SPLIT, ("text",), num_samples=0),
            ValueError,
            "num_samples: expected at least 1",
        ),
    ],
)
def test_bad_arguments_of_the_conditional(call, error, message):
    with pytest.raises(error, match=message):
        call(evaluation.conditional_log_likelihood)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"classifiers": {}}, TypeError, "classifiers: expected {name of a modality: function}"),
        (
            {"classifiers": {"smell": read}},
            ValueError,
            "classifiers: expected those of modalities of the model; got smell",
        ),
        (
            {"classifiers": {"text": lambda x: Y[:3]}},
            ValueError,
            r"classifiers\['text'\]: expected labels of the shape",
        ),
        ({"given": ()}, ValueError, "classifiers: expected two at least"),
        ({"split": Split({"x": X}, SPLIT.support)}, ValueError, "split: expected labels y"),
    ],
)
def test_bad_arguments_of_coherence(changed, error, message):
    given = {"split": SPLIT, "classifiers": {"text": read}, "given": ("image",)} | changed
    with pytest.raises(error, match=message):
        evaluation.coherence(KEY, VAE, *given.values())


def test_what_is_of_one_array_refuses_several():
    with pytest.raises(TypeError, match="split: expected an x that is one array"):
        evaluation.reconstruction_quality(KEY, VAE, SPLIT, data_range=1.0)
    with pytest.raises(TypeError, match="x: expected a numpy array"):
        evaluation.traverse(VAE, X, [0.0])


def test_a_mixture_of_experts_is_scored_as_it_is():
    """Of MoE: L_K of many samples reaches the evidence, and of one it is below."""
    model = oracle.model(posteriors.moe(oracle.D, 3, prior_expert=True)).bind(PARAMS)
    found = evaluation.marginal_log_likelihood(KEY, model, SPLIT, num_samples=K, curve=(1,))
    expected = oracle.log_evidence(X)
    each = found["per_example"]
    assert (np.abs(each["log_likelihood"] - expected) < 4.5 * np.sqrt((K / each["ess"] - 1) / K) + 1e-4).all()
    assert (each["curve"][:, 0] < expected - 0.05).all()


@pytest.mark.parametrize("name", sorted(plain.OF_SPLITS))
def test_modalities_are_nothing_for_a_model_of_one_array(name):
    several = dataclasses.replace(SPLIT, arrays={**SPLIT.arrays, "y": SPLIT.arrays["y"][:, 0]})
    with pytest.raises((TypeError, ValueError), match=r"split: expected|the data have"):
        plain.call(name, split=several)
