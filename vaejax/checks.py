"""Checks of arguments that more than one package needs; each names argument, expectation and value."""

from __future__ import annotations

import math
import numbers
from typing import Any

import jax.numpy as jnp
import numpy as np

from vaejax.types import DATA_SUPPORTS, SUPPORTS


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


def check_support(likelihood: str, data: str) -> None:
    """Raise ValueError unless a likelihood of the one support may score data of the other."""
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
