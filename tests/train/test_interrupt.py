"""Ctrl-C in a training: it ends with the chunk, nothing is lost, and resumed it ends as if never stopped."""

from __future__ import annotations

import os
import pickle
import signal
import threading

import numpy as np
import pytest

from tests.train.toy import DATA, KEY, assert_same, assert_same_fit, toy_fit, toy_model, toy_update
from vaejax import train

STEPS, CHUNK, SAVE = 24, 3, 2  # validated at 6, 12, 18, 24
OPTIONS = {"chunk": CHUNK, "save_every": SAVE}


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """Python's own handler, which workers of pytest may lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # it is back
    signal.signal(signal.SIGINT, before)


def pressing(*at, times=1):
    """A `progress` that presses Ctrl-C at these steps."""

    def progress(n, record):
        for _ in range(times * (record["step"] in at and record.get("seed", 0) == 0)):
            os.kill(os.getpid(), signal.SIGINT)

    return progress


def interrupted(steps=STEPS, *, at=(9,), **options):
    with pytest.raises(train.Interrupted) as stop:
        toy_fit(steps, progress=pressing(*at), **OPTIONS, **options)
    return stop.value


def test_without_a_folder_the_exception_has_what_was_trained(capsys):
    stop = interrupted()
    assert_same_fit(stop.fit, toy_fit(9))
    assert isinstance(stop, KeyboardInterrupt)  # no `except Exception` goes on
    assert "Ctrl-C: the run ends after this chunk" in capsys.readouterr().err
    again = pickle.loads(pickle.dumps(stop))  # as from a worker of an experiment
    assert type(again) is KeyboardInterrupt
    message = str(stop)
    assert str(again) == message
    assert message.startswith("Ctrl-C at step 9 of 24; no checkpoint was saved; the run has no folder.")
    assert "`except train.Interrupted as stop: fitted = stop.fit`" in message


def adjusted(records, state):
    """Not the same when it is done twice."""
    return state._replace(params={**state.params, "critic": state.params["critic"] * 0.5})


@pytest.mark.parametrize("at", [3, 6, 9, 24])
def test_resumed_it_ends_as_if_it_had_not_been_stopped(tmp_path, at):
    def validate(key, vae):
        return {"neg_elbo": vae.heads["encoder"]()[0], "critic": vae.heads["critic"]()[0]}

    more = {"validate": validate, "after_validation": adjusted}
    whole = toy_fit(STEPS, **OPTIONS, **more)
    stop = interrupted(at=(at,), folder=tmp_path / "run", **more)
    assert f"Ctrl-C at step {at} of 24; the last good checkpoint is step {at}" in str(stop)
    assert "the same call with resume=True goes on" in str(stop)
    assert int(stop.fit.state.step) == at
    again = toy_fit(STEPS, folder=tmp_path / "run", resume=True, **OPTIONS, **more)
    assert_same_fit(again, whole)
    assert again.validation == whole.validation
    assert_same(again.best, whole.best)


def test_a_run_that_is_to_end_where_it_was_stopped_is_validated_there(tmp_path):
    more = {"validate": lambda key, vae: {"neg_elbo": 1.0}, "folder": tmp_path / "run"}
    interrupted(**more)
    ended = toy_fit(9, resume=True, **OPTIONS, **more)
    assert [record["step"] for record in ended.validation] == [6, 9]


def test_of_several_seeds_each_is_kept(tmp_path):
    stop = interrupted(seeds=(0, 5), folder=tmp_path / "run")
    alone = toy_fit(9, seeds=(0, 5))
    assert list(stop.fit) == [0, 5]
    for seed, fit in stop.fit.items():
        assert_same_fit(fit, alone[seed])
    again = toy_fit(STEPS, seeds=(0, 5), folder=tmp_path / "run", resume=True, **OPTIONS)
    whole = toy_fit(STEPS, seeds=(0, 5))
    for seed in (0, 5):
        assert_same_fit(again[seed], whole[seed])


def test_twice_is_at_once():
    seen = []

    def validate(key, vae):
        seen.append("validated")
        return {}

    with pytest.raises(KeyboardInterrupt) as stop:
        toy_fit(STEPS, progress=pressing(6, times=2), validate=validate, **OPTIONS)
    assert not isinstance(stop.value, train.Interrupted)
    assert not seen  # which comes after `progress` in a chunk


def test_a_handler_of_the_users_and_other_threads_are_left_alone():
    calls = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    fitted = toy_fit(6, progress=pressing(3), **OPTIONS)
    signal.signal(signal.SIGINT, before)
    assert len(calls) == 1
    assert int(fitted.state.step) == 6
    result = []
    thread = threading.Thread(target=lambda: result.append(toy_fit(6, **OPTIONS)))
    thread.start()
    thread.join()
    assert_same_fit(result[0], fitted)


# epochs


def test_epochs_are_that_many_times_through_the_data():
    def fit(*steps, **options):
        model = toy_model()
        return train.fit(KEY, model, toy_update(model=model), DATA, *steps, progress=False, **options)

    assert_same_fit(fit(epochs=2, batch_size=6), toy_fit(6))  # 20 examples: 3 batches of 6 an epoch
    assert_same_fit(fit(None, epochs=np.int64(1), batch_size=20), toy_fit(1, batch_size=20))
    for wrong, error, message in (
        (
            {"epochs": 2, "steps": 3},
            TypeError,
            "steps, epochs: expected one of the two; got steps=3 and epochs=2",
        ),
        ({}, TypeError, "steps, epochs: expected one of the two; got none"),
        ({"epochs": 0}, ValueError, "epochs: expected at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, r"epochs: expected an int, got float \(1\.5\)"),
        ({"epochs": 1, "batch_size": 21}, ValueError, "batch_size: expected at most the 20 examples"),
        ({"epochs": 1, "batch_size": 0}, ValueError, "batch_size: expected at least 1, got 0"),
    ):
        with pytest.raises(error, match=message):
            fit(**{"batch_size": 6, **wrong})
