"""Sequences of tokens of a small vocabulary, as one-hot rows."""

from __future__ import annotations

from vaejax.distributions.discrete import OneHot
from vaejax.distributions.likelihoods import Likelihood
from vaejax.types import Array

__all__ = ["Tokens", "one_hot"]


class Tokens(OneHot):
    """T independent tokens with probabilities softmax(logits): log p(x) = sum_tv x_tv log softmax(logits)_tv.

    `logits`: [..., T, V], and x is [..., T, V] of one-hot rows. The mean is the probabilities.
    """

    support = "one_hot"


def one_hot() -> Likelihood:
    """Categorical for each token of a sequence, x one-hot [T, V]; the decoder gives V logits a token, [T, V].

    Given z the tokens are independent. `data.captioned` makes such data.
    """
    return Likelihood(name="one_hot", support="one_hot", build=_tokens)


def _tokens(parameters: Array, event_ndims: int) -> Tokens:
    if event_ndims != 2:
        raise ValueError(f"x: expected one-hot rows [T, V] for one example, got {event_ndims} event axes")
    return Tokens(parameters)
