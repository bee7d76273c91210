"""Discretised codes, plug-in entropy and plug-in mutual information: functions of arrays, in nats."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaejax.checks import check_positive_int, check_unmasked

_INTEGERS = np.iinfo(np.int64)


def discretise(codes: np.ndarray, bins: int) -> np.ndarray:
    """Bin every code into equal-width bins over its own range.

    edges_j = linspace(min_j, max_j, bins + 1), bin = digitize(z_j, edges_j[:-1]) - 1: the convention
    of disentanglement_lib (Locatello et al. 2019, 1811.12359). The maximum falls in the last bin; a
    constant code falls in one bin.

    Args:
      codes: [n, d] finite numbers.
      bins: number of bins b.

    Returns:
      [n, d] integers in 0..b-1.

    Raises:
      ValueError: the codes are not [n, d] with n > 0, or hold a value that is not finite.
    """
    return _discretise(codes, bins, "codes")


def discrete_entropy(factors: np.ndarray) -> np.ndarray:
    """Plug-in entropy of every column, H(v) = -sum_v (n_v/n) log(n_v/n); exactly 0 for a constant.

    Args:
      factors: [n, F] integers, of any width and byte order, or booleans.

    Returns:
      [F] nats.

    Raises:
      TypeError, ValueError: the factors are not integers, not [n, F] with n > 0.
    """
    factors = check_factors(factors)
    return np.array([_entropy_of(np.bincount(_labels(v))) for v in factors.T])


def discrete_mutual_information(codes_binned: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Plug-in mutual information of every code with every factor, from the joint table of counts.

    I(c; v) = sum_cv (n_cv/n) log(n n_cv / (n_c n_v)). For independent variables with b and V values its
    bias is about (b-1)(V-1)/(2n): 0.0086 nats for 20 bins, 10 values and n = 10 000.

    Args:
      codes_binned: [n, d] integers, as `discretise` makes them.
      factors: [n, F] integers, of any width and byte order, or booleans.

    Returns:
      [d, F] nats, at least 0 and at most the entropy of either; exactly 0 where the code or the factor is
      constant.

    Raises:
      TypeError, ValueError: an argument is not integers, not two-dimensional, or n differs.
    """
    codes_binned = check_factors(codes_binned, "codes_binned")
    factors = check_factors(factors)
    check_same_length(codes_binned, factors, "codes_binned")
    codes = [_labels(c) for c in codes_binned.T]
    values = [_labels(v) for v in factors.T]
    return np.array([[_information_of(c, v) for v in values] for c in codes]).reshape(len(codes), len(values))


def binned_factors(factors: Any, bins: int | None) -> np.ndarray:
    """Factors as integers [n, F]: as they are where `bins` is None, else each in equal-width bins.

    Raises:
      TypeError: they are no integers, and `bins` is None.
      ValueError: they are not [n, F] with n > 0, or not finite.
    """
    return check_factors(factors) if bins is None else _discretise(factors, bins, "factors", "factor_bins")


def check_same_length(codes: np.ndarray, factors: np.ndarray, name: str) -> None:
    """Raise ValueError unless the codes and the factors have as many rows."""
    if len(codes) != len(factors):
        raise ValueError(
            f"{name}: expected a row for each of the {len(factors)} rows of factors, got {len(codes)}"
        )


def check_codes_and_factors(codes: Any, factors: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return codes as float64 [n, d] and integer factors [n, F]; raise unless they are that."""
    codes, factors = check_codes(codes), check_factors(factors)
    check_same_length(codes, factors, "codes")
    return codes, factors


def check_codes(codes: Any, name: str = "codes") -> np.ndarray:
    """Return codes as float64 [n, d]; raise ValueError unless they are finite, in float32 too, and n > 0."""
    check_unmasked(codes, name)
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 2 or len(codes) == 0:
        raise ValueError(f"{name}: expected shape [n, d] with n > 0, got {codes.shape}")
    bad = np.sum(~(np.abs(codes) <= np.finfo(np.float32).max))  # their squares would overflow, and trees
    if bad:
        raise ValueError(f"{name}: expected finite numbers, as float32 has them; got {bad} that are not")
    return codes


def check_factors(factors: Any, name: str = "factors") -> np.ndarray:
    """Return integers as int64 [n, F], booleans as 0 and 1; raise unless they are that and n > 0.

    One width for all: the range of int8 factors, say, does not fit into int8.
    """
    check_unmasked(factors, name)
    factors = np.asarray(factors)
    if factors.dtype.kind not in "iub":
        raise TypeError(
            f"{name}: expected integers, got dtype {factors.dtype}; real ones are binned first: by "
            "factor_bins= where a score has it, elsewhere by discretise(factors, bins)"
        )
    if factors.ndim != 2 or len(factors) == 0:
        raise ValueError(f"{name}: expected shape [n, columns] with n > 0, got {factors.shape}")
    if factors.dtype.kind == "u" and factors.size and factors.max() > _INTEGERS.max:
        raise ValueError(f"{name}: expected integers up to {_INTEGERS.max}, got {factors.max()}")
    return factors.astype(np.int64)


def _discretise(values: Any, bins: int, name: str, of_bins: str = "bins") -> np.ndarray:
    check_positive_int(bins, of_bins)
    values = check_codes(values, name)
    binned = np.empty(values.shape, np.intp)
    for j, z in enumerate(values.T):
        edges = np.linspace(z.min(), z.max(), bins + 1)
        binned[:, j] = np.digitize(z, edges[:-1]) - 1
    return binned


def _information_of(code: np.ndarray, value: np.ndarray) -> float:
    """I(c; v) of two columns of labels 0.., each [n]."""
    C, V = code.max() + 1, value.max() + 1
    table = np.bincount(code * V + value, minlength=C * V).reshape(C, V)
    n = len(code)
    n_c, n_v = table.sum(1), table.sum(0)
    expected = np.outer(n_c, n_v)  # integers, so independence gives log 1 = 0
    seen = table > 0
    n_cv = table[seen]
    information = float(np.sum(n_cv * np.log(n * n_cv / expected[seen])) / n)
    # 0 <= I <= H(c), H(v) must hold also to the last digit
    return min(max(information, 0.0), _entropy_of(n_c), _entropy_of(n_v))


def _entropy_of(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(np.sum(p * np.log(1 / p)))


def _labels(column: np.ndarray) -> np.ndarray:
    """Relabel int64 [n] to 0.., without sorting where they span less than n values."""
    low = int(column.min())
    if int(column.max()) - low < len(column):  # in Python's integers, which do not wrap around
        return (column - low).astype(np.intp)
    return np.unique(column, return_inverse=True)[1]
