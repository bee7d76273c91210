"""Two processes on one machine train, lose one another, and resume together, each with its rows."""

import json
import multiprocessing
import re
import socket

import jax
import numpy as np

from tests.train.processes import member, training
from vaejax.train.step import chunk_indices


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


FRESH = multiprocessing.get_context("forkserver")
# one server for all tests of a worker
FRESH.set_forkserver_preload(["tests.train.processes", "benchmarks.kill"])


def start(folder, steps, patience, streamed):
    """Both processes of a job, each with the end of the pipe on which it says its steps."""
    port, job = free_port(), []
    for index in (0, 1):
        here, there = FRESH.Pipe(duplex=False)
        process = FRESH.Process(
            target=member, args=(port, index, folder, steps, patience, streamed, there), daemon=True
        )
        process.start()
        there.close()
        job.append((process, here))
    return job


def until_step(here, step):
    """Read what a process says up to this step, or until it has ended."""
    try:
        while here.recv() < step:
            pass
    except EOFError:
        return False
    return True


def test_two_processes_train_lose_one_another_and_resume(tmp_path):
    logs = [tmp_path / f"said-{index}.txt" for index in (0, 1)]
    (first, hears_first), (second, hears_second) = start(tmp_path, 1_000_000, 10, False)
    assert until_step(hears_first, 10), logs[0].read_text()[-3000:]
    assert until_step(hears_second, 10), logs[1].read_text()[-3000:]
    second.kill()
    assert not until_step(hears_first, 1_000_000)  # it does not wait for ever
    first.join()
    assert first.exitcode != 0
    message = "lost another process of the job; .*start all processes again|another task died"
    assert re.search(message, logs[0].read_text())

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = 10 + max(json.loads(line)["step"] for line in lines[:-1])
    # the data are held by the devices first, and streamed afterwards
    for (process, hears), log in zip(start(tmp_path, steps, 100, True), logs, strict=True):
        until_step(hears, steps + 1)
        process.join()
        assert process.exitcode == 0, log.read_text()[-3000:]
    saved = np.load(tmp_path / "end.npz")
    whole = training(None, steps)
    np.testing.assert_allclose(saved["loss"], whole.metrics["loss"], rtol=1e-4)
    leaves = jax.tree.leaves((whole.state, whole.best))
    assert len(leaves) == len(saved.files) - 1
    for i, leaf in enumerate(leaves):
        np.testing.assert_allclose(saved[f"arr_{i}"], leaf, rtol=1e-3, atol=1e-4)
    read = [np.load(tmp_path / f"rows-{index}.npy") for index in (0, 1)]
    done = steps - (len(read[0]) - 65) // 8  # each reads 8 of a batch of 16; one at first, 64 for a digest
    assert 0 < done < steps
    batches = chunk_indices(jax.random.key(5), done, steps - done, 64, 16)
    for index, half in enumerate((batches[:, :8], batches[:, 8:])):
        np.testing.assert_array_equal(np.sort(read[index][-half.size :]), np.sort(half.ravel()))
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    trained = [record["step"] for record in records if "validation" not in record]
    assert trained == list(range(1, steps + 1))  # one process writes, and cuts at the checkpoint
