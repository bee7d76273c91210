"""Both checkouts' scores are compared, values too, and imports told; no speed is asserted."""

import io
import json
import sys

import pytest

from benchmarks import imports, scoring


def test_the_child_says_the_scores_it_is_told_to_take(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["-c", "40"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("mig_chen\nelbo_parts\n"))
    exec(scoring.CHILD, {})
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0]["values"].keys() == {"mig_chen"}
    parts = told[1]["values"]
    assert parts["neg_elbo"] == pytest.approx(parts["reconstruction"] + parts["kl"])
    assert all(turn["seconds"] > 0 for turn in told)


def test_other_values_miss_the_bar_however_fast(capsys):
    def turns(seconds, value):
        return [{"seconds": s, "values": {"mig": value}} for s in (9.0, seconds)]

    fast = {"before": turns(4.0, 0.5), "now": turns(1.0, 0.5)}
    wrong = {"before": turns(4.0, 0.5), "now": turns(1.0, 0.51)}
    result = scoring.report({"local_scores": fast, "elbo_parts": wrong})
    assert set(result["ratios"].values()) == {0.25}  # the first turn compiles
    assert result["passed"] == {"local_scores/before": True, "elbo_parts/before": False}
    assert "apart by at most 0.01" in capsys.readouterr().out


def test_imports_are_told_by_their_medians():
    assert {"jax", "vaejax", "vaejax.plots", "vaejax.lab"} <= set(imports.modules())
    told = {"jax": [[0.5, 0.4]], "vaejax": [[1.0, 0.9], [3.0, 0.9], [1.2, 0.9]]}
    result = imports.report(told)
    assert (result["ratios"], result["passed"]) == ({"vaejax": 1.2}, {"vaejax": True})
    assert [row["of CPU"] for row in result["rows"]] == [0.4, 0.9]
