"""Several seeds in one program: each is the run it would be alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.toy import KEY, assert_same, assert_same_fit, toy_fit, toy_model, toy_objective, toy_update
from vaejax.keys import named_key
from vaejax.train import read_metrics
from vaejax.train.runs import check_seeds

SEEDS = (0, 3, 11)
STEPS = 20
CHUNK = 6  # one for all: another is a program of its own; it divides neither STEPS nor 10


def alone(seed, steps=STEPS, **options):
    return toy_fit(steps, key=jax.random.fold_in(KEY, seed), **{"chunk": CHUNK, **options})


@pytest.fixture(scope="module")
def singles():
    return {seed: alone(seed) for seed in SEEDS}


def assert_close_fit(a, b):
    for left, right in zip(jax.tree.leaves(a.state), jax.tree.leaves(b.state), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_allclose(left, right, rtol=2e-5, atol=1e-6)
    assert a.metrics.keys() == b.metrics.keys()
    for name in a.metrics:
        np.testing.assert_allclose(a.metrics[name], b.metrics[name], rtol=2e-5, atol=1e-6)


def test_every_seed_has_the_result_it_would_have_alone(singles):
    together = toy_fit(STEPS, seeds=SEEDS, chunk=CHUNK)
    assert tuple(together) == SEEDS
    for seed in SEEDS:
        assert_close_fit(together[seed], singles[seed])
        assert together[seed].state.step == STEPS
        assert together[seed].error is None
    losses = [together[seed].metrics["loss"] for seed in SEEDS]
    assert not np.array_equal(losses[0], losses[1])


def test_side_by_side_as_an_accelerator_would(singles, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    together = toy_fit(STEPS, seeds=SEEDS, chunk=CHUNK)
    for seed in SEEDS:
        assert_close_fit(together[seed], singles[seed])


def test_seeds_have_data_orders_of_their_own():
    rows = []

    def objective(key, vae, batch, step):
        value = batch["x"][0, 0] + 0 * vae.heads["decoder"]()
        return value, ({"loss": value}, None)

    fits = toy_fit(6, update=toy_update(objective), seeds=(0, 1))
    rows = [fits[seed].metrics["loss"] for seed in (0, 1)]
    assert not np.array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[1], alone(1, 6, update=toy_update(objective)).metrics["loss"])


def test_the_program_compiles_once_for_all_seeds():
    traces = {}
    for seeds in ((0,), SEEDS):
        calls = []
        toy_fit(STEPS, update=toy_update(toy_objective(calls)), seeds=seeds, chunk=CHUNK)
        traces[seeds] = len(calls)
    assert traces[(0,)] == traces[SEEDS]


# folders


def test_each_seed_has_a_folder_as_if_it_were_alone_and_all_resume(tmp_path, singles):
    first = toy_fit(10, seeds=SEEDS, chunk=CHUNK, save_every=1, folder=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["seed-0", "seed-11", "seed-3"]
    assert first[3].state.step == 10
    calls = []
    resumed = toy_fit(
        STEPS, seeds=SEEDS, chunk=CHUNK, folder=tmp_path, resume=True,
        progress=lambda n, record: calls.append((record["seed"], n)),
    )  # fmt: skip
    assert calls == [(seed, n) for n in (2, 6, 2) for seed in SEEDS]
    whole = toy_fit(STEPS, seeds=SEEDS, chunk=CHUNK)
    for seed in SEEDS:
        assert_same_fit(resumed[seed], whole[seed])
        curves, _ = read_metrics(tmp_path / f"seed-{seed}")
        assert curves["step"].tolist() == list(range(1, STEPS + 1))
    # the folder of a seed is that of the run alone
    later = alone(3, STEPS + 5, folder=tmp_path / "seed-3", resume=True)
    assert_close_fit(later, alone(3, STEPS + 5))


def test_seeds_that_were_cut_at_different_steps_catch_up(tmp_path):
    """As after a kill between the checkpoints of two seeds."""
    for seed, steps in ((0, 4), (3, 12)):
        alone(seed, steps, folder=tmp_path / f"seed-{seed}")
    resumed = toy_fit(STEPS, seeds=SEEDS, chunk=4, folder=tmp_path, resume=True)  # seed 11 never began
    whole = toy_fit(STEPS, seeds=SEEDS, chunk=CHUNK)
    for seed in SEEDS:
        assert_close_fit(resumed[seed], whole[seed])
        assert resumed[seed].metrics["step"].tolist() == list(range(1, STEPS + 1))


def test_validation_and_stop_are_those_of_the_seed_alone(tmp_path):
    def validate(key, vae):
        return {"neg_elbo": jnp.sum(vae.heads["encoder"]() ** 2) + jax.random.uniform(key)}

    def stop(records):  # other seeds stop at other times
        return records[-1]["validation"]["neg_elbo"] < 4.0

    options = {"validate": validate, "stop": stop, "chunk": 2, "save_every": 1}
    together = toy_fit(40, seeds=SEEDS, folder=tmp_path, **options)
    ends = {seed: int(together[seed].state.step) for seed in SEEDS}
    assert len(set(ends.values())) > 1
    for seed in SEEDS:
        single = alone(seed, 40, **options)
        assert_close_fit(together[seed], single)
        assert [r["step"] for r in together[seed].validation] == [r["step"] for r in single.validation]
        assert together[seed].best.step == single.best.step
    again = toy_fit(40, seeds=SEEDS, folder=tmp_path, resume=True, **options)
    for seed in SEEDS:
        assert_same(again[seed].state, together[seed].state)


# seeds that are not finite


def dying(at=12):
    """The loss of the marked seed is not finite from a step on."""
    plain = toy_objective()

    def objective(key, vae, batch, step):
        loss, (metrics, _) = plain(key, vae, batch, step)
        loss = jnp.where((step >= at) & (vae.heads["critic"]()[0] > 0.5), jnp.nan, loss)
        return loss, ({**metrics, "loss": loss}, None)

    return objective


def marked(bad):
    """A toy model whose critic starts with 1 for the seed `bad` and with 0 for the others."""
    model = toy_model()
    root = jax.random.key_data(named_key(jax.random.fold_in(KEY, bad), "/init"))

    def init(key, batch):
        params, variables = model.init(key, batch)
        mine = jnp.all(jax.random.key_data(key) == root).astype(jnp.float32)
        return {**params, "critic": params["critic"].at[0].set(mine)}, variables

    return model._replace(init=init)


def test_a_seed_that_is_not_finite_is_frozen_and_the_others_go_on(tmp_path, singles):
    model = marked(3)
    update = toy_update(dying(), model=model, wrt=("encoder", "decoder"))
    options = {"model": model, "update": update, "chunk": 5, "save_every": 2, "folder": tmp_path}
    kept = r"the last good checkpoint is step 10 in .*seed-3"
    message = (
        rf"seed 3: the loss is not finite at step 13: .*loss=nan.*; {kept}; frozen at step 10; the other"
    )
    with pytest.warns(RuntimeWarning, match=message):
        fits = toy_fit(STEPS, seeds=SEEDS, **options)
    assert fits[3].state.step == 10
    assert "the loss is not finite at step 13" in fits[3].error
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(fits[3].state))
    for seed in (0, 11):
        assert fits[seed].state.step == STEPS
        assert fits[seed].error is None
        np.testing.assert_allclose(fits[seed].metrics["loss"], singles[seed].metrics["loss"], rtol=1e-5)
    with pytest.warns(RuntimeWarning, match="seed 3: the loss is not finite at step 13"):
        again = toy_fit(STEPS + 5, seeds=SEEDS, resume=True, **options)
    assert_same(again[3].state, fits[3].state)
    assert again[0].state.step == again[11].state.step == STEPS + 5
    # the cause mended, all three end
    mended = {**options, "update": toy_update(model=model, wrt=("encoder", "decoder"))}
    ended = toy_fit(STEPS + 5, seeds=SEEDS, resume=True, **mended)
    assert {int(fit.state.step) for fit in ended.values()} == {STEPS + 5}


def test_parameters_that_are_not_finite_freeze_a_seed_too():
    """The last loss is finite: only the gradient of the last step was not."""
    model = marked(11)

    def objective(key, vae, batch, step):
        bad = (step == 9) & (vae.heads["critic"]()[0] > 0.5)
        size = vae.heads["decoder"]() ** 2
        loss = size + jnp.sqrt(jnp.where(bad, 0 * size, 1.0))  # finite, its slope is not
        return loss, ({"loss": loss}, None)

    update = toy_update(objective, optax.sgd(0.1), model=model, wrt=("decoder",))
    with pytest.warns(
        RuntimeWarning, match="seed 11: the parameters are not finite by step 10; frozen at step 5"
    ):
        fits = toy_fit(STEPS, seeds=SEEDS, model=model, update=update, chunk=5)
    assert [int(fits[seed].state.step) for seed in SEEDS] == [STEPS, STEPS, 5]
    assert np.isfinite(fits[11].state.params["decoder"])


def test_the_run_stops_when_no_seed_is_left(tmp_path):
    update = toy_update(toy_objective(nan_from=3))
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(
            FloatingPointError, match=r"seed 0: the loss is not finite at step 4.*; seed 3: the loss"
        ),
    ):
        toy_fit(STEPS, seeds=(0, 3), update=update, chunk=2, folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": ()}, "seeds: expected one or more different ints of at least 0 and below 2.32; got none"),
        ({"seeds": (1, 1)}, "seeds: expected one or more different ints .*; got 1, 1"),
        ({"seeds": (1, -1)}, "seeds: expected one or more different ints"),
        ({"seeds": np.array([2**32, 0])}, "seeds: expected one or more different ints .*; got 4294967296, 0"),
        ({"seeds": (0, 1, 2), "devices": 2 * jax.devices()}, "divides seeds=3, got 2"),
        ({"devices": 4 * jax.devices()}, "divides batch_size=6, got 4"),
        ({"devices": []}, "divides batch_size=6, got 0"),
    ],
)
def test_bad_seeds_and_devices_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        toy_fit(STEPS, **options)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (3, r"seeds: expected several ints, as range\(3\) or \(0, 1, 2\); got int \(3\)"),
        (np.int64(3), r"seeds: expected several ints, .*; got int64"),
        (np.array(3), r"seeds: expected several ints, .*; got ndarray"),
        ("01", r"seeds: expected several ints, .*; got str"),
        ((1.0,), r"seeds: expected ints, got float \(1\.0\)"),
        (np.linspace(0, 1, 2), r"seeds: expected ints, got float"),
        ((True, 2), r"seeds: expected ints, got bool \(True\)"),
        (np.array([True, False]), "seeds: expected ints, got bool"),
        (np.arange(4).reshape(2, 2), "seeds: expected ints, got ndarray"),
        (("0", "1"), "seeds: expected ints, got str"),
        (jnp.zeros((2,)), "seeds: expected ints, got float"),
    ],
)
def test_seeds_of_another_kind_are_refused(seeds, message):
    with pytest.raises(TypeError, match=message):
        toy_fit(STEPS, seeds=seeds)


def test_devices_are_several():
    with pytest.raises(
        TypeError, match=r"devices: expected a sequence of them, as jax\.devices\(\); got int"
    ):
        toy_fit(STEPS, devices=1)


def test_ints_of_any_kind_are_seeds():
    for seeds in (np.arange(3), [np.int64(0), np.uint8(1), 2], range(3), jnp.arange(3), iter((0, 1, 2)),
                  np.arange(3, dtype=np.uint64), {0: "a", 1: "b", 2: "c"}):  # fmt: skip
        assert check_seeds(seeds) == (0, 1, 2)
        assert all(type(seed) is int for seed in check_seeds(np.arange(3)))


def test_ints_of_numpy_are_what_pythons_are(tmp_path):
    n, seeds = np.int64, np.array([3, 0])
    options = {"batch_size": n(6), "chunk": np.uint8(2), "save_every": n(1), "log_every": np.uint8(1)}
    update = toy_update(microbatch=n(2))
    fits = toy_fit(n(4), seeds=seeds, update=update, folder=tmp_path, **options)
    assert [(seed, type(seed)) for seed in fits] == [(3, int), (0, int)]
    again = toy_fit(n(4), seeds=seeds, update=update, folder=tmp_path, resume=True, **options)
    plain = toy_fit(4, seeds=(3, 0), update=toy_update(microbatch=2), chunk=2)
    for seed in (3, 0):
        assert_same_fit(fits[seed], plain[seed])
        assert_same_fit(again[seed], plain[seed])
