"""The order of the data."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.train.toy import DATA, toy_fit, toy_model, toy_objective, toy_update
from vaejax import distributions, models, nets, objectives
from vaejax.train import gradient_update
from vaejax.train.loop import initialiser
from vaejax.train.step import Placement, chunk_indices, make_chunk
from vaejax.types import TrainState

KEY = jax.random.key(0)


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (23, 5), (7, 7)])
def test_every_row_once_an_epoch_and_the_ragged_rest_dropped(size, batch_size):
    per_epoch = size // batch_size
    rows = chunk_indices(KEY, 0, 3 * per_epoch, size, batch_size)
    assert rows.shape == (3 * per_epoch, batch_size)
    epochs = rows.reshape(3, per_epoch * batch_size)
    for epoch in epochs:
        assert len(set(epoch)) == per_epoch * batch_size
        assert set(epoch) <= set(range(size))
    if size % batch_size == 0:
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])
    other = chunk_indices(jax.random.key(1), 0, per_epoch, size, batch_size)
    assert not np.array_equal(rows[:per_epoch], other)


def test_other_rows_are_dropped_in_other_epochs():
    rows = chunk_indices(KEY, 0, 12, 5, 4)  # one batch of 4 in an epoch of 5
    dropped = [(set(range(5)) - set(row)).pop() for row in rows]
    assert len(set(dropped)) > 1


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_the_order_does_not_know_the_chunks(chunk):
    whole = chunk_indices(KEY, 0, 21, 23, 5)
    parts = [chunk_indices(KEY, start, chunk, 23, 5) for start in range(0, 21, chunk)]
    np.testing.assert_array_equal(np.concatenate(parts)[:21], whole)
    np.testing.assert_array_equal(chunk_indices(KEY, 9, 4, 23, 5), whole[9:13])


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the copies are those of XLA on CPU")
def test_a_step_of_the_loop_copies_no_weights():
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=3, features=(32, 24)),
        decoder=nets.MLP(features=(24, 32), output_shape=(40,)),
        latents=3,
        likelihood=distributions.bernoulli(),
    )
    update = gradient_update(objectives.compose(iwae=objectives.iwae(1)), model, optax.adam(1e-3))
    arrays = {"x": jnp.zeros((16, 40))}
    params, variables = model.init(KEY, arrays)
    state = TrainState(params, variables, update.init(params), jnp.zeros((), jnp.int32))
    rows = chunk_indices(KEY, 0, 8, 16, 4)
    run = jax.jit(make_chunk(update, lambda key, batch: batch, 4), donate_argnums=0)
    program = run.lower(state, KEY, arrays, rows, 8).compile().as_text()
    shapes = {"f32[" + ",".join(map(str, a.shape)) + "]" for a in jax.tree.leaves(params) if a.ndim > 1}
    copied = re.findall(r"= (f32\[[\d,]+\])\S* copy\(", program)
    assert all(f"{shape}{{" in program for shape in shapes)  # they are written as the pattern expects
    assert not shapes & set(copied)


@pytest.mark.parametrize("seeds", [None, (0, 1)])
@pytest.mark.parametrize("microbatch", [None, 2])
def test_a_run_traces_its_step_once(microbatch, seeds):
    """Not for its shapes, for its checks and for its program each anew: a trace can take a second."""
    traces = []
    update = toy_update(toy_objective(traces), microbatch=microbatch)
    toy_fit(7, update=update, chunk=3, seeds=seeds)
    assert len(traces) == 1


@pytest.mark.parametrize("of", ["step", "loop"])
def test_programs_of_a_run_take_the_options_for_long_ones(monkeypatch, of):
    """That of the steps, and that of the first parameters; an option that nobody knows is noticed."""
    monkeypatch.setattr(f"vaejax.train.{of}.compiler_options", lambda: {"xla_no_such_option": 1})
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_no_such_option'"):
        toy_fit(1)


def equations(jaxpr, within=()):
    """(name, the names around it) of every equation of a program, those of inner programs too."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name, within
        inner = [each for value in eqn.params.values() for each in np.ravel(np.array([value], object))]
        for each in inner:
            each = getattr(each, "jaxpr", each)
            if hasattr(each, "eqns"):
                yield from equations(each, (*within, eqn.primitive.name))


def test_gradients_of_slices_meet_once_a_step():
    """Whatever the number of slices, devices sum over each other after the last, not in each."""
    update, placement = toy_update(microbatch=2), Placement.over(jax.devices()[:1], split_runs=False)
    chunk = make_chunk(update, DATA.transform, 6, placement.batch)
    state = initialiser(toy_model(), update, DATA)(KEY)
    rows = chunk_indices(KEY, 0, 3, DATA.size, 6)
    program = jax.make_jaxpr(chunk)(state, KEY, dict(DATA.arrays), rows, 1)
    places = [within for name, within in equations(program.jaxpr) if name.startswith("psum")]
    assert places
    assert all("shard_map" in within for within in places)
    assert not any("scan" in within for within in places)
    assert any(within[-2:] == ("shard_map", "scan") for _, within in equations(program.jaxpr))
