"""The command line of experiments."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from experiments.cli import parse


@dataclass(frozen=True)
class Config:
    preset: str = "fast"
    steps: int = 10
    rate: float = 0.1


PRESETS = {"fast": Config(), "long": Config("long", steps=1000)}


def test_the_preset_is_read_first_wherever_it_stands():
    assert parse(PRESETS, None, []) == Config()
    assert parse(PRESETS, None, ["--rate", "0.5", "--preset", "long"]) == Config("long", 1000, 0.5)
    assert parse(PRESETS, None, ["--preset=long", "--steps", "3"]) == Config("long", 3, 0.1)


def test_help_shows_the_defaults_of_the_preset(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(PRESETS, "what it does", ["--preset", "long", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "what it does" in shown
    assert "1000" in shown


def test_an_unknown_preset_is_an_error():
    with pytest.raises(SystemExit, match="--preset: expected one of fast, long; got 'slow'"):
        parse(PRESETS, None, ["--preset", "slow"])


def test_an_unknown_flag_is_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(PRESETS, None, ["--stepz", "3"])
    assert stop.value.code == 2
    assert "--steps" in capsys.readouterr().err  # it says what was perhaps meant
