"""Checks of arguments that more than one package needs; each names argument, expectation and value."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.rows import RowSource, some_rows
from vaejax.types import DATA_SUPPORTS, SUPPORTS, VAE, Split


def plain(value: Any) -> Any:
    """The Python number that a scalar of numpy is; all else, arrays without axes too, as it came.

    What is kept of an argument goes into specs, which are JSON; and a scalar of numpy would carry its dtype
    into what it multiplies.
    """
    if not isinstance(value, np.generic):
        return value
    return float(value) if jnp.issubdtype(value.dtype, jnp.floating) else value.item()


def check_positive_int(value: Any, name: str) -> None:
    """Raise unless `value` is an int (not a bool) of at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__} ({value!r})")
    if int(value) < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")


def check_real(value: Any, name: str) -> None:
    """Raise TypeError unless `value` is a real number (not a bool)."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__} ({value!r})")


def check_finite(value: Any, name: str) -> None:
    """Raise unless `value` is a finite real number (not a bool)."""
    value = plain(value)
    check_real(value, name)
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")


def check_positive(value: Any, name: str) -> None:
    """Raise unless `value` is a finite real number (not a bool) above 0."""
    value = plain(value)
    check_real(value, name)
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a positive finite number, got {value!r}")


def check_choice(value: Any, choices: tuple[str, ...], name: str) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}; got {value!r}")


def check_support(likelihood: Any, data: Any) -> None:
    """Raise ValueError unless a likelihood of the one support may score data of the other.

    Of several modalities each is {name: support}, and the likelihood's has every name of the data's.
    """
    if isinstance(likelihood, Mapping) or isinstance(data, Mapping):
        _check_supports(likelihood, data)
        return
    check_choice(data, DATA_SUPPORTS, "support of the data")
    if data in SUPPORTS[likelihood]:
        return
    hint = ""
    if likelihood == "binary" and data == "unit_interval":
        hint = (
            "; grey values under a Bernoulli are a cross-entropy, not a likelihood: if that is meant, "
            "say bernoulli(cross_entropy=True), else use continuous_bernoulli() or binarise"
        )
    raise ValueError(
        f"likelihood: scores data of support {' or '.join(map(repr, SUPPORTS[likelihood]))}; "
        f"the data have support {data!r}{hint}"
    )


def _check_supports(likelihood: Any, data: Any) -> None:
    """`check_support` for every modality."""
    if not (isinstance(likelihood, Mapping) and isinstance(data, Mapping)):
        of, got = (
            f"modalities {', '.join(sorted(s))}" if isinstance(s, Mapping) else "one array x"
            for s in (likelihood, data)
        )
        raise ValueError(f"likelihood: scores {of}; the data have {got}")
    without = sorted(set(data) - set(likelihood))
    if without:
        raise ValueError(
            f"likelihood: expected one for each modality of the data, as distributions.joint(name=...) has; "
            f"it has {', '.join(sorted(likelihood))}, and none for {', '.join(without)}"
        )
    for name, support in data.items():
        try:
            check_support(likelihood[name], support)
        except ValueError as error:
            raise ValueError(f"modality {name!r}: {error}") from error


def check_array(array: Any, name: str) -> None:
    """Raise unless `array` is [N, ...], of numbers, and jax takes it as it is.

    No values are read but those of 64-bit integers, of large arrays and sources some (`rows.some_rows`).
    """
    if not isinstance(array, np.ndarray | jax.Array | RowSource):
        raise TypeError(f"{name}: expected a numpy array [N, ...], got {type(array).__name__}")
    check_unmasked(array, name)
    dtype = array.dtype
    number = isinstance(dtype, np.dtype) and (dtype.kind in "biuf" or jnp.issubdtype(dtype, np.floating))
    if not number or dtype.itemsize > 8:
        raise TypeError(f"{name}: expected integers or floats of at most 64 bits, got {dtype}")
    if not dtype.isnative:
        raise TypeError(
            f'{name}: expected native byte order, as .astype(dtype.newbyteorder("=")); got {dtype}'
        )
    if array.ndim == 0:
        raise ValueError(f"{name}: expected an array [N, ...], got a number")
    taken = jax.dtypes.canonicalize_dtype(dtype)
    if taken.kind in "iu" and taken != dtype and array.size:  # would wrap around
        some, fits = some_rows(array), np.iinfo(taken)
        low, high = some.min(), some.max()
        if low < fits.min or high > fits.max:
            raise ValueError(
                f"{name}: expected integers of {taken}, which jax has without x64; got {low}..{high}"
            )


def check_unmasked(values: Any, name: str) -> None:
    """Raise TypeError for a masked array: what it hides would count."""
    if isinstance(values, np.ma.MaskedArray):
        expected = f"{name}: expected an array without a mask, as masked.filled(value) makes it"
        raise TypeError(f"{expected}; got a masked array")


def observed_mask(observed: Any, x: Any) -> jax.Array:
    """The mask of data with holes as booleans of the shape of x.

    Raises:
      TypeError: for real numbers.
      ValueError: for another shape.
    """
    mask = jnp.asarray(observed)
    if mask.dtype != bool and not jnp.issubdtype(mask.dtype, jnp.integer):
        raise TypeError(f"observed: expected booleans, or 0 and 1 as integers; got dtype {mask.dtype}")
    if mask.shape != jnp.shape(x):
        raise ValueError(f"observed: expected the shape of x, {jnp.shape(x)}; got {mask.shape}")
    return mask.astype(bool)


def check_observed(observed: Any, x: Any, name: str = "observed") -> None:
    """Raise unless `observed` is a mask on the host, booleans or 0 and 1 as integers, of the shape of x."""
    check_array(observed, name)
    if observed.dtype.kind not in "biu":
        raise TypeError(f"{name}: expected booleans, or 0 and 1 as integers; got dtype {observed.dtype}")
    if observed.shape != x.shape:
        raise ValueError(f"{name}: expected the shape of x, {list(x.shape)}; got {list(observed.shape)}")
    if observed.dtype.kind != "b" and observed.size:
        some = some_rows(observed)
        if not 0 <= some.min() <= some.max() <= 1:
            raise ValueError(f"{name}: expected 0 and 1, got {some.min()}..{some.max()}")


def check_split(value: Any, name: str = "split") -> None:
    """Raise unless `value` is a Split of at least one example, whose arrays are as long as x.

    Each array passes `check_array`: what is larger than the memory is not read as a whole.
    """
    if not isinstance(value, Split):
        raise TypeError(f"{name}: expected a vaejax.Split{_instead(value)}; got {type(value).__name__}")
    arrays = value.arrays
    if not isinstance(arrays, Mapping):
        expected = f'{name}: expected arrays as a dict, {{"x": [N, ...], "c"?, "y"?}}'
        raise TypeError(f"{expected}; got {type(arrays).__name__}")
    if "x" not in arrays or "index" in arrays:
        expected = 'arrays with the name "x" and without "index", the place of an example'
        raise ValueError(f"{name}: expected {expected}; got {list(arrays)}")
    each = _by_modality(arrays, value.support, name)
    for key, array in each.items():
        check_array(array, f"{name}: {key}")
    lengths = {key: len(array) for key, array in each.items()}
    for key, array in each.items():
        if key.startswith("x") and array.size == 0:
            raise ValueError(f"{name}: expected {key} of at least one example, got {list(array.shape)}")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name}: expected as many of each array as examples x, got {lengths}")
    if "observed" in arrays and not isinstance(arrays["x"], Mapping):
        check_observed(arrays["observed"], arrays["x"], f"{name}: observed")
    supports = value.support if isinstance(value.support, Mapping) else {"": value.support}
    for part, support in supports.items():
        check_choice(support, DATA_SUPPORTS, f"{name}: support of {part or 'the data'}")
    if not callable(value.transform):
        expected = f"{name}: expected transform as a function (key, batch) -> batch"
        raise TypeError(f"{expected}; got {type(value.transform).__name__}")


def _by_modality(arrays: Mapping[str, Any], support: Any, name: str) -> dict[str, Any]:
    """Every array of a split by its name, "x.image" of a modality; raise where names do not fit."""
    modalities = arrays["x"] if isinstance(arrays["x"], Mapping) else None
    if (modalities is None) == isinstance(support, Mapping):
        expected = "a support for each modality" if modalities is not None else "one support for one array x"
        raise ValueError(f"{name}: expected {expected}, got {support!r}")
    if modalities is not None and (not modalities or set(support) != set(modalities)):
        got = f"{sorted(modalities)} and {sorted(support)}"
        raise ValueError(
            f"{name}: expected modalities, one at least, and supports of the same names; got {got}"
        )
    observed = arrays.get("observed")
    if modalities is not None and observed is not None:
        if not isinstance(observed, Mapping) or not set(observed) <= set(modalities):
            got = sorted(observed) if isinstance(observed, Mapping) else type(observed).__name__
            raise ValueError(
                f"{name}: expected observed as {{name: [N]}} of modalities {sorted(modalities)}; got {got}"
            )
        for part, mask in observed.items():
            check_array(mask, f"{name}: observed.{part}")
            if mask.dtype.kind not in "biu" or mask.ndim != 1:
                got = f"{mask.dtype} {list(mask.shape)}"
                raise ValueError(f"{name}: expected observed.{part} as booleans [N], got {got}")
    each = {}
    for key, value in arrays.items():
        parts = (
            {f"{key}.{part}": array for part, array in value.items()}
            if isinstance(value, Mapping)
            else {key: value}
        )
        each |= parts
    return each


def check_vae(value: Any, name: str = "vae") -> None:
    """Raise TypeError unless `value` is a VAE: a model with its parameters bound."""
    if not isinstance(value, VAE):
        raise TypeError(
            f"{name}: expected a vaejax.VAE, a model with its parameters, as model.bind(params) makes it; "
            f"got {type(value).__name__}"
        )


def check_progress(value: Any, name: str = "progress") -> None:
    """Raise TypeError unless `value` is callable, as a function that wraps an iterable is."""
    if not callable(value):
        got = f"{type(value).__name__} ({value!r})"
        raise TypeError(f"{name}: expected a function that wraps a range of batches, as tqdm.tqdm; got {got}")


def _instead(value: Any) -> str:
    """What to give instead of what is no Split, where that can be guessed."""
    if isinstance(getattr(value, "test", None), Split):
        return ", one of the data set's: data.train, data.validation or data.test"
    if isinstance(value, np.ndarray | jax.Array):
        return f', as Split({{"x": x}}, support) with one of {", ".join(map(repr, DATA_SUPPORTS))}'
    if isinstance(value, Mapping):
        return f", as Split(arrays, support) with one of {', '.join(map(repr, DATA_SUPPORTS))}"
    return ""
