"""The order of the data."""

import jax
import numpy as np
import pytest

from vaejax.train.step import chunk_indices

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
