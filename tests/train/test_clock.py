"""Scores along a training: steps of the validations, and seconds of the steps alone."""

from __future__ import annotations

import json

import pytest

from vaejax.train import read_validations


def _folder(path, validations, seconds):
    rows = [{"step": s, "kl": 1.0} for s in range(1, 5)]
    rows += [{"step": s, "validation": {"mig": mig}} for s, mig in validations]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "seconds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in seconds))
    return path


def test_seconds_are_the_medians_of_chunks_between_validations(tmp_path):
    # 10 s with compilation, .2 s, .4 s; validated until 90 s, which the next chunk has too, .3 s, .1 s
    ends = [[100, 10.0], [200, 10.2], [300, 10.6], [400, 90.0], [500, 90.3], [600, 90.4]]
    told = read_validations(_folder(tmp_path, [(300, 0.1), (600, 0.2)], ends))
    assert told["steps"] == [300, 600]
    assert told["mig"] == [0.1, 0.2]
    assert told["seconds"] == pytest.approx([3 * 0.4, 3 * 0.4 + 3 * 0.3])


def test_what_a_kill_left_unmeasured_counts_as_the_others(tmp_path):
    ends = [[10, 0.02], [20, None], [30, None], [40, None]]
    told = read_validations(_folder(tmp_path, [(10, 0.0), (20, 0.1), (40, 0.2)], ends))
    assert told["seconds"] == pytest.approx([0.02, 0.04, 0.08])
