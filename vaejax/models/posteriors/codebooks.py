"""What the posteriors with codebooks share: the search, the draw, and codebooks of running means."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.distributions import CodePoint, Coding
from vaejax.fixed import Fixed
from vaejax.keys import example_keys, named_key
from vaejax.models.posteriors.family import Drawn, Posterior
from vaejax.ops import codes as ops
from vaejax.precision import at_least_float32
from vaejax.types import Array, Batch, PyTree

GRADIENTS = {"rotation": ops.rotation, "straight_through": ops.straight_through}
EPS = 1e-5  # of `ops.codes.ema_update`
ITERATIONS = 10  # of k-means on the first batch


class Quantiser(NamedTuple):
    """A family of codebooks as plain data: S of V vectors, at each place of a grid.

    A vector of the encoder is a sum of S codes, one in each stage, or else a row of S codes, one of each
    group of its dimensions; one code is one group.
    """

    shape: tuple[int, ...]
    dim: int
    codes: int  # V
    books: int  # S
    in_stages: bool
    decay: float | None  # None: a gradient moves the codebooks
    restart: float | None
    gradient: str
    dropout: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """The shape of the indices."""
        return (*self.shape, self.books) if self.in_stages or self.books > 1 else self.shape

    @property
    def width(self) -> int:
        """The dimensions of a code."""
        return self.dim if self.in_stages else self.dim // self.books

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of z: all stages, of which the decoder eats the sum, or the rows."""
        return (*self.shape, self.books, self.dim) if self.in_stages else (*self.shape, self.dim)


def init(of: Quantiser, key: Array, parameters: Array) -> tuple[dict[str, Array], PyTree]:
    """The codebooks [S, V, width] as parameters, or as state beside n [S, V] and m [S, V, width], at 0."""
    shape, limit = (of.books, of.codes, of.width), math.sqrt(3 / of.width)
    del parameters
    codebook = jax.random.uniform(key, shape, jnp.float32, -limit, limit)
    if of.decay is None:
        return {"codebook": codebook}, None
    return {}, {"codebook": codebook, "counts": jnp.zeros_like(codebook[..., 0]), "sums": 0 * codebook}


def _codebook(own: PyTree, state: PyTree) -> Array:
    return at_least_float32(own["codebook"] if "codebook" in own else state["codebook"])


def shared(of: Quantiser, own: PyTree, state: PyTree) -> Coding:
    """What the prior must know of the codes."""
    return _coding(of, _codebook(own, state))


def _coding(of: Quantiser, codebook: Array) -> Coding:
    index, vector = (Partial(Fixed(function, of), codebook) for function in (_index, _vector))
    return Coding(of.places, of.codes, index, vector)


def _index(of: Quantiser, codebook: Array, z: Array) -> Array:
    """z [..., *event] -> [..., *places]."""
    lead = z.shape[: z.ndim - len(of.event)]
    rows = z.reshape(*lead, *of.shape, of.books, of.width)
    return jnp.moveaxis(_nearest(_by_book(rows), codebook), 0, -1).reshape(*lead, *of.places)


def _vector(of: Quantiser, codebook: Array, indices: Array) -> Array:
    """[..., *places] -> z [..., *event]."""
    lead = indices.shape[: indices.ndim - len(of.places)]
    k = jnp.moveaxis(indices.reshape(*lead, *of.shape, of.books), -1, 0)
    return jnp.moveaxis(_look_up(codebook, k), 0, -2).reshape(*lead, *of.event)


def _by_book(rows: Array) -> Array:
    """[..., S, width] -> [S, ..., width], in which all of one codebook is together."""
    return jnp.moveaxis(rows, -2, 0)


def _nearest(rows: Array, codebook: Array) -> Array:
    """[S, ..., width] -> [S, ...], each of its own codebook; one after the other, for little memory."""
    return jax.lax.map(lambda book: ops.nearest(*book), (rows, codebook))


def _look_up(codebook: Array, k: Array) -> Array:
    """[S, ...] -> [S, ..., width]."""
    return jax.vmap(lambda e, k: e[k])(codebook, k)


def _assign(of: Quantiser, z: Array, codebook: Array) -> tuple[Array, Array, Array]:
    """(what each code is for, [S, ..., width], its index k [S, ...], the code e [S, ..., width])."""
    if of.in_stages:
        return ops.residual(z, codebook)
    rows = _by_book(z.reshape(*z.shape[:-1], of.books, of.width))
    k = _nearest(rows, codebook)
    return rows, k, _look_up(codebook, k)


def build(of: Quantiser, own: PyTree, state: PyTree, z: Array) -> CodePoint:
    """q(z|x), all mass on the codes of the encoder's vectors [..., *shape, dim]."""
    codebook = _codebook(own, state)
    _, k, _ = _assign(of, z, codebook)
    return _point(of, codebook, k)


def _point(of: Quantiser, codebook: Array, k: Array) -> CodePoint:
    lead = k.shape[1 : k.ndim - len(of.shape)]
    return CodePoint(_coding(of, codebook), jnp.moveaxis(k, 0, -1).reshape(*lead, *of.places))


def draw(
    of: Quantiser, posterior: Posterior,
    own: PyTree, state: PyTree, z: Array, key: Array, batch: Batch, step: Any,
) -> Drawn:  # fmt: skip
    """The codes of the encoder's vectors z [B, *shape, dim], the costs of both, and the state after."""
    del posterior
    moves = step is not None and of.decay is not None
    if moves:
        state = _started(of, state, jax.lax.stop_gradient(z), named_key(key, "/start"))
    codebook = _codebook(own, state)
    rows, k, e = _assign(of, z, codebook)
    kept = _kept(of, key, batch, step)
    q, known = _point(of, codebook, k), jnp.where(kept, k, of.codes)
    extra = {"indices": q.point, **usage(known, of.codes), "commitment": _square(rows, e, kept)}
    if of.decay is None:
        extra["codebook"] = _square(e, rows, kept)
    held = jax.lax.stop_gradient(rows)
    after = _moved(of, state, held, known, named_key(key, "/restart")) if moves else None
    return Drawn(_eaten(of, z, e, kept), jnp.zeros(len(z), z.dtype), q, after, extra, point=q.point)


def _kept(of: Quantiser, key: Array, batch: Batch, step: Any) -> Array:
    """Which codes the decoder sees, broadcast against [S, B, *shape]: the first few stages of an example."""
    if step is None or not of.dropout:
        return jnp.ones((), bool)
    keys = example_keys(named_key(key, "/stages"), batch)
    stages = jax.vmap(lambda key: jax.random.randint(key, (), 1, of.books + 1))(keys)
    one = (1,) * len(of.shape)
    return jnp.arange(of.books).reshape(-1, 1, *one) < stages.reshape(-1, *one)


def _eaten(of: Quantiser, z: Array, e: Array, kept: Array) -> Array:
    """z of the draw, [B, *event]: the codes, with the gradient of the choice to the encoder's vectors."""
    e = jnp.where(kept[..., None], jax.lax.stop_gradient(e), 0)
    if not of.in_stages:
        return GRADIENTS[of.gradient](z, jnp.moveaxis(e, 0, -2).reshape(z.shape))
    path = GRADIENTS[of.gradient](z, jnp.sum(e, axis=0))  # of the sum, which the decoder eats
    return jnp.moveaxis(e.at[0].add(path - jax.lax.stop_gradient(path)), 0, -2)


def _square(a: Array, held: Array, kept: Array) -> Array:
    """|a - sg(held)|^2 over all codes of an example, [B]."""
    square = jnp.where(kept[..., None], jnp.square(a - jax.lax.stop_gradient(held)), 0)
    return jnp.sum(square, axis=(0, *range(2, square.ndim)))


def usage(k: Array, V: int) -> dict[str, Array]:
    """`perplexity` and `used_share` of a batch of indices [S, B, ...], means over S; [B], all the same."""
    known = {"perplexity": ops.perplexity, "used_share": ops.used_share}
    means = {name: jnp.mean(jax.vmap(lambda k, f=f: f(k, V))(k)) for name, f in known.items()}
    return {name: jnp.broadcast_to(mean, k.shape[1:2]) for name, mean in means.items()}


def _is_new(state: PyTree) -> Array:
    """Whether no batch has come yet."""
    return jnp.all(state["counts"] == 0)


def _started(of: Quantiser, state: PyTree, z: Array, key: Array) -> dict[str, Array]:
    """Codebooks from k-means of the vectors of the first batch, each from random ones; later as they are."""
    codebook = state["codebook"]

    def means(rows: Array, key: Array) -> Array:
        flat = rows.reshape(-1, of.width)
        some = jax.random.choice(key, len(flat), (of.codes,), replace=len(flat) < of.codes)
        return ops.kmeans(flat, flat[some], ITERATIONS)

    def stage(r: Array, key: Array) -> tuple[Array, Array]:
        e = means(r, key)
        return r - e[ops.nearest(r, e)], e

    def made(i: Array, _: Array) -> Array:
        # of i, or the compiler would take what does not depend on the loop out of it, into every step
        keys = jax.random.split(jax.random.fold_in(key, i), of.books)
        if of.in_stages:
            return jax.lax.scan(stage, z, keys)[1].astype(codebook.dtype)
        by_book = _by_book(z.reshape(*z.shape[:-1], of.books, of.width))
        return jax.lax.map(lambda book: means(*book), (by_book, keys)).astype(codebook.dtype)

    # a loop of one round or none: of a `cond` under vmap both branches would run, in every step
    return {**state, "codebook": jax.lax.fori_loop(0, _is_new(state).astype(jnp.int32), made, codebook)}


def _moved(of: Quantiser, state: PyTree, rows: Array, k: Array, key: Array) -> dict[str, Array]:
    """The state after a batch: running means over all its vectors, of the first batch its means alone."""
    decay = jnp.where(_is_new(state), 0, of.decay or 0.0).astype(rows.dtype)
    update = jax.vmap(ops.ema_update, (0, 0, 0, 0, None, None))
    n, m, e = update(state["counts"], state["sums"], rows, k, decay, EPS)
    chosen = jax.vmap(lambda k: jnp.zeros(of.codes, bool).at[k.ravel()].set(True, mode="drop"))(k)
    # the formula draws what is never chosen to 0, once its n is below eps
    e = jnp.where(chosen[..., None], e, state["codebook"])
    if of.restart is not None:
        flat = rows.reshape(of.books, -1, of.width)
        some = jax.random.randint(key, (of.books, of.codes), 0, flat.shape[1])
        fresh, dead = _look_up(flat, some), n < of.restart  # [S, V, width], [S, V]
        n = jnp.where(dead, of.restart, n)
        e, m = (jnp.where(dead[..., None], new, a) for new, a in ((fresh, e), (of.restart * fresh, m)))
    after = {"codebook": e, "counts": n, "sums": m}
    return jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
