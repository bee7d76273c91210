"""A damaged newest checkpoint: the run goes on from the one before, with a warning, to the same end."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.toy import assert_same_fit, toy_fit
from vaejax.train import Checkpoints
from vaejax.types import TrainState

STEPS = 16


@pytest.fixture(scope="module")
def whole():
    return toy_fit(STEPS, chunk=4)


def _truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _garble(file):
    content = np.frombuffer(file.read_bytes(), np.uint8)
    file.write_bytes((content ^ np.uint8(0x5A)).tobytes())


def _flip_one_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [_truncate, _garble, _flip_one_bit, lambda file: file.unlink()])
@pytest.mark.parametrize("which", ["largest", "meta"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, whole, damage, which):
    toy_fit(12, chunk=4, save_every=1, folder=tmp_path)
    newest = tmp_path / "checkpoints" / "latest" / "12"
    files = [f for f in newest.rglob("*") if f.is_file() and f.stat().st_size > 0]
    state = [f for f in files if "state" in f.parts]
    damage(max(state, key=lambda f: f.stat().st_size) if which == "largest" else newest / "meta" / "metadata")
    with pytest.warns(UserWarning, match="the checkpoint of step 12 in .* is damaged and left out"):
        resumed = toy_fit(STEPS, chunk=4, save_every=1, folder=tmp_path, resume=True)
    assert_same_fit(resumed, whole)
    assert (tmp_path / "checkpoints" / "latest-damaged-12" / "_CHECKPOINT_METADATA").exists()  # set aside


def test_one_wrong_bit_in_an_array_is_seen_when_parameters_are_loaded(tmp_path):
    noise = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)  # the largest file is its own
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(TrainState({"w": noise}, None, {}, np.int32(3)), {})
    checkpoints.wait()
    np.testing.assert_array_equal(checkpoints.restore_params()[0]["w"], noise)
    _flip_one_bit(max((f for f in tmp_path.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size))
    with pytest.raises(
        ValueError, match=r"the checkpoint of step 3 in .* is damaged \(its checksums differ\)"
    ):
        checkpoints.restore_params()
    with pytest.warns(UserWarning, match=r"damaged and left out \(its checksums differ\)"):
        checkpoints.drop_damaged()
    assert checkpoints.latest() is None
    checkpoints.close()


def test_with_no_whole_checkpoint_a_run_starts_again(tmp_path, whole):
    toy_fit(8, chunk=4, save_every=1, folder=tmp_path)
    for file in (tmp_path / "checkpoints" / "latest").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged") as caught:
        again = toy_fit(STEPS, chunk=4, save_every=1, folder=tmp_path, resume=True)
    assert len(caught) == 2
    assert_same_fit(again, whole)
