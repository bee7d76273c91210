"""What a hierarchy does, each by one walk down its levels: encode, represent, decode and sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.checks import check_positive_int
from vaejax.distributions import GaussianOnPath, diagonal_gaussian, is_diagonal_gaussian
from vaejax.keys import check_key, named_key, threefry_key
from vaejax.models import latents as parts_of
from vaejax.models.apply import apply
from vaejax.models.holes import seen, seen_whole
from vaejax.models.inputs import check_input, condition
from vaejax.models.levels import Level, Runs
from vaejax.models.posteriors.family import as_they_are, check_batch
from vaejax.models.priors import Around, Prior
from vaejax.models.walk import Choice, Moments, Step, built, of_level, of_run, parameters_of, walk
from vaejax.precision import float_dtype
from vaejax.types import Array, Batch, Distribution, Draw, Params, PyTree


class Parts(NamedTuple):
    """What the functions of a model share; equal for models of equal parts."""

    encoder: nn.Module
    levels: tuple[Level, ...]
    runs: Runs
    prior: Prior
    decode: Callable[..., Distribution]
    support: str
    conditional: bool
    inference: str

    @property
    def events(self) -> tuple[tuple[int, ...], ...]:
        """The shape of z at every level."""
        return tuple(level.posterior.event for level in self.levels)


def encode(parts: Parts, params: Params, step: Any, key: Array, batch: Batch) -> Draw:
    """`VAE.encode`: z ~ q level by level, with p along the path and p(x|z) of its end."""
    check_key(key)

    def drawn(level: Level, own: Params, i: Any, inputs: tuple, p: Distribution) -> tuple[Array, tuple]:
        parameters = parameters_of(level, own, inputs, p)
        check_batch(level.posterior, parameters, batch["x"])
        family, of_family = level.posterior, own.get("posterior", {})
        one = family.draw(family, of_family, None, parameters, _level_key(key, i), batch, step)
        if one.point is not None:
            raise ValueError(f"levels: expected families that the prior scores at z, got {family.name}")
        gaussian = is_diagonal_gaussian(one.q, of_any_shape=True)
        return one.z, (Moments.of(one.q) if gaussian else parameters, one.log_q)

    def q(i: int, kept: Any) -> Distribution:
        level = parts.levels[i]
        if isinstance(kept, Moments):
            return kept.over(level)
        return built(level, of_level(parts.runs, params, i), kept)

    steps, log_p, h = _inferred(parts, params, batch, drawn)
    c = condition(parts.conditional, batch.get("c"))
    return Draw(
        z=tuple(step.z for step in steps),
        log_q=tuple(step.kept[1] for step in steps),
        log_p=log_p,
        q=tuple(q(i, step.kept[0]) for i, step in enumerate(steps)),
        p=tuple(step.p for step in steps),
        batch=batch,
        px=parts.decode(params["decoder"]["out"], h, 1, *c),
    )


def _level_key(key: Array, i: Any) -> Array:
    """The key of level i; the top's is the whole's, so that one level draws what `vae` does."""
    return key if isinstance(i, int) and i == 0 else jax.random.fold_in(named_key(key, "/levels"), i)


def represent(parts: Parts, params: Params, batch: Batch) -> PyTree:
    """The code at every level, each under the codes that are above it."""

    def code(level: Level, own: Params, i: Any, inputs: tuple, p: Distribution) -> tuple[Array, tuple]:
        del i
        parameters = parameters_of(level, own, inputs, p)
        check_batch(level.posterior, parameters, batch["x"])
        return level.posterior.code(built(level, own, parameters)), ()

    return tuple(step.z for step in _inferred(parts, params, batch, code)[0])


def _inferred(
    parts: Parts, params: Params, batch: Batch, draw: Callable[..., tuple[Array, Any]]
) -> tuple[list[Step], tuple[Array, ...], Array]:
    """What every level did on the path through q of `draw(level, own, i, inputs, p)`, log p(z), the last h.

    Densities are taken within the walk, where equal levels are one program.
    """
    check_input(batch, parts.support)
    levels, c = parts.levels, condition(parts.conditional, batch.get("c"))
    a = apply(parts.encoder, params["encoder"]["net"], *seen(parts.encoder, batch), *c)
    top = _top(parts, params, batch.get("c"), jnp.result_type(jnp.float32, *jax.tree.leaves(a)))
    if parts.inference == "top_down":

        def choose(level: Level, own: Params, i: Any, a: Any, p: Distribution, h: tuple) -> tuple[Array, Any]:
            z, kept = draw(level, own, i, (a, *h), p)
            return z, (kept, p.log_prob(z))

        steps, h = walk(levels, parts.runs, params, choose, top, c, a)
        return [step._replace(kept=step.kept[0]) for step in steps], tuple(step.kept[1] for step in steps), h
    found: dict[int, tuple[Array, Any]] = {}
    for i in reversed(range(len(levels))):
        found[i] = draw(levels[i], of_level(parts.runs, params, i), i, (a,), None)
        a = found[i][0]
    steps, h = walk(levels, parts.runs, params, _as_given, top, c, [found[i][0] for i in range(len(levels))])
    # z_l-1 was drawn of z_l: no KL given z_l-1
    p = [GaussianOnPath.of(step.p) if i else step.p for i, step in enumerate(steps)]
    inferred = [step._replace(kept=found[i][1], p=p[i]) for i, step in enumerate(steps)]
    return inferred, tuple(step.kept for step in steps), h


def _as_given(level: Level, own: Params, i: Any, z: Array, p: Distribution, h: tuple) -> tuple[Array, Array]:
    """The choice that takes what it is given, and keeps log p of it."""
    del level, own, i, h
    return z, p.log_prob(z)


def _top(parts: Parts, params: Params, c: Array | None, dtype: Any, x: Any = None) -> Distribution:
    """The prior of the top level."""
    return parts.prior.build(params.get("prior", {}).get("top", {}), around(parts, params, c, dtype, x))


def around(parts: Parts, params: Params, c: Array | None, dtype: Any, x: Any = None) -> Around:
    """What the prior of the top level sees."""
    level = parts.levels[0]
    own = of_run(params, 0)

    def parameters(x: Any, c: Array | None) -> PyTree:
        if parts.inference == "bottom_up" or level.posterior.relative != as_they_are:
            raise ValueError(
                "prior: pseudo-inputs want a top level whose q depends on x alone; expected the inference "
                f"'top_down' and a family like gaussian, got {parts.inference!r} and {level.posterior.name}"
            )
        inputs = condition(parts.conditional, c)
        a = apply(parts.encoder, params["encoder"]["net"], *seen_whole(parts.encoder, x), *inputs)
        return apply(level.encoder, own["encoder"], a[0], *inputs)

    build = Partial(level.posterior.build, own.get("posterior", {}), None)
    return Around(level.posterior.event, dtype, parts.support, x, c, parameters, build)


def decode(parts: Parts, params: Params, z: PyTree, c: Array | None = None) -> Distribution:
    """`VAE.decode`: of all levels, or of the first with the prior's means below."""
    inputs, L = condition(parts.conditional, c), len(parts.levels)
    if not isinstance(z, tuple) or not 1 <= len(z) <= L:
        got = f"{len(z)} levels" if isinstance(z, tuple) else type(z).__name__
        raise ValueError(f"z: expected a tuple of 1 to {L} levels, the top first; got {got}")
    lead = parts_of.check_latents(z, parts.events[: len(z)])
    given = filled(parts, z, z[0].shape[:lead])

    def mean(i: Any, p: Distribution, like: Array) -> Array:
        return jnp.broadcast_to(p.mean(), like.shape)

    _, h = walk(parts.levels, parts.runs, params, _given_or(len(z), mean), None, inputs, given)
    return parts.decode(params["decoder"]["out"], h, lead, *inputs)


def filled(parts: Parts, z: Sequence[Array], lead: tuple[int, ...], dtype: Any = jnp.float32) -> list[Array]:
    """z at all levels: zeros of its dtype, else of the one given, where it is missing."""
    dtype = jnp.result_type(*z) if z else dtype
    return [*z, *(jnp.zeros((*lead, *event), dtype) for event in parts.events[len(z) :])]


def _given_or(k: int, other: Callable[[Any, Distribution, Array], Array]) -> Choice:
    """The choice that takes what it is given at the first k levels, and `other(i, p, z)` below."""

    def choose(level: Level, own: Params, i: Any, z: Array, p: Distribution, h: tuple) -> tuple[Array, tuple]:
        del level, own, h
        if isinstance(i, int):
            return (z if i < k else other(i, p, z)), ()
        return jnp.where(i < k, z, other(i, p, z)), ()  # in a scan

    return choose


def sample_prior(
    parts: Parts, params: Params, key: Array, n: int, c: Array | None = None, *,
    given: Sequence[Array] = (), temperature: Any = 1.0,
) -> PyTree:  # fmt: skip
    """`VAE.sample_prior`: z ~ p below the levels that are given, each with its scale times a temperature."""
    check_key(key)
    check_positive_int(n, "n")
    inputs = condition(parts.conditional, c)
    scales = _checked_temperatures(temperature, len(parts.levels))
    given = _checked_given(parts, given, n)
    key = threefry_key(key)

    def drawn(i: Any, p: Distribution, like: Array) -> Array:
        del like
        if not (isinstance(i, int) and scales[i] == 1):
            p = _tempered(p, jnp.asarray(scales)[i])
        return parts_of.sampled(_level_key(key, i), p, n)

    dtype = float_dtype(params)  # as the heads: float32, also where float64 is enabled and they are not in it
    top = _top(parts, params, c, dtype)
    steps, _ = walk(
        parts.levels,
        parts.runs,
        params,
        _given_or(len(given), drawn),
        top,
        inputs,
        filled(parts, given, (n,), dtype),
    )
    return tuple(step.z for step in steps)


def _checked_given(parts: Parts, given: Any, n: int) -> tuple[Array, ...]:
    """The levels that are given, as a tuple; ValueError unless each is [n, *event]."""
    L = len(parts.levels)
    if not isinstance(given, tuple | list) or len(given) > L:
        got = f"{len(given)} levels" if isinstance(given, tuple | list) else type(given).__name__
        raise ValueError(
            f"given: expected a tuple of at most {L} levels [n, *event], the top first; got {got}"
        )
    expected, shapes = [(n, *event) for event in parts.events[: len(given)]], [jnp.shape(z) for z in given]
    if shapes != expected:
        raise ValueError(f"given: expected levels of shapes {expected}, the top first; got {shapes}")
    return tuple(map(jnp.asarray, given))


def _checked_temperatures(temperature: Any, L: int) -> np.ndarray:
    """One for each level, [L]."""
    try:
        values = np.asarray(temperature, float)
    except (TypeError, ValueError):  # a text, or traced: each is known when the walk is built
        values = np.full(L, np.nan)
    if values.shape not in ((), (L,)) or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(
            f"temperature: expected a number >= 0, or {L}, one for each level; got {temperature!r}"
        )
    return np.broadcast_to(values, (L,))


def _tempered(p: Distribution, temperature: Array) -> Distribution:
    if not is_diagonal_gaussian(p, of_any_shape=True):
        raise ValueError(f"temperature: expected 1 for a level whose prior is not Gaussian, {p.name}")
    scale = p.stddev()
    return diagonal_gaussian(p.mean(), scale * temperature.astype(scale.dtype), len(p.event_shape))
