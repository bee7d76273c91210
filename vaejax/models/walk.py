"""The walk down the levels of a hierarchy, which encoding, decoding and sampling share.

Levels are numbered from the top, 0. Each makes a prior of what comes from above, chooses its z, and hands on
what the level below sees. Who walks says how z is chosen; nothing else differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vaejax.distributions import diagonal_gaussian
from vaejax.models.apply import apply
from vaejax.models.levels import ROLES, Hidden, Level, Runs
from vaejax.types import Array, Distribution, Params, PyTree


class Step(NamedTuple):
    """What a level did."""

    z: Array
    p: Distribution  # p(z_l|z_above)
    kept: Any  # what the choice kept beside z


class Moments(NamedTuple):
    """What is kept of a diagonal Gaussian in a scan, which carries arrays: all that was computed of it."""

    loc: Array
    scale: Array

    @classmethod
    def of(cls, dist: Distribution) -> Moments:
        """Those of a `diagonal_gaussian`."""
        return cls(dist.mean(), dist.stddev())

    def over(self, level: Level) -> Distribution:
        """The Gaussian over a level's event."""
        return diagonal_gaussian(self.loc, self.scale, len(level.posterior.event))


# (level, its own parameters by role, its number, what is given to it, p, h) -> (z, kept)
Choice = Callable[[Level, Params, Any, Any, Distribution, Hidden], tuple[Array, Any]]


def of_level(runs: Runs, params: Params, i: int) -> dict[str, PyTree]:
    """The parameters of level i by role."""
    start, count = next((start, count) for start, count in runs if start <= i < start + count)
    own = of_run(params, start)
    return own if count == 1 else jax.tree.map(lambda a: a[i - start], own)


def of_run(params: Params, start: int) -> dict[str, PyTree]:
    """The parameters of a run of levels by role, stacked where it has several."""
    name = f"level_{start}"
    return {role: params[role][name] for role in ROLES if name in params.get(role, {})}


def walk(
    levels: Sequence[Level], runs: Runs, params: Params, choose: Choice, top: Distribution, h: Hidden,
    given: Sequence,
) -> tuple[list[Step], Array]:  # fmt: skip
    """Down the levels, from the top's prior and h to (what each level did, the h below the last).

    Equal levels are one `lax.scan` of checkpointed blocks: they compile once, and the backward pass holds
    the memory of one. `given[i]` is what level i's choice sees; one array for all of a run is not stacked.
    """
    steps: list[Step] = []
    for start, count in runs:
        level, own = levels[start], of_run(params, start)
        mine = given[start : start + count]
        if count == 1:
            h, z, of_p, kept = _down(level, own, choose, top, start, mine[0], h)
            steps.append(Step(z, of_p.over(level) if of_p else top, kept))
            continue
        h, stacked = _scanned(level, own, choose, start, mine, h)
        for z, of_p, kept in _unstacked(stacked, count):
            steps.append(Step(z, of_p.over(level), kept))
    return steps, h[0]


def _unstacked(stacked: PyTree, count: int) -> list[PyTree]:
    """The entries of arrays [count, ...]: by a split, whose gradient is one concatenation."""
    leaves, tree = jax.tree.flatten(stacked)
    each = [[jnp.squeeze(part, 0) for part in jax.lax.split(a, (1,) * count)] for a in leaves]
    return [tree.unflatten(parts) for parts in zip(*each, strict=True)]


def _scanned(
    level: Level, own: Params, choose: Choice, start: int, given: Sequence, h: Hidden
) -> tuple[Hidden, PyTree]:
    """A run of equal levels."""
    one_for_all = all(a is given[0] for a in given)
    stacked = None if one_for_all else jax.tree.map(lambda *a: jnp.stack(a), *given)

    def body(h: Hidden, of_level: tuple) -> tuple[Hidden, PyTree]:
        i, own, mine = of_level
        h, *did = _down(level, own, choose, None, i, given[0] if one_for_all else mine, h)
        return h, tuple(did)

    # the backward pass runs a block again, from its h: the memory of one block, and on no CPU slower
    body = jax.checkpoint(body, prevent_cse=False)
    return jax.lax.scan(body, h, (jnp.arange(start, start + len(given)), own, stacked))


def _down(
    level: Level, own: Params, choose: Choice, top: Distribution, i: Any, given: Any, h: Hidden
) -> tuple[Hidden, Array, Moments | tuple[()], Any]:
    """One level: (the next h, z, the moments of its prior or () at the top, kept), to be scanned."""
    of_p: Moments | tuple[()] = ()
    p = top
    if level.prior is not None:
        loc, logvar, *rest = apply(level.prior, own["prior"], *h)
        of_p = Moments(loc, jnp.exp(logvar / 2))
        p, h = of_p.over(level), tuple(rest) or h
    z, kept = choose(level, own, i, given, p, h)
    return (apply(level.decoder, own["decoder"], z, *h),), z, of_p, kept


def parameters_of(level: Level, own: Params, inputs: tuple[Array, ...], p: Distribution) -> PyTree:
    """The parameters of q(z_l|.) from what its encoder sees, relative to p where the family is."""
    return level.posterior.relative(apply(level.encoder, own["encoder"], *inputs), p)


def built(level: Level, own: Mapping[str, PyTree], parameters: PyTree) -> Distribution:
    """q(z_l|.) of its parameters."""
    return level.posterior.build(own.get("posterior", {}), None, parameters)
