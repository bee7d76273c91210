"""An experiment from its flags to its report, on the toy: folders, seeds, resume, sweeps, what diverges."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.lab import toy
from tests.lab.toy import COLUMNS, Config, params
from tests.train.toy import assert_same
from vaejax import lab, plots, runs, train
from vaejax.files import dumps, loads
from vaejax.lab import trainings
from vaejax.runs.texts import seeds_text
from vaejax.train import Checkpoints

TWO = Config(seeds=2, first_seed=5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "run"
    return toy.run(replace(TWO, folder=folder))


@pytest.fixture
def trained(monkeypatch):
    """The folders of what is trained, in order."""
    fit, seen = train.fit, []

    def spy(*arguments, folder, **options):
        seen.append(folder.name)
        return fit(*arguments, folder=folder, **options)

    monkeypatch.setattr(trainings.train, "fit", spy)
    return seen


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]


def test_every_row_is_trained_with_every_seed_in_its_folder(finished):
    folder = finished.folder
    assert [n for n in _names(folder) if (folder / n).is_dir()] == [
        "far-seed5", "far-seed6", "near-seed5", "near-seed6",
    ]  # fmt: skip
    told = runs.read_json(folder / "report.json")
    assert told == loads(dumps(finished.report))
    for name in ("near", "far"):
        each = [runs.read_json(folder / f"{name}-seed{seed}" / "report.json") for seed in (5, 6)]
        for report, seed in zip(each, (5, 6), strict=True):
            place = folder / f"{name}-seed{seed}"
            assert report["size"] == pytest.approx(params(place)["encoder"].sum())
            assert report["train_seconds"] > 0
            np.testing.assert_array_equal(np.load(place / "encoder.npy"), params(place)["encoder"])
            config = runs.read_json(place / "config.json")
            assert (config["model"], config["seed"], config["pull"]) == (name, seed, 0.5)
        assert each[0]["size"] != each[1]["size"]
        assert told["models"][name]["size"] == runs.mean_ci95([r["size"] for r in each])
        assert told["models"][name].keys() == {"size", "pull", "error", "train_seconds"}
    manifest = runs.read_json(folder / "manifest.json")
    assert manifest["wall_seconds"] > 0
    assert manifest["parameters"] == 6
    assert finished.minus("far", "near")["size"] == runs.welch_ci95(
        *(told["models"][name]["size"]["per_seed"] for name in ("far", "near"))
    )


def test_the_tables_show_means_intervals_and_differences(finished, capsys):
    finished.table(COLUMNS)
    finished.side_by_side({"size": "size", "none": "none"}, minus=("far", "near"))
    rows = _cells(capsys.readouterr().out)
    entry = finished.report["models"]["near"]["size"]
    shown = f"{entry['mean']:.4g} [{entry['ci95'][0]:.4g}, {entry['ci95'][1]:.4g}]"
    assert rows[0] == ["", "size", "pull", "kind"]
    assert rows[2] == ["near", shown, "0.5 [0.5, 0.5]", "near"]
    assert rows[4] == ["", "near", "far away", "far away minus near"]
    assert rows[6][:2] == ["size", shown]
    assert rows[6][3] == runs.shown(finished.minus("far", "near")["size"])
    assert rows[7] == ["none", "-", "-", "-"]


def test_figures_bear_the_seeds_that_they_show_and_the_folder_comes_last(finished, monkeypatch, capsys):
    notes = {}
    monkeypatch.setattr(plots, "save", lambda figure, path, note: notes.update({path.name: (figure, note)}))
    report = finished.draw(
        model=lambda run: run.vae("near"),
        array=lambda run: run.array("far", "encoder"),
        scores=lambda run: run.scores("far")["size"],
        all=lambda run: run.reports["near"],
        records=lambda run: len(run.read("near", train.read_metrics)),
        nothing=lambda run: None,
    )
    assert report is finished.report
    whose = {name: note for name, (_, note) in notes.items()}
    one, both = dict.fromkeys(("model.png", "array.png", "scores.png"), "seed 5"), "seeds 5, 6"
    assert whose == one | {"all.png": both, "records.png": both, "nothing.png": ""}
    place = finished.folder / "far-seed5"
    assert notes["scores.png"][0] == runs.read_json(place / "report.json")["size"]
    np.testing.assert_array_equal(notes["array.png"][0], np.load(place / "encoder.npy"))
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == f"report and figures: {finished.folder.resolve()}"
    assert "figures: 100%" in shown.err
    assert [seeds_text(set(s)) for s in ((), (3,), (0, 1, 2), (0, 2, 5))] == [
        "", "seed 3", "seeds 0 to 2", "seeds 0, 2, 5",
    ]  # fmt: skip


def test_the_bar_counts_what_is_scored(tmp_path, capsys):
    toy.run(Config(folder=tmp_path / "run"))
    assert "2 of 2 scored" in capsys.readouterr().err


def test_a_finished_run_is_left_as_it_is_and_reported_again(finished, trained):
    folder = finished.folder
    again = toy.run(replace(TWO, folder=folder, workers=3))
    (folder / "report.json").unlink()
    read = toy.run(Config(folder=folder, report_only=True, preset="slow", seeds=9))
    assert trained == []
    assert again.report["models"] == read.report["models"] == finished.report["models"]
    assert (read.config.seeds, read.config.first_seed, read.config.preset) == (2, 5, "fast")
    assert read.config.sizes == (1, 2)
    assert (folder / "report.json").exists()
    with pytest.raises(ValueError, match=r"holds a run of another config .*pull: 0\.5 there, 0\.7 now"):
        toy.run(replace(TWO, folder=folder, pull=0.7))


def test_an_unfinished_run_has_no_report(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        toy.run(Config(folder=tmp_path, report_only=True))
    runs.write_json(tmp_path / "config.json", Config())
    with pytest.raises(FileNotFoundError, match=r"near-seed0, .*far-seed0 has no report.json"):
        toy.run(Config(folder=tmp_path, report_only=True))


def test_a_stopped_run_goes_on_to_the_same_end(finished, tmp_path, monkeypatch):
    fit, steps = train.fit, []

    def stopped(*args, progress, **kwargs):
        def interrupt(n, record):
            progress(n, record)
            steps.append(record["step"])
            if steps == [2, 4, 2, 4]:  # the second training's last chunk is done, and not saved yet
                raise KeyboardInterrupt

        return fit(*args, progress=interrupt, save_every=1, **kwargs)

    monkeypatch.setattr(trainings.train, "fit", stopped)
    config = replace(TWO, folder=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        toy.run(config)
    toy.run(config)
    assert steps == [2, 4, 2, 4] + [4] + 2 * [2, 4]
    for name in ("near-seed5", "near-seed6", "far-seed5", "far-seed6"):
        assert_same(params(finished.folder / name), params(tmp_path / "run" / name))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("sweeps")


@pytest.fixture(scope="module")
def swept(work):
    run = toy.run(Config(folder=work / "sweep", sweep=("pull=.5,1",)))
    run.table(COLUMNS)
    return run


def test_a_cell_has_the_numbers_of_a_run_without_a_sweep(work, swept, trained):
    alone = toy.run(Config(folder=work / "alone", pull=1.0))
    assert trained == ["far-seed0", "near-seed0"]  # the longest first
    told = runs.read_json(work / "sweep" / "report.json")
    assert [cell["values"] for cell in told["cells"]] == [{"pull": 0.5}, {"pull": 1.0}]
    cell = told["cells"][1]["models"]
    for name, scores in alone.report["models"].items():
        assert cell[name]["size"] == scores["size"]
    kinds = [name.split("-")[0] for name in _names(work / "sweep" / "trainings")]
    assert kinds == ["far", "near", "near"]  # one "far" for both cells
    read = toy.run(Config(folder=work / "alone", report_only=True, sweep=("pull=7",)))
    assert read.report["models"] == alone.report["models"]  # as with a preset that sweeps


def test_the_report_the_table_and_the_figure_are_of_every_cell(work, swept, monkeypatch, capsys):
    drawn = {}
    monkeypatch.setattr(plots, "save", lambda figure, path, note: drawn.update({path: figure}))
    run = toy.run(Config(folder=work / "sweep", report_only=True, pull=7.0))
    run.side_by_side(COLUMNS, minus=("far", "near"))
    (figure,) = drawn.values()
    assert list(drawn) == [work / "sweep" / "figures" / "sweep.png"]
    sizes = [[c["models"][n]["size"]["mean"] for c in run.report["cells"]] for n in ("near", "far")]
    first = figure.axes[0].get_lines()
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in first] == [
        ([0.5, 1.0], each) for each in sizes
    ]
    rows = _cells(capsys.readouterr().out)
    assert rows[0] == ["pull", "", "size", "pull (score)", "kind"]
    assert [row[:2] for row in rows[2:]] == [[p, n] for p in ("0.5", "1") for n in ("near", "far away")]
    with (work / "sweep" / "sweep.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["size"]) for line in lines] == [s for pair in zip(*sizes, strict=True) for s in pair]
    assert [line["row"] for line in lines] == ["near", "far away"] * 2
    seen = []
    swept.draw(own=seen.append)
    assert [cell.values for cell in seen] == [{"pull": 0.5}]


def test_an_extended_grid_trains_what_is_new_and_other_settings_are_refused(work, swept, trained):
    run = toy.run(Config(folder=work / "sweep", sweep=("pull=.25,.5,1", "learning_rate=1e-3,2e-3")))
    points = list(itertools.product((0.25, 0.5, 1.0), (1e-3, 2e-3)))
    assert [tuple(cell.values.values()) for cell in run.cells] == points
    # learning_rate 2e-3: far and three nears; 1e-3: the near of pull .25
    assert sorted(name.split("-")[0] for name in trained) == ["far"] + 4 * ["near"]
    assert run.report["cells"][2]["models"] == swept.report["cells"][0]["models"]
    with pytest.raises(ValueError, match=r"holds a run of another config .*steps: 4 there, 6 now"):
        toy.run(Config(folder=work / "sweep", sweep=("pull=.5",), steps=6))
    with pytest.raises(ValueError, match=r"sweep: \['pull=.25,.5,1', .* there, \[\] now"):
        toy.run(Config(folder=work / "sweep"))


@pytest.fixture(scope="module")
def broken(work):
    """Two processes, four trainings, two of which diverge."""
    config = Config(folder=work / "broken", sweep=("breaks=3,0",), workers=2, learning_rate=2e-3)
    return config, toy.run(config)


def test_what_diverges_is_shown_as_such_and_the_others_go_on(broken, capsys):
    config, run = broken
    run.table(COLUMNS)
    rows = _cells(capsys.readouterr().out)
    assert [row[:2] for row in rows[2:4]] == [["3", "near"], ["3", "far away"]]
    assert {cell for row in rows[2:4] for cell in row[2:]} == {"diverged at step 4"}
    assert [row[4] for row in rows[4:]] == ["near", "far"]
    told = runs.read_json(config.folder / "report.json")["cells"][0]["models"]["near"]["stopped"]["0"]
    assert told["diverged"] == 4
    assert "the loss is not finite at step 4" in told["error"]
    with (config.folder / "sweep.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["stopped"] for line in lines] == 2 * ["diverged at step 4"] + 2 * [""]
    assert [bool(line["size"]) for line in lines] == [False, False, True, True]


def test_what_diverged_is_not_trained_again_unless_asked(broken, trained):
    config, run = broken
    again = toy.run(config)
    assert trained == []
    assert again.report["cells"] == run.report["cells"]
    toy.run(replace(config, retry=True, workers=1))
    assert len(trained) == 2
    with pytest.raises(RuntimeError, match="near-seed0: diverged at step 2"):
        toy.run(Config(folder=config.folder.parent / "all", breaks=1))


def test_a_mean_is_of_the_seeds_that_have_scores(finished, tmp_path, capsys):
    run = toy.run(replace(TWO, folder=tmp_path / "run"))
    place = run.folder / "near-seed6"
    (place / "report.json").unlink()
    runs.write_json(place / "stopped.json", {"diverged": 7, "error": "x"})
    (part := toy.run(replace(TWO, folder=run.folder))).table(COLUMNS)
    kept = finished.report["models"]["near"]["size"]["per_seed"][0]
    assert part.report["models"]["near"]["size"]["per_seed"] == [kept]
    assert _cells(capsys.readouterr().out)[2][1] == f"{kept:.4g}; 1 of 2 diverged at step 7"


def test_what_cannot_be_scored_is_named_and_tried_again(tmp_path, trained, capsys):
    config = Config(folder=tmp_path / "run", sweep=("pull=13,1",))
    toy.run(config).table({"size": "size"})
    shown = capsys.readouterr()
    assert ["13", "near", "failed: ValueError: pull: unlucky"] in _cells(shown.out)
    assert "in the training" in shown.err
    trained.clear()
    toy.run(config)
    assert [name.split("-")[0] for name in trained] == [
        "near"
    ]  # its steps are there: they are not done again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 99}, "batch_size: expected at most the 20 examples"),
        ({"kind": "b"}, "kind: expected a, got b"),
        ({"sweep": ("pull=.1,-1",)}, "pull: expected a finite number of at least 0, got -1.0"),
        ({"sweep": ("pul=1",)}, "sweep: expected one of .*; got 'pul'"),
        ({"sweep": ("workers=1,2",)}, "got 'workers': it cannot be swept"),
        ({"sweep": ("sweep=pull=1",)}, "got 'sweep': it cannot be swept"),
    ],
)
def test_a_run_refused_before_any_training_leaves_no_config(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        toy.run(Config(folder=tmp_path / "run", **change))
    assert not list(tmp_path.rglob("*.json"))


def test_a_training_may_begin_with_another_one(tmp_path):
    def training(config, name):
        first = toy.training(config, "far")
        last = toy.training(config, "near")
        return lab.Training(
            last.model, last.update, last.data, steps=2, before=("first", first, ("encoder",))
        )

    starts = []

    def score(config, name, vae, data):
        place = tmp_path / "run" / "near-seed0"
        starts.append(train.read_metrics(place / "first")[0]["step"].tolist())
        return {"size": 1.0}

    lab.run(Config(folder=tmp_path / "run"), toy.PRESETS, {"near": "near"}, training, score)
    assert starts == [[1, 2, 3, 4]]
    saved = Checkpoints(tmp_path / "run" / "near-seed0" / "first" / "checkpoints" / "latest")
    first, _ = saved.restore_params()
    saved.close()
    last = params(tmp_path / "run" / "near-seed0")
    assert np.abs(first["encoder"] - last["encoder"]).max() < 0.003  # two steps of Adam from where it ended
    assert last["decoder"] < 3.0 < first["decoder"]  # and the decoder started afresh


def test_a_summary_adds_entries_scores_and_rows(tmp_path):
    def summary(run):
        half = {name: [{"half": r["size"] / 2} for r in run.reports[name]] for name in run.rows}
        return {"rows": {**half, "PCA": [{"size": 2.0}]}, "sum": run.report["models"]["near"]["size"]["mean"]}

    run = toy.run(Config(folder=tmp_path / "run"), summary=summary)
    told = runs.read_json(tmp_path / "run" / "report.json")
    near = told["models"]["near"]
    assert near["half"]["mean"] == near["size"]["mean"] / 2 == told["sum"] / 2
    assert told["models"]["PCA"]["size"]["mean"] == 2.0
    assert [row.label for row in run.rows.values()] == ["near", "far away", "PCA"]
    assert list(run.labels) == ["near", "far"]


def test_seconds_of_training_are_those_of_all_steps_or_not_known(tmp_path):
    config = Config(folder=tmp_path / "run")
    place = tmp_path / "run" / "near-seed0"

    def seconds():
        return toy.run(config).reports["near"][0]["train_seconds"]

    first = seconds()
    assert first > 0
    (place / "report.json").unlink()  # killed while scoring
    assert seconds() == first
    (place / "report.json").unlink()
    (place / "seconds.jsonl").unlink()
    assert seconds() is None


def test_a_resumed_training_adds_its_seconds_to_those_before(tmp_path, monkeypatch):
    """The first process is killed at step 4, which is not saved; the second begins at step 2."""
    config = Config(folder=tmp_path / "run", steps=6, sweep=("pull=1",))
    fit, killed, now = train.fit, [], [0.0]

    def timed(*args, progress, **kwargs):
        def tick(n, record):
            now[0] += 10.0  # each chunk takes 10 s
            progress(n, record)
            if record["step"] == 4 and not killed:
                killed.append(record)
                now[0] += 7.0
                raise KeyboardInterrupt

        return fit(*args, progress=tick, save_every=1, **kwargs)

    monkeypatch.setattr(trainings.train, "fit", timed)
    monkeypatch.setattr(trainings.time, "perf_counter", lambda: now[0])
    with pytest.raises(KeyboardInterrupt):
        toy.run(config)
    run = toy.run(config)
    path = run.cells[0].jobs["far"][0].folder / "seconds.jsonl"
    assert train.read_seconds(path.parent) == {0: 0.0, 2: 10.0, 4: 20.0, 6: 30.0}
    assert run.cells[0].reports["far"][0]["train_seconds"] == 30.0
    path.write_text("[2, 5.0]\n[4, null]\n[6, 1")  # a step that nobody timed, and a line cut by a kill
    assert train.read_seconds(path.parent) == {0: 0.0, 2: 5.0, 4: None}


def test_a_long_training_keeps_some_of_its_records(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "LOGGED", 2)
    toy.run(Config(folder=tmp_path / "run"))
    assert train.read_metrics(tmp_path / "run" / "near-seed0")[0]["step"].tolist() == [2, 4]
