"""Errors of a classifier that is known, by hand."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.special import log_softmax

from tests.evaluation import test_every_function as plain
from vaejax import evaluation
from vaejax.types import Split

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 2, 2, 1)).astype(np.float32)
W = 3 * RNG.normal(size=(4, 3)).astype(np.float32)
U = 3 * RNG.normal(size=(2, 3)).astype(np.float32)
Y = np.array([0, 1, 2, 2, 1, 0, 1])
VAE = plain.VAE_OF._replace(
    heads={
        "classifier": Partial(lambda w, x: x.reshape(-1, 4) @ w, W),
        "of_codes": Partial(lambda u, z: z @ u, U),
        "critic": Partial(lambda w, x: x.reshape(-1, 4) @ w[:, 0], W),
    }
)


@pytest.mark.parametrize(("head", "on"), [("classifier", "x"), ("of_codes", "z")])
def test_errors_are_counted_over_all_examples(head, on):
    logits = X.reshape(-1, 4) @ W if on == "x" else X.reshape(-1, 4) @ plain.W / 4 @ U
    found = evaluation.classification_error(
        KEY, VAE, Split({"x": X, "y": Y}, "real"), head=head, on=on, batch_size=3
    )
    wrong, log_q = logits.argmax(1) != Y, log_softmax(logits, axis=1)
    assert 0 < wrong.mean() < 1
    assert (found["n"], found["error"]) == (7, wrong.mean())
    assert found["error_se"] == pytest.approx(wrong.std(ddof=1) / np.sqrt(7))
    assert found["nll"] == pytest.approx(-log_q[range(7), Y].mean(), rel=1e-5)
    np.testing.assert_array_equal(found["per_example"]["predicted"], logits.argmax(1))
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (Y, logits.argmax(1)), 1)
    np.testing.assert_array_equal(found["confusion"], confusion)


def test_what_cannot_be_compared_is_refused():
    def call(y=Y, **options):
        arrays = {"x": X} if y is None else {"x": X, "y": y}
        evaluation.classification_error(KEY, VAE, Split(arrays, "real"), **options)

    for make, message in (
        (lambda: call(head="judge"), "head: expected one of .*'classifier'.*, got 'judge'"),
        (lambda: call(head="critic"), r"head 'critic': expected logits of shape \(7, 'V'\), got \(7,\)"),
        (lambda: call(on="y"), "on: expected one of 'x', 'z'; got 'y'"),
        (lambda: call(y=None), r"split: expected labels y, got \['x'\]"),
        (lambda: call(y=Y - 1), r"split: expected labels y in 0\.\.2, got -1\.\.1"),
        (lambda: call(y=Y + 1), r"split: expected labels y in 0\.\.2, got 1\.\.3"),
        (lambda: call(y=Y / 2), r"split: expected labels y, integers \[N\]; got float64 \[7\]"),
        (lambda: call(y=Y[:, None]), r"split: expected labels y, integers \[N\]; got int64 \[7, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
