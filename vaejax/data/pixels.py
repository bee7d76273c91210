"""What a model sees of images that are stored as bytes, and which examples are held out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vaejax.checks import check_choice, check_positive_int
from vaejax.data.arrays import Dataset, Transform
from vaejax.data.transforms import binarise, cast, dequantise, threshold, unit_from_bytes
from vaejax.types import Split

STATIC_SEED = 0
_SPLITS = ("train", "validation", "test")
_TRIED = 1000  # examples that tell 0 and 1 from 0..255

_VIEWS: Mapping[str, tuple[str, Transform]] = {  # support, transform
    "binary": ("binary", cast),
    "bytes": ("bytes", cast),
    "dequantised": ("unit_interval", dequantise),
    "dynamic": ("binary", binarise),
    "static": ("binary", cast),
    "threshold": ("binary", threshold),
    "unit_interval": ("unit_interval", unit_from_bytes),
}


def check_pixels(pixels: str) -> None:
    """Raise ValueError unless `pixels` names one of the views."""
    check_choice(pixels, tuple(_VIEWS), "pixels")


def make_dataset(
    stored: Mapping[str, Mapping[str, np.ndarray]], pixels: str, *, num_validation: int, num_test: int
) -> Dataset:
    """Make the three splits of stored bytes.

    A split that is not stored is the end of "train": the test takes its last `num_test` examples, the
    validation the last `num_validation` of the others.

    `stored`: {split: {"x": uint8 [N, ...], "y"?: [N, ...]}}, with "train" among them.
    """
    support, transform = _VIEWS[pixels]
    arrays = {split: dict(stored[split]) for split in _SPLITS if split in stored}
    _check_values(arrays["train"]["x"], pixels)
    if pixels == "static":  # before the cut: an example's draw does not depend on what is held out
        for split, part in arrays.items():
            part["x"] = _binarised(part["x"], _SPLITS.index(split))
    for split, name, held_out in (
        ("test", "num_test", num_test), ("validation", "num_validation", num_validation)
    ):  # fmt: skip
        if split not in arrays:
            arrays["train"], arrays[split] = _cut(arrays["train"], held_out, name)
    train, validation, test = (Split(arrays[split], support, transform) for split in _SPLITS)
    return Dataset(train, validation, test)


def _check_values(x: np.ndarray, pixels: str) -> None:
    top = int(x[:_TRIED].max())
    if pixels == "binary" and top > 1:
        raise ValueError(
            f"pixels: expected 'dynamic', 'static' or 'threshold' to make grey values binary; "
            f"got 'binary' for stored values of 0..{top}"
        )
    if pixels != "binary" and top <= 1:
        raise ValueError(f"pixels: expected 'binary' for stored values of 0 and 1, got {pixels!r}")


def _binarised(x: np.ndarray, stream: int) -> np.ndarray:
    rng = np.random.default_rng(np.random.SeedSequence(STATIC_SEED, spawn_key=(stream,)))
    drawn = (rng.integers(0, 255, x.shape, np.uint8) < x).view(np.uint8)  # P(u < x) = x / 255 exactly
    drawn.flags.writeable = False
    return drawn


def _cut(
    arrays: Mapping[str, np.ndarray], held_out: int, name: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    check_positive_int(held_out, name)
    cut = len(arrays["x"]) - held_out
    if cut < 1:
        raise ValueError(f"{name}: expected less than {len(arrays['x'])} examples, got {held_out}")
    return {k: a[:cut] for k, a in arrays.items()}, {k: a[cut:] for k, a in arrays.items()}
