"""Several modalities, independent given z: p(x|z) = prod_m p(x_m|z), x a mapping of names to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from vaejax.distributions.likelihoods import Likelihood
from vaejax.fixed import Fixed
from vaejax.types import Array, Distribution

__all__ = ["Joint", "JointLikelihood", "joint"]


class Joint(distrax.Distribution):
    """prod_m p(x_m|z) of named parts: log p(x|z) = sum_m log p(x_m|z).

    `parts`: {name: distribution}, of one batch shape. x, samples and means are mappings of the same names.
    A name that x lacks is a modality that was not observed, and its factor is left out; `score` also takes a
    mask for each of the others.
    """

    def __init__(self, parts: Mapping[str, Distribution]):
        super().__init__()
        self._parts = {name: parts[name] for name in sorted(parts)}
        shapes = {name: part.batch_shape for name, part in self._parts.items()}
        if len(set(shapes.values())) != 1:
            raise ValueError(f"parts: expected distributions of one batch shape, one at least; got {shapes}")

    @property
    def parts(self) -> dict[str, Distribution]:
        """{name: p(x_m|z)}, names in order."""
        return self._parts

    @property
    def event_shape(self) -> Any:
        """{name: shape of one example}."""
        return {name: part.event_shape for name, part in self._parts.items()}

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return next(iter(self._parts.values())).batch_shape

    @property
    def support(self) -> dict[str, str]:
        return {name: part.support for name, part in self._parts.items()}

    @property
    def has_mean(self) -> bool:
        """Whether every part knows its mean."""
        return all(getattr(part, "has_mean", True) for part in self._parts.values())

    @property
    def is_bound(self) -> bool:
        """Whether log p of some part is itself a bound."""
        return any(getattr(part, "is_bound", False) for part in self._parts.values())

    def log_prob(self, value: Mapping[str, Array]) -> Array:
        each = [self._parts[name].log_prob(x) for name, x in sorted(value.items())]
        return reduce(jnp.add, each)

    def mean(self) -> dict[str, Array]:
        return {name: part.mean() for name, part in self._parts.items()}

    def _sample_n(self, key: Array, n: int) -> dict[str, Array]:
        keys = jax.random.split(key, len(self._parts))
        return {
            name: part.sample(seed=own, sample_shape=(n,))
            for own, (name, part) in zip(keys, self._parts.items(), strict=True)
        }


@dataclass(frozen=True)
class JointLikelihood(Likelihood):
    """The likelihoods of named modalities; `support` and `build`'s arguments are mappings of the names."""

    def parameter_shape(self, event: Any) -> Any:
        """{name: what the decoder gives of it}, for {name: shape of one example}."""
        if not isinstance(event, Mapping):
            raise ValueError(
                f"x: expected a mapping of {', '.join(self.options)} to arrays, one for each likelihood; "
                "got one array"
            )
        check_modalities(self.options, event)
        return {name: part.parameter_shape(event[name]) for name, part in self.options.items()}


def check_modalities(known: Any, given: Any, *, all_of: bool = True) -> None:
    """Raise ValueError unless the modalities given have a likelihood, and all that have one are given."""
    without = sorted(set(given) - set(known))
    if without:
        raise ValueError(
            f"x: expected modalities that have a likelihood, {sorted(known)}; got {without} without"
        )
    if not given or (all_of and set(given) != set(known)):
        raise ValueError(f"x: expected the modalities {', '.join(sorted(known))}; got {sorted(given)}")


def joint(**likelihoods: Likelihood) -> Likelihood:
    """log p(x|z) = sum_m log p(x_m|z) of modalities that are independent given z.

    x is a mapping {name: array} and the decoder gives a mapping of the same names, as `nets.PerModality`
    does. A modality that an example lacks drops out: by name, for all examples of a batch, or by
    `batch["observed"]`, {name: [B] booleans}, for some.

    Args:
      **likelihoods: name=likelihood, such as image=bernoulli(), text=one_hot().

    Returns:
      A Likelihood whose support is {name: support}.

    Raises:
      TypeError, ValueError: for anything but likelihoods, each of one array, or none at all.

    Source: Wu & Goodman 2018, arXiv 1802.05335.
    """
    if not likelihoods:
        raise ValueError("joint: expected at least one modality, as name=likelihood; got none")
    for name, likelihood in likelihoods.items():
        if not isinstance(likelihood, Likelihood) or isinstance(likelihood, JointLikelihood):
            raise TypeError(f"{name}: expected a likelihood of one array, as bernoulli(); got {likelihood!r}")
    parts = dict(sorted(likelihoods.items()))
    support: Any = {name: likelihood.support for name, likelihood in parts.items()}
    return JointLikelihood("joint", support, Fixed(_joint, tuple(parts.items())), parts)


def _joint(
    parts: tuple[tuple[str, Likelihood], ...], parameters: Mapping[str, Array], event_ndims: Mapping[str, int]
) -> Joint:
    return Joint({name: part.build(parameters[name], event_ndims[name]) for name, part in parts})
