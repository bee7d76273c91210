"""Latents of one part or of several: what every builder does with them.

The event of a posterior is the shape of z for one example, (d,) or (H, W, C), or a tuple of such shapes where
z comes in independent parts; z, log q, log p, q and p are then tuples as long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.distributions import Codes, OneHot
from vaejax.hints import described
from vaejax.keys import named_key
from vaejax.types import Array, Distribution, Draw, PyTree

Event = tuple[int, ...] | tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Given:
    """The prior of a part that is given the part before it: `build(own, around)` with that for c."""

    build: Callable[..., Distribution]
    own: PyTree
    around: Any
    name: str = "a prior that sees the part before it"

    def of(self, z: Array | None) -> Distribution:
        """p(z_i|z_{i-1}), of the batch shape of the z given."""
        return self.build(self.own, self.around._replace(c=z))


def along(p: PyTree, z: PyTree) -> PyTree:
    """The priors at drawn z: of a part that is given the one before it, under that."""
    if not isinstance(p, tuple):
        return p
    return tuple(one.of(z[i - 1]) if isinstance(one, Given) else one for i, one in enumerate(p))


def in_parts(event: Event) -> bool:
    """Whether these are the shapes of several parts."""
    return bool(event) and isinstance(event[0], tuple)


def check_parts(parts: tuple[Any, ...], kind: type) -> None:
    """Raise unless these are two families of a kind or more."""
    for i, part in enumerate(parts):
        if not isinstance(part, kind):
            raise TypeError(
                f"parts[{i}]: expected a {kind.__module__}.{kind.__name__}, got {described(part, kind)}"
            )
    if len(parts) < 2:
        raise ValueError(f"parts: expected at least two, got {len(parts)}")


def check_latents(z: PyTree, event: Event) -> int:
    """The number of leading axes of z; ValueError unless its last axes are the event, of every part."""
    if not in_parts(event):
        shape = getattr(z, "shape", None)
        lead = -1 if shape is None else len(shape) - len(event)
        if lead < 0 or shape[lead:] != event:  # type: ignore[index]
            got = type(z).__name__ if shape is None else shape
            raise ValueError(f"z: expected [..., {', '.join(map(str, event))}], got {got}")
        return lead
    if not isinstance(z, tuple) or len(z) != len(event):
        got = f"{len(z)} parts" if isinstance(z, tuple) else type(z).__name__
        raise ValueError(f"z: expected a tuple of {len(event)} parts, got {got}")
    leads = {a.shape[: check_latents(a, e)] for a, e in zip(z, event, strict=True)}  # type: ignore[arg-type]
    if len(leads) > 1:
        raise ValueError(f"z: expected parts with the same leading axes, got {[a.shape for a in z]}")
    return len(leads.pop())


def zeros(event: Event, lead: tuple[int, ...], dtype: Any = jnp.float32) -> PyTree:
    """Latents of zeros, [*lead, *event], of every part."""
    if in_parts(event):
        return tuple(zeros(e, lead, dtype) for e in event)  # type: ignore[arg-type]
    return jnp.zeros((*lead, *event), dtype)  # type: ignore[misc]


def log_prob(p: Distribution, z: PyTree) -> PyTree:
    """log p(z), [B], of every part."""
    if isinstance(p, tuple):
        return tuple(log_prob(a, b) for a, b in zip(p, z, strict=True))
    return p.log_prob(z)


def sampled(key: Array, p: Distribution, n: int) -> PyTree:
    """n samples z ~ p, [n, *event], of every part; p has batch shape [], or [n] where it depends on c.

    Raises:
      ValueError: if p has another number of conditions than n.
    """
    if isinstance(p, tuple):
        z: tuple = ()
        for i, a in enumerate(p):
            a = a.of(z[-1]) if isinstance(a, Given) else a
            z = (*z, sampled(named_key(key, f"/{i}"), a, n))
        return z
    if p.batch_shape not in ((), (n,)):
        raise ValueError(f"c: expected {n} conditions, as many as n; got {list(p.batch_shape)}")
    return p.sample(seed=key, sample_shape=(n,) if p.batch_shape == () else ())


def check_draw(event: Event, draw: Draw) -> tuple:
    """Raise unless z and its densities, of one example, are what the family says and the prior fits them."""
    check_latents(draw.z, event)
    for name, value in (("log q(z|x)", draw.log_q), ("log p(z)", draw.log_p)):
        if any(a.shape != (1,) for a in jax.tree.leaves(value)):
            got = jax.tree.map(jnp.shape, value)
            raise ValueError(f"{name}: expected [1] nats of one example, of each part; got shape {got}")
    check_prior(draw.q, draw.p)
    return ()


def check_prior(q: PyTree, p: PyTree) -> None:
    """Raise ValueError unless the prior is one of the kind of latents that q draws, in every part."""
    if isinstance(q, tuple):
        for of_part in zip(q, p, strict=True):
            check_prior(*of_part)
        return
    if not getattr(q, "reparameterised", True) and getattr(p, "reparameterised", True):
        expected = f"one of latents without a path derivative, as {q.name} draws them"
        raise ValueError(f"prior: expected {expected}; got {p.name}")
    of_codes = isinstance(q, Codes) != isinstance(p, Codes)
    if of_codes or (getattr(q, "reparameterised", True) and isinstance(p, OneHot)):
        raise ValueError(f"prior: expected one for the latents that {q.name} draws; got {p.name}")
