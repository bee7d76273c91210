"""Any image set of tensorflow-datasets."""

from __future__ import annotations

import numbers
import os
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from vaejax.data.arrays import Dataset
from vaejax.data.cache import Field
from vaejax.data.folders import data_folder
from vaejax.data.pixels import check_pixels, make_dataset
from vaejax.data.prepare import cached_arrays, prepare_tfds
from vaejax.data.records import tfds_builder

_SPLITS = ("train", "validation", "test")
_LABEL = "label_"


def from_tfds(
    name: str,
    *,
    pixels: str = "unit_interval",
    held_out: float = 0.1,
    folder: str | os.PathLike[str] | None = None,
) -> Dataset:
    """A set of tensorflow-datasets by its name: "cifar10", "shapes3d", "dsprites", "celeb_a", "omniglot", ...

    x is its feature "image", uint8 [N, H, W, C]. y is int32, or float32 where a label is a real number: its
    "label", [N] or [N, ...]; else all that are called "label_...", [N, F] in the order of their names, as
    `factor_names` says without the "label_"; else its "attributes", those of celeb_a, likewise; else there is
    none. So the factors, each 0..V-1, are

        dsprites: orientation (40), scale (6), shape (3), x_position (32), y_position (32)
        shapes3d: floor_hue (10), object_hue (10), orientation (15), scale (8), shape (4), wall_hue (10)
        smallnorb: azimuth (18), category (5), elevation (9), lighting (6)

    and `evaluation.disentanglement_scores(key, vae, from_tfds("dsprites", pixels="binary").train)` scores a
    model on them.

    The splits are its "train", "validation" and "test". One that it lacks is cut from the end of "train",
    whose order is tensorflow-datasets' own, as a rule shuffled once and for all.

    The first call prepares it on disk, which takes TensorFlow (`pip install tensorflow`) and a download;
    `python -m vaejax.data NAME` shows bars. A set prepared elsewhere as array_record may be copied. Later
    calls take neither.

    Args:
        name: as tensorflow-datasets writes it: name, name/config, name:version.
        pixels: what a model sees of x; see `fashion_mnist`. "binary" for sets that store 0 and 1, as
            "binarized_mnist" and "dsprites" do.
        held_out: the share of "train" that each split gets which the set lacks, in (0, 1/2).
        folder: where prepared sets lie; None for $VAEJAX_DATA, else ~/.cache/vaejax.

    Returns:
        A `Dataset`, with `factor_names` where y is [N, F]. Its arrays are mapped from disk, so a part of a
        large set costs what it holds.

    Raises:
        ValueError: a name, config or version that neither tensorflow-datasets nor the folder has; a set
            without images of one size, or with labels that are no numbers; damaged files; or other arguments
            out of range.
        ImportError: it must be prepared and TensorFlow is missing; says what to install or run.
        OSError: the disk is full; nothing half-made is left.
        RuntimeError: it could not be prepared; says why, and what to run elsewhere.
    """
    check_pixels(pixels)
    if not isinstance(name, str):
        raise TypeError(f"name: expected a str, got {type(name).__name__} ({name!r})")
    if isinstance(held_out, numbers.Integral) or not isinstance(held_out, numbers.Real):
        raise TypeError(f"held_out: expected a float, got {type(held_out).__name__} ({held_out!r})")
    if not 0 < held_out < 0.5:
        raise ValueError(f"held_out: expected a share in (0, 1/2), got {held_out}")
    _, stored, names = tfds_arrays(name, data_folder(folder))
    size, lacking = len(stored["train"]["x"]), len(_SPLITS) - len(stored)
    count = max(1, round(held_out * size))
    if lacking * count >= size:
        raise ValueError(f"{name}: expected a 'train' to cut {lacking} splits from, got {size} examples")
    return replace(
        make_dataset(stored, pixels, num_validation=count, num_test=count), factor_names=names or None
    )


def tfds_arrays(
    name: str, folder: Path, *, progress: bool = False
) -> tuple[Path, dict[str, dict[str, np.ndarray]], tuple[str, ...]]:
    """Return where the set lies, the arrays of its splits and the names of the columns of y.

    It is prepared where it is missing, once its features are known to be images.
    """
    builder = tfds_builder(name, folder)
    fields = array_fields(name, builder.info.features)
    directory, sources = prepare_tfds(builder, name, folder, fields, _SPLITS, progress=progress)
    if "train" not in sources:
        raise ValueError(f"{name}: expected a split 'train', got {', '.join(map(repr, sources)) or 'none'}")
    arrays = {
        split: cached_arrays(directory, split, fields, sources[split], progress=progress)
        for split in _SPLITS
        if split in sources
    }
    columns = column_names(builder.info.features)
    return directory, arrays, tuple(n.removeprefix(_LABEL) for n in columns)


def array_fields(name: str, features: Any) -> dict[str, Field]:
    """Which features of a tfds.features.FeaturesDict become x and y, and how."""
    if "image" not in features:
        raise ValueError(f"{name}: expected a feature 'image', got {', '.join(features)}")
    shape, dtype = _type(features["image"])
    if dtype != np.uint8 or not shape or None in shape:
        got = f"{dtype} {list(shape)}"
        raise ValueError(f"{name}: expected an 'image' of uint8 and of one size, got {got}")
    fields = {"x": Field(shape, np.uint8, itemgetter("image"))}
    names = column_names(features)
    if "label" in features:
        shape, dtype = _number(name, "label", features["label"])
        fields["y"] = Field(shape, dtype, itemgetter("label"))
    elif names:
        own = names[0] in features  # else they are attributes
        row = (lambda e: e) if own else itemgetter("attributes")
        types = [_number(name, n, (features if own else features["attributes"])[n]) for n in names]
        if odd := [n for n, (shape, _) in zip(names, types, strict=True) if shape]:
            raise ValueError(f"{name}: expected one number each as {', '.join(names)}; got more of {odd[0]}")
        dtype = np.float32 if np.float32 in [dtype for _, dtype in types] else np.int32
        fields["y"] = Field((len(names),), dtype, lambda e: tuple(row(e)[n] for n in names))
    return fields


def column_names(features: Any) -> list[str]:
    """The features that are the columns of y, in their order; none where y is a label or there is no y."""
    if "label" in features:
        return []
    if factors := sorted(feature for feature in features if feature.startswith(_LABEL)):
        return factors
    attributes = features["attributes"] if "attributes" in features else ()  # noqa: SIM401 - no dict
    return sorted(attributes) if hasattr(attributes, "keys") else []


def _type(feature: Any) -> tuple[tuple[Any, ...], Any]:
    """The shape and dtype of a feature that is one array; for one of several the name of its kind."""
    shape, dtype = feature.shape, feature.np_dtype
    if not isinstance(shape, tuple):
        return (), type(feature).__name__
    return shape, np.dtype(dtype)


def _number(name: str, label: str, feature: Any) -> tuple[tuple[Any, ...], Any]:
    """The shape of a label and the type that it has in y; raise unless it is numbers of one shape."""
    shape, dtype = _type(feature)
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biuf" or None in shape:
        raise ValueError(f"{name}: expected {label!r} as numbers of one shape, got {dtype} {list(shape)}")
    return shape, np.float32 if dtype.kind == "f" else np.int32
