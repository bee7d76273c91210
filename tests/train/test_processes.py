"""Two processes on one machine train, lose one another, and resume together."""

import json
import os
import re
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.train.processes import training


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def start(folder, steps):
    """Both processes of a job."""
    port, environment = free_port(), {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.processes", str(port), str(index), str(folder), str(steps)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for index in (0, 1)
    ]  # fmt: skip


def until_step(process, step):
    for line in process.stdout:
        if line.startswith("step") and int(line.split()[1]) >= step:
            return
    pytest.fail(process.stderr.read()[-3000:])


def test_two_processes_train_lose_one_another_and_resume(tmp_path):
    job = start(tmp_path, 1_000_000)
    for process in job:
        until_step(process, 10)
    job[1].kill()
    _, error = job[0].communicate(timeout=120)  # it does not wait for ever
    job[1].communicate()
    assert job[0].returncode != 0
    assert re.search("lost another process of the job; .*start all processes again|another task died", error)

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = 10 + max(json.loads(line)["step"] for line in lines[:-1])
    job = start(tmp_path, steps)
    for process in job:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error[-3000:]
    saved = np.load(tmp_path / "end.npz")
    whole = training(None, steps)
    np.testing.assert_allclose(saved["loss"], whole.metrics["loss"], rtol=1e-4)
    leaves = jax.tree.leaves((whole.state, whole.best))
    assert len(leaves) == len(saved.files) - 1
    for i, leaf in enumerate(leaves):
        np.testing.assert_allclose(saved[f"arr_{i}"], leaf, rtol=1e-3, atol=1e-4)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    trained = [record["step"] for record in records if "validation" not in record]
    assert trained == list(range(1, steps + 1))  # one process writes, and cuts at the checkpoint
