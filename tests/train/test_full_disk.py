"""A full disk stops the run with a clear message, and what was saved before stays whole."""

from __future__ import annotations

import gc
import re
import shutil
import subprocess
import traceback
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from tests.train.toy import START, assert_same, toy_fit, toy_model, toy_update
from vaejax.train import checkpoint

LARGE = {**START, "decoder": np.random.default_rng(0).normal(size=200_000)}  # noise: it does not compress


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _fit(steps, folder, **options):
    model = toy_model(start=LARGE)

    def objective(key, vae, batch, step):
        loss = jnp.mean(batch["x"] ** 2) * jnp.sum(vae.heads["decoder"]() ** 2)
        return loss, ({"loss": loss}, None)

    update = toy_update(objective, model=model, wrt=("decoder",))
    return toy_fit(steps, model=model, update=update, chunk=2, save_every=1, folder=folder, **options)


# orbax leaves an event loop behind when a save fails, and Python says so when it is collected
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("room", "seen"),
    [(0, True), (400_000, True), (400_000, False)],
    ids=["no line of metrics fits", "no checkpoint fits", "others fill it while a checkpoint is written"],
)
def test_a_full_disk(small_disk, room, seen, capfd, monkeypatch):
    run = small_disk / "run"
    before = _fit(4, run)
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * (shutil.disk_usage(small_disk).free - room))
    capfd.readouterr()
    if not seen:
        monkeypatch.setattr(
            checkpoint, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=1e9))
        )
    message = r"^\[Errno 28\] No space left on device: could not write to .*run by step \d+; the last good"
    with pytest.raises(OSError, match=message) as stop:
        _fit(40, run, resume=True)
    assert len("".join(traceback.format_exception(stop.value)).splitlines()) < 40  # no causes behind it
    if seen:
        assert len(capfd.readouterr().err.splitlines()) < 5
    monkeypatch.undo()
    kept = int(re.search(r"the last good checkpoint is step (\d+)", str(stop.value))[1])
    assert kept == 4
    filler.unlink()
    assert_same(_fit(4, run, resume=True).state, before.state)  # whole, and the run can go on
    assert int(_fit(6, run, resume=True).state.step) == 6
    gc.collect()
