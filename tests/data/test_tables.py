"""Tables from CSV and Parquet files: kinds of columns, missing cells, labels, splits."""

from __future__ import annotations

import datetime

import jax
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from vaejax import distributions
from vaejax.data import from_table, standardised

N = 40
AGE = [20.5 + n for n in range(N)]
SEX = ["fm"[n % 2] for n in range(N)]
VISITS = [n % 7 for n in range(N)]
WARD = [("west", "east", "north")[n % 3] for n in range(N)]
SMOKER = [n % 4 == 0 for n in range(N)]


def csv(path, cells, sep=","):
    """A file of the columns {name: texts}, by hand."""
    lines = [cells.keys(), *zip(*cells.values(), strict=True)]
    path.write_text("".join(sep.join(map(str, line)) + "\n" for line in lines))
    return path


@pytest.fixture
def cells():
    return {
        "age": AGE,
        "sex": SEX,
        "visits": VISITS,
        "ward": WARD,
        "smoker": [str(s).lower() for s in SMOKER],
    }


KINDS = {"age": "real", "sex": "binary", "visits": "counts", "ward": "categorical", "smoker": "binary"}


def rows(table):
    """x and y of all splits in the order of the file, which the ages tell."""
    splits = (table.train, table.validation, table.test)
    arrays = {key: np.concatenate([s.arrays[key] for s in splits]) for key in table.train.arrays}
    order = np.argsort(arrays["x"][:, 0])
    return {key: array[order] for key, array in arrays.items()}


def expected():
    ward = np.array([["east", "north", "west"].index(w) for w in WARD])
    hot = ward[:, None] == np.arange(3)
    columns = [AGE, [s == "m" for s in SEX], VISITS, *hot.T, SMOKER]
    return np.stack([np.asarray(c, np.float32) for c in columns], axis=1)


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet"])
def test_columns_of_every_kind(tmp_path, cells, form):
    path = tmp_path / f"mine.{form}"
    if form == "parquet":
        typed = {"age": AGE, "sex": SEX, "visits": VISITS, "ward": WARD, "smoker": SMOKER}
        parquet.write_table(pyarrow.table(typed), path)
        table = from_table(path, KINDS)
    else:
        sep = {"csv": ",", "tsv": "\t"}[form]
        table = from_table(csv(path, cells, sep), KINDS, delimiter=sep)
    np.testing.assert_array_equal(rows(table)["x"], expected(), strict=True)
    assert [s.size for s in (table.train, table.validation, table.test)] == [32, 4, 4]
    assert table.names == ("age", "sex", "visits", "ward=east", "ward=north", "ward=west", "smoker")
    assert table.kinds == ("real", "binary", "counts", *["categorical"] * 3, "binary")
    assert (table.places("real"), table.places("binary", "categorical")) == ((0,), (1, 3, 4, 5, 6))
    assert table.train.support == "mixed"


def test_it_is_what_by_columns_scores(tmp_path, cells):
    table = from_table(csv(tmp_path / "mine.csv", cells), KINDS)
    likelihood = distributions.by_columns(
        {
            table.places("real"): distributions.gaussian(),
            table.places("counts"): distributions.negative_binomial(),
            table.places("binary", "categorical"): distributions.bernoulli(),
        }
    )
    x = table.train.transform(jax.random.key(0), {"x": table.train.arrays["x"]})["x"]
    parameters = np.zeros((len(x), *likelihood.parameter_shape((7,))), np.float32)
    log_p = np.asarray(likelihood.build(parameters, 1).log_prob_each(x))
    assert np.isfinite(log_p).all()
    np.testing.assert_allclose(log_p[:, [1, 3, 4, 5, 6]], -np.log(2), rtol=1e-6)
    scaled = standardised(table, columns=table.places("real"))
    assert (scaled.names, scaled.kinds) == (table.names, table.kinds)


def test_without_kinds_the_file_tells_them(tmp_path, cells):
    table = from_table(csv(tmp_path / "mine.csv", cells), y="sex")
    assert table.names[:2] == ("age", "visits")
    assert table.kinds == ("real", "real", *["categorical"] * 3, "binary")
    read = rows(table)
    np.testing.assert_array_equal(read["y"], np.arange(N, dtype=np.int32) % 2, strict=True)
    assert table.classes == ("f", "m")


def test_one_kind_is_the_support(tmp_path, cells):
    path = csv(tmp_path / "mine.csv", cells)
    for kinds, support in (
        ({"age": "real", "visits": "real"}, "real"),
        ({"visits": "counts"}, "counts"),
        ({"sex": "binary", "ward": "categorical"}, "binary"),
    ):
        assert from_table(path, kinds).train.support == support


def test_values_that_are_given_have_their_order(tmp_path, cells):
    path = csv(tmp_path / "mine.csv", cells)
    table = from_table(path, {"age": "real", "ward": ("west", "south", "north", "east"), "visits": range(7)})
    assert table.names[1:5] == ("ward=west", "ward=south", "ward=north", "ward=east")
    x = rows(table)["x"]
    np.testing.assert_array_equal(x[:3, 1:5], [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    np.testing.assert_array_equal(x[:, 5:].argmax(1), VISITS)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_cells_that_are_missing_are_holes(tmp_path, cells, form):
    if form == "csv":
        made = {key: [*map(str, values)] for key, values in cells.items()}
        made["sex"][3], made["visits"][4], made["ward"][5], made["smoker"][6] = "", "NA", "?", "nan"
        table = from_table(csv(tmp_path / "m.csv", made), KINDS, missing=("", "NA", "nan", "?"))
    else:
        typed = {"age": AGE, "sex": [*SEX], "visits": [*VISITS], "ward": [*WARD], "smoker": [*SMOKER]}
        typed["sex"][3] = typed["ward"][5] = typed["smoker"][6] = None
        typed["visits"] = [np.nan if n == 4 else float(v) for n, v in enumerate(VISITS)]
        parquet.write_table(pyarrow.table(typed), tmp_path / "m.parquet")
        table = from_table(tmp_path / "m.parquet", KINDS)
    hidden = np.zeros((N, 7), bool)
    hidden[[3, 4, 6], [1, 2, 6]] = hidden[5, 3:6] = True
    read = rows(table)
    np.testing.assert_array_equal(read["observed"], ~hidden)
    np.testing.assert_array_equal(read["x"][~hidden], expected()[~hidden])
    assert np.isnan(read["x"][hidden]).all()


def test_labels_are_whole_numbers_real_numbers_or_classes(tmp_path, cells):
    made = cells | {"score": [n / 8 for n in range(N)], "seven": [n - 7 for n in range(N)]}
    path = csv(tmp_path / "mine.csv", made)
    for y, values, classes in (
        ("seven", np.arange(N, dtype=np.int32) - 7, ()),
        ("score", np.arange(N, dtype=np.float32) / 8, ()),
        ("smoker", np.array(SMOKER, np.int32), ("False", "True")),
    ):
        table = from_table(path, {"age": "real"}, y=y)
        np.testing.assert_array_equal(rows(table)["y"], values, strict=True)
        assert table.classes == classes


def test_the_splits_are_drawn_by_the_seed(tmp_path, cells):
    path = csv(tmp_path / "mine.csv", cells)
    first, again, other = (from_table(path, {"age": "real"}, seed=seed, held_out=0.2) for seed in (0, 0, 1))
    assert [first.train.size, first.validation.size, first.test.size] == [24, 8, 8]
    np.testing.assert_array_equal(first.test.arrays["x"], again.test.arrays["x"])
    assert (first.test.arrays["x"] != other.test.arrays["x"]).any()


BAD = {
    "text for numbers": ({"ward": "real"}, {}, "column 'ward': expected numbers, got string such as 'west'"),
    "negative counts": ({"age": "counts"}, {"age": [-1, *AGE[1:]]}, "column 'age': .* at least 0, got -1.0"),
    "counts between": ({"age": "counts"}, {}, "column 'age': expected whole numbers of at least 0, got 20.5"),
    "three for two": ({"ward": "binary"}, {}, "two values in text; got 'east', 'north', 'west'"),
    "numbers for two": (
        {"visits": "binary"},
        {},
        "expected booleans, 0 and 1, or two values in text; got 0, 1",
    ),
    "one category": (
        {"sex": "categorical"},
        {"sex": ["f"] * N},
        r"at least two different values, got \['f'\]",
    ),
    "a value not given": ({"ward": ("west", "east")}, {}, "expected one of 'west', 'east'; got 'north'"),
    "a column it has not": ({"height": "real"}, {}, "expected a column 'height', got age, sex, visits, ward"),
    "a kind it has not": (
        {"age": "number"},
        {},
        r"columns\['age'\]: expected 'real', 'binary', .* got 'number'",
    ),
    "no columns": ({}, {}, "columns: expected at least one, got none"),
    "beyond float32": (
        {"age": "real"},
        {"age": ["1e300", *AGE[1:]]},
        "expected numbers that float32 holds, got 1e",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_columns_of_other_kinds_are_named(tmp_path, cells, case):
    kinds, changed, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        from_table(csv(tmp_path / "mine.csv", cells | changed), kinds)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "a,b\n1,2\n3\n", "expected a whole table, got a damaged one .*Expected 2 columns, got 1"),
        ("a.csv", "", "expected a whole table, got a damaged one"),
        ("a.csv", "a,b\n", "expected rows of columns with different names, got 0 rows of 2 columns"),
        ("a.csv", "a,a\n1,2\n", "got 1 rows of 2 columns, two of them 'a'"),
        ("a.csv", "a,b\n1,2\n", "its rows: expected enough for 2 splits beside training, got 1"),
        ("a.parquet", "PAR1 and no more", "expected a whole table, got a damaged one"),
        ("a.xlsx", "PK", r"expected a name that ends in .csv, .tsv, .txt, .parquet or .pq"),
    ],
)
def test_other_files_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        from_table(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_other_arguments(tmp_path, cells):
    path = csv(tmp_path / "mine.csv", cells | {"ward": ["", *WARD[1:]]})
    for arguments, error, message in (
        ({"columns": ["age"]}, TypeError, r"columns: expected a mapping \{name: kind\} or None, got list"),
        ({"y": "ward"}, ValueError, "column 'ward': expected a label in every row, got 1 rows without"),
        (
            {"columns": {"age": "real"}, "y": "age"},
            ValueError,
            "y: expected a column that is not of x, got 'age'",
        ),
        ({"held_out": 0.5}, ValueError, r"held_out: expected a share in \(0, 1/2\), got 0.5"),
        ({"source": tmp_path / "none.csv"}, FileNotFoundError, "source: expected a CSV or Parquet file, got"),
    ):
        with pytest.raises(error, match=message):
            from_table(**{"source": path, **arguments})
    days = [datetime.date(2020, 1, 1)] * N
    parquet.write_table(pyarrow.table({"day": days}), tmp_path / "days.parquet")
    with pytest.raises(ValueError, match=r"column 'day': expected numbers, got date32\[day\]"):
        from_table(tmp_path / "days.parquet", {"day": "real"})
