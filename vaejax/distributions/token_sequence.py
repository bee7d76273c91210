"""A likelihood of sentences: every token given z and those before it, up to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.checks import plain
from vaejax.distributions.likelihoods import Likelihood
from vaejax.fixed import Fixed
from vaejax.ops.tokens import counted
from vaejax.types import BEGIN, END, UNKNOWN, Array, Distribution

__all__ = ["TokenSequence", "token_sequence"]


_COLDEST = 1e-37  # a temperature below, which float32 does not hold to its digits, is one of 0


class TokenSequence(distrax.Distribution):
    """log p(x) = sum_t log p(x_t | x_<t) over the tokens of a sentence, its end included, in nats.

    x: integers [..., T], as `types.END` has it: the tokens after the first end are padding and not looked at.
    A sentence of T words has no end that would cost anything: after T words it is certain. So the
    probabilities of all sentences of at most T words sum to 1.

    `logits`: x [..., T] -> [..., T, V], those of x_t from x_<t alone; `start`: () -> the state before the
    first word; `step`: (state, the word before) -> (state, logits of the next). All three are
    `jax.tree_util.Partial`s over the parameters and z. One pass scores a sentence; to draw one takes a step
    of the cell for every token, in a scan. There is no mean: `has_mean` is False.

    `batch`: that of z. `event`: (T,).

    Source: Bowman et al. 2016, arXiv 1511.06349.
    """

    has_mean = False
    support = "tokens"

    def __init__(
        self,
        logits: Callable[[Array], Array],
        start: Callable[[], Any],
        step: Callable[[Any, Array], tuple[Any, Array]],
        batch: tuple[int, ...],
        event: tuple[int, ...],
    ):
        super().__init__()
        self._logits, self._start, self._step = logits, start, step
        self._shape = (*batch, *event)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._shape[:-1]

    def log_prob(self, value: Array) -> Array:
        x = _tokens(value)
        return self._scored(x, x)

    def _scored(self, x: Array, seen: Array) -> Array:
        """log p(x) where the words before each are those of `seen`."""
        logits = self._logits(seen)
        V = logits.shape[-1]
        # not by an index: the gradient would be a scatter into all logits
        of_x = jnp.sum(jnp.where(jnp.arange(V) == x[..., None], logits, 0.0), axis=-1)
        log_p = of_x - jax.nn.logsumexp(logits, axis=-1)
        log_p = jnp.where((x >= 0) & (x < V), log_p, jnp.nan)  # no token: nothing that it could be
        return jnp.sum(jnp.where(counted(x), log_p, 0.0), axis=-1)

    def mean(self) -> Array:
        raise TypeError("p(x|z): expected one with a mean; one of tokens has samples only")

    def draw(self, key: Array, n: int, temperature: float = 1.0) -> Array:
        """n sentences [n, *batch, T] whose logits are divided by the temperature; 0: the likeliest word each.

        Tokens after the end are `END`.
        """
        lead = (n, *self.batch_shape)

        def step(state: tuple[Any, Array, Array], t: Array) -> tuple[tuple[Any, Array, Array], Array]:
            carry, token, ended = state
            carry, logits = self._step(carry, token)
            if temperature >= _COLDEST:
                logits = (logits - jnp.max(logits, axis=-1, keepdims=True)) / temperature  # the likeliest: 0
                token = jax.random.categorical(jax.random.fold_in(key, t), logits)
            else:
                token = jnp.argmax(logits, axis=-1)
            token = jnp.where(ended, END, token).astype(jnp.int32)
            return (carry, token, ended | (token == END)), token

        start = jax.tree.map(lambda a: jnp.broadcast_to(a, (*lead, a.shape[-1])), self._start())
        first = start, jnp.full(lead, BEGIN, jnp.int32), jnp.zeros(lead, bool)
        _, x = jax.lax.scan(step, first, jnp.arange(self.event_shape[0]))
        return jnp.moveaxis(x, 0, -1)

    def _sample_n(self, key: Array, n: int) -> Array:
        return self.draw(key, n)


class DroppedTokens(TokenSequence):
    """The same where each word, as an input, is hidden from the decoder with some probability.

    log p(x|hidden), which words are hidden drawn for every example from its key: on average a lower bound on
    the logarithm of its mean over what may be hidden (`is_bound`). In training only: there are no samples.
    """

    is_bound = True

    def __init__(self, rate: float, *arguments: Any):
        super().__init__(*arguments)
        self._rate = rate

    def log_prob(self, value: Array) -> Array:
        raise TypeError("log_prob: under word dropout it is a bound: log_prob_bound(keys, x)")

    def log_prob_bound(self, keys: Array, value: Array) -> Array:
        """[*batch] nats, with words hidden by keys [*batch]."""
        x, flat = _tokens(value), keys.reshape(-1)
        hidden = jax.vmap(lambda k: jax.random.bernoulli(k, self._rate, self.event_shape))(flat)
        return self._scored(x, jnp.where(hidden.reshape(x.shape), UNKNOWN, x))

    def _sample_n(self, key: Array, n: int) -> Array:
        raise TypeError("sample: expected a model that is bound without a step; words are hidden in training")


def token_sequence(word_dropout: float = 0.0) -> Likelihood:
    """p(x|z) of sentences by a decoder that sees the words before each, `nets.LSTMDecoder`.

    log p(x|z) = sum_t log p(x_t|x_<t, z), t up to and with the end; exact, in nats a sentence.

    Word dropout weakens the decoder, so that it needs z: in training, that is in a model bound with a step,
    each word is hidden as an input, and the decoder sees the unknown word in its place. The words to be
    predicted stay as they are, and so does the beginning. The likelihood is then a bound (`is_bound`), which
    terms that need an exact one refuse; in evaluation nothing is hidden.

    Args:
      word_dropout: with what probability, in [0, 1]; 0 for none.

    Raises:
      TypeError, ValueError: for another word_dropout. When a model is built, TypeError for a decoder that is
        not of tokens.

    Source: Bowman et al. 2016, arXiv 1511.06349, section 3.2.
    """
    rate = plain(word_dropout)
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise TypeError(f"word_dropout: expected a number, got {word_dropout!r}")
    if not 0 <= rate <= 1:
        raise ValueError(f"word_dropout: expected a probability in [0, 1], got {word_dropout!r}")
    return Likelihood(
        name="token_sequence",
        support="tokens",
        build=_no_build,
        options={"word_dropout": rate},
        decodes="tokens",
        of_network=Fixed(_of_network, 0.0),
        in_training=Fixed(_of_network, float(rate)) if rate else None,
    )


def _no_build(parameters: Array, event_ndims: int) -> Distribution:
    raise TypeError("token_sequence: expected a network, as `of_network` takes it")


def _of_network(
    rate: float, network: Partial, batch: tuple[int, ...], event: tuple[int, ...]
) -> Distribution:
    start, step = (Partial(network.func, *network.args, method=name) for name in ("start", "step"))
    parts = network, start, step, batch, event
    return DroppedTokens(rate, *parts) if rate else TokenSequence(*parts)


def _tokens(x: Array) -> Array:
    """x with its padding as END: whatever it was, a net may look at it."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"x: expected integers, the tokens of sentences; got dtype {x.dtype}")
    return jnp.where(counted(x), x, END)
