"""A streamed run is the resident one, bit for bit, and reads what its steps need."""

import logging
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.sources import Read, mapped
from tests.train.test_seeds import SEEDS, dying, marked
from tests.train.toy import (
    DATA,
    KEY,
    assert_same,
    assert_same_fit,
    toy_fit,
    toy_model,
    toy_objective,
    toy_update,
)
from vaejax import distributions, models, nets, objectives, rows, train
from vaejax.data.transforms import binarise
from vaejax.train import feed
from vaejax.train.step import Order, chunk_indices
from vaejax.types import Split

STEPS = 30
X = DATA.arrays["x"]
STREAMED = {"resident": False}


@pytest.fixture(scope="module")
def whole():
    """STEPS resident steps in one chunk."""
    return toy_fit(STEPS, chunk=100, resident=True)


@pytest.fixture(autouse=True)
def _no_thread_stays():
    yield
    assert not [t.name for t in threading.enumerate() if t.name.startswith("vaejax-")]


# the draws and results


@pytest.mark.parametrize("kind", ["array", "map", "source"])
@pytest.mark.parametrize("chunk", [7, 100])
def test_a_streamed_run_is_the_resident_one(kind, chunk, whole, tmp_path):
    x = {"array": lambda: X, "map": lambda: mapped(X, tmp_path / "x.npy"), "source": lambda: Read(X)}[kind]()
    assert_same_fit(toy_fit(STEPS, data=Split({"x": x}, "real"), chunk=chunk, **STREAMED), whole)


@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_streamed_or_resident_as_it_would_have(first, whole, tmp_path):
    toy_fit(10, chunk=4, save_every=1, folder=tmp_path, resident=first)
    resumed = toy_fit(STEPS, chunk=7, folder=tmp_path, resume=True, resident=not first)
    assert_same_fit(resumed, whole)


def test_every_row_of_an_epoch_in_its_order_and_noise_of_its_own():
    grey = Split(
        {"x": np.arange(20, dtype=np.uint8)[:, None, None] + np.zeros((20, 2, 3), np.uint8)},
        "binary",
        binarise,
    )

    def objective(key, vae, batch, step):
        on = batch["x"].reshape(6, -1) @ jnp.arange(6.0)
        return 0.0 * vae.heads["decoder"](), ({"places": on @ jnp.arange(1.0, 7.0)}, None)

    both = [toy_fit(9, update=toy_update(objective), data=grey, chunk=4, resident=r) for r in (True, False)]
    assert_same_fit(*both)

    def named(key, vae, batch, step):
        value = batch["x"][:, 0] @ 32.0 ** jnp.arange(6)
        return 0.0 * vae.heads["decoder"](), ({"rows": value}, None)

    numbered = Split({"x": np.repeat(np.arange(20, dtype=np.float32)[:, None], 3, axis=1)}, "real")
    seen = toy_fit(9, update=toy_update(named), data=numbered, chunk=4, **STREAMED).metrics["rows"]
    expected = chunk_indices(KEY, 0, 9, 20, 6).astype(np.float32) @ np.float32(32.0) ** np.arange(
        6, dtype=np.float32
    )
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


@pytest.mark.parametrize("resident", [True, False])
def test_slices_of_a_batch_are_the_batch(resident, whole):
    sliced = toy_fit(STEPS, update=toy_update(microbatch=2), chunk=7, resident=resident)
    for name, values in whole.metrics.items():
        np.testing.assert_allclose(sliced.metrics[name], values, rtol=1e-5, err_msg=name)


def test_a_program_compiles_once():
    traces = {}
    for steps in (7, STEPS):
        traces[steps] = []
        toy_fit(steps, update=toy_update(toy_objective(traces[steps])), chunk=7, **STREAMED)
    assert len(traces[STEPS]) == len(traces[7])


def of_further_batches():
    """Updates that take batches of their own: some, and as many as it turns out."""
    encoder, rest = toy_update(wrt=("encoder",)), toy_update(wrt=("decoder", "critic"))
    yield train.repeat(toy_update(), 3)
    yield train.sequence(vae=train.aggressive(encoder, rest, window=2, most=4))


@pytest.mark.parametrize("update", [*of_further_batches()], ids=["repeat", "aggressive"])
def test_further_batches_are_those_of_a_resident_run(update):
    both = [toy_fit(8, update=update, chunk=3, resident=resident) for resident in (True, False)]
    assert_same_fit(*both)


def test_a_model_with_modalities_labels_and_64_bits():
    model = models.vae(
        encoder=nets.Modalities({"a": nets.MLPEncoder(2, (4,)), "b": nets.MLPEncoder(2, (4,))}),
        decoder=nets.PerModality({"a": nets.MLP((4,), (3,)), "b": nets.MLP((4,), (2,))}),
        posterior=models.posteriors.poe(2, 2),
        likelihood=distributions.joint(a=distributions.bernoulli(), b=distributions.gaussian(1.0)),
    )
    rng = np.random.default_rng(0)
    arrays = {
        "x": {"a": rng.integers(0, 2, (12, 3)).astype(np.float32), "b": rng.normal(size=(12, 2))},
        "observed": {"b": rng.integers(0, 2, 12).astype(bool)},
        "y": rng.integers(0, 5, 12),
    }
    split = Split(arrays, {"a": "binary", "b": "real"})
    loss = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl_sampled)
    update = train.gradient_update(loss, model, optax.adam(1e-2))
    assert_same_fit(*(
        toy_fit(5, model=model, update=update, data=split, batch_size=4, chunk=2, resident=resident)
        for resident in (True, False)
    ))  # fmt: skip


# several seeds


def test_seeds_are_those_of_a_resident_run(tmp_path):
    options = {"seeds": SEEDS, "chunk": 6}
    resident = toy_fit(20, resident=True, **options)
    toy_fit(10, folder=tmp_path, save_every=1, **options, **STREAMED)
    resumed = toy_fit(20, folder=tmp_path, resume=True, **options, **STREAMED)
    for seed in SEEDS:
        assert_same_fit(resumed[seed], resident[seed])


def test_seeds_side_by_side_and_on_a_mesh(monkeypatch):
    resident = toy_fit(7, seeds=(0, 3), chunk=3, resident=True)
    on_mesh = toy_fit(7, seeds=(0, 3), chunk=3, devices=jax.devices()[:1], **STREAMED)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    beside = toy_fit(7, seeds=(0, 3), chunk=3, **STREAMED)
    for seed in (0, 3):
        assert_same_fit(on_mesh[seed], resident[seed])
        for name, values in resident[seed].metrics.items():
            np.testing.assert_allclose(beside[seed].metrics[name], values, rtol=2e-5, atol=1e-6)


def test_a_seed_that_is_frozen_keeps_the_state_of_a_resident_one():
    model = marked(3)
    update = toy_update(dying(), model=model, wrt=("encoder", "decoder"))
    fits = []
    for resident in (True, False):
        with pytest.warns(RuntimeWarning, match="seed 3: the loss is not finite at step 13"):
            fits.append(toy_fit(20, seeds=SEEDS, model=model, update=update, chunk=5, resident=resident))
    for seed in SEEDS:
        assert_same(fits[1][seed].state, fits[0][seed].state)


def test_runs_that_end_by_themselves_leave_what_was_read_ahead():
    def validate(key, vae):
        return {"neg_elbo": jnp.sum(vae.heads["encoder"]() ** 2) + jax.random.uniform(key)}

    def stop(records):
        return records[-1]["validation"]["neg_elbo"] < 4.0

    options = {"validate": validate, "stop": stop, "chunk": 2, "save_every": 1, "seeds": SEEDS}
    resident, streamed = (toy_fit(40, resident=resident, **options) for resident in (True, False))
    assert len({int(resident[seed].state.step) for seed in SEEDS}) > 1
    for seed in SEEDS:
        assert_same_fit(streamed[seed], resident[seed])


# what is read


def test_no_row_is_read_but_those_of_the_steps_and_of_the_checks(tmp_path):
    source = Read(np.repeat(np.arange(400, dtype=np.float32)[:, None], 3, axis=1))
    before = len(source.rows)
    toy_fit(7, data=Split({"x": source}, "real"), chunk=3, **STREAMED)
    assert sorted(source.rows[before:].tolist()) == sorted(
        [0, *chunk_indices(KEY, 0, 7, 400, 6).ravel().tolist()]
    )
    source.readings.clear()
    toy_fit(7, data=Split({"x": source}, "real"), chunk=3, folder=tmp_path, **STREAMED)
    assert len(source.rows) == 1 + 7 * 6 + len(rows.some_rows(Read(source.array)))  # and a digest of some


def test_the_order_of_an_epoch_is_drawn_once(monkeypatch):
    drawn, permutation = [], jax.random.permutation
    monkeypatch.setattr(jax.random, "permutation", lambda key, n: drawn.append(n) or permutation(key, n))
    order = Order(KEY, 50, 5)  # epochs of ten steps
    made = [order.rows(start, 4) for start in range(0, 32, 4)]
    np.testing.assert_array_equal(np.concatenate(made), chunk_indices(KEY, 0, 32, 50, 5))
    assert len(drawn) == 4 + 4


def test_integers_that_jax_would_wrap_are_found_in_the_chunk_that_has_them(monkeypatch):
    monkeypatch.setattr(rows, "_PLACES", 2)
    monkeypatch.setattr(rows, "_AT_EACH", 8)
    y = np.arange(20)
    y[1:19] += 2**40  # the first and the last are looked at
    data = Split({"x": X, "y": Read(y)}, "real")
    with pytest.raises(ValueError, match="data: expected integers of int32, which jax has without x64"):
        toy_fit(STEPS, data=data, chunk=7, **STREAMED)


def test_what_a_source_raises_ends_the_run_and_a_resume_goes_on(whole, tmp_path):
    class Broken(Read):
        def read(self, rows):
            if len(self.rows) > 100:
                raise OSError("the disk is gone")
            return super().read(rows)

    options = {"chunk": 4, "save_every": 1, "folder": tmp_path}
    with pytest.raises(OSError, match="the disk is gone"):
        toy_fit(STEPS, data=Split({"x": Broken(X)}, "real"), **options, **STREAMED)
    resumed = toy_fit(STEPS, data=Split({"x": Read(X)}, "real"), resume=True, **options, **STREAMED)
    assert_same_fit(resumed, whole)


# which of the two


def test_the_size_decides_and_the_log_says_which(monkeypatch, caplog, whole):
    caplog.set_level(logging.INFO, "vaejax")
    for memory, resident in ((4 * X.nbytes, True), (4 * X.nbytes - 1, False)):
        caplog.clear()
        monkeypatch.setattr(feed, "host_memory", lambda memory=memory: memory)
        assert_same_fit(toy_fit(STEPS, chunk=7), whole)
        said = "held on the device (up to" if resident else "streamed from the host (more than"
        assert f"the 20 examples, 0.0 MiB, are {said} 0 MiB, a quarter of the host's memory)" in caplog.text
        assert ("a chunk of 7 steps takes 0.0 MiB" in caplog.text) is not resident


def test_a_device_that_knows_its_memory_is_asked(caplog):
    class Device:
        process_index = 0

        def memory_stats(self):
            return {"bytes_limit": self.limit}

    caplog.set_level(logging.INFO, "vaejax")
    small, large = Device(), Device()
    small.limit, large.limit = 2 * X.nbytes - 1, 2 * X.nbytes
    assert feed.is_resident("auto", DATA, [large, large])
    assert "half of the device's memory" in caplog.text
    assert not feed.is_resident("auto", DATA, [large, small])
    assert feed.is_resident(True, DATA, [small])


def test_the_memory_is_that_of_the_machine_or_less():
    assert 2**20 < feed.host_memory() < 2**60


def test_a_large_chunk_is_warned_of(monkeypatch, caplog):
    monkeypatch.setattr(feed, "_LARGE_CHUNK", 100)
    toy_fit(4, chunk=2, **STREAMED)
    assert "chunk: 2 steps take 0 MiB of memory, twice; fewer take less" in caplog.text


@pytest.mark.parametrize("resident", ["yes", None, 1])
def test_anything_else_is_refused_before_it_compiles(resident):
    with pytest.raises(ValueError, match=r'resident: expected True, False or "auto", got'):
        toy_fit(
            3, resident=resident, model=toy_model()._replace(init=lambda *args: pytest.fail("initialised"))
        )


def test_devices_that_share_a_batch_have_no_further_ones():
    with pytest.raises(
        ValueError, match=r"resident: expected True for an update that takes batches of its own"
    ):
        toy_fit(3, update=train.repeat(toy_update(), 2), devices=jax.devices()[:1], **STREAMED)
    assert_same_fit(
        toy_fit(5, chunk=3, devices=jax.devices()[:1], **STREAMED),
        toy_fit(5, chunk=3, devices=jax.devices()[:1], resident=True),
    )


def test_the_measured_step_holds_no_large_split():
    source = Read(np.repeat(np.arange(9000, dtype=np.float32)[:, None], 3, axis=1))
    train.measure_step(
        KEY, toy_model(), toy_update(), Split({"x": source}, "real"), batch_size=6, steps=2, rounds=1
    )
    assert source.rows.max() == 4095
