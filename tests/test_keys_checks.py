"""Keys by name and by example, and the checks that several packages share."""

import re
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.checks import (
    check_choice,
    check_positive_int,
    check_progress,
    check_split,
    check_support,
    check_vae,
)
from vaejax.data import from_arrays
from vaejax.keys import check_key, example_keys, named_key, numpy_generator
from vaejax.types import DATA_SUPPORTS, SUPPORTS, VAE, Model, Split

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
    names = ("binary", "unit_interval", "bytes", "real", "one_hot", "counts", "mixed", "tokens")
    same = {(s, s) for s in names}
    accepted = same | {
        ("real", "unit_interval"),
        ("real", "binary"),
        ("counts", "bytes"),
        ("counts", "binary"),
    }
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


# what takes a split, a bound model, a progress bar

X = np.zeros((4, 3), np.float32)


def split(**arrays):
    return Split({"x": X} | arrays, "binary")


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u4", "i8", "u8", "f2", "f4", "f8", jnp.bfloat16])
def test_check_split_takes_every_dtype_that_jax_takes(dtype):
    assert check_split(split(x=X.astype(dtype), y=np.arange(4))) is None
    assert check_split(split(x=jnp.asarray(X.astype(dtype)))) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (X, """data: expected a vaejax.Split, as Split({"x": x}, support) with one of 'binary', """),
        (jnp.asarray(X), 'expected a vaejax.Split, as Split({"x": x}, support)'),
        ({"x": X}, "data: expected a vaejax.Split, as Split(arrays, support) with one of 'binary'"),
        (None, "data: expected a vaejax.Split; got NoneType"),
        (Split(cast(Any, X), "binary"), """arrays as a dict, {"x": [N, ...], "c"?, "y"?}; got ndarray"""),
        (split(x=X.tolist()), "data: x: expected a numpy array [N, ...], got list"),
        (split(x=np.ma.masked_invalid(X)), "data: x: expected an array without a mask"),
        (split(x=X.astype(">f4")), "data: x: expected native byte order"),
        (split(y=np.arange(4).astype(">i2")), "data: y: expected native byte order"),
        (split(x=X.astype(object)), "data: x: expected integers or floats of at most 64 bits, got object"),
        (split(x=X.astype(str)), "data: x: expected integers or floats of at most 64 bits, got <U32"),
        (split(x=X.astype(complex)), "got complex128"),
        (split(x=X.astype(np.longdouble)), f"64 bits, got {np.dtype(np.longdouble)}"),
        (split(y=np.zeros(4, "m8[s]")), "data: y: expected integers or floats"),
        (split(y=jax.random.split(KEY, 4)), "data: y: expected integers or floats"),
        (
            Split({"x": X}, "binary", cast(Any, None)),
            "expected transform as a function (key, batch) -> batch",
        ),
    ],
)
def test_check_split_refuses_other_types(value, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        check_split(value, "data")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Split({"y": X}, "binary"), "got ['y']"),
        (split(index=np.arange(4)), """without "index", the place of an example; got ['x', 'index']"""),
        (split(c=np.array(3.0)), "data: c: expected an array [N, ...], got a number"),
        (split(x=X[:0]), "data: expected x of at least one example, got [0, 3]"),
        (split(x=X[:, :0]), "data: expected x of at least one example, got [4, 0]"),
        (split(y=np.arange(3)), "as many of each array as examples x, got {'x': 4, 'y': 3}"),
        (split(c=X[:0]), "got {'x': 4, 'c': 0}"),
        (split(y=np.full(4, 2**31)), "data: y: expected integers of int32, which jax has without x64"),
        (split(y=np.full(4, -(2**31) - 1)), "got -2147483649..-2147483649"),
        (Split({"x": X}, "grey"), "data: support of the data: expected one of 'binary', "),
    ],
)
def test_check_split_refuses_other_values(value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_split(value, "data")


def test_check_split_says_which_split_of_a_data_set_to_give():
    dataset = from_arrays(np.tile(X, (3, 1)), X, support="binary")
    with pytest.raises(TypeError, match=re.escape("data.train, data.validation or data.test; got Dataset")):
        check_split(dataset)
    check_split(dataset.test)


def test_check_split_leaves_integers_that_fit_and_those_of_x64(x64):
    check_split(split(y=np.full(4, 2**40)))
    jax.config.update("jax_enable_x64", False)
    check_split(split(y=np.array([-(2**31), 0, 1, 2**31 - 1])))
    check_split(split(y=np.full(4, 2**32 - 1, np.uint64)))


def test_check_split_reads_no_pixel_of_a_memory_map(tmp_path):
    class Counted(np.memmap):
        def __getitem__(self, rows):
            raise AssertionError("read")

        def __array__(self, *args, **options):
            raise AssertionError("read")

    x = Counted(tmp_path / "x", np.float32, "w+", shape=(4, 3))
    check_split(split(x=x))


def test_check_vae_says_how_to_bind_a_model():
    nothing: Any = lambda *_: None  # noqa: E731
    model = Model(nothing, nothing, "binary", {})
    for value in (model, {"encoder": X}):
        with pytest.raises(TypeError, match=re.escape(f"bind(params) makes it; got {type(value).__name__}")):
            check_vae(value)
    assert check_vae(VAE(nothing, nothing, nothing, {})) is None


def test_check_progress_takes_functions_only():
    assert check_progress(iter) is None
    for value in (True, False, None, 3):
        with pytest.raises(TypeError, match=r"progress: expected a function .*as tqdm\.tqdm"):
            check_progress(value)
