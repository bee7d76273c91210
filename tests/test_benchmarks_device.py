"""The script for a machine with a GPU, streaming in it, at tiny sizes on a CPU; no speed is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import device, stream

ROOT = Path(__file__).parent.parent


def test_every_part_of_the_script_runs_and_is_in_the_file(tmp_path):
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["bash", "benchmarks/device.sh", "tiny", str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    logs = "\n".join(path.read_text()[-1500:] for path in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    found = json.loads((tmp_path / "device.json").read_text())
    assert "4 of 4 parts" in done.stdout, done.stdout + done.stderr + logs
    assert found["platform"] == "cpu"
    assert [row["side"] for row in found["sweep"]["rows"]] == [16, 16, 16]
    assert set(found["precision"]["speedup"]) == set(device.PENALTIES)
    assert set(found["precision"]["values"]["bfloat16"]) >= {"loss", "reconstruction", "kl", "grad_norm"}
    assert set(found["stream"]["passed"]) == {"speed", "memory"}
    assert set(found["flagship"]["models"]) == {"beta_vae", "jl1_vae"}


def test_an_unknown_kind_is_refused_before_anything_is_done(tmp_path):
    command = ["bash", "benchmarks/device.sh", "cuda99", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected cuda12, cuda13 or tiny; got cuda99" in done.stderr


def test_parts_that_are_missing_are_null_and_named(tmp_path, capsys):
    (tmp_path / "stream.json").write_text('{"passed": {}}')
    found = device.main(device.Config(part="collect", folder=tmp_path))
    assert found["stream"] == {"passed": {}}
    assert found["sweep"] is None
    assert "1 of 4 parts, without ['sweep', 'precision', 'flagship']" in capsys.readouterr().out
    with pytest.raises(ValueError, match="folder: expected that of the parts, got None"):
        device.main(device.Config(part="collect"))


def test_the_files_hold_what_they_say(tmp_path):
    noise, sparse = stream.noise_file(tmp_path, 1), stream.sparse_file(tmp_path, 1 / 64)
    assert noise.arrays["x"].shape == (256, 64, 64, 1)
    assert len(np.unique(noise.arrays["x"])) == 256
    assert sparse.size == 4096
    assert not sparse.arrays["x"][::100].any()
    assert (tmp_path / "sparse.npy").stat().st_blocks * 512 < 2**20
