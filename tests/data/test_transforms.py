"""Noise of the transforms: its law, its key, and slices of a batch that draw what the whole draws."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.data.transforms import binarise, dequantise, threshold

KEY = jax.random.key(0)
GREYS = np.array([0, 1, 51, 127, 128, 254, 255], np.uint8)
N = 40_000


def drawn(transform, key, x, **rest):
    out = transform(key, {"x": x, **rest})
    assert out["x"].dtype == jnp.float32
    return np.asarray(out["x"])


def test_the_mean_of_fresh_binary_draws_is_the_grey_value():
    x = drawn(jax.jit(binarise), KEY, np.broadcast_to(GREYS, (N, 7)))
    assert set(np.unique(x)) == {0, 1}
    p = GREYS / 255
    np.testing.assert_array_less(
        abs(x.mean(0) - p), 4 * np.sqrt(p * (1 - p) / N) + 1e-9
    )  # exact at 0 and 255
    correlation = np.corrcoef(x[:, 2:5].T) - np.eye(3)
    assert abs(correlation).max() < 4 / math.sqrt(N)  # pixels are independent


@pytest.mark.parametrize(("u", "ones"), [(0.0, [1, 51, 127, 128, 254, 255]), (1 - 2.0**-24, [255])])
def test_0_is_never_drawn_as_1_nor_255_as_0(u, ones, monkeypatch):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.full(shape, u))
    x = drawn(binarise, KEY, GREYS[:, None])[:, 0]
    np.testing.assert_array_equal(x, np.isin(GREYS, ones))


def test_dequantised_bytes_are_the_byte_and_a_uniform_fraction():
    x = np.broadcast_to(GREYS, (N, 7))
    out = drawn(jax.jit(dequantise), KEY, x).astype(np.float64) * 256
    np.testing.assert_array_equal(np.floor(out), x)
    u = out - x
    assert 0 < u.min() < u.max() < 1
    counts = np.apply_along_axis(lambda row: np.histogram(row, 64, (0, 1))[0], 0, u)
    chi2 = np.sum((counts - N / 64) ** 2 / (N / 64))
    assert chi2 == pytest.approx(7 * 63, abs=5 * math.sqrt(2 * 7 * 63))
    assert abs(np.corrcoef(u.T) - np.eye(7)).max() < 4 / math.sqrt(N)


@pytest.mark.parametrize("bits", [0, 1, 65534, 65535])
def test_dequantised_values_never_touch_0_or_1(bits, monkeypatch):
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: jnp.full(shape, bits, dtype))
    u = (bits // 2 * 2 + 1) / 2**16
    out = drawn(dequantise, KEY, GREYS[:, None])
    np.testing.assert_array_equal(out[:, 0].astype(np.float64), (GREYS + u) / 256)
    assert 0 < out.min() < out.max() < 1


@pytest.mark.parametrize("transform", [binarise, dequantise])
def test_the_noise_is_the_keys_and_the_places(transform):
    x = np.full((6, 5, 4, 1), 120, np.uint8)
    compiled = jax.jit(transform)  # each shape once, where each op of it would be compiled alone
    whole = drawn(compiled, KEY, x)
    np.testing.assert_array_equal(drawn(transform, KEY, x), whole)
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
        part = drawn(compiled, KEY, x[rows], index=np.arange(6)[rows])
        np.testing.assert_array_equal(part, whole[rows])
    others = [drawn(compiled, jax.random.key(1), x), np.roll(whole, 1, axis=0)]
    for other in others:  # another key; another place
        equal = (other == whole).mean(axis=(1, 2, 3))
        assert equal.max() < 1


def test_what_else_is_in_a_batch_stays():
    batch = {"x": GREYS[:, None], "y": np.arange(7), "index": np.arange(7) + 3}
    for transform in (binarise, dequantise, threshold):
        out = transform(KEY, batch)
        assert set(out) == set(batch)
        assert out["y"] is batch["y"]
        assert out["index"] is batch["index"]


def test_the_threshold_is_a_half():
    np.testing.assert_array_equal(drawn(threshold, KEY, GREYS[:, None])[:, 0], [0, 0, 0, 0, 1, 1, 1])
