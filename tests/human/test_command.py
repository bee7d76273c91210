"""`python -m vaejax.human`: what it takes of models and sets, what it refuses, and what a report leaves.

That both commands go from trained runs to a report is in tests/experiments/test_scripts.py.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from tests.human.studies import CALLED, KEY, QUALITY, study
from vaejax import data, distributions, evaluation, human, models, nets
from vaejax.human import __main__ as command
from vaejax.types import Split

SMALL = ["--pairs=2", "--items=2", "--repeats=1", "--checks=1"]


@pytest.fixture(scope="module")
def loaded():
    """{folder: a run} of two untrained models of digits."""
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(2, (4,), event_ndims=3), decoder=nets.MLP((4,), (8, 8, 1)), latents=2,
        likelihood=distributions.gaussian(0.2),
    )  # fmt: skip
    batch = {"x": np.zeros((2, 8, 8, 1), np.float32)}
    init = jax.jit(lambda key: model.init(key, batch)[0])
    config = {"dataset": "digits", "steps": 3}
    vaes = {name: model.bind(init(jax.random.key(seed))) for seed, name in enumerate("ab")}
    return {name: SimpleNamespace(config=config, vae=vae, model=model) for name, vae in vaes.items()}


@pytest.fixture
def make(loaded, tmp_path, monkeypatch, capsys):
    """A function that runs `make` on both models: (status, key, page as data, what it printed)."""
    monkeypatch.setattr(command.runs, "load", lambda folder, checkpoint: loaded[folder.name])

    def run(*flags):
        words = ["make", "--runs", "runs/a", "runs/b", "--out", str(tmp_path / "rating"), *SMALL, *flags]
        status = command.main(words)
        printed = capsys.readouterr()
        if status:
            return status, None, None, printed.err
        text = (tmp_path / "rating" / "rate.html").read_text()
        block = text.split('<script type="application/json" id="page">')[1].split("</script>")[0]
        return status, human.read_key(tmp_path / "rating"), json.loads(block), printed.out

    return run


def pictures(page):
    """What each trial shows, as uint8 [parts, H, W], and what stands beside it."""

    def opened(i):
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(page["parts"][i]["png"]))))

    return [
        ([[opened(i) for i in group] for group in trial["shown"]], [opened(i) for i in trial["reference"]])
        for trial in page["trials"]
    ]


def bytes_of(images):
    return np.round(255 * np.clip(np.asarray(images)[..., 0], 0, 1)).astype(np.uint8)


def test_samples_stand_beside_real_images_of_the_runs_own_set(make):
    status, key, page, printed = make("--samples=12")
    assert status == 0
    assert key.systems == ("a", "b")
    assert list(key.questions) == ["ab", "likert", "turing"]
    real = bytes_of(data.digits().test.arrays["x"][:4] / 255)
    seen = {name: set() for name in ("a", "b", "real")}
    for trial, (groups, beside) in zip(key.trials, pictures(page), strict=True):
        assert beside == []
        for name, (item,), (picture,) in zip(trial.systems, trial.items, groups, strict=True):
            if name != "noise":
                seen[name].add((item, picture.tobytes()))
    assert seen["real"] == {(i, real[i].tobytes()) for i in range(4)}
    assert not seen["a"] & seen["b"]
    assert all(len({item for item, _ in of}) == len(of) for of in seen.values())
    assert f"{len(key.trials)} trials" in printed
    assert "values are beyond the limits" in printed  # of models that nobody trained


def test_reconstructions_stand_beside_their_input(make, loaded):
    _, key, page, _ = make("--show=reconstructions", "--samples=10")
    x = data.digits().test.arrays["x"][:14].astype(np.float32) / 255  # the first four are the real ones
    expected = {name: bytes_of(evaluation.reconstruct(run.vae, x[4:])) for name, run in loaded.items()}
    for trial, (groups, beside) in zip(key.trials, pictures(page), strict=True):
        for name, (item,), (picture,) in zip(trial.systems, trial.items, groups, strict=True):
            if name in expected:
                np.testing.assert_allclose(picture, expected[name][item], atol=1)  # one program or another
        if trial.task in ("ab", "likert"):
            np.testing.assert_array_equal(beside[0], bytes_of(x[4 + trial.items[0][0]]))
    assert "match" in key.questions["likert"]


def test_traversals_are_strips_of_one_latent(make, loaded):
    _, key, page, _ = make("--show=traversals", "--samples=7")
    assert list(key.questions) == ["ab", "likert"]
    assert "one thing change" in page["trials"][0]["question"]
    x = data.digits().test.arrays["x"][:4].astype(np.float32) / 255
    strips = {
        name: np.concatenate([bytes_of(evaluation.traverse(run.vae, each, command.FRAMES)) for each in x])[:7]
        for name, run in loaded.items()
    }
    for trial, (groups, _) in zip(key.trials, pictures(page), strict=True):
        for name, (item,), frames in zip(trial.systems, trial.items, groups, strict=True):
            assert len(frames) == len(command.FRAMES)
            if name != "noise":
                np.testing.assert_allclose(np.stack(frames), strips[name][item], atol=1)


def test_bytes_and_other_ranges_are_shown_in_black_and_white(make):
    _, key, page, _ = make("--samples=12", "--pixels=bytes", "--limits", "0", "0.5")
    real = data.digits().test.arrays["x"][:4, ..., 0] / 255
    for trial, (groups, _) in zip(key.trials, pictures(page), strict=True):
        if trial.systems == ("real",):
            ((item,),) = trial.items
            np.testing.assert_array_equal(groups[0][0], np.round(255 * np.clip(2 * real[item], 0, 1)))
    assert command._in_unit(np.array([51.0], np.float32), "bytes") == np.float32(0.2)
    assert command._in_unit(np.array([0.2]), "unit_interval") == 0.2


def test_names_are_the_last_parts_of_the_paths_that_differ():
    assert command._names([Path("runs/a"), Path("runs/b")]) == ["a", "b"]
    assert command._names([Path("x/vae/seed-0"), Path("x/wae/seed-0")]) == ["vae/seed-0", "wae/seed-0"]
    with pytest.raises(ValueError, match="runs: expected each folder once"):
        command._names([Path("runs/a"), Path("runs/a")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--samples=2",), r"systems['a']: expected at least"),
        (("--tasks", "abc"), "tasks: expected one of 'ab'"),
        (("--data", "digit"), "digit"),
        (("--pairs=0",), "pairs: expected at least 1"),
    ],
)
def test_what_makes_no_page_is_a_message_and_a_status(make, flags, message):
    status, _, _, error = make(*flags)
    assert status == 1
    assert message in error
    assert "Traceback" not in error


def test_without_a_set_there_are_no_real_images(make, loaded, monkeypatch):
    for run in loaded.values():
        monkeypatch.setattr(run, "config", {"steps": 3})
    _, key, _, _ = make("--samples=12")
    assert list(key.questions) == ["ab", "likert"]
    status, _, _, error = make("--samples=12", "--tasks", "turing")
    assert status == 1
    assert "data: expected --data NAME" in error


def test_a_set_that_is_drawn_has_the_side_of_the_runs(monkeypatch):
    def three_dots(side=64, *, seed=0):
        x = np.full((9, side, side, 1), 0.25, np.float32)
        return SimpleNamespace(test=Split({"x": x}, "unit_interval"))

    monkeypatch.setattr(command.data, "three_dots", three_dots)
    given = SimpleNamespace(items=1, runs=["a", "b"], show="samples", samples=3)
    options = {"side": 16, "pixels": None}
    real, inputs, support = command._images(given, KEY, "three_dots", options, ("turing",))
    assert (inputs, support) == (None, "unit_interval")
    assert real.shape == (2, 16, 16, 1)
    given.show = "reconstructions"
    options = {"side": None, "pixels": "bytes"}  # of which three-dots know nothing
    real, inputs, _ = command._images(given, KEY, "three_dots", options, ("turing",))
    assert (real.shape, inputs.shape) == ((2, 64, 64, 1), (3, 64, 64, 1))


@pytest.fixture
def answered(tmp_path):
    """The folder of a study, and that of three raters' answers."""
    sheet = study()
    human.write(sheet, tmp_path / "rating")
    answers = human.simulate(KEY, sheet.key, 3, QUALITY, called=CALLED)
    human.write_answers(sheet.key, answers, tmp_path / "answers")
    return tmp_path / "rating", tmp_path / "answers"


def test_a_report_prints_tables_and_leaves_numbers_and_a_figure(answered, capsys):
    rating, answers = answered
    (answers / "broken.json").write_text("{")
    assert command.main(["report", str(rating), str(answers), "--resamples=10", "--ties=drop"]) == 0
    printed = capsys.readouterr()
    assert "Bradley-Terry" in printed.out
    assert "3 raters" in printed.out
    assert f"not used: {answers / 'broken.json'}: expected JSON" in printed.err
    found = json.loads((rating / "report.json").read_text())
    assert len(found["refused"]) == 1
    assert found["ab"]["quality"]["win_rates"][0]["n"] == 18
    assert (rating / "figures" / "ratings.png").stat().st_size > 10_000


def test_a_report_of_nothing_is_a_message(answered, tmp_path, capsys):
    rating, _ = answered
    assert command.main(["report", str(rating), str(tmp_path / "none.json")]) == 1
    assert "got none that can be used" in capsys.readouterr().err
    assert command.main(["report", str(tmp_path), str(tmp_path)]) == 1
    assert "key.json" in capsys.readouterr().err
