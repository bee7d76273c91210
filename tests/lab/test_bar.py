"""The bar of a run counts steps while its trainings write."""

import os
from pathlib import Path

from vaejax.lab.trainings import Job


def test_steps_are_counted_beside_checkpoints_that_are_renamed_meanwhile(tmp_path, monkeypatch):
    """Of a training and the one before it; nobody looks where a folder may be gone."""
    for place, steps in ((tmp_path, 7), (tmp_path / "first", 5)):
        (place / "checkpoints" / "latest" / "20.tmp").mkdir(parents=True)
        (place / "seconds.jsonl").write_text(f"[0, 0.0]\n[{steps}, 1.5]\n")
    listed, scandir = [], os.scandir

    def watched(path):
        listed.append(Path(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watched)
    job = Job(None, "a", 0, tmp_path, lambda *_: None, None)
    assert job.done == 12
    assert set(listed) <= {tmp_path, tmp_path / "first"}
    assert job._replace(folder=tmp_path / "none").done == 0
