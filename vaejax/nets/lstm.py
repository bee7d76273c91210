"""LSTMs over sentences: an encoder of tokens, and a decoder that sees z and the tokens before each."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from vaejax.checks import check_positive_int
from vaejax.nets.dense import GaussianHead, beside, check_context, check_floating, dtype_name
from vaejax.nets.recurrence import lstm
from vaejax.ops.tokens import counted
from vaejax.precision import at_least_float32
from vaejax.types import END, Array

Carry = tuple[Array, Array]  # flax's, (c, h)


class LSTMEncoder(nn.Module):
    """An LSTM and a Gaussian head: tokens [..., T] -> (loc, logvar), each [..., d].

    The head sees the state after the token that ends the sentence, or after the last where none does; what
    follows the end changes nothing.

    Args:
      latents: d.
      vocabulary: V; tokens are 0..V-1.
      features: n, the numbers of a state.
      embedding: the numbers that stand for a token.
      logvar_bias: where the bias of the log-variance starts.
      context: how many numbers the head gives beside, as `GaussianHead`.
      dtype: what the products before the head compute in, such as "bfloat16"; None for what parameters have.
        The states of the LSTM, parameters and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1; when called, for x that are not
        integers.

    Source: Bowman et al. 2016, arXiv 1511.06349. The cell and its initialisers are flax's.
    """

    latents: int
    vocabulary: int
    features: int = 256
    embedding: int = 256
    logvar_bias: float = 0.0
    context: int = 0
    dtype: Any = None

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        for name in ("latents", "vocabulary", "features", "embedding"):
            check_positive_int(getattr(self, name), name)
        check_context(self.context)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Array, *c: Array) -> tuple[Array, ...]:
        _check_tokens(x)
        x = jnp.where(counted(x), x, END)  # padding may be of any value
        embed = nn.Embed(self.vocabulary, self.embedding, dtype=self.dtype, name="embedding")
        cell = nn.OptimizedLSTMCell(self.features, dtype=self.dtype, name="cell")
        start, nothing = (jnp.zeros((*x.shape[:-1], n), jnp.float32) for n in (self.features, 0))
        h = _states(cell, embed, (start, start), x, beside(nothing, c))
        last = jnp.arange(x.shape[-1]) == jnp.sum(counted(x), axis=-1, keepdims=True) - 1
        h = jnp.sum(jnp.where(last[..., None], h, 0.0), axis=-2)
        return GaussianHead(self.latents, self.logvar_bias, self.context, name="head")(h)


class LSTMDecoder(nn.Module):
    """Logits of every token from z and the tokens before it: (z [..., d], x [..., T]) -> [..., T, V].

        (c_0, h_0) = linear in z,   h_t = LSTM(E[x_{t-1}] beside z, h_{t-1}),   logits_t = W h_t + b

    with a row of its own in E for x_0, the beginning. Further inputs, such as a condition, stand beside z.
    `distributions.token_sequence` scores sentences in one pass of it, and draws them by a step for each word.

    Args:
      length: T, the most words of a sentence.
      vocabulary: V; tokens are 0..V-1.
      features: n, the numbers of a state.
      embedding: the numbers that stand for a token.
      dtype: what the products before the last compute in, such as "bfloat16"; None for what input and
        parameters have. The states of the LSTM, parameters and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1; when called, for integer z, or for x
        of another length or that are not integers.

    Source: Bowman et al. 2016, arXiv 1511.06349 (z is the initial state there; beside every input as in He
    et al. 2019, arXiv 1901.05534). The cell and its initialisers are flax's.
    """

    length: int
    vocabulary: int
    features: int = 256
    embedding: int = 256
    dtype: Any = None

    decodes: ClassVar[str] = "tokens"  # what a builder asks a decoder

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        for name in ("length", "vocabulary", "features", "embedding"):
            check_positive_int(getattr(self, name), name)
        super().__post_init__()

    @property
    def shape(self) -> tuple[int]:
        """(T,), of x for one example."""
        return (self.length,)

    def setup(self) -> None:
        self.words = nn.Embed(self.vocabulary + 1, self.embedding, dtype=self.dtype, name="embedding")
        self.initial = nn.Dense(2 * self.features, dtype=self.dtype, name="initial")
        self.cell = nn.OptimizedLSTMCell(self.features, dtype=self.dtype, name="cell")
        self.out = nn.Dense(self.vocabulary, name="out")

    def __call__(self, z: Array, *others: Array) -> Array:
        *c, x = others
        _check_tokens(x)
        if x.shape[-1:] != self.shape:
            raise ValueError(f"x: expected [..., {self.length}], got {x.shape}")
        before = jnp.concatenate([jnp.full_like(x[..., :1], self.vocabulary), x[..., :-1]], axis=-1)
        h = _states(self.cell, self.words, self.start(z, *c), before, _beside(z, *c))
        return self.out(h.reshape(-1, self.features)).reshape(*h.shape[:-1], self.vocabulary)

    def start(self, z: Array, *c: Array) -> Carry:
        """The state before the first word, of flax's cell."""
        both = at_least_float32(self.initial(_beside(z, *c)))
        return both[..., : self.features], both[..., self.features :]

    def step(self, z: Array, *others: Any) -> tuple[Carry, Array]:
        """The next state and the logits of the next word [..., V], from (*c, state, the word before [...]).

        The word before the first is `BEGIN`.
        """
        *c, carry, token = others
        words = self.words(jnp.where(token < 0, self.vocabulary, token))
        of_z = _beside(z, *c)
        of_z = jnp.broadcast_to(of_z, (*words.shape[:-1], of_z.shape[-1]))
        carry, h = self.cell(carry, jnp.concatenate([words, of_z], axis=-1))
        return carry, self.out(h)


def _beside(z: Array, *c: Array) -> Array:
    check_floating(z, "z")
    return beside(z, c)


def _states(cell: nn.OptimizedLSTMCell, embed: nn.Embed, start: Carry, x: Array, always: Array) -> Array:
    """The states of the cell after each of the words x [..., T], `always` [..., k] beside each: [..., T, n].

    The cell's own steps, but what does not wait for the state before is one product, of matrices: XLA is
    slower at those with leading axes.
    """
    if cell.is_initializing():  # that its parameters are there
        m = embed.features + always.shape[-1]
        cell(start, jnp.zeros((*start[0].shape[:-1], m), always.dtype))
    gates = cell.variables["params"]
    of_inputs = jnp.concatenate([gates[f"i{gate}"]["kernel"] for gate in "ifgo"], axis=1)
    kernel = jnp.concatenate([gates[f"h{gate}"]["kernel"] for gate in "ifgo"], axis=1)
    bias = jnp.concatenate([gates[f"h{gate}"]["bias"] for gate in "ifgo"])
    *lead, T = jnp.broadcast_shapes(x.shape, (*start[0].shape[:-1], 1))
    (m, n), B = (embed.features, kernel.shape[0]), math.prod(lead)

    def rows(a: Array) -> Array:
        return jnp.broadcast_to(a, (*lead, a.shape[-1])).reshape(B, -1)

    words = embed(rows(x).T.reshape(T * B))
    always, of_inputs, kernel = promote_dtype(always, of_inputs, kernel, dtype=cell.dtype)
    of_words, of_z = at_least_float32(words @ of_inputs[:m]), at_least_float32(always @ of_inputs[m:])
    a = of_words.reshape(T, B, 4 * n) + rows(of_z + bias)
    c, h = (rows(of).astype(a.dtype) for of in start)
    return jnp.moveaxis(lstm(a, kernel, h, c), 0, 1).reshape(*lead, T, n)


def _check_tokens(x: Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"x: expected integers, the tokens of sentences; got dtype {x.dtype}")
