"""The report compares both checkouts, which tests/test_commands_benchmarks.py runs; no speed is asserted."""

import pytest

from benchmarks import before


def test_a_folder_without_vaejax_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="before: expected a checkout of vaejax, got"):
        before.Checkout(tmp_path, before.CHILD)


def test_the_report_compares_both_with_their_bars(capsys):
    result = before.report({"now": [1.0, 1.1], "before": [1.0, 1.0]}, {"now": [2.0], "before": [2.0]})
    assert result["ratios"] == {"step/before": 1.05, "compile/before": 1.0}
    assert result["passed"] == {"step/before": False, "compile/before": True}
    assert "step/before" in capsys.readouterr().out
