"""Folders: exact resume, validation and the best state, and what is not finite."""

import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.toy import (
    KEY,
    START,
    assert_same,
    assert_same_fit,
    toy_fit,
    toy_model,
    toy_objective,
    toy_update,
)
from vaejax.keys import named_key
from vaejax.train import Checkpoints, read_metrics

STEPS = 30


@pytest.fixture(scope="module")
def whole():
    """STEPS steps in one chunk."""
    return toy_fit(STEPS, chunk=100)


@pytest.fixture(scope="module")
def run_of_ten(tmp_path_factory):
    """(folder, Fit) of a run of 10 steps, started with resume=True in an empty folder; only to be copied."""
    folder = tmp_path_factory.mktemp("ten") / "run"
    return folder, toy_fit(10, chunk=4, save_every=1, folder=folder, resume=True)


@pytest.fixture
def ten(run_of_ten, tmp_path):
    """A copy of the folder of a run of 10 steps."""
    shutil.copytree(run_of_ten[0], tmp_path / "run")
    return tmp_path / "run"


def latest(folder, which="latest"):
    checkpoints = Checkpoints(folder / "checkpoints" / which)
    step, (params, _) = checkpoints.latest(), checkpoints.restore_params()
    checkpoints.close()
    return step, params


def test_a_resumed_run_is_the_uninterrupted_one(ten, whole):
    calls = []
    resumed = toy_fit(STEPS, chunk=7, folder=ten, resume=True, progress=lambda n, record: calls.append(n))
    assert calls == [4, 7, 7, 2]  # back on the grid of chunks, 20 steps in all
    assert_same_fit(resumed, whole)
    step, params = latest(ten)
    assert step == STEPS
    assert_same(params, jax.tree.map(np.asarray, dict(whole.state.params)))
    assert resumed.state.step == STEPS
    assert resumed.metrics["step"].tolist() == list(range(1, STEPS + 1))
    again = toy_fit(STEPS, folder=ten, resume=True, progress=lambda n, record: calls.append(n))
    assert sum(calls) == 20  # nothing was left to do
    assert_same_fit(again, whole)


# the folder


def test_the_folder_holds_every_step_and_the_checkpoints(run_of_ten, whole):
    folder, result = run_of_ten
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in lines] == list(range(1, 11))
    assert set(lines[0]) == {"step", "loss", "near", "size", "grad_norm"}
    assert (
        [r["loss"] for r in lines] == whole.metrics["loss"][:10].tolist() == result.metrics["loss"].tolist()
    )
    assert lines[0]["size"] == START["decoder"] ** 2  # of the parameters before the step
    kept = sorted(int(p.name) for p in (folder / "checkpoints" / "latest").iterdir())
    assert kept == [8, 10]
    step, params = latest(folder)
    assert step == 10
    assert_same(params, jax.tree.map(np.asarray, dict(result.state.params)))
    assert result.best is None
    assert result.validation == []
    assert not (folder / "tensorboard").exists()  # it was not asked for


def test_metrics_are_cut_at_the_checkpoint_on_resume(ten, whole):
    path = ten / "metrics.jsonl"
    extra = [json.dumps({"step": s, "loss": -1.0, "near": 0, "size": 0, "grad_norm": 0}) for s in (11, 12)]
    path.write_text(path.read_text() + "\n".join(extra) + '\n{"step": 13, "lo')
    resumed = toy_fit(STEPS, folder=ten, resume=True)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [r["step"] for r in records] == list(range(1, STEPS + 1))
    np.testing.assert_array_equal([r["loss"] for r in records], whole.metrics["loss"])
    np.testing.assert_array_equal(resumed.metrics["loss"], whole.metrics["loss"])
    curves, _ = read_metrics(ten)
    assert curves.keys() == whole.metrics.keys()
    np.testing.assert_array_equal(curves["near"], whole.metrics["near"])


def test_a_folder_with_a_run_is_not_overwritten(ten):
    before = (ten / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match=r"folder: .*run holds a run at step 10; expected resume=True"):
        toy_fit(STEPS, folder=ten)
    assert (ten / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 9}, "steps: expected at least the 10 that the run in .* has done, got 9"),
        (
            {"model": toy_model({**START, "critic": [1.0, 2.0, 3.0]})},
            r"params/critic: float32\[2\] there, float32\[3\] now",
        ),
        ({"update": toy_update(optimizer=optax.sgd(0.1))}, r"opt_state/0/count: int32\[\] there, None now"),
    ],
)
def test_another_run_does_not_resume(ten, change, message):
    before = (ten / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match=message):
        toy_fit(**{"steps": STEPS, "folder": ten, "resume": True, **change})
    assert (ten / "metrics.jsonl").read_text() == before


# what is not finite


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, whole, with_folder):
    folder = tmp_path / "run" if with_folder else None
    update = toy_update(toy_objective(nan_from=12))  # the 13th step
    kept = r"the last good checkpoint is step 10 in .*run$" if with_folder else "no checkpoint was saved$"
    terms = f"loss=nan, near=nan, size={whole.metrics['size'][12]:.6g}"
    message = rf"the loss is not finite at step 13: grad_norm=[0-9.]+, {terms}; {kept}"
    with pytest.raises(FloatingPointError, match=message):
        toy_fit(STEPS, update=update, chunk=5, save_every=2, folder=folder)
    if folder is None:
        return
    step, params = latest(folder)
    assert step == 10
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(params))
    resumed = toy_fit(STEPS, folder=folder, resume=True)  # the cause mended
    for name, values in whole.metrics.items():
        np.testing.assert_allclose(resumed.metrics[name], values, rtol=1e-5, err_msg=name)


def test_parameters_that_are_not_finite_are_never_a_checkpoint(tmp_path):
    """The loss of the last step is still finite: only its gradient was not."""
    optimizer = optax.scale_by_schedule(lambda count: jnp.where(count >= 9, jnp.nan, -0.1))
    update = toy_update(optimizer=optimizer, wrt=("decoder",))
    message = "the parameters of decoder are not finite at step 10; the last good checkpoint is step 5 in "
    with pytest.raises(FloatingPointError, match=message):
        toy_fit(10, update=update, chunk=5, save_every=1, folder=tmp_path)
    assert latest(tmp_path)[0] == 5
    assert np.isfinite(read_metrics(tmp_path)[0]["loss"]).all()
    with pytest.raises(
        FloatingPointError, match="decoder are not finite at step 10; no checkpoint was saved"
    ):
        toy_fit(10, update=update)


# validation and the best state


class Scripted:
    """A validation that returns given scores and notes its keys and parameters."""

    def __init__(self, *scores):
        self.scores, self.keys, self.encoders = list(scores), [], []

    def __call__(self, key, vae):
        self.keys.append(key)
        self.encoders.append(np.array(vae.heads["encoder"]()))
        score = self.scores.pop(0)
        if isinstance(score, Exception):
            raise score
        return {"neg_elbo": score, "au": np.float32(2.0)}


@pytest.mark.parametrize("cut", [18, 10])
def test_validation_times_and_the_best_state_survive_a_resume(tmp_path, cut):
    """Every second chunk of 4 and at the end; a run cut off the grid of chunks comes back onto it."""
    first, times = (Scripted(3.0, 1.0, 2.0), [8, 16, 18]) if cut == 18 else (Scripted(3.0, 1.0), [8, 10])
    best = {18: 16, 10: 10}[cut]
    options = {"chunk": 4, "save_every": 2, "folder": tmp_path}
    result = toy_fit(cut, validate=first, **options)
    scores = [3.0, 1.0, 2.0][: len(times)]
    record = [
        {"step": s, "validation": {"neg_elbo": v, "au": 2.0}} for s, v in zip(times, scores, strict=True)
    ]
    assert result.validation == record
    assert result.best.step == best
    for key, step in zip(first.keys, times, strict=True):
        expected = named_key(jax.random.fold_in(KEY, step), "/validate")
        assert (jax.random.key_data(key) == jax.random.key_data(expected)).all()
    np.testing.assert_array_equal(first.encoders[-1], result.state.params["encoder"])
    step, params = latest(tmp_path, "best")
    assert step == best
    assert_same(params, dict(result.best.params))
    np.testing.assert_array_equal(params["encoder"], first.encoders[times.index(best)])

    later = {18: [24, 26], 10: [16, 24, 26]}[cut]
    second = Scripted(*[1.5, math.nan, 1.2][: len(later)])
    resumed = toy_fit(26, validate=second, resume=True, **options)
    assert [r["step"] for r in resumed.validation] == [*times, *later]
    assert_same(resumed.best, result.best)
    assert latest(tmp_path, "best")[0] == best
    third = toy_fit(27, validate=Scripted(0.5), resume=True, **options)
    assert third.best.step == 27
    assert_same(dict(third.best.params), jax.tree.map(np.asarray, dict(third.state.params)))
    assert latest(tmp_path, "best")[0] == 27
    assert sorted(p.name for p in (tmp_path / "checkpoints" / "best").iterdir()) == ["27"]  # one is kept
    on_disk = [(r["step"], r["validation"]["neg_elbo"]) for r in read_metrics(tmp_path)[1]]
    np.testing.assert_array_equal(
        on_disk, [(r["step"], r["validation"]["neg_elbo"]) for r in third.validation]
    )


def test_a_validation_that_is_nan_is_never_the_best(tmp_path):
    first = toy_fit(4, chunk=4, folder=tmp_path, validate=Scripted(math.nan))
    assert first.best is None
    resumed = toy_fit(6, chunk=4, folder=tmp_path, resume=True, validate=Scripted(2.0))
    assert resumed.best.step == 6
    assert latest(tmp_path, "best")[0] == 6


def test_a_validation_that_was_killed_is_made_up_for(tmp_path):
    options = {"chunk": 4, "save_every": 2, "folder": tmp_path}
    with pytest.raises(RuntimeError, match="killed"):
        toy_fit(18, validate=Scripted(3.0, RuntimeError("killed")), **options)
    assert latest(tmp_path)[0] == 16
    assert latest(tmp_path, "best")[0] == 8
    resumed = toy_fit(18, validate=Scripted(1.0, 2.0), resume=True, **options)
    assert [(r["step"], r["validation"]["neg_elbo"]) for r in resumed.validation] == [
        (8, 3),
        (16, 1),
        (18, 2),
    ]
    straight = toy_fit(18, validate=Scripted(3.0, 1.0, 2.0), chunk=4, save_every=2)
    assert_same_fit(resumed, straight)
    assert resumed.validation == straight.validation
    assert_same(resumed.best, straight.best)
    assert latest(tmp_path, "best")[0] == 16


def test_what_follows_a_validation_is_not_in_its_checkpoint_and_is_done_once_on_resume(tmp_path):
    def halved(records, state):  # not the same when done twice
        return state._replace(params=jax.tree.map(lambda a: a / 2, state.params))

    options = {"chunk": 2, "save_every": 1, "after_validation": halved}
    before = jax.tree.map(np.asarray, dict(toy_fit(2, chunk=2).state.params))
    cut = toy_fit(2, folder=tmp_path, validate=Scripted(2.0), **options)
    assert_same(jax.tree.map(np.asarray, dict(cut.state.params)), jax.tree.map(lambda a: a / 2, before))
    for saved in (latest(tmp_path)[1], latest(tmp_path, "best")[1], dict(cut.best.params)):
        assert_same(saved, before)
    resumed = toy_fit(4, folder=tmp_path, resume=True, validate=Scripted(1.0), **options)
    assert_same_fit(resumed, toy_fit(4, validate=Scripted(2.0, 1.0), **options))


def test_stop_ends_a_run_at_a_validation_and_it_stays_ended(tmp_path):
    def validate(key, vae):
        return {"neg_elbo": 1.0}

    seen = []

    def stop(records):
        seen.append([r["step"] for r in records])
        return len(records) == 2

    options = {"chunk": 2, "save_every": 2, "folder": tmp_path, "validate": validate, "stop": stop}
    ended = toy_fit(20, **options)
    assert int(ended.state.step) == 8
    assert seen == [[4], [4, 8]]
    again = toy_fit(20, resume=True, **options)
    assert_same_fit(again, ended)
    assert seen[2:] == [[4, 8]]
    with pytest.raises(ValueError, match="stop: expected with validate"):
        toy_fit(20, stop=stop)
