"""Tables in CSV and Parquet files: columns of several kinds, by their names, with cells that are missing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaejax.data.arrays import Dataset, from_arrays
from vaejax.data.factored import SPLITS, check_held_out, check_seed, drawn
from vaejax.files import expanded

KINDS = ("real", "binary", "counts", "categorical")
_SUPPORTS = {"real": "real", "binary": "binary", "counts": "counts", "categorical": "binary"}
_MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null")
_SHOWN = 6
Kind = str | Sequence[Any]


@dataclass(frozen=True)
class Table(Dataset):
    """The three splits of a table, x: float32 [N, D].

    `names`: of the columns of x, [D]; one that stands for a value of a column is "column=value". `kinds`: of
    each, "real", "binary", "counts" or "categorical". `classes`: the values that the labels y stand for, in
    their order; () where y are numbers, or there are none.
    """

    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def places(self, *kinds: str) -> tuple[int, ...]:
        """The places of the columns of these kinds: for `distributions.by_columns` and `standardised`."""
        return tuple(i for i, kind in enumerate(self.kinds) if kind in kinds)


class _Column(NamedTuple):
    """What becomes of a column of the file: columns of x, float64 with nan for what is missing, [N, d]."""

    values: np.ndarray
    names: list[str]
    kind: str


def from_table(
    source: str | os.PathLike[str],
    columns: Mapping[str, Kind] | None = None,
    *,
    y: str | None = None,
    held_out: float = 0.1,
    seed: int = 0,
    delimiter: str = ",",
    missing: Sequence[str] = _MISSING,
) -> Table:
    """A data set of a CSV or Parquet file: a row for each example, columns by their names.

    `from_table("patients.csv", {"age": "real", "sex": ("f", "m"), "visits": "counts"}, y="ward")`

    Columns are of a kind:

    * "real": numbers, as they are.
    * "binary": booleans, 0 and 1, or two values in text, of which the first in alphabetical order is 0.
    * "counts": whole numbers of at least 0.
    * "categorical", or a sequence of its values: a column of x for each value, 1 where it is that one and
      else 0. The values are those in the file, in alphabetical order (numbers by size); or those given.

    The support of x is that of the kinds where they have one ("real", "binary", "counts"), else "mixed": as
    `distributions.by_columns({table.places("real"): ..., table.places("binary", "categorical"): ...})`
    takes. The columns of a category are scored as so many values of 0 and 1 there.

    Cells that are missing, empty ones, nulls and nan, are holes, as `with_holes` has them: batches then have
    `observed`, in all splits. A category that is missing is missing in all of its columns.

    The splits are drawn at random; the table is read into memory.

    Args:
        source: a file that ends in .csv, .tsv or .txt, with a line of names at the top, UTF-8; or in .parquet
            or .pq.
        columns: {name: kind} of the columns of x, in their order; None for all but y, by what the file holds:
            booleans are binary, numbers real, text categorical.
        y: the column of labels: whole numbers as they are, int32; other numbers as float32; text and booleans
            as 0..V-1, by the place in `Table.classes`. None: there are none.
        held_out: the share of the rows that validation and test get each, in (0, 1/2).
        seed: of that draw, not negative.
        delimiter: what stands between the cells of a text file.
        missing: what a cell that is missing holds in a text file, such as "?".

    Returns:
        A `Table`, a `Dataset` with the names and kinds of its columns.

    Raises:
        FileNotFoundError: no such file.
        TypeError, ValueError: arguments of another type or range, a damaged file or one of another format,
            columns that it has not, values that are not of their kind, or labels that are missing.
    """
    check_held_out(held_out)
    check_seed(seed)
    path = expanded(source, "source")
    table = _read(path, delimiter, tuple(missing))
    kinds = _kinds(table, columns, y, path)
    made = [_made(table, name, kind, path) for name, kind in kinds.items()]
    x = np.concatenate([column.values for column in made], axis=1)
    labels, classes = (None, ()) if y is None else _labels(table, y, path)
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32)
    if (lost := np.isinf(narrow) & ~np.isinf(x)).any():
        raise ValueError(f"{path}: expected numbers that float32 holds, got {x[lost][0]}")
    rows = drawn(len(x), SPLITS[1:], held_out, seed, f"{path}: its rows")
    parts = [narrow[rows[split]] for split in SPLITS]
    supports = {_SUPPORTS[column.kind] for column in made}
    data = from_arrays(
        parts[0], parts[2],
        None if labels is None else [labels[rows[split]] for split in ("train", "test", "validation")],
        support=supports.pop() if len(supports) == 1 else "mixed",
        validation=parts[1],
        holes=bool(np.isnan(x).any()),
    )  # fmt: skip
    names = tuple(name for column in made for name in column.names)
    of = tuple(column.kind for column in made for _ in column.names)
    return Table(data.train, data.validation, data.test, names=names, kinds=of, classes=classes)


def _read(path: Path, delimiter: str, missing: tuple[str, ...]) -> Any:
    """The table, as pyarrow has it."""
    import pyarrow
    from pyarrow import csv, parquet

    if not path.is_file():
        raise FileNotFoundError(f"source: expected a CSV or Parquet file, got {path}")
    try:
        if path.suffix in (".parquet", ".pq"):
            table = parquet.read_table(path)
        elif path.suffix in (".csv", ".tsv", ".txt"):
            convert = csv.ConvertOptions(null_values=missing, strings_can_be_null=True)
            table = csv.read_csv(path, None, csv.ParseOptions(delimiter=delimiter), convert)
        else:
            raise ValueError(f"{path}: expected a name that ends in .csv, .tsv, .txt, .parquet or .pq")
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: expected a whole table, got a damaged one ({error})") from error
    names = table.column_names
    if len(set(names)) != len(names) or not names or not table.num_rows:
        twice = next((name for name in names if names.count(name) > 1), None)
        got = f"{table.num_rows} rows of {len(names)} columns" + f", two of them {twice!r}" * (
            twice is not None
        )
        raise ValueError(f"{path}: expected rows of columns with different names, got {got}")
    return table


def _kinds(table: Any, columns: Any, y: str | None, path: Path) -> dict[str, Kind]:
    """{name: kind} of the columns of x."""
    names = table.column_names
    if columns is not None and not isinstance(columns, Mapping):
        raise TypeError(f"columns: expected a mapping {{name: kind}} or None, got {type(columns).__name__}")
    kinds = {name: _kind_of(table[name].type) for name in names if name != y} if columns is None else columns
    if not kinds:
        raise ValueError("columns: expected at least one, got none")
    for name in (*kinds, *([] if y is None else [y])):
        if name not in names:
            more = ", ..." * (len(names) > _SHOWN)
            raise ValueError(f"{path}: expected a column {name!r}, got {', '.join(names[:_SHOWN])}{more}")
    for name, kind in kinds.items():
        if kind not in KINDS and (isinstance(kind, str) or not isinstance(kind, Sequence)):
            known = ", ".join(map(repr, KINDS))
            raise ValueError(f"columns[{name!r}]: expected {known} or a sequence of values; got {kind!r}")
    if y is not None and y in kinds:
        raise ValueError(f"y: expected a column that is not of x, got {y!r}")
    return dict(kinds)


def _kind_of(dtype: Any) -> str:
    from pyarrow import types

    if types.is_boolean(dtype):
        return "binary"
    numbers = types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype)
    return "real" if numbers or types.is_null(dtype) else "categorical"


def _made(table: Any, name: str, kind: Kind, path: Path) -> _Column:
    where = f"{path}: column {name!r}"
    if kind in ("real", "counts"):
        values = _numbers(table[name], where)
        seen = values[~np.isnan(values)]
        if kind == "counts" and ((seen < 0) | (seen != np.round(seen))).any():
            wrong = seen[(seen < 0) | (seen != np.round(seen))][0]
            raise ValueError(f"{where}: expected whole numbers of at least 0, got {wrong}")
        return _Column(values[:, None], [name], str(kind))
    cells = _cells(table[name])
    levels = _levels(cells) if isinstance(kind, str) else list(kind)
    if others := [v for v in dict.fromkeys(cells) if v is not None and v not in levels]:
        raise ValueError(f"{where}: expected one of {', '.join(map(repr, levels))}; got {others[0]!r}")
    if kind == "binary":
        return _Column(_binary(cells, levels, where)[:, None], [name], "binary")
    if len(levels) < 2 or len(set(levels)) != len(levels):
        raise ValueError(f"{where}: expected at least two different values, got {levels!r}")
    place = np.array([np.nan if v is None else levels.index(v) for v in cells])
    hot = (place[:, None] == np.arange(len(levels))).astype(np.float64)
    hot[np.isnan(place)] = np.nan
    return _Column(hot, [f"{name}={level}" for level in levels], "categorical")


def _binary(cells: list[Any], levels: list[Any], where: str) -> np.ndarray:
    """0 and 1, nan for what is missing."""
    values = [0, 1] if set(levels) <= {0, 1} else levels
    if len(values) != 2 or not (values == [0, 1] or all(isinstance(v, str) for v in values)):
        shown = ", ".join(map(repr, levels[:_SHOWN])) or "none"
        raise ValueError(f"{where}: expected booleans, 0 and 1, or two values in text; got {shown}")
    return np.array([np.nan if cell is None else values.index(cell) for cell in cells], np.float64)


def _labels(table: Any, y: str, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels, and what they stand for."""
    where, kind = f"{path}: column {y!r}", _kind_of(table[y].type)
    cells = _cells(table[y])
    if count := sum(cell is None for cell in cells):
        raise ValueError(f"{where}: expected a label in every row, got {count} rows without")
    if kind == "real":
        values = _numbers(table[y], where)
        whole = values.astype(np.int32) if np.abs(values).max() < 2**31 else values
        return (whole if np.array_equal(whole, values) else values.astype(np.float32)), ()
    levels = _levels(cells)
    return np.array([levels.index(cell) for cell in cells], np.int32), tuple(map(str, levels))


def _numbers(column: Any, where: str) -> np.ndarray:
    """A column as float64, nan for what is missing."""
    import pyarrow

    kind = column.type
    if _kind_of(kind) == "categorical":
        raise ValueError(f"{where}: expected numbers, got {kind} such as {_cells(column)[0]!r}")
    return column.cast(pyarrow.float64()).to_numpy().astype(np.float64)


def _cells(column: Any) -> list[Any]:
    """A column as Python's values, None for what is missing."""
    return [None if cell is None or cell != cell else cell for cell in column.to_pylist()]


def _levels(cells: Sequence[Any]) -> list[Any]:
    """The values in alphabetical order, numbers by size."""
    return sorted({cell for cell in cells if cell is not None})
