"""One tiny linear model with its latents in every kind of dress.

What a law compares is the plain model of `test_every_function`: the same z and density under another q, in
another shape, in parts, with a condition of zeros. `categorical` alone is a model of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from tests.evaluation import test_every_function as plain
from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.keys import example_keys
from vaejax.types import VAE, Draw, Split

W = jnp.asarray(plain.W)
N = len(plain.X)
STANDARD = diagonal_gaussian(jnp.zeros(2), jnp.ones(2))


class Kind(NamedTuple):
    """A model, a split for it, and the condition of every example, [N, 3], where it has one."""

    vae: VAE
    split: Split = plain.SPLIT
    c: Any = None

    def of_one(self):
        return {} if self.c is None else {"c": self.c[0]}

    def of(self, n):
        return {} if self.c is None else {"c": np.resize(self.c, (n, 3))}


def loc_of(w, batch):
    return batch["x"].reshape(-1, 4) @ w / 4


def full(loc):
    return distrax.MultivariateNormalTri(loc, jnp.broadcast_to(0.6 * jnp.eye(2), (*loc.shape, 2)))


def flow(loc):
    base = diagonal_gaussian(0 * loc, 1 + 0 * loc)
    return distrax.Transformed(base, distrax.Block(distrax.ScalarAffine(loc, scale=0.6 + 0 * loc), 1))


def mixture(loc):
    """Of three that are one and the same."""
    each = jnp.broadcast_to(loc[..., None, :], (*loc.shape[:-1], 3, 2))
    components = distrax.Independent(distrax.Normal(each, 0.6 + 0 * each), 1)
    return distrax.MixtureSameFamily(distrax.Categorical(logits=each[..., 0] * jnp.arange(3.0)), components)


def _encode_as(posterior, w, key, batch):
    draw, q = plain.encode(w, key, batch), posterior(loc_of(w, batch))
    return draw._replace(q=q, log_q=q.log_prob(draw.z), p=STANDARD, log_p=STANDARD.log_prob(draw.z))


def of_posterior(posterior):
    """The plain model with q of another class."""
    return plain.VAE_OF._replace(
        encode=Partial(Fixed(_encode_as, posterior), W), represent=Partial(loc_of, W)
    )


def _image(z):
    return z.reshape(*z.shape[:-1], 1, 2, 1)


def _encode_image(w, key, batch):
    draw = plain.encode(w, key, batch)
    loc, p = _image(loc_of(w, batch)), diagonal_gaussian(jnp.zeros((1, 2, 1)), jnp.ones((1, 2, 1)), 3)
    return draw._replace(z=_image(draw.z), q=diagonal_gaussian(loc, 0 * loc + 0.6, 3), p=p)


IMAGE = VAE(
    Partial(_encode_image, W),
    Partial(lambda w, z, c=None: plain.decode(w, z.reshape(*z.shape[:-3], 2)), W),
    Partial(lambda w, key, n, c=None: _image(plain.sample_prior(w, key, n)), W),
    {},
)


def _parts(z):
    return z[..., :1], z[..., 1:]


def _encode_parts(w, key, batch):
    draw = plain.encode(w, key, batch)
    z, loc = _parts(draw.z), _parts(loc_of(w, batch))
    q = tuple(diagonal_gaussian(one, 0 * one + 0.6) for one in loc)
    p = (diagonal_gaussian(jnp.zeros(1), jnp.ones(1)),) * 2
    log_q, log_p = (tuple(d.log_prob(one) for d, one in zip(of, z, strict=True)) for of in (q, p))
    return draw._replace(z=z, q=q, p=p, log_q=log_q, log_p=log_p)


PARTS = VAE(
    Partial(_encode_parts, W),
    Partial(lambda w, z, c=None: plain.decode(w, jnp.concatenate(z, axis=-1)), W),
    Partial(lambda w, key, n, c=None: _parts(plain.sample_prior(w, key, n)), W),
    {},
    Partial(lambda w, batch: _parts(loc_of(w, batch)), W),
)


def _encode_levels(w, key, batch):
    draw = _encode_parts(w, key, batch)
    below = diagonal_gaussian(0 * draw.z[0], 0 * draw.z[0] + 1)  # given the level above, one for each example
    return draw._replace(p=(draw.p[0], below))


LEVELS = PARTS._replace(
    encode=Partial(_encode_levels, W), decode=Partial(plain.of_levels, Partial(plain.decode, W))
)


def _given(c):
    """What a condition adds to z, which the decoder takes back; the model wants one."""
    if c is None:
        raise ValueError("c: expected an array, this model has a condition; got None")
    return jnp.sum(c, axis=-1, keepdims=True)


def _encode_given(w, key, batch):
    draw, moved = plain.encode(w, key, batch), _given(batch.get("c"))
    loc, z = loc_of(w, batch) + moved, draw.z + moved
    q, p = diagonal_gaussian(loc, 0 * loc + 0.6), diagonal_gaussian(0 * loc + moved, 0 * loc + 1)
    return draw._replace(z=z, q=q, p=p, log_q=q.log_prob(z), log_p=p.log_prob(z))


def _transform(key, batch):
    return {**plain.noisy(key, batch), "c": batch["c"]}


CONDITIONAL = VAE(
    Partial(_encode_given, W),
    Partial(lambda w, z, c=None: plain.decode(w, z - _given(c)), W),
    Partial(lambda w, key, n, c=None: plain.sample_prior(w, key, n) + _given(c), W),
    {},
)


def conditional(c):
    return Kind(CONDITIONAL, Split({"x": plain.X, "c": c}, "real", _transform), c)


def one_hots(logits):
    """q or p of M categories of V values, [..., M, V]."""
    return distrax.Independent(distrax.OneHotCategorical(logits=logits), 1)


def logits_of(w, batch):
    """Of two categories of three values, [B, 2, 3]."""
    return 3 * jnp.einsum("bm,v->bmv", loc_of(w, batch), jnp.array([-1.0, 0.0, 1.0]))


def _hot(places):
    return jax.nn.one_hot(places, 3, dtype=jnp.int32)


def _encode_categorical(w, key, batch):
    logits = logits_of(w, batch)
    q, p = one_hots(logits), one_hots(jnp.zeros((2, 3)))
    z = _hot(jax.vmap(jax.random.categorical)(example_keys(key, batch), logits))
    return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)


def decode_categorical(w, z, c=None):
    return plain.decode(w, z @ jnp.array([-1.0, 0.0, 1.0]))


CATEGORICAL = VAE(
    Partial(_encode_categorical, W),
    Partial(decode_categorical, W),
    Partial(lambda w, key, n, c=None: _hot(jax.random.randint(key, (n, 2), 0, 3)), W),
    {},
    Partial(lambda w, batch: _hot(jnp.argmax(logits_of(w, batch), axis=-1)), W),
)

SAME = {  # kinds that are the plain model in another dress
    "full": Kind(of_posterior(full)),
    "flow": Kind(of_posterior(flow)),
    "mixture": Kind(of_posterior(mixture)),
    "image": Kind(IMAGE),
    "parts": Kind(PARTS),
    "levels": Kind(LEVELS),
    "conditional": conditional(np.zeros((N, 3), np.float32)),
}
KINDS = {**SAME, "categorical": Kind(CATEGORICAL)}


class Bound(Gaussian):
    """A likelihood that is a bound, of which the noise is 1."""

    is_bound = True

    def log_prob_bound(self, key, value):
        return self.log_prob(value) + jax.vmap(jax.random.normal)(key)
