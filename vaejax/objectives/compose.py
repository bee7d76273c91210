"""Terms become an objective: draw once, evaluate, weight, and take the one mean there is."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from vaejax.checks import plain
from vaejax.hints import name_of, takes
from vaejax.keys import check_key, named_key
from vaejax.objectives.draw import sample
from vaejax.types import VAE, Array, Batch

__all__ = ["compose", "logs", "mixes_examples", "scaled", "sees_step"]

# what a record of training holds beside the terms
_TAKEN = ("loss", "grad_norm", "step", "seed", "validation")

_CALLED = "where it is a factory of terms it is called, as {}(...)"

Term = Callable[..., Array]  # (key, vae, draw), and the step for those marked `sees_step`
Objective = Callable[..., tuple[Array, tuple[dict[str, Array], Any]]]


class Scaled(NamedTuple):
    """A term and its weight: a float, or a schedule step -> float."""

    weight: float | Callable[[Any], Any]
    term: Term


def scaled(weight: float | Callable[[Any], Any], term: Term) -> Scaled:
    """Weight a term inside `compose`.

    Args:
      weight: a finite number, or an optax schedule (step -> weight). A linear ramp needs steps to rise in:
        `optax.linear_schedule(0.0, 1.0, 0)` is 0 for ever.
      term: `term(key, vae, draw) -> nats`.

    Raises:
      TypeError: if the weight is neither, or the term is not callable.
      ValueError: if the weight is not finite.
    """
    if not callable(term):
        raise TypeError(f"term: expected a function (key, vae, draw) -> nats, got {type(term).__name__}")
    if not callable(weight):
        return Scaled(_constant(plain(weight)), term)
    return Scaled(weight, term)


def check_term(term: Any, name: str) -> None:
    """Raise TypeError unless `term` can be called as a term is; a factory wants its () before."""
    n = 4 if getattr(term, "sees_step", False) else 3
    if not callable(term) or not takes(term, n):
        hint = f"; {_CALLED.format(name_of(term))}" if callable(term) else ""
        raise TypeError(f"{name}: expected a function (key, vae, draw) -> nats, got {name_of(term)}{hint}")


def _constant(weight: Any) -> Any:
    """The weight, if it is a finite number."""
    is_scalar = isinstance(weight, numbers.Real | jax.Array) and jnp.ndim(weight) == 0  # type: ignore[arg-type]
    if isinstance(weight, bool) or not is_scalar:
        raise TypeError(f"weight: expected a float or a schedule step -> float, got {weight!r}")
    # it may be traced, as under vmap over several weights, and then has no value yet
    if not isinstance(weight, Tracer) and not math.isfinite(weight):  # type: ignore[arg-type]
        raise ValueError(f"weight: expected a finite number, got {weight}")
    return weight


def mixes_examples(term: Term) -> Term:
    """Mark a term whose value for one example depends on the others; slices of a batch refuse it."""
    term.mixes_examples = True  # type: ignore[attr-defined]
    return term


def sees_step(term: Term) -> Term:
    """Mark a term that depends on the step of training: it is called as `term(key, vae, draw, step)`."""
    term.sees_step = True  # type: ignore[attr-defined]
    return term


def logs(term: Term, **measures: Term) -> Term:
    """Have a term measured by others: `compose` puts their means into the metrics, and not into the loss.

    So a KL that is modified in the loss keeps the true one beside it, as `kl`.

    Args:
      term: the term that is in the loss.
      **measures: name=function `(key, vae, draw) -> [B]`, or a scalar, or None where it has nothing to say
        of such latents; the key is that of the term, so that what both compute is computed once.
    """
    term.logs = measures  # type: ignore[attr-defined]
    return term


def compose(**terms: Term | Scaled) -> Objective:
    """Make one objective of named terms.

    loss = mean_b sum_terms weight(step) * term_b, every term a cost in nats. Each term has randomness
    of its own, derived from its name: adding or reordering terms leaves the others' draws as they are.

    Args:
      **terms: name=term, or name=scaled(weight, term); a bare term has weight 1. A term returns [B],
        or a scalar.

    Returns:
      `objective(key, vae, batch, step) -> (loss, (metrics, variables))`: metrics hold "loss", every
      term's unweighted mean in nats under its name, "weight/<name>" for the scaled ones, and what terms
      log beside themselves (`kl` is the true one).

    Raises:
      TypeError: if a term is not callable.
      ValueError: if there is no term, a name has a "/", is "loss" or another that records of training hold
        ("grad_norm", "step", "seed", "validation"), or belongs to what another term logs.
    """
    if not terms:
        raise ValueError("terms: expected at least one, as name=term; got none")
    for name in terms:
        _check_name(name)
    weighted = {name: term if isinstance(term, Scaled) else scaled(1.0, term) for name, term in terms.items()}
    for name, (_, term) in weighted.items():
        check_term(term, f"term {name!r}")
    measures = _measures({name: term for name, (_, term) in weighted.items()})

    def objective(key: Array, vae: VAE, batch: Batch, step: Array) -> tuple[Array, tuple[dict, Any]]:
        check_key(key)
        draw = sample(named_key(key, "/draw"), vae, batch)
        loss: Any = 0.0
        metrics = {}
        for name, (weight, term) in weighted.items():
            time = (step,) if getattr(term, "sees_step", False) else ()
            value = term(named_key(key, name), vae, draw, *time)
            if callable(value):
                called = _CALLED.format(name_of(term))
                raise TypeError(f"term {name!r}: expected nats, got a function; {called}")
            shape = jnp.shape(value)
            if shape not in ((), draw.log_px.shape):
                raise ValueError(
                    f"term {name!r}: expected nats of shape {draw.log_px.shape} or (), got {shape}"
                )
            metrics[name] = jnp.mean(value)
            w = weight(step) if callable(weight) else weight
            loss += jnp.asarray(w, metrics[name].dtype) * metrics[name]  # a schedule has a dtype of its own
            if isinstance(terms[name], Scaled):
                metrics[f"weight/{name}"] = jnp.asarray(w, jnp.float32)
        for logged, (name, measure) in measures.items():
            measured = measure(named_key(key, name), vae, draw)
            if measured is not None:  # the measure is of other latents
                metrics[logged] = jnp.mean(measured)
        return loss, ({"loss": loss, **metrics}, draw.variables)

    mixing = tuple(name for name, (_, term) in weighted.items() if getattr(term, "mixes_examples", False))
    objective.mixes_examples = mixing  # type: ignore[attr-defined]
    return objective


def _check_name(name: str) -> None:
    """Refuse a name that is taken: the records', "weight/<name>" and the keys of the house."""
    if name in _TAKEN or "/" in name:
        taken = ", ".join(map(repr, _TAKEN))
        raise ValueError(f"terms: expected names without '/' and other than {taken}; got {name!r}")


def _measures(terms: dict[str, Term]) -> dict[str, tuple[str, Term]]:
    """What the terms log beside themselves and no term of the objective is already, and for which term."""
    measures: dict[str, tuple[str, Term]] = {}
    for name, term in terms.items():
        for logged, measure in getattr(term, "logs", {}).items():
            if logged in _TAKEN:
                raise ValueError(f"terms: {name!r} logs {logged!r}; expected names other than {_TAKEN}")
            _, known = measures.get(logged, (name, measure))
            if terms.get(logged, measure) is not measure or known != measure:
                raise ValueError(
                    f"terms: {name!r} logs {logged!r} beside itself; expected that name to be free, "
                    "got another term or measure of it"
                )
            measures.setdefault(logged, (name, measure))
    return {logged: measure for logged, measure in measures.items() if logged not in terms}
