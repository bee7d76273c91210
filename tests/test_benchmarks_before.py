"""What both checkouts run answers every turn, and the report compares them; no speed is asserted."""

import io
import sys

import pytest

from benchmarks import before


def test_the_child_compiles_and_steps_when_it_is_told_to(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["-c", "2"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("compile\nstep\nstep\n"))
    names = {}
    exec(before.CHILD, names)
    assert capsys.readouterr().out.split() == ["done"] * 3
    assert names["arguments"][0].step == 4


def test_a_folder_without_vaejax_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="before: expected a checkout of vaejax, got"):
        before.Checkout(tmp_path, before.CHILD)


def test_the_report_compares_both_with_their_bars(capsys):
    result = before.report({"now": [1.0, 1.1], "before": [1.0, 1.0]}, {"now": [2.0], "before": [2.0]})
    assert result["ratios"] == {"step/before": 1.05, "compile/before": 1.0}
    assert result["passed"] == {"step/before": False, "compile/before": True}
    assert "step/before" in capsys.readouterr().out
