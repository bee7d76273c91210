"""Paths and JSON: what is written comes back, nan and infinity too; what is refused leaves no byte."""

import enum
import json
import math
import re
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import disentanglement, plots, runs
from vaejax.evaluation.batches import mean_and_error
from vaejax.files import dumps, expanded, loads, read_json, write_json


@dataclass(frozen=True)
class Config:
    beta: float = 1.0
    folder: Path = Path("here")


class Mode(enum.Enum):
    FAST = "fast"


Scores = namedtuple("Scores", "mig sap")


def strict(text):
    """Parse as the JSON of the standard, which has no NaN."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


# paths


def test_a_table_is_written_in_one_piece_or_refused(tmp_path):
    path = tmp_path / "new" / "a.csv"
    with pytest.raises(ValueError, match="rows: expected one at least, got none"):
        runs.write_csv(path, [])
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        runs.write_csv(path, [{"a": 1}, {"b": 2}])
    assert list(tmp_path.iterdir()) == []
    runs.write_csv(path, [{"a": 1}])
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        runs.write_csv(path, [{"a": 2}, {"b": 2}])
    assert path.read_text() == "a\n1\n"


def test_a_tilde_is_the_home_folder_wherever_a_path_is_taken(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert expanded("~/x") == expanded(Path("~/x")) == home / "x"
    assert expanded("a/~") == Path("a/~")
    write_json("~/a.json", {"a": 1})
    assert read_json("~/a.json") == {"a": 1}
    assert runs.create("~/run", {"beta": 1.0}) == home / "run"
    assert plots.save(plots.image_grid(np.zeros((1, 4, 4, 1)), columns=1), "~/figures/a.png").is_file()
    runs.write_csv("~/a.csv", [{"a": 1, "b": "x,y"}, {"a": math.nan, "b": None}])
    assert (home / "a.csv").read_text() == 'a,b\n1,"x,y"\nnan,\n'
    assert sorted(p.name for p in home.iterdir()) == ["a.csv", "a.json", "figures", "run"]
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (3, TypeError, r"folder: expected a path, got int \(3\)"),
        (None, TypeError, r"folder: expected a path, got NoneType \(None\)"),
        (b"run", TypeError, r"folder: expected a path, got bytes"),
        (
            "~nobody-is-called-so/x",
            ValueError,
            "folder: expected '~' to be somebody's home folder, got '~nobo",
        ),
    ],
)
def test_what_is_no_path_is_refused_by_name(path, error, message):
    with pytest.raises(error, match=message):
        expanded(path)
    with pytest.raises(error, match=message):
        runs.create(path, {})


# JSON


def test_numbers_arrays_and_records_are_written_as_what_json_has(tmp_path):
    value = {
        "config": Config(),
        "named": Scores(0.5, [np.int32(2)]),
        "mapping": MappingProxyType({3: "three", np.int64(4): "four", 0.5: "half", Mode.FAST: 1}),
        "numpy": [np.float32(0.5), np.float16(0.25), np.bool_(True), np.str_("s")],
        "array": np.array([[1, 2], [3, 4]]),
        "objects": np.array(["a", None, 1], object),
        "jax": [jnp.arange(2.0), jnp.ones((), jnp.bfloat16), jnp.array(True)],
        "dtypes": [np.dtype("uint8"), np.float32, jnp.bfloat16, jnp.dtype(jnp.int32)],
        "enum": Mode.FAST,
        "tuple": (1, None, True),
    }
    write_json(tmp_path / "new" / "a.json", value)
    assert strict((tmp_path / "new" / "a.json").read_text()) == read_json(tmp_path / "new" / "a.json")
    assert read_json(tmp_path / "new" / "a.json") == {
        "config": {"beta": 1.0, "folder": "here"},
        "named": {"mig": 0.5, "sap": [2]},
        "mapping": {"3": "three", "4": "four", "0.5": "half", "fast": 1},
        "numpy": [0.5, 0.25, True, "s"],
        "array": [[1, 2], [3, 4]],
        "objects": ["a", None, 1],
        "jax": [[0.0, 1.0], 1.0, True],
        "dtypes": ["uint8", "float32", "bfloat16", "int32"],
        "enum": "fast",
        "tuple": [1, None, True],
    }
    numbers = [0.1 + 0.2, 1e-300, -0.0, 12345678901234567]
    assert loads(dumps(numbers)) == numbers  # to the bit


def test_what_is_not_finite_is_null_and_named_and_comes_back():
    value = {
        "psnr": math.inf,
        "models": [{"a.b": np.float32(-math.inf), "kl": 1.0}],
        "values": np.array([0.5, math.nan]),
        "half": jnp.array([math.nan], jnp.bfloat16),
        "none": None,
    }
    written = strict(dumps(value))
    assert written == {
        "psnr": None, "models": [{"a.b": None, "kl": 1.0}], "values": [0.5, None], "half": [None],
        "none": None,
        "not_finite": {"psnr": "inf", r"models.0.a\.b": "-inf", "values.1": "nan", "half.0": "nan"},
    }  # fmt: skip
    read = loads(dumps(value))
    assert read.keys() == value.keys()
    assert read["psnr"] == math.inf
    assert read["models"] == [{"a.b": -math.inf, "kl": 1.0}]
    np.testing.assert_array_equal(read["values"], [0.5, math.nan])
    assert math.isnan(read["half"][0])
    assert read["none"] is None
    assert dumps(read) == dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        math.nan, [1.0, math.inf], {"value": math.nan}, {"value": [math.nan]}, [[], [-math.inf]],
        {"a.b": {"c": math.nan}, "a": {"b.c": None}}, {"a\\": {"b": None}, "a\\.b": math.inf}, {"": math.nan},
    ],
    ids=str,
)  # fmt: skip
def test_any_tree_comes_back_with_its_nan_in_place(value):
    assert repr(loads(dumps(value))) == repr(value)
    strict(dumps(value))


def test_somebody_elses_not_finite_is_left_as_it_is(tmp_path):
    (tmp_path / "a.json").write_text('{"not_finite": ["a"], "a": null}')
    assert read_json(tmp_path / "a.json") == {"not_finite": ["a"], "a": None}
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(
        ValueError, match=rf"path: expected JSON in {re.escape(str(tmp_path / 'a.json'))}, got"
    ):
        read_json(tmp_path / "a.json")


def _endless():
    value = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"a": [object()]}, TypeError, r"value\.a\.0: expected plain data, numbers or arrays; got object"),
        ({"a": {1, 2}}, TypeError, r"value\.a: expected plain data, .*; got set"),
        ({"a": Config}, TypeError, r"value\.a: expected plain data, .*; got type"),
        ({"a": b"x"}, TypeError, r"value\.a: expected plain data, .*; got bytes"),
        ({"a": 1j}, TypeError, r"value\.a: expected plain data, .*; got complex"),
        ({"a": np.ones(1, complex)}, TypeError, r"value\.a: .*; got ndarray of complex128"),
        ({"a": np.ma.masked_invalid([math.nan])}, TypeError, r"value\.a: .*; got MaskedArray of float64"),
        ({"a": Scores(1, jax.random.key(0))}, TypeError, r"value\.a\.sap: .*; got PRNGKeyArray of key<fry>"),
        ({"a": {(1, 2): 3}}, TypeError, r"value\.a: expected names that are strings or numbers, got \(1,"),
        ({"a": {math.nan: 3}}, TypeError, r"value\.a: expected names that are strings or numbers, got nan"),
        ({"a": {1: 3, "1": 4}}, ValueError, r"value\.a: expected different names, got '1' twice"),
        ({"not_finite": 1}, ValueError, r"value\.not_finite: expected another name"),
        (_endless(), ValueError, "value: expected an end to it, got something that holds itself"),
    ],
)  # fmt: skip
def test_what_json_lacks_is_refused_by_name_and_the_old_file_stays(tmp_path, value, error, message):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(error, match=message):
        write_json(path, value)
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_in_one_piece(tmp_path, monkeypatch):
    path, seen = tmp_path / "a.json", []
    write_json(path, {"old": 1})
    replace = Path.replace

    def spy(self, target):
        seen.append((read_json(self), read_json(target)))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    write_json(path, {"new": 2})
    assert seen == [({"new": 2}, {"old": 1})]  # the new file is whole before the old one goes
    assert read_json(path) == {"new": 2}
    assert list(tmp_path.iterdir()) == [path]

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"new": 3})
    assert read_json(path) == {"new": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_scores_with_a_nan_make_a_report(tmp_path):
    """A constant factor has no MIG: it is nan by the metric's own documentation."""
    rng = np.random.default_rng(0)
    codes, factors = rng.normal(size=(200, 3)), np.stack([rng.integers(0, 3, 200), np.zeros(200, int)], 1)
    scores = disentanglement.mig(codes, factors)
    for value in (scores, scores._asdict()):
        write_json(tmp_path / "report.json", value)
        strict((tmp_path / "report.json").read_text())
        read = read_json(tmp_path / "report.json")
        assert read.keys() == scores._asdict().keys()
        for name, array in scores._asdict().items():
            assert repr(read[name]) == repr(array if array is None else np.asarray(array).tolist())
        assert "nan" in repr(read)


def test_the_mean_over_one_image_makes_a_report(tmp_path):
    write_json(tmp_path / "report.json", mean_and_error("log_px", np.array([-3.0])))
    assert strict((tmp_path / "report.json").read_text()) == {
        "log_px": -3.0, "log_px_se": None, "not_finite": {"log_px_se": "nan"},
    }  # fmt: skip
