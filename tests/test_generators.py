"""Keys of other generators: the noise of an example is that of its place, whatever draws it.

Under vmap `rbg` and `unsafe_rbg` draw all from the first key; what vaejax derives are Threefry's keys.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train.toy import assert_same_fit, toy_fit, toy_update
from vaejax.data.transforms import binarise, dequantise
from vaejax.keys import example_keys, named_key, threefry_key

OTHERS = ("rbg", "unsafe_rbg")
IMPLS = ("threefry2x32", *OTHERS)


def words(key):
    return np.asarray(jax.random.key_data(key)).tolist()


def test_threefrys_own_keys_stay_what_they_are():
    key = jax.random.key(3)
    assert words(threefry_key(key)) == words(key)
    assert words(jax.jit(threefry_key)(key)) == words(key)


@pytest.mark.parametrize("impl", OTHERS)
def test_every_word_of_another_key_counts(impl):
    def of(*data):
        return threefry_key(jax.random.wrap_key_data(jnp.array(data, jnp.uint32), impl=impl))

    keys = [of(*data) for data in ((1, 2, 3, 4), (5, 2, 3, 4), (1, 5, 3, 4), (1, 2, 5, 4), (1, 2, 3, 5))]
    assert all(str(jax.random.key_impl(key)) == "threefry2x32" for key in keys)
    assert len({tuple(words(key)) for key in keys}) == 5
    several = jax.random.split(jax.random.key(0, impl=impl), 3)
    np.testing.assert_array_equal(
        words(jax.vmap(threefry_key)(several)), [words(threefry_key(k)) for k in several]
    )


@pytest.mark.parametrize("impl", IMPLS)
def test_the_noise_of_the_examples_is_their_own_and_normal(impl):
    keys = example_keys(named_key(jax.random.key(1, impl=impl), "noise"), {"x": jnp.zeros((4000, 1))})
    eps = np.asarray(jax.vmap(lambda k: jax.random.normal(k, (3,)))(keys), np.float64).ravel()
    assert len(set(eps.tolist())) > 0.99 * eps.size
    n = eps.size
    moments = {1: 0, 2: 1, 3: 0, 4: 3}
    spread = {1: 1, 2: 2, 3: 15, 4: 96}  # the variances of eps^k
    for k, moment in moments.items():
        assert np.mean(eps**k) == pytest.approx(moment, abs=4 * np.sqrt(spread[k] / n))
    assert np.mean(eps[:-1] * eps[1:]) == pytest.approx(0, abs=4 / np.sqrt(n))


@pytest.mark.parametrize("impl", OTHERS)
@pytest.mark.parametrize("transform", [binarise, dequantise])
def test_transforms_draw_for_a_slice_what_they_draw_for_the_whole(transform, impl):
    key, x = jax.random.key(2, impl=impl), np.full((5, 40), 127, np.uint8)
    whole = np.asarray(transform(key, {"x": x})["x"])
    for rows in ([3], [4, 0, 1]):
        part = transform(key, {"x": x[rows], "index": np.array(rows)})["x"]
        np.testing.assert_array_equal(part, whole[rows])
    assert len({row.tobytes() for row in whole}) == 5


@pytest.mark.parametrize("impl", OTHERS)
def test_training_in_slices(impl):
    key = jax.random.key(7, impl=impl)
    whole, sliced = (toy_fit(4, update=toy_update(microbatch=m), key=key) for m in (None, 2))
    np.testing.assert_allclose(sliced.metrics["loss"], whole.metrics["loss"], rtol=1e-5)


def test_resume_and_seeds_side_by_side(tmp_path, monkeypatch):
    options = {"key": jax.random.key(7, impl="unsafe_rbg"), "chunk": 2}
    toy_fit(2, folder=tmp_path, **options)
    assert_same_fit(toy_fit(4, folder=tmp_path, resume=True, **options), toy_fit(4, **options))
    alone = toy_fit(4, key=jax.random.fold_in(options["key"], 5))
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")  # vmap, as an accelerator would
    together = toy_fit(4, seeds=(2, 5), **options)
    np.testing.assert_allclose(together[5].metrics["loss"], alone.metrics["loss"], rtol=1e-5)
