"""The levels of a hierarchy: what one is made of, and how its parameters start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vaejax.hints import described
from vaejax.keys import named_key
from vaejax.models.apply import initialised
from vaejax.models.latents import in_parts
from vaejax.models.posteriors import Posterior
from vaejax.models.posteriors.family import as_they_are, check_encoder, zeros_of
from vaejax.types import Array, PyTree

__all__ = ["Level"]

ROLES = ("encoder", "decoder", "prior", "posterior")  # groups in which a level has parameters
Runs = tuple[tuple[int, int], ...]  # (start, count)
Hidden = tuple[Array, ...]  # what comes from above: () or (c,) above the top, else one array


@dataclass(frozen=True)
class Level:
    """One level of latents: how q(z_l|.) and p(z_l|z_above) are made, and what goes down.

    h is what the level above handed on: its decoder's output; at the top nothing, or the condition.

    Args:
      posterior: the family of q, without state of its own.
      encoder: a Flax module -> what the posterior needs. By the inference "top_down" of (a, h), a the model's
        encoder's activation for this level; by "bottom_up" of the z below, at the lowest level of a.
      decoder: a Flax module (z, h) -> the h of the level below; of the lowest, what the model's decoder sees.
      prior: a Flax module, h -> (loc, logvar) of p(z|z_above), each [..., *event], or (loc, logvar, h') with
        an h' in the place of h from there on. None at the top alone, whose prior is the model's.

    Raises:
      TypeError: for anything but these kinds.
    """

    posterior: Posterior
    encoder: nn.Module
    decoder: nn.Module
    prior: nn.Module | None = None

    def __post_init__(self) -> None:
        kinds = {"posterior": Posterior, "encoder": nn.Module, "decoder": nn.Module, "prior": nn.Module}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind) and not (name == "prior" and value is None):
                raise TypeError(
                    f"{name}: expected a {kind.__module__}.{kind.__name__}, got {described(value, kind)}"
                )


def runs_of(levels: Sequence[Level], inference: str) -> Runs:
    """Consecutive equal levels, each run one scan over stacked parameters.

    The top is alone, which has no prior net; from the bottom up so is the lowest, whose encoder sees x.
    """
    runs: list[tuple[int, int]] = []
    for i, level in enumerate(levels):
        lowest = inference == "bottom_up" and i == len(levels) - 1
        if i > 1 and level == levels[i - 1] and not lowest:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((i, 1))
    return tuple(runs)


def check_levels(levels: Any, inference: str) -> tuple[Level, ...]:
    """The levels as a tuple; raise unless each is one that its place and the inference allow."""
    if not isinstance(levels, tuple | list) or not levels:
        raise TypeError(f"levels: expected a sequence of at least one models.Level, got {levels!r}")
    for i, level in enumerate(levels):
        if not isinstance(level, Level):
            raise TypeError(f"levels[{i}]: expected a models.Level, got {level!r}")
        if (level.prior is None) != (i == 0):
            expected = "None at the top, whose prior is the model's" if i == 0 else "a net below the top"
            raise ValueError(f"levels[{i}].prior: expected {expected}; got {level.prior!r}")
        family = level.posterior
        _, state = jax.eval_shape(lambda of=family: of.init(jax.random.key(0), zeros_of(of)))
        if state is not None or in_parts(family.event):
            raise ValueError(
                f"levels[{i}].posterior: expected a family of one part without state, got {family.name}"
            )
        if inference == "bottom_up" and family.relative != as_they_are:
            raise ValueError(
                f"inference: expected 'top_down', since {family.name} is relative to a prior that "
                f"'bottom_up' does not know yet; got {inference!r}"
            )
    return tuple(levels)


def init_levels(
    key: Array, levels: Sequence[Level], runs: Runs, given: Sequence[Array], h: Hidden, sees_h: bool
) -> tuple[dict[str, dict[str, PyTree]], Array]:
    """({role: {"level_<start of run>": parameters}}, an h [1, ...] below the last).

    `given[i]` [1, ...] is the first input of level i's encoder, which sees h too where `sees_h`. The blocks
    of a run start one after the other: under `vmap` they compile three times as long.

    Raises:
      ValueError: if a net's output does not fit, or a run does not keep the shapes of h and of its inputs.
    """
    params: dict[str, dict[str, PyTree]] = {}
    for start, count in runs:
        init = partial(_init_level, start, levels[start], given[start], h, sees_h)
        keys = jax.random.split(named_key(key, f"level_{start}"), count)
        if count == 1:
            own, below = init(keys[0])
        else:
            below = jax.eval_shape(init, keys[0])[1]
            _check_run(start, given[start : start + count], h[0], below)
            own, below = jax.lax.map(lambda key, init=init: init(key)[0], keys), zeros_like(below)
        for role, of_role in own.items():
            params.setdefault(role, {})[f"level_{start}"] = of_role
        h = (below,)
    return params, h[0]


def _check_run(start: int, given: Sequence[Array], above: Array, below: Array) -> None:
    """Raise ValueError unless equal levels see and hand on arrays of one shape."""
    if below.shape != above.shape:
        raise ValueError(
            f"levels[{start}].decoder: expected an output of shape {above.shape}, as comes from above, since "
            f"the next level is equal to this one; got {below.shape}"
        )
    shapes = [jax.tree.map(jnp.shape, a) for a in given]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"encoder: expected activations of one shape for the equal levels {start} to "
            f"{start + len(given) - 1}; got {shapes}"
        )


def _init_level(
    i: int, level: Level, given: Array, h: Hidden, sees_h: bool, key: Array
) -> tuple[dict[str, PyTree], Array]:
    """The parameters of a level by role, and what it hands on, zeros."""
    own, event = {}, level.posterior.event

    def made(role: str, net: nn.Module, *inputs: Array) -> Any:
        output, own[role] = initialised(f"levels[{i}].{role}", net, named_key(key, role), *inputs)
        return zeros_like(output)

    if level.prior is not None:
        of_p = made("prior", level.prior, *h)
        shapes = [a.shape for a in of_p] if isinstance(of_p, tuple) else of_p.shape
        if not isinstance(of_p, tuple) or shapes[:2] != [(1, *event)] * 2 or len(of_p) > 3:
            raise ValueError(
                f"levels[{i}].prior: expected (loc, logvar) or (loc, logvar, h), the first two of shape "
                f"{(1, *event)} for one example; got shapes {shapes}"
            )
        h = of_p[2:] or h
    parameters = made("encoder", level.encoder, given, *(h if sees_h else ()))
    check_encoder(level.posterior, parameters, level.encoder, given, f"levels[{i}].encoder")
    of_family, _ = level.posterior.init(named_key(key, "posterior"), zeros_of(level.posterior))
    own |= {"posterior": of_family} if of_family else {}
    below = made("decoder", level.decoder, jnp.zeros((1, *event)), *h)
    if not hasattr(below, "shape"):
        raise ValueError(f"levels[{i}].decoder: expected one array, got {type(below).__name__}")
    return own, below


def zeros_like(shapes: PyTree) -> PyTree:
    """Zeros of these shapes and dtypes."""
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
