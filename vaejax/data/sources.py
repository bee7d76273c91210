"""Examples that stay where they are, as in array_record files, and are read when a step needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np

from vaejax.checks import check_choice, check_split
from vaejax.data.arrays import Transform, check_transformed
from vaejax.data.cache import Field
from vaejax.data.transforms import cast, unit_from_bytes
from vaejax.rows import RowSource
from vaejax.types import DATA_SUPPORTS, Split

Parse = Callable[[Any], Mapping[str, Any]]


def from_source(
    source: Any,
    support: str,
    *,
    parse: Parse | None = None,
    transform: Transform | None = None,
) -> Split:
    """A split of the examples of a source with random access, which are read when a batch needs them.

    `fit` streams it where it is larger than the memory (`resident`), and evaluation reads it batch by batch;
    each process of a job reads its share of the rows. Where a source has `__getitems__(places)`, as those of
    array_record have, it is asked for many records at once; `fit` asks in several threads.

    Args:
        source: has a length and gives record i by [i], in several threads at once; such as those of grain
            (extra "stream"), grain.sources.ArrayRecordDataSource(paths) or a MapDataset, and
            tensorflow_datasets.data_source(name, split=...).
        support: as that of `from_arrays`.
        parse: `parse(record) -> {"x": array, "y"?: array}`, pure; every example has the shapes and dtypes of
            the first. None where the records are such mappings.
        transform: as that of `from_arrays`; the default is its default.

    Returns:
        A `Split` whose arrays are `RowSource`s.

    Raises:
        TypeError, ValueError: arguments of another kind, an empty source, examples that are no mappings to
            numbers, or of which the first 16 do not lie in the support once transformed.
    """
    check_choice(support, tuple(s for s in DATA_SUPPORTS if s != "tokens"), "support")
    for name, value in (("parse", parse), ("transform", transform)):
        if value is not None and not callable(value):
            raise TypeError(f"{name}: expected a function or None, got {type(value).__name__}")
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise TypeError(f"source: expected a length and records by [i], got {type(source).__name__}")
    if len(source) == 0:
        raise ValueError("source: expected at least one record, got none")
    examples = _Examples(source, parse)
    (example,) = examples.fetch(np.zeros(1, np.int64))
    arrays = {name: _Feature(examples, name, value) for name, value in _checked(example).items()}
    if transform is None:
        scaled = support == "unit_interval" and arrays["x"].dtype == np.uint8
        transform = unit_from_bytes if scaled else cast
    split = Split(arrays, support, transform)
    check_split(split, "source")
    check_transformed(split, "source")
    return split


def _checked(example: Any) -> Mapping[str, Any]:
    if not isinstance(example, Mapping) or "x" not in example:
        got = sorted(example) if isinstance(example, Mapping) else type(example).__name__
        raise TypeError(f'parse: expected examples as {{"x": array, "y"?: array}}, got {got}')
    return example


class _Examples:
    """The records of some places, parsed: what all features of a source are taken from."""

    def __init__(self, source: Any, parse: Parse | None):
        self._source, self._parse = source, parse

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, rows: np.ndarray) -> list[Mapping[str, Any]]:
        """The examples of these rows, in their order."""
        places = rows.tolist()
        together = getattr(self._source, "__getitems__", None)
        records = [self._source[i] for i in places] if together is None else together(places)
        return list(records) if self._parse is None else [self._parse(record) for record in records]


class _Feature(RowSource):
    """What an example has under one name, as an array [N, ...]."""

    def __init__(self, examples: _Examples, name: str, value: Any):
        first = np.asarray(value)
        self.origin, self.dtype = examples, first.dtype
        self.shape = (len(examples), *first.shape)
        self._field, self._name = Field(first.shape, first.dtype, itemgetter(name)), name

    def pick(self, fetched: Any) -> np.ndarray:
        return self._field.rows(fetched, f"source: {self._name}")
