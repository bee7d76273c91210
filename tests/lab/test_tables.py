"""What tables and curves show of the reports of trainings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.lab.toy import Config
from vaejax import lab, runs
from vaejax.lab.results import Run
from vaejax.lab.trainings import Job
from vaejax.runs import texts


def test_different_numbers_are_different_texts():
    assert [texts.short(v) for v in (0.5, 1e-7, 2, None, "x")] == ["0.5", "1e-07", "2", "None", "x"]
    assert texts.short(1e-3 + 1e-12) != texts.short(1e-3)


def _run(folder: Path, jacobians: dict[str, list[list[float]]], checked: Sequence[str] = ()) -> Run:
    """A run whose trainings have these records, every third step; some rows were validated at 3 and 9."""
    jobs = {}
    for name, seeds in jacobians.items():
        jobs[name] = [Job(Config(), name, i, folder / f"{name}-{i}", None, None) for i in range(len(seeds))]
        for job, jacobian in zip(jobs[name], seeds, strict=True):
            rows = [{"step": 3 * i + 3, "kl": 2.0 + i, "jacobian_l1": j} for i, j in enumerate(jacobian)]
            runs.write_json(job.folder / "report.json", {})
            if name in checked:
                rows += [{"step": at, "validation": {"jacobian_l1": 10.0 * at}} for at in (3, 9)]
                (job.folder / "seconds.jsonl").write_text("[3, 1.0]\n[9, 3.0]\n")
            (job.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(Config(), folder, {}, {name: lab.Row(name) for name in jobs}, jobs)


def test_curves_lie_at_the_steps_of_their_records(tmp_path):
    run = _run(tmp_path, {"a": [[1.0, 2.0, 3.0]] * 2, "b": [[1.0, 2.0, 3.0]] * 2})
    figure = lab.curves(run, {"KL": "kl", "|J|": "jacobian_l1"})
    lines = [line for axes in figure.axes for line in axes.lines]
    assert len(lines) == 2 * 2 * 3  # terms, rows, two seeds and their mean
    assert all(np.array_equal(line.get_xdata(), [3, 6, 9]) for line in lines)


@pytest.mark.parametrize("jacobian", [[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
def test_a_jacobian_of_zero_is_a_gap_on_a_log_scale(tmp_path, jacobian):
    run = _run(tmp_path, {"a": [[1.0, 2.0, 3.0]], "b": [jacobian]})
    figure = lab.curves(run, ("kl", "jacobian_l1"), yscale="log")
    figure.canvas.draw()
    (axes,) = (a for a in figure.axes if a.get_ylabel().startswith("jacobian_l1"))
    np.testing.assert_array_equal(axes.lines[-1].get_ydata(), [j or np.nan for j in jacobian])


def test_what_all_rows_have_validated_is_a_curve_of_all(tmp_path):
    """Also of a row that does not train on it; what one row alone has is left to its records."""
    run = _run(tmp_path / "all", {"a": [[1.0, 2.0, 3.0]], "b": [[1.0, 2.0, 3.0]]}, checked=("a", "b"))
    (axes,) = lab.curves(run, ("jacobian_l1",)).axes
    for line in axes.lines:
        np.testing.assert_allclose(line.get_ydata(), [30.0, 60.0, 90.0])
    run = _run(tmp_path / "one", {"a": [[1.0, 2.0, 3.0]], "b": [[4.0, 5.0, 6.0]]}, checked=("a",))
    (axes,) = lab.curves(run, ("jacobian_l1",)).axes
    assert [line.get_ydata()[0] for line in axes.lines] == [1.0, 1.0, 4.0, 4.0]
