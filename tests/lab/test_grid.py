"""The folders of runs and sweeps, and which cells share a training."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.toy import PRESETS, ROWS, Config, score, training
from vaejax import lab
from vaejax.lab import settings, trainings


def _folder(config):
    return settings.opened("title", config, PRESETS)[1]


def test_the_default_folder_keeps_configs_apart():
    fast, slow = PRESETS.values()
    assert _folder(fast) == Path("runs/title-fast")
    assert _folder(slow) == Path("runs/title-slow")
    assert _folder(replace(fast, workers=3, tensorboard=True, retry=True)) == Path("runs/title-fast")
    changed = {_folder(replace(fast, pull=p)).name for p in (0.3, 0.4)}
    assert len(changed) == 2
    assert all(name.startswith("title-fast-") for name in changed)
    (once, again) = (_folder(replace(fast, pull=3.0, sweep=s)) for s in (("seeds=1",), ("kind=a", "seeds=2")))
    assert once == again  # the folder of any grid
    assert once.name == _folder(replace(fast, pull=3.0)).name + "-sweep"
    with pytest.raises(ValueError, match="preset: expected one of 'fast', 'slow'; got 'quick'"):
        _folder(replace(fast, preset="quick"))


def test_a_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _folder(Config(folder=Path("~/runs/x"))) == tmp_path / "runs" / "x"


def _place(name="near", seed=3, rows=ROWS, **changes):
    """The folder of a training of a sweep."""
    config = replace(PRESETS["fast"], first_seed=seed, **changes)
    each = trainings.jobs(
        config, Config(), trainings.rows_of(rows, config), Path("run"), (training, score), True
    )
    return each[name][0].folder


# another value for every field; with it another training, or the same
OTHER = {
    "chunk": 9, "steps": 9, "batch_size": 9, "learning_rate": 0.1, "latents": 9, "pull": 9.0, "breaks": 9,
    "kind": "b", "sizes": (), "slices": 9,
}  # fmt: skip
FREE = {
    "preset": "slow", "folder": Path("f"), "workers": 9, "tensorboard": True, "report_only": True,
    "dry_run": True, "retry": True, "seeds": 9, "sweep": ("seeds=8",),
}  # fmt: skip


def test_a_training_of_a_sweep_lies_in_a_folder_named_by_all_that_it_depends_on():
    assert {f.name for f in dataclasses.fields(Config)} == OTHER.keys() | FREE.keys() | {"first_seed"}
    for name in ROWS:
        first = _place(name)
        assert first.parent == Path("run/trainings")
        assert (first.name.split("-")[0], first.name.split("-")[2]) == (name, "seed3")
        assert first != _place(name, seed=4)
        free = FREE | ({"pull": 9.0} if name == "far" else {})
        for field, value in (OTHER | FREE).items():
            assert (_place(name, **{field: value}) == first) is (field in free), field


def test_rows_may_share_a_training():
    rows = {"near": "near", "alias": lab.Row("the same", same_as="near")}
    assert _place("alias", rows=rows) == _place("near", rows=lambda config: rows)
