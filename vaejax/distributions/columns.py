"""A likelihood of mixed data: every column, or group of columns, of a table has one of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from vaejax.distributions.likelihoods import Likelihood
from vaejax.fixed import Fixed
from vaejax.types import Array, Distribution

__all__ = ["ByColumns", "by_columns"]


class ByColumns(distrax.Distribution):
    """Independent given z: log p(x|z) = sum over groups of log p(x_group|z), each of a family of its own.

    `parts`: the distributions of the groups, events [..., columns of the group].
    `columns`: the places of the columns of each group on the last axis of x.

    A value outside the support of its column has the log-density -inf, also where the family itself does not
    look: a table of mixed columns has one support, "mixed", which does not tell them apart.
    """

    support = "mixed"

    def __init__(self, parts: Sequence[Distribution], columns: Sequence[Sequence[int]]):
        super().__init__()
        self._parts = tuple(parts)
        self._columns = tuple(map(tuple, columns))

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (*self._parts[0].event_shape[:-1], sum(map(len, self._columns)))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._parts[0].batch_shape

    def log_prob(self, value: Array) -> Array:
        return jnp.sum(self.log_prob_each(value), axis=tuple(range(-len(self.event_shape), 0)))

    def log_prob_each(self, value: Array) -> Array:
        """log p of every value, [..., *event]."""

        def of(part: Distribution, x: Array) -> Array:
            each = part.log_prob_each(x) if hasattr(part, "log_prob_each") else part.distribution.log_prob(x)
            if part.support == "binary":
                return jnp.where((x == 0) | (x == 1), each, -jnp.inf)
            bounded = part.support in ("unit_interval", "binary_or_unit_interval")
            return jnp.where((x >= 0) & (x <= 1), each, -jnp.inf) if bounded else each

        parts = zip(self._parts, self._columns, strict=True)
        return self._in_place([of(part, value[..., np.array(columns)]) for part, columns in parts])

    def mean(self) -> Array:
        return self._in_place([part.mean() for part in self._parts])

    def _sample_n(self, key: Array, n: int) -> Array:
        parts = enumerate(self._parts)
        drawn = [part.sample(seed=jax.random.fold_in(key, i), sample_shape=(n,)) for i, part in parts]
        return self._in_place([x.astype(jnp.result_type(jnp.float32, x)) for x in drawn])

    def _in_place(self, parts: Sequence[Array]) -> Array:
        """The groups' arrays [..., columns of the group] as one [..., C]."""
        order = np.argsort([column for columns in self._columns for column in columns])
        return jnp.concatenate(parts, axis=-1)[..., order]


def by_columns(columns: Mapping[Any, Likelihood]) -> Likelihood:
    """A likelihood for every column or group of columns of the last axis, which are independent given z.

    `by_columns({"0:3": gaussian(), "3": bernoulli(), "4,5": negative_binomial()})` is of tables x [N, 6],
    of support "mixed" (`data.from_arrays(..., support="mixed")`). The decoder gives the channels of one group
    after those of another, groups in the order of their first columns, whatever that of the mapping;
    `likelihood.parameter_shape((6,))` says how many.

    Args:
      columns: {columns: likelihood}. Columns are one place, as 3, several, as (4, 5) or range(3), or text,
        "3", "4,5" or "0:3"; together they are all places 0..C-1, each once.

    Raises:
      TypeError, ValueError: for anything but such a mapping, places that are no partition of 0..C-1, or a
        likelihood that couples the channels; when a model is initialised, for data of other than C columns.
    """
    if not isinstance(columns, Mapping) or not columns:
        raise TypeError(f"columns: expected a mapping of columns to likelihoods, got {columns!r}")
    groups, likelihoods = tuple(map(_places, columns)), tuple(columns.values())
    for place, likelihood in columns.items():
        if not isinstance(likelihood, Likelihood):
            raise TypeError(f"columns[{place!r}]: expected a distributions.Likelihood, got {likelihood!r}")
        if likelihood.name in ("discretised_logistic_mixture", "by_columns"):
            raise ValueError(f"columns[{place!r}]: expected a family of single values, got {likelihood.name}")
    places = sorted(column for group in groups for column in group)
    if places != list(range(len(places))):
        raise ValueError(
            f"columns: expected every place of 0..{len(places) - 1} once, got {list(map(list, groups))}"
        )
    # by their first columns: JSON, in which a model is stored, need not keep the order of a mapping
    groups, likelihoods = zip(*sorted(zip(groups, likelihoods, strict=True), key=lambda g: g[0]), strict=True)
    names = [",".join(map(str, group)) for group in groups]
    return Likelihood(
        name="by_columns",
        support="mixed",
        build=Fixed(_by_columns, groups, likelihoods),
        options={"columns": dict(zip(names, likelihoods, strict=True))},
        channels=Fixed(_channels, groups, likelihoods),
    )


def _places(place: Any) -> tuple[int, ...]:
    """The columns that a key of the mapping names."""
    found: Any = place
    if isinstance(place, str):
        try:
            if ":" in place:
                start, stop = place.split(":")
                found = range(int(start), int(stop))
            else:
                found = tuple(int(part) for part in place.split(","))
        except ValueError:
            found = None
    elif isinstance(place, int | np.integer) and not isinstance(place, bool):
        found = (place,)
    if not isinstance(found, Iterable) or not (group := tuple(found)):
        raise ValueError(f'columns: expected places such as 3, (4, 5), "0:3" or "4,5"; got {place!r}')
    if not all(isinstance(i, int | np.integer) and not isinstance(i, bool) and i >= 0 for i in group):
        raise ValueError(f"columns: expected places of at least 0, got {place!r}")
    return tuple(int(i) for i in group)


def _channels(groups: tuple[tuple[int, ...], ...], likelihoods: tuple[Likelihood, ...], channels: int) -> int:
    """How many the decoder gives for that many columns."""
    if channels != (known := sum(map(len, groups))):
        raise ValueError(f"x: expected {known} columns, of which by_columns has likelihoods; got {channels}")
    return sum(likelihood.channels(len(group)) for group, likelihood in zip(groups, likelihoods, strict=True))


def _by_columns(
    groups: tuple[tuple[int, ...], ...], likelihoods: tuple[Likelihood, ...], parameters: Array,
    event_ndims: int,
) -> ByColumns:  # fmt: skip
    sizes = [one.channels(len(group)) for group, one in zip(groups, likelihoods, strict=True)]
    if event_ndims < 1 or parameters.shape[-1] != sum(sizes):
        raise ValueError(
            f"parameters: expected [..., {sum(sizes)}], the channels of all columns; "
            f"got {parameters.shape} with {event_ndims} event axes"
        )
    parts = jnp.split(parameters, np.cumsum(sizes)[:-1].tolist(), axis=-1)
    built = [one.build(part, event_ndims) for one, part in zip(likelihoods, parts, strict=True)]
    return ByColumns(built, groups)
