"""A folder of `fit`: who may go on in it, with what, and what it says where that is not so."""

import math
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.test_files import strict
from tests.train.toy import DATA, assert_same_fit, toy_fit, toy_model, toy_objective, toy_update
from vaejax.files import read_json
from vaejax.train import Checkpoints, read_metrics
from vaejax.types import Split

KEY_7 = np.asarray(jax.random.key_data(jax.random.key(7))).tolist()


def model_of(**spec):
    return toy_model()._replace(spec=spec)


@pytest.fixture(scope="module")
def run_of_six(tmp_path_factory):
    """A run of 6 steps of a model with a spec; only to be copied."""
    folder = tmp_path_factory.mktemp("six") / "run"
    toy_fit(6, chunk=2, save_every=1, folder=folder, model=model_of(builder="toy", width=8, alpha=math.inf))
    return folder


@pytest.fixture
def six(run_of_six, tmp_path):
    shutil.copytree(run_of_six, tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}


def go_on(folder, **options):
    model = model_of(builder="toy", width=8, alpha=math.inf)
    return toy_fit(**{"steps": 8, "folder": folder, "resume": True, "model": model, **options})


# paths


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    whole = toy_fit(4, chunk=2, folder="~/runs/x")
    assert list(Path.cwd().iterdir()) == []
    np.testing.assert_array_equal(read_metrics("~/runs/x")[0]["loss"], whole.metrics["loss"])
    checkpoints = Checkpoints("~/runs/x/checkpoints/latest")
    assert checkpoints.latest() == 4
    checkpoints.close()
    fits = toy_fit(4, chunk=2, folder=Path("~/seeds"), seeds=(1,))
    assert (tmp_path / "home" / "seeds" / "seed-1" / "metrics.jsonl").exists()
    assert list(Path.cwd().iterdir()) == []
    assert len(fits) == 1


@pytest.mark.parametrize(("folder", "kind"), [(3, "int"), (b"x", "bytes")])
def test_what_is_no_path_is_refused(folder, kind):
    with pytest.raises(TypeError, match=f"folder: expected a path, got {kind}"):
        toy_fit(4, folder=folder)


# what it says of the run


def test_model_and_call_are_written_and_follow_a_resume(six):
    assert read_json(six / "model.json") == {"builder": "toy", "width": 8, "alpha": math.inf}
    config = read_json(six / "config.json")
    assert config == {
        "made_by": "vaejax.train.fit", "steps": 6, "batch_size": 6, "chunk": 2, "save_every": 1,
        "log_every": 1, "examples": 20, "support": "real", "key": KEY_7,
    }  # fmt: skip
    go_on(six, chunk=4)
    assert read_json(six / "config.json") == {**config, "steps": 8, "chunk": 4, "save_every": 10}


def test_a_spec_that_is_no_plain_data_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match=r"model\.spec\.net: expected plain data, .*; got object"):
        toy_fit(4, folder=tmp_path, model=model_of(net=object()))
    assert contents(tmp_path) == {}


def test_a_run_without_a_checkpoint_may_start_anew_with_another_model(tmp_path):
    def stop(n, record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_fit(4, chunk=4, folder=tmp_path, model=model_of(width=1), progress=stop)
    assert read_json(tmp_path / "model.json") == {"width": 1}
    toy_fit(4, chunk=4, folder=tmp_path, model=model_of(width=2))
    assert read_json(tmp_path / "model.json") == {"width": 2}


# who may go on


def test_another_model_does_not_resume_and_both_are_named(six):
    before = contents(six)
    other = model_of(builder="toy", width=16, head={"name": "MLP", "options": {"features": (4,)}})
    differing = r"alpha: inf there, None now; head\.name: None there, 'MLP' now; "
    differing += r"width: 8 there, 16 now"
    with pytest.raises(ValueError, match=rf"model: .*run holds a run of another model \({differing}\)"):
        go_on(six, model=other)
    assert contents(six) == before


def test_a_net_of_ones_own_may_move_to_another_module(tmp_path):
    def of(name):
        return model_of(builder="toy", net={"name": name, "options": None}, new=None)

    toy_fit(4, folder=tmp_path, model=of("__main__.Half"))
    toy_fit(6, folder=tmp_path, model=of("mine.nets.Half"), resume=True)
    with pytest.raises(ValueError, match=r"\(net\.name: 'Half .*' there, 'Whole \(not of vaejax\)' now\)"):
        toy_fit(8, folder=tmp_path, model=of("mine.nets.Whole"), resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data": Split({"x": np.r_[DATA.arrays["x"], DATA.arrays["x"]]}, "real")},
            r"another in examples \(20 there, 40 now\); what may change are steps, chunk, save_every and log",
        ),
        ({"batch_size": 5}, r"another in batch_size \(6 there, 5 now\); what may"),
        ({"key": jax.random.key(8)}, r"another in key \(\[0, 7\] there, \[0, 8\] now\); what may"),
        (
            {"key": jax.random.key(8), "batch_size": 5},
            r"another in key \(\[0, 7\] there, \[0, 8\] now\), batch_size \(6 there, 5 now\); what may",
        ),
    ],
)
def test_what_must_be_the_same_is_named_with_both_values(six, change, message):
    before = contents(six)
    with pytest.raises(ValueError, match=f"resume: the run in .*run is {message}"):
        go_on(six, **change)
    assert contents(six) == before


def test_other_values_in_as_many_examples_are_warned_of(six):
    with pytest.warns(
        RuntimeWarning, match=r"the data have other values than those that the run in .*run was"
    ):
        go_on(six, data=Split({"x": DATA.arrays["x"] + 1}, "real"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go_on(six, steps=9, data=Split({"x": DATA.arrays["x"] + 1}, "real"))


def test_one_training_at_a_time_writes_to_a_folder(six):
    tried = []

    def meanwhile(n, record):
        with pytest.raises(ValueError, match=r"folder: .*run is in use by another training"):
            go_on(six)
        tried.append(record["step"])

    go_on(six, chunk=2, progress=meanwhile)
    assert tried == [8]
    go_on(six, steps=10)  # it is free again
    with pytest.raises(ValueError, match="steps: expected at least"):
        go_on(six, steps=2)
    go_on(six, steps=10)  # also after one that was refused


HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print(flush=True)
input()
"""


def test_another_process_blocks_until_it_is_dead(six):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(six)], **pipes) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match=r"folder: .*run is in use by another training"):
            go_on(six)
        other.kill()
    go_on(six)


# metrics


def test_metrics_are_json_on_every_line_also_where_a_run_diverges(tmp_path):
    with pytest.raises(FloatingPointError):
        toy_fit(8, chunk=4, folder=tmp_path, update=toy_update(toy_objective(nan_from=5)))
    lines = [strict(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert lines[5]["loss"] is None
    assert lines[5]["not_finite"]["loss"] == "nan"
    assert "not_finite" not in lines[4]
    np.testing.assert_array_equal(np.isnan(read_metrics(tmp_path)[0]["loss"]), [False] * 5 + [True] * 3)
    scores = iter([math.nan, math.inf])
    folder = tmp_path / "validated"
    fitted = toy_fit(4, chunk=2, save_every=1, folder=folder, validate=lambda *_: {"neg_elbo": next(scores)})
    lines = [strict(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["not_finite"] for line in lines if "validation" in line] == [
        {"validation.neg_elbo": "nan"}, {"validation.neg_elbo": "inf"},
    ]  # fmt: skip
    assert repr(read_metrics(folder)[1]) == repr(fitted.validation)


def test_a_run_of_an_older_version_with_bare_nan_is_read(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n')
    assert math.isnan(read_metrics(tmp_path)[0]["loss"][0])


@pytest.mark.parametrize("garbled", ['{"step": 3, "lo', "\x00\x00", "[3]", '{"loss": 1.0}', "3"])
def test_a_garbled_line_is_named(six, garbled):
    path = six / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], garbled, *lines[3:]]) + "\n")
    before = contents(six)
    for read in (read_metrics, go_on):
        with pytest.raises(ValueError, match=r"folder: expected a record of metrics in line 3 of .*, got"):
            read(six)
    assert contents(six) == before
    path.write_text("\n".join([*lines[:2], *lines[3:]]) + "\n")
    assert go_on(six).metrics["step"].tolist() == [1, 2, 4, 5, 6, 7, 8]


# the best state


def scripted(*scores):
    left = list(scores)
    return lambda key, vae: {"neg_elbo": left.pop(0)}


OPTIONS = {"chunk": 2, "save_every": 1}


def test_the_best_score_survives_a_lost_metrics_file(tmp_path):
    toy_fit(4, validate=scripted(1.0, 2.0), folder=tmp_path, **OPTIONS)
    (tmp_path / "metrics.jsonl").write_text("")
    resumed = toy_fit(6, validate=scripted(3.0, 1.5), folder=tmp_path, resume=True, **OPTIONS)
    assert int(resumed.best.step) == 2
    best = Checkpoints(tmp_path / "checkpoints" / "best")
    assert best.latest() == 2
    assert best.meta()["neg_elbo"] == 1.0
    best.close()


def test_after_a_lost_best_state_the_best_of_what_comes_is_kept(tmp_path):
    first = toy_fit(4, validate=scripted(1.0, 2.0), folder=tmp_path, **OPTIONS)
    for file in (tmp_path / "checkpoints" / "best").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"the checkpoint of step 2 in .*best is damaged and left out"):
        resumed = toy_fit(8, validate=scripted(3.0, 4.0), folder=tmp_path, resume=True, **OPTIONS)
    assert int(resumed.best.step) == 6
    assert_same_fit(resumed, toy_fit(8, **OPTIONS))
    assert int(first.best.step) == 2
