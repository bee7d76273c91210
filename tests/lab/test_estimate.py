"""What a dry run says: the arithmetic of many trainings, and that one of each kind is measured as it runs."""

from __future__ import annotations

import time

import pytest

from tests.lab import toy
from tests.lab.toy import Config
from vaejax import lab
from vaejax.lab import estimate
from vaejax.lab.estimate import Cost
from vaejax.runs.processes import makespan
from vaejax.runs.texts import duration
from vaejax.train import FitCost, StepCost


def step(seconds, compiled=0.0):
    return StepCost(seconds, 1.0, compiled, 5, 1.0, 1.0)


@pytest.fixture
def asked(monkeypatch):
    """The trainings that are measured; each costs what `costs` says, in turn."""
    jobs, costs = [], []

    def run_all(job, each, work, workers):
        jobs.extend(each)
        return [(i, costs[(x.name, x.config.batch_size)]) for i, x in enumerate(each)]

    monkeypatch.setattr(estimate, "run_all", run_all)
    costs = {  # a second, above, is that of tracing
        ("near", 4): Cost(5.0, 20.0, {"": FitCost(step(1.0, 29.0), 3600, 10.0)}, (100.0, 60.0)),
        ("far", 4): Cost(6.0, 0.0, {"": FitCost(step(2.0, 9.0), 3590, 10.0)}),
        ("near", 6): Cost(7.0, 0.0, {"": FitCost(step(4.0), 3599, 3.0)}),
        ("far", 6): Cost(7.0, 0.0, {"": FitCost(step(8.0), 3599, 7.0)}, why="its scores are not counted"),
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
    # two others the programs are kept, those of the scores, too
    each = [(2.0, 2 * hour)] * 2 + [(2.0, 8 * hour)] * 2
    each += [(1.0, hour + 160)] * 2 + [(1.0, hour + 91)] * 2 + [(1.0, 4 * hour)] * 4
    assert run.report["seconds"] == pytest.approx(5.0 + makespan(each, 2))
    run.table(toy.COLUMNS)
    run.side_by_side(toy.COLUMNS, minus=("far", "near"))
    assert run.draw(none=lambda run: pytest.fail("drawn")) is run.report
    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if "|" in line]
    assert len(rows) == 2 + 4
    assert [cell.strip() for cell in rows[2][3:9]] == ["4", "1000", "30 s", "10 s", "1 min 40 s", "1"]
    assert "far away, batch_size=6: its scores are not counted" in printed
    assert printed.splitlines()[-1].startswith(f"about {duration(run.report['seconds'])}, 2 at a time")
    assert not (tmp_path / "run").exists()


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
    assert cost.parts["first"].validations == 0.0 < cost.parts[""].validations
    assert cost.scores[0] > 0
    both = sum(
        p.step.trace_seconds + p.step.compile_seconds + p.steps * p.step.seconds + p.validations
        for p in cost.parts.values()
    )
    assert cost.seconds == pytest.approx(cost.prepared + both + cost.scores[0])
    assert run.report["seconds"] >= cost.seconds
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("long", [False, True])
def test_scores_are_counted_unless_they_hardly_do(tmp_path, long, monkeypatch, capsys):
    if long:
        monkeypatch.setattr(estimate, "LONG", 0.0)
    ended = []

    def score(config, name, vae, images):
        time.sleep(0.2)
        ended.append(name)
        return {}

    run = lab.run(Config(folder=tmp_path, dry_run=True), toy.PRESETS, {"near": "near"}, toy.training, score)
    printed = capsys.readouterr().out
    assert ended == ([] if long else ["near", "near"])
    assert ("near: its scores hardly count, and are not counted" in printed) == long
    assert (run.report["near"].scores[1] >= 0.2) is not long


def test_scores_that_fail_are_named_and_the_rest_is_told(tmp_path, capsys):
    run = toy.run(Config(folder=tmp_path, dry_run=True, pull=13.0))
    assert run.report["seconds"] > 0
    assert "far away: its scores are not counted: ValueError: pull: unlucky" in capsys.readouterr().out
