"""The loop: pure steps, exact resume, and what stops it."""

import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import oracle
from tests.train.toy import (
    DATA,
    KEY,
    START,
    assert_same_fit,
    toy_fit,
    toy_model,
    toy_objective,
    toy_update,
)
from vaejax import objectives
from vaejax.data.transforms import binarise
from vaejax.train import fit, gradient_update, repeat
from vaejax.types import Split, Update

STEPS = 30


@pytest.fixture(scope="module")
def whole():
    """STEPS steps in one chunk."""
    return toy_fit(STEPS, chunk=100)


# every step is a pure function of the key, its number and the data


def test_every_step_binarises_anew():
    grey = Split({"x": np.full((6, 8, 8, 1), 127, np.uint8)}, "binary", binarise)

    def objective(key, vae, batch, step):
        x = batch["x"].ravel()
        seen = {"on": jnp.mean(x), "levels": jnp.mean(x**2), "places": x @ jnp.arange(x.size)}
        return 0.0 * vae.heads["decoder"](), (seen, None)

    once, again = (toy_fit(5, update=toy_update(objective), data=grey) for _ in range(2))
    on = once.metrics["on"]
    assert len(set(once.metrics["places"].tolist())) == 5  # always the same six images
    np.testing.assert_allclose(on, 127 / 255, atol=4 * 0.5 / np.sqrt(6 * 64))
    np.testing.assert_allclose(once.metrics["levels"], on, rtol=1e-6)  # only 0 and 1
    assert_same_fit(once, again)


def test_chunks_do_not_matter_and_compile_once():
    traces = {}
    for steps in (7, STEPS):
        calls = []
        traces[steps] = calls
        cut = toy_fit(steps, update=toy_update(toy_objective(calls)), chunk=7)
    assert len(traces[STEPS]) == len(traces[7])  # four whole chunks and one of 2 steps: no second program
    assert_same_fit(cut, toy_fit(STEPS, chunk=100))


def test_weak_types_at_the_start_compile_nothing_twice():
    model = toy_model()

    def init(key, batch):
        params = {"encoder": jnp.full((3,), 2.0), "decoder": jnp.asarray(3.0), "critic": jnp.zeros(1)}
        assert params["decoder"].weak_type
        return params, None

    traces = []
    update = toy_update(toy_objective(traces), model=model)
    toy_fit(5, model=model._replace(init=init), update=update, chunk=5)
    one = len(traces)
    toy_fit(15, model=model._replace(init=init), update=update, chunk=5)
    assert len(traces) == 2 * one


def test_another_key_is_another_run(whole):
    other = toy_fit(STEPS, chunk=100, key=jax.random.key(8))
    assert not np.array_equal(other.metrics["loss"], whole.metrics["loss"])
    assert not np.array_equal(other.state.params["encoder"], whole.state.params["encoder"])


def test_a_step_is_the_documented_function_of_its_number():
    """The update gets fold_in(key, t), the rows of the permuted stream, and their places."""

    def apply(state, key, batch, take):
        fresh = take(key)
        return state, {
            "loss": jnp.zeros(()),
            "u": jax.random.uniform(key),
            "row": batch["x"][0, 0],
            "rows": batch["x"].sum(),
            "place": batch["index"][-1],
            "number": state.step,
            "fresh": fresh["x"].min(),
            "size": jnp.asarray(fresh["x"].shape[0]),
        }

    update = Update(lambda params: (), apply)
    data = Split(
        {"x": np.arange(10.0, dtype=np.float32)[:, None]}, "real", lambda key, b: {**b, "x": b["x"] + 1}
    )
    result = toy_fit(5, update=update, data=data, batch_size=5, chunk=3)
    assert result.metrics["u"] == pytest.approx(
        [float(jax.random.uniform(jax.random.fold_in(KEY, t))) for t in range(5)]
    )
    rows = result.metrics["rows"]
    assert rows[0] + rows[1] == rows[2] + rows[3] == 55  # 1 + ... + 10, every row once in two batches of 5
    assert result.metrics["place"].tolist() == [4] * 5
    assert result.metrics["size"].tolist() == [5] * 5
    assert set(result.metrics["fresh"]) <= set(range(1, 11))


def test_repeat_draws_fresh_batches_in_a_fit():
    def apply(state, key, batch, take):
        value = batch["x"].sum()
        return state._replace(params={"encoder": state.params["encoder"] + value}), {"loss": value}

    model = toy_model({"encoder": 0.0})
    data = Split({"x": 2.0 ** np.arange(8, dtype=np.float32)}, "real")
    result = toy_fit(1, model=model, update=repeat(Update(lambda p: (), apply), 4), data=data, batch_size=1)
    total = int(result.state.params["encoder"])
    last = int(result.metrics["loss"][0])
    assert last in 2 ** np.arange(8)
    assert total != 4 * last  # 1 + 3 rows, not the same one four times
    assert 4 <= total <= 4 * 128


# progress, TensorBoard


def test_progress_is_called_after_each_chunk(whole):
    calls = []
    toy_fit(18, chunk=4, progress=lambda n, record: calls.append((n, record)))
    assert [n for n, _ in calls] == [4, 4, 4, 4, 2]
    assert [r["step"] for _, r in calls] == [4, 8, 12, 16, 18]
    assert [r["loss"] for _, r in calls] == whole.metrics["loss"][[3, 7, 11, 15, 17]].tolist()


def test_the_bar_shows_steps_and_loss(capsys):
    result = toy_fit(6, chunk=3, progress=True)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert f"loss={result.metrics['loss'][-1]:.4g}" in shown
    toy_fit(6, chunk=3, progress=False)
    assert capsys.readouterr().err == ""


def events(folder):
    """{(tag, step): value} of TensorBoard's record files: length, checksum, protobuf, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in folder.iterdir():
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            found |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
            content = content[16 + length :]
    return found


def test_tensorboard_events_hold_the_metrics(tmp_path):
    result = toy_fit(
        4, chunk=2, folder=tmp_path, tensorboard=True, validate=lambda key, vae: {"neg_elbo": 0.5, "au": 2}
    )
    written = events(tmp_path / "tensorboard")
    names = set(result.metrics) - {"step"}
    assert set(written) == {(n, s) for n in names for s in (1, 2, 3, 4)} | {
        ("validation/neg_elbo", 4),
        ("validation/au", 4),
    }
    for name in names:
        assert [written[name, s] for s in (1, 2, 3, 4)] == pytest.approx(
            result.metrics[name].tolist(), rel=1e-6
        )
    assert written["validation/neg_elbo", 4] == 0.5


# refusals before anything compiles


def broken_init(key, batch):
    raise AssertionError("init was called")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"key": 0},
            TypeError,
            r"key: expected a typed PRNG key, as jax\.random\.key\(seed\) makes it; got int",
        ),
        (
            {"key": np.zeros(2, np.uint32)},
            TypeError,
            "key: expected a typed PRNG key.* got ndarray of dtype uint32",
        ),
        ({"key": jax.random.PRNGKey(0)}, TypeError, "key: expected a typed PRNG key.* of dtype uint32"),
        ({"key": jax.random.split(KEY, 2)}, TypeError, r"key: expected one key, got an array .* \(2,\)"),
        ({"steps": 0}, ValueError, "steps: expected at least 1, got 0"),
        ({"steps": 3.0}, TypeError, r"steps: expected an int, got float \(3\.0\)"),
        ({"chunk": 0}, ValueError, "chunk: expected at least 1, got 0"),
        ({"save_every": -1}, ValueError, "save_every: expected at least 1, got -1"),
        ({"batch_size": True}, TypeError, r"batch_size: expected an int, got bool \(True\)"),
        ({"batch_size": 21}, ValueError, "batch_size: expected at most the 20 examples of the data, got 21"),
        (
            {"model": toy_model(support="binary"), "data": Split(DATA.arrays, "unit_interval")},
            ValueError,
            r"likelihood: scores data of support 'binary'; the data have support 'unit_interval'; .*"
            r"bernoulli\(cross_entropy=True\)",
        ),
        (
            {"data": Split(DATA.arrays, "grey")},
            ValueError,
            "support of the data: expected one of 'binary', .*; got 'grey'",
        ),
        (
            {"resume": True},
            ValueError,
            "folder: expected a path, since resume or tensorboard is asked; got None",
        ),
        ({"tensorboard": True}, ValueError, "folder: expected a path, since resume or tensorboard is asked"),
    ],
)
def test_bad_arguments_are_refused_before_anything_compiles(change, error, message):
    model = change.get("model", toy_model())._replace(init=broken_init)
    with pytest.raises(error, match=message):
        toy_fit(**{"steps": 3, **change, "model": model})


def test_tensorboard_without_its_package_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tensorboard: expected the extra .*-e '\.\[tensorboard\]'"):
        toy_fit(3, model=toy_model()._replace(init=broken_init), folder=tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "validate: expected to return a dict of numbers, got NoneType"),
        ({"verdict": "good"}, "validate: expected numbers or arrays, got 'verdict': 'good'"),
        ({"neg_elbo": None}, "validate: expected numbers or arrays, got 'neg_elbo': None"),
    ],
)
def test_what_validate_returns_is_checked(returned, message):
    with pytest.raises(TypeError, match=message):
        toy_fit(2, validate=lambda key, vae: returned)


# and it learns


def exact_gap(params):
    """E_p(x) of the negative ELBO minus the entropy of p(x), both exact: E KL(q || p(z|x)) + KL(p* || p)."""
    cov = oracle.W @ oracle.W.T + oracle.SIGMA**2 * np.eye(4)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * cov)[1]
    enc, dec = (jax.tree.map(lambda a: np.asarray(a, np.float64), params[g]) for g in ("encoder", "decoder"))

    def mean_square(matrix, vector):
        """E |matrix x + vector|^2."""
        return np.trace(matrix @ cov @ matrix.T) + np.sum((matrix @ oracle.B + vector) ** 2)

    variance = np.exp(2 * enc["log_scale"])
    residual = mean_square(np.eye(4) - dec["W"] @ enc["A"], -dec["W"] @ enc["a"] - dec["b"])
    residual += np.sum(dec["W"] ** 2 @ variance)
    reconstruction = 2 * np.log(2 * np.pi * oracle.SIGMA**2) + residual / (2 * oracle.SIGMA**2)
    kl = 0.5 * (mean_square(enc["A"], enc["a"]) + np.sum(variance - 1 - np.log(variance)))
    return reconstruction + kl - entropy


def test_training_reaches_the_exact_bound():
    model = oracle.linear_vae()
    assert exact_gap(oracle.exact_params()) == pytest.approx(0, abs=1e-5)
    rng = np.random.default_rng(1)
    start = jax.tree.map(
        lambda a: a + 0.5 * rng.normal(size=a.shape).astype(np.float32), oracle.exact_params()
    )
    steps = 2000
    update = gradient_update(
        objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl),
        model,
        optax.adam(optax.cosine_decay_schedule(0.02, steps)),
    )
    data = Split({"x": oracle.data(4096).astype(np.float32)}, "real")
    result = fit(
        KEY, model._replace(init=lambda key, batch: (start, None)), update, data, steps,
        batch_size=64, chunk=1000, progress=False,
    )  # fmt: skip
    assert exact_gap(start) > 1.0
    assert 0 < exact_gap(result.state.params) < 0.02  # some 12 parameters / (2 * 4096 examples) at best
    np.testing.assert_allclose(
        result.metrics["loss"], result.metrics["reconstruction"] + result.metrics["kl"], rtol=1e-5
    )


def logging(**metrics):
    """An update whose objective has these metrics."""

    def objective(key, vae, batch, step):
        return vae.heads["decoder"]() ** 2, (jax.tree.map(jnp.asarray, metrics), None)

    return toy_update(objective)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"update": toy_update(microbatch=4)},
            "microbatch: expected a divisor of the batch of 6 examples, got 4",
        ),
        ({"update": toy_update(wrt=("prior",))}, "wrt: expected groups among"),
        ({"data": np.zeros((20, 3))}, r"data: expected a vaejax.Split, as Split\(.*; got ndarray"),
        ({"validate": 3}, "validate: expected a function or None, got int"),
        ({"validate": dict, "stop": True}, r"stop: expected a function or None, got bool \(True\)"),
        (
            {"validate": dict, "after_validation": "x"},
            "after_validation: expected a function or None, got str",
        ),
        ({"progress": "bar"}, r"progress: expected True, False or a function, got str \('bar'\)"),
        ({"update": "adam"}, "update: expected a vaejax.Update, got str"),
        ({"update": logging(seed=1.0)}, "metrics: expected names other than those of a record, got 'seed'"),
        ({"update": logging(step=1.0)}, "metrics: expected names other than .*, got 'step'"),
        ({"update": logging(validation=1.0)}, "metrics: expected names other than .*, got 'validation'"),
        ({"update": logging(grad_norm=1.0)}, "metrics: expected names other than 'grad_norm', which the"),
        (
            {"update": logging(kl_per_dim=np.zeros(2))},
            r"metrics: expected scalars, got 'kl_per_dim' of shape \(2,\)",
        ),
        (
            {"update": logging(kl_per_dim=np.zeros(2)), "seeds": [0, 1]},
            r"metrics: expected scalars, got 'kl_per_dim' of shape \(2,\)",
        ),
        (
            {"update": logging(kl_per_dim=np.zeros((2, 1))), "devices": jax.devices()[:1]},
            r"metrics: expected scalars, got 'kl_per_dim' of shape \(2, 1\)",
        ),
        ({"update": logging(kl={"a": 0.0})}, "metrics: expected scalars, got 'kl', a dict"),
    ],
)
def test_what_tracing_refuses_is_refused_before_anything_is_made(tmp_path, change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        toy_fit(5, folder=tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_a_hand_written_loss_is_on_record_without_metrics_of_its_own():
    def objective(key, vae, batch, step):
        return vae.heads["decoder"]() ** 2, ({}, None)

    fitted = toy_fit(3, update=toy_update(objective))
    assert set(fitted.metrics) == {"step", "loss", "grad_norm"}
    assert fitted.metrics["loss"][0] == START["decoder"] ** 2
