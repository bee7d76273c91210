"""The script for a machine with a GPU, streaming in it, at tiny sizes on a CPU; no speed is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import device, stream
from tests.test_commands import RUN_AGAIN, check_python

ROOT = Path(__file__).parent.parent


STUB = """#!{python}
import json, pathlib, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + chr(10))
if "benchmarks.stream" in words:
    sys.exit(3)
if "collect" in words:
    sys.path.insert(0, {root!r})
    from benchmarks import device
    device.main(device.Config("collect", folder=pathlib.Path(words[-3]), output=pathlib.Path(words[-1])))
elif "--folder" in words:
    folder = pathlib.Path(words[words.index("--folder") + 1])
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps({{"models": words}}))
elif "--output" in words:
    pathlib.Path(words[words.index("--output") + 1]).write_text(json.dumps({{"said": words}}))
"""


@RUN_AGAIN
def test_the_script_calls_every_part_with_flags_that_it_takes_and_gathers_what_they_leave(
    tmp_path, monkeypatch
):
    stub, log = tmp_path / "python", tmp_path / "said.jsonl"
    stub.write_text(STUB.format(python=sys.executable, log=str(log), root=str(ROOT)))
    stub.chmod(0o755)
    command = ["bash", "benchmarks/device.sh", "tiny", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHON": str(stub)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stream: failed or out of time; see" in done.stderr
    assert "3 of 4 parts, without ['stream']" in done.stdout
    found = json.loads((tmp_path / "out" / "device.json").read_text())
    assert found["platform"] == "cpu"
    assert found["stream"] is None
    assert "benchmarks.jacobian" in found["sweep"]["said"]
    assert "precision" in found["precision"]["said"]
    assert "small" in found["flagship"]["models"]
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(calls) == 5
    for words in calls:
        check_python(["python", *words], monkeypatch)


def test_half_precision_is_timed_and_compared(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(device, "PENALTIES", {"beta_vae": device.PENALTIES["beta_vae"]})
    sizes = {"rounds": 1, "steps": 1, "side": 16, "width": 0.1, "batch_size": 4}
    found = device.main(device.Config(**sizes, output=tmp_path / "precision.json"))
    assert json.loads((tmp_path / "precision.json").read_text())["ms"] == found["ms"]
    assert set(found["speedup"]) == set(device.PENALTIES)
    values, apart = found["values"], found["relative difference"]
    assert set(values["bfloat16"]) >= {"loss", "reconstruction", "kl", "jacobian_l1", "grad_norm"}
    assert 0 < apart["loss"] < 0.02  # of eight bits
    assert "beta_vae, bfloat16" in capsys.readouterr().out


def test_a_streamed_run_is_timed_beside_a_resident_one(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "memory", lambda config: {"streamed above resident, MiB": 1.0})
    sizes = {"rounds": 2, "chunk": 2, "batch_size": 4, "width": 0.1, "file_mib": 1}
    found = stream.main(stream.Config(**sizes, folder=tmp_path, output=tmp_path / "stream.json"))
    assert set(json.loads((tmp_path / "stream.json").read_text())["passed"]) == {"speed", "memory"}
    assert found["passed"]["memory"]
    seconds = found["speed"]["seconds a chunk"]
    ratio = np.median(seconds["resident"]) / np.median(seconds["streamed"])
    assert found["speed"]["rate, streamed / resident"] == ratio
    assert [path.name for path in tmp_path.iterdir()] == ["stream.json"]


def test_a_process_says_what_memory_its_training_took(tmp_path, capsys):
    stream.main(stream.Config(child="streamed", steps=3, chunk=2, large_gib=1 / 64, folder=tmp_path))
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["file_mib"] == 16
    assert said["peak_mib"] > 50


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
