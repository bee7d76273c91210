"""Keys by name and by example, and the checks that several packages share."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.checks import check_choice, check_positive_int, check_support
from vaejax.keys import check_key, example_keys, named_key, numpy_generator
from vaejax.types import DATA_SUPPORTS, SUPPORTS

KEY = jax.random.key(3)


def bits(key):
    return np.asarray(jax.random.key_data(key))


# keys


def test_named_key_folds_in_the_crc32_of_the_name():
    # 0xCBF43926 is the published check value of CRC-32
    np.testing.assert_array_equal(
        bits(named_key(KEY, "123456789")), bits(jax.random.fold_in(KEY, 0xCBF43926))
    )
    np.testing.assert_array_equal(bits(named_key(KEY, "")), bits(jax.random.fold_in(KEY, 0)))
    names = ("draw", "kl", "encode", "encoder", "transform", "init", "order", "validate")
    assert len({bits(named_key(KEY, name)).tobytes() for name in names}) == len(names)


def test_example_keys_follow_the_place_in_the_whole_batch():
    x = jnp.zeros((5, 2))
    whole = bits(example_keys(KEY, {"x": x}))
    expected = [bits(jax.random.fold_in(KEY, i)) for i in range(5)]
    np.testing.assert_array_equal(whole, expected)
    assert len({k.tobytes() for k in whole}) == 5
    np.testing.assert_array_equal(
        bits(example_keys(KEY, {"x": x[:2], "index": jnp.array([3, 1])})), whole[[3, 1]]
    )
    np.testing.assert_array_equal(bits(example_keys(KEY, {"x": {"left": x, "right": x[:, 0]}})), whole)
    assert example_keys(KEY, {"x": x[:1]}).shape == (1,)


def test_the_numpy_generator_is_seeded_with_the_words_of_the_key():
    expected = np.random.default_rng(bits(KEY)).integers(2**60, size=5)
    np.testing.assert_array_equal(numpy_generator(KEY).integers(2**60, size=5), expected)
    assert (numpy_generator(jax.random.key(4)).integers(2**60, size=5) != expected).all()


def test_check_key_takes_one_typed_key_of_any_kind():
    check_key(KEY)
    check_key(jax.random.key(0, impl="rbg"))
    jax.eval_shape(lambda key: check_key(key), KEY)  # also a tracer


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (0, "seed: expected a typed PRNG key, as jax.random.key(seed) makes it; got int"),
        (None, "seed: expected a typed PRNG key, as jax.random.key(seed) makes it; got NoneType"),
        (np.zeros(2, np.uint32), "got ndarray of dtype uint32"),
        (jax.random.PRNGKey(0), "got ArrayImpl of dtype uint32"),
        (jax.random.split(KEY, 3), "seed: expected one key, got an array of keys of shape (3,)"),
    ],
)
def test_check_key_refuses(key, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        check_key(key, "seed")


# checks


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "n: expected at least 1, got 0"),
        (-3, ValueError, "n: expected at least 1, got -3"),
        (True, TypeError, "n: expected an int, got bool (True)"),
        (2.0, TypeError, "n: expected an int, got float (2.0)"),
        ("2", TypeError, "n: expected an int, got str ('2')"),
        (None, TypeError, "n: expected an int, got NoneType (None)"),
    ],
)
def test_check_positive_int_refuses(value, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check_positive_int(value, "n")


def test_check_positive_int_takes_one_and_more():
    assert check_positive_int(1, "n") is check_positive_int(10**9, "n") is None


def test_check_choice():
    assert check_choice("a", ("a", "b"), "method") is None
    with pytest.raises(ValueError, match=re.escape("method: expected one of 'a', 'b'; got 'c'")):
        check_choice("c", ("a", "b"), "method")


def test_check_support_accepts_exactly_the_table():
    same = {(s, s) for s in ("binary", "unit_interval", "bytes", "real")}
    accepted = same | {("real", "unit_interval"), ("real", "binary")}
    accepted |= {("binary_or_unit_interval", data) for data in ("binary", "unit_interval")}
    for pair in ((likelihood, data) for likelihood in SUPPORTS for data in DATA_SUPPORTS):
        if pair in accepted:
            assert check_support(*pair) is None
            continue
        with pytest.raises(ValueError, match=f"^likelihood: scores .*; the data have support '{pair[1]}'"):
            check_support(*pair)


def test_check_support_explains_grey_data_under_a_bernoulli():
    with pytest.raises(ValueError, match=re.escape("say bernoulli(cross_entropy=True), else use continuous")):
        check_support("binary", "unit_interval")
    with pytest.raises(ValueError, match=r"support 'unit_interval'; the data have support 'binary'$"):
        check_support("unit_interval", "binary")
    with pytest.raises(ValueError, match=r"support of the data: expected one of 'binary', .*; got 'grey'"):
        check_support("binary", "grey")
