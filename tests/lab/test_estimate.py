"""What a dry run says: the arithmetic of many trainings, and that one of each kind is measured as it runs."""

from __future__ import annotations

import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.lab import toy
from tests.lab.toy import Config
from vaejax import data, lab, train
from vaejax.lab import estimate, trainings
from vaejax.lab.estimate import Cost, Part, makespan, readable
from vaejax.train.measure import StepCost


def step(seconds, compiled=0.0):
    return StepCost(seconds, 1.0, compiled, 5, 1.0, 1.0)


@pytest.fixture
def asked(monkeypatch):
    """The trainings that are measured; each costs what `costs` says, in turn."""
    jobs, costs = [], []

    def run_all(job, each, work, workers):
        jobs.extend(each)
        return [costs[(x.name, x.config.batch_size)] for x in each]

    monkeypatch.setattr(trainings, "run_all", run_all)
    costs = {  # a second, above, is that of tracing
        ("near", 4): Cost(5.0, 20.0, {"": Part(step(1.0, 29.0), 3600, 10.0)}, 100.0, 60.0),
        ("far", 4): Cost(6.0, 0.0, {"": Part(step(2.0, 9.0), 3590, 10.0)}),
        ("near", 6): Cost(7.0, 0.0, {"": Part(step(4.0), 3599, 3.0)}),
        ("far", 6): Cost(7.0, 0.0, {"": Part(step(8.0), 3599, 7.0)}, why="its scores are not counted whole"),
    }
    return jobs


def test_a_dry_run_trains_and_writes_nothing_and_adds_up(tmp_path, asked, capsys):
    config = Config(
        folder=tmp_path / "run", dry_run=True, workers=2, steps=3600,
        sweep=("batch_size=4,6", "pull=.1,.2", "seeds=1,2"),
    )  # fmt: skip
    run = toy.run(config)
    # floats do not change what a step takes; "far" does not read pull
    labels = [f"{name}, batch_size={b}" for b in (4, 6) for name in ("near", "far away")]
    assert list(run.report) == [*labels, "seconds"]
    assert len(asked) == 4  # two at a time
    hour = 3600
    # two workers: the most work first, "far" has twice that of "near"; two nears of batch 4 compile, of the
    # two others the programs are known, those of the scores, too, as jax keeps them
    assert jax.config.jax_compilation_cache_dir is not None
    each = [(2.0, 2 * hour)] * 2 + [(2.0, 8 * hour)] * 2
    each += [(1.0, hour + 160)] * 2 + [(1.0, hour + 91)] * 2 + [(1.0, 4 * hour)] * 4
    assert run.report["seconds"] == pytest.approx(5.0 + makespan(each, 2, 5.0))
    run.table(toy.COLUMNS)
    run.side_by_side(toy.COLUMNS, minus=("far", "near"))
    assert run.draw(none=lambda run: pytest.fail("drawn")) is run.report
    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if "|" in line]
    assert len(rows) == 2 + 4
    assert [cell.strip() for cell in rows[2][3:9]] == ["4", "1000", "30 s", "10 s", "1 min 40 s", "1"]
    assert "far away, batch_size=6: its scores are not counted whole" in printed
    assert printed.splitlines()[-1].startswith(f"about {readable(run.report['seconds'])}, 2 at a time")
    assert not (tmp_path / "run").exists()


def test_jobs_wait_for_whoever_is_free():
    assert makespan([(1, 3.0), (2, 4.0), (3, 5.0)], 2, 1.0) == 1 + 4 + 3  # 5 | 4, then 3 behind the 4
    assert makespan([(1, 3.0)] * 3, 1, 0.0) == 9.0
    assert makespan([(1, 3.0)] * 3, 9, 2.0) == 5.0


def test_every_worker_is_busy_while_others_are_measured(tmp_path, asked):
    toy.run(Config(folder=tmp_path / "run", dry_run=True, workers=3, batch_size=4, seeds=2))
    assert [job.name for job in asked] == ["near", "far", "near"]


def test_a_training_and_the_one_before_it_are_measured_with_their_validations_and_scores(tmp_path):
    """In this process, as a run of one worker has it."""
    calls = []

    def training(config, name):
        first, last = toy.training(config, "far"), toy.training(config, "near")
        options = {"validate": lambda key, vae: calls.append("checked") or {}, "save_every": 2}
        before = ("first", first, ("encoder",))
        return lab.Training(last.model, last.update, last.data, steps=9, before=before, **options)

    def score(config, name, vae, images):
        calls.append("scored")
        return toy.score(config, name, vae, images)

    config = Config(folder=tmp_path / "run", dry_run=True, steps=30)
    run = lab.run(config, toy.PRESETS, {"near": "near"}, training, score)
    cost = run.report["near"]
    assert {name: part.steps for name, part in cost.parts.items()} == {"first": 30, "": 9}
    assert calls == ["checked", "checked", "scored", "scored"]
    assert cost.parts["first"].checks == 0.0 < cost.parts[""].checks  # 9 steps, every fourth and the last
    assert cost.scores > 0
    both = sum(
        p.step.trace_seconds + p.step.compile_seconds + p.steps * p.step.seconds + p.checks
        for p in cost.parts.values()
    )
    assert cost.seconds == pytest.approx(cost.prepared + both + cost.scores)
    assert run.report["seconds"] >= cost.seconds
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("long", [False, True])
def test_scores_are_waited_for_unless_they_hardly_count(tmp_path, long, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "WAIT", 0.2)
    monkeypatch.setattr(estimate, "LONG", 0.0 if long else 1e9)
    ended = []

    def score(config, name, vae, images):
        for _ in range(60):
            time.sleep(0.01)
        ended.append(name)
        return {}

    run = lab.run(Config(folder=tmp_path, dry_run=True), toy.PRESETS, {"near": "near"}, toy.training, score)
    printed = capsys.readouterr().out
    assert ended == ([] if long else ["near"])
    assert ("near: its scores take more than 0.2 s, and are counted as that" in printed) == long
    assert run.report["near"].scores >= 0.2


def test_scores_that_fail_are_named_and_the_rest_is_told(tmp_path, capsys):
    run = toy.run(Config(folder=tmp_path, dry_run=True, pull=13.0))
    assert run.report["seconds"] > 0
    assert "far away: its scores are not counted whole: ValueError: pull: unlucky" in capsys.readouterr().out


def test_large_sets_that_are_drawn_are_not_made_for_the_scores(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path / "data"))
    seen = []
    dots = data.three_dots(16, num_train=estimate.IMAGES + 1, num_validation=1, num_test=1)
    made = SimpleNamespace(model=None, update=None, data=dots)
    job = SimpleNamespace(config=Config(), name="a", score=lambda *a: seen.append(a[-1]))
    monkeypatch.setattr(estimate, "_untrained", lambda made, some: None)
    assert estimate._scores(made, job, tmp_path / "here", None)[2] == ""
    assert (seen[0].num_train, seen[0].folder) == (estimate.FEW, tmp_path / "here")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"), (3.21, "3.2 s"), (59.6, "60 s"), (60, "1 min"), (290, "4 min 50 s"),
        (3600, "1 h"), (7830, "2 h 10 min"), (86400 * 3 + 4 * 3600, "3 d 4 h"), (86400 * 30, "30 d"),
    ],
)  # fmt: skip
def test_times_are_read_at_a_glance(seconds, text):
    assert readable(seconds) == text


def test_a_slow_step_is_measured_fewer_times():
    """The first step says how many a round has."""
    from tests.train.toy import DATA, KEY, toy_model, toy_update

    model = toy_model()
    counted, ran = [], jax.stages.Compiled.__call__

    def spy(self, *arguments):
        counted.append(int(np.asarray(arguments[-1])))
        return ran(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.stages.Compiled, "__call__", spy)
        options = {"batch_size": 6, "steps": 40, "rounds": 2}
        train.measure_step(KEY, model, toy_update(model=model), DATA, **options, seconds=1e-9)
        assert counted == [1, 1, 1]
        counted.clear()
        train.measure_step(KEY, model, toy_update(model=model), DATA, **options, seconds=1e9)
        assert counted == [1, 40, 40]
