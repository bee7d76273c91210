"""SIGKILL at random moments: the resumed run ends as the uninterrupted one does, bit for bit."""

import shlex

import tyro

from benchmarks.kill import Config, main
from tests.commands import run_by

FEW = ["--kills=3", "--steps=40", "--chunk=20", "--patience=0.5", "--folder=run"]


def test_a_run_killed_three_times_ends_as_the_uninterrupted_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands = run_by("tests/train/test_kill.py")  # the pages give it without flags, its header with one
    *_, config = [tyro.cli(Config, args=[*shlex.split(command)[3:], *FEW]) for command in commands]
    assert config.kills == 3
    result = main(config)
    assert result["identical"]
    assert len(result["at"]) == 3
    assert result["at"] == sorted(result["at"])  # every resume goes on from where the one before stood
    assert "bit-identical" in capsys.readouterr().out
