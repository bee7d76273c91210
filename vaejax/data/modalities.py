"""Several modalities of the same examples: sets joined by name, some hidden, and sets that are made here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vaejax.checks import check_real, check_split, check_unmasked
from vaejax.data.arrays import Dataset, Transform
from vaejax.data.factored import check_factors, check_seed, stream
from vaejax.data.transforms import cast
from vaejax.fixed import Fixed
from vaejax.keys import named_key
from vaejax.types import Array, Batch, Split

_SPLITS = ("train", "validation", "test")


def joined(parts: Mapping[str, Any]) -> Any:
    """One set of several: x is {name: x of that part}, row by row the same example.

    Each modality keeps its transform, with noise of its own, and its support. The labels y are those that a
    part has; where several have some they must be equal.

    Args:
        parts: {name: Split}, or {name: data set} with the splits train, validation and test, with as many
            rows each.

    Returns:
        A `Split`, or a `Dataset` of three.

    Raises:
        TypeError, ValueError: anything else, other numbers of rows, or different labels.
    """
    if not isinstance(parts, Mapping) or not parts:
        raise TypeError(f"parts: expected {{name: Split}} or {{name: data set}}, one at least; got {parts!r}")
    for name, part in parts.items():
        if not isinstance(name, str) or not (isinstance(part, Split) or hasattr(part, "train")):
            raise TypeError(f"parts[{name!r}]: expected a Split or a data set, got {type(part).__name__}")
    if all(isinstance(part, Split) for part in parts.values()):
        return _joined(parts)
    if any(isinstance(part, Split) for part in parts.values()):
        raise TypeError("parts: expected Splits or data sets, got some of each")
    splits = {s: _joined({name: getattr(part, s) for name, part in parts.items()}) for s in _SPLITS}
    names = next(
        (getattr(p, "factor_names", None) for p in parts.values() if hasattr(p, "factor_names")), None
    )
    return Dataset(**splits, factor_names=names)


def _joined(parts: Mapping[str, Split]) -> Split:
    parts = dict(sorted(parts.items()))
    for name, part in parts.items():
        check_split(part, f"parts[{name!r}]")
        if isinstance(part.arrays["x"], Mapping):
            raise TypeError(f"parts[{name!r}]: expected an x that is one array, got modalities")
        if extra := sorted(set(part.arrays) - {"x", "y"}):
            raise ValueError(f"parts[{name!r}]: expected arrays x and y, got {', '.join(extra)} too")
    sizes = {name: part.size for name, part in parts.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"parts: expected as many examples of each, got {sizes}")
    labels = {name: part.arrays["y"] for name, part in parts.items() if "y" in part.arrays}
    for name, y in labels.items():
        if not np.array_equal(y, next(iter(labels.values()))):
            raise ValueError(f"parts[{name!r}]: expected the labels of {next(iter(labels))!r}, got others")
    arrays = {
        "x": {name: part.arrays["x"] for name, part in parts.items()},
        "y": next(iter(labels.values()), None),
    }
    transform = Fixed(_each, tuple((name, part.transform) for name, part in parts.items()))
    support = {name: part.support for name, part in parts.items()}
    return Split({name: a for name, a in arrays.items() if a is not None}, support, transform)


def _each(transforms: tuple[tuple[str, Transform], ...], key: Array, batch: Batch) -> Batch:
    """Every modality by its own transform, of those that are there."""
    others = {name: a for name, a in batch.items() if name not in ("x", "observed")}
    of = dict(transforms)
    made = {k: of[k](named_key(key, k), {**others, "x": x})["x"] for k, x in batch["x"].items()}
    return {**batch, "x": made}


def only(split: Split, names: Iterable[str]) -> Split:
    """The same examples with these modalities alone.

    Args:
        split: of several modalities.
        names: of those that stay.

    Raises:
        TypeError, ValueError: another kind of split, or names that are not of its modalities.
    """
    _check_modalities(split)
    names, x = sorted({names} if isinstance(names, str) else set(names)), split.arrays["x"]
    if not names or not set(names) <= set(x):
        raise ValueError(f"names: expected some of {', '.join(sorted(x))}; got {', '.join(names) or 'none'}")
    arrays = {**split.arrays, "x": {name: x[name] for name in names}}
    if "observed" in arrays:
        arrays["observed"] = {name: mask for name, mask in arrays["observed"].items() if name in names}
    support = {name: split.support[name] for name in names}
    return dataclasses.replace(split, arrays=arrays, support=support)


def missing_modalities(split: Split, share: float, *, seed: int = 0) -> Split:
    """The same examples, of each of which some modalities were not observed.

    Each modality of each example is hidden with the chance `share`, whatever the others; an example that
    would lose all keeps one, drawn at random. The arrays stay, and `observed` says who has which: {name: [N]
    booleans}.

    Args:
        split: of several modalities, all observed.
        share: in [0, 1).
        seed: not negative.

    Raises:
        TypeError, ValueError: another kind of split or share, or a split that has a mask already.
    """
    _check_modalities(split)
    check_seed(seed)
    if "observed" in split.arrays:
        raise ValueError("split: expected no observed yet, got one with it")
    check_real(share, "share")
    if not 0 <= share < 1:
        raise ValueError(f"share: expected a number in [0, 1), got {share!r}")
    names, rng = sorted(split.arrays["x"]), stream(int(seed), 0)
    there = rng.random((split.size, len(names))) >= share
    kept = rng.integers(len(names), size=split.size)
    there[~there.any(axis=1), kept[~there.any(axis=1)]] = True
    observed = {name: there[:, m] for m, name in enumerate(names)}
    return dataclasses.replace(split, arrays={**split.arrays, "observed": observed})


def _check_modalities(split: Any) -> None:
    check_split(split)
    if not isinstance(split.arrays["x"], Mapping):
        raise TypeError(
            "split: expected several modalities, x a mapping as data.joined makes it; got one array"
        )


def captioned(images: Any) -> Dataset:
    """Images with captions that name their factors: x = {"image": [N, H, W, C], "text": one-hot [N, F, V]}.

    A caption is a token for each of F factors, in their order, of a vocabulary of V words, the sum of the
    numbers of values: "ellipse, scale 2, ..." as one-hot rows. Its support is "one_hot", for
    `distributions.one_hot()`.

    Args:
        images: a set whose splits have factors y [N, F], and `num_values`, such as `mini_sprites()`.

    Returns:
        A `Dataset` with the labels y.

    Raises:
        TypeError, ValueError: a set without factors.
    """
    num_values = getattr(images, "num_values", None)
    if num_values is None or not hasattr(images, "train"):
        raise TypeError(
            f"images: expected a set with factors, as mini_sprites(); got {type(images).__name__}"
        )
    splits = {}
    for name in _SPLITS:
        split = getattr(images, name)
        check_split(split, name)
        if "y" not in split.arrays:
            raise ValueError(f"{name}: expected factors y, got {sorted(split.arrays)}")
        text = Split({"x": _words(split.arrays["y"], num_values), "y": split.arrays["y"]}, "one_hot", cast)
        splits[name] = joined({"image": split, "text": text})
    return Dataset(**splits, factor_names=getattr(images, "factor_names", None))


def _words(factors: np.ndarray, num_values: tuple[int, ...]) -> np.ndarray:
    """One-hot tokens [n, F, V] of factors [n, F], uint8: the words of one factor follow those of another."""
    factors = check_factors(factors, num_values)
    word = factors + np.concatenate([[0], np.cumsum(num_values)[:-1]])
    return (word[..., None] == np.arange(sum(num_values))).astype(np.uint8)


def read_captions(text: Any, num_values: Sequence[int]) -> np.ndarray:
    """The factors that captions name, integers [N, F]: of each token the likeliest word of its factor.

    Args:
        text: one-hot rows as those of `captioned`, or the probabilities that a model gives, [N, F, V].
        num_values: of each factor, V their sum.

    Raises:
        TypeError, ValueError: a masked array, a text of another shape, or with nan.
    """
    check_unmasked(text, "text")
    text, ends = np.asarray(text), np.cumsum(num_values)
    if text.ndim != 3 or text.shape[1:] != (len(num_values), sum(num_values)):
        raise ValueError(f"text: expected [N, {len(num_values)}, {sum(num_values)}], got {list(text.shape)}")
    if text.dtype.kind == "f" and np.isnan(text).any():
        raise ValueError("text: expected probabilities or one-hot rows, got nan")
    words = [slice(end - n, end) for end, n in zip(ends, num_values, strict=True)]
    return np.stack([text[:, f, own].argmax(axis=1) for f, own in enumerate(words)], axis=1)


def halves(images: Any) -> Dataset:
    """Images cut in two: x = {"bottom": [N, H - H // 2, W, C], "top": [N, H // 2, W, C]}.

    Args:
        images: a set of images [N, H, W, C], H at least 2, such as `fashion_mnist()`.

    Returns:
        A `Dataset` with its labels, its support for both halves, and its transform for each.

    Raises:
        TypeError, ValueError: anything else.
    """
    if not all(isinstance(getattr(images, name, None), Split) for name in _SPLITS):
        raise TypeError(f"images: expected a set of three splits, got {type(images).__name__}")
    splits = {}
    for name in _SPLITS:
        split = getattr(images, name)
        check_split(split, name)
        x = split.arrays["x"]
        if np.ndim(x) != 4 or x.shape[1] < 2:
            raise ValueError(f"images: expected x [N, H, W, C] of two rows at least, got {list(np.shape(x))}")
        cut = x.shape[1] // 2
        parts = {"top": x[:, :cut], "bottom": x[:, cut:]}
        labels = {"y": split.arrays["y"]} if "y" in split.arrays else {}
        splits[name] = joined(
            {k: dataclasses.replace(split, arrays={"x": a, **labels}) for k, a in parts.items()}
        )
    return Dataset(**splits)
