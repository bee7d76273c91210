"""What stands on a rating page: pictures as PNG files without metadata, and texts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from vaejax.checks import check_unmasked
from vaejax.plots.cells import Limits, to_unit

Part = bytes | str  # a PNG file, or a text
Item = tuple[Part, ...]  # one part, or the frames of a strip


def items_of(given: Any, name: str, limits: Limits = None) -> list[Item]:
    """Every item as the parts that stand on the page.

    Args:
      given: images [n, H, W, C], strips of F frames [n, F, H, W, C], or n texts.
      name: what errors call it.
      limits: (black, white) of images, values beyond them saturate; None: (0, 255) for uint8, else (0, 1),
        and values beyond them are refused.

    Returns:
      n items.

    Raises:
      TypeError: texts among other things, or a masked array.
      ValueError: there is none, an empty text, or images of another shape or range.
    """
    check_unmasked(given, name)
    if isinstance(given, np.ndarray) and given.ndim == 1:  # of texts
        given = given.tolist()
    if isinstance(given, str) or (isinstance(given, Sequence) and any(isinstance(t, str) for t in given)):
        return _texts(given, name)
    array = np.asarray(given)
    axes = "n F H W C" if array.ndim == 5 else "n H W C"
    if limits is None and array.dtype == np.uint8 and array.size and array.max() == 1:
        raise ValueError(f"{name}: expected uint8 of 0..255, got 0 and 1 alone; pass limits=(0, 1)")
    unit = to_unit(array, name, axes, limits)
    pixels = np.round(255 * unit).astype(np.uint8).reshape(len(array), -1, *array.shape[-3:])
    return [tuple(png(frame) for frame in item) for item in pixels]


def png(image: np.ndarray) -> bytes:
    """A picture [H, W, C] of uint8, C of 1 or 3, as a PNG file of nothing but its header and pixels."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()


def noise_like(rng: np.random.Generator, item: Item) -> Item:
    """What nobody takes for an item: uniform noise for each picture, the letters of a text in disorder."""
    return tuple(_noise(rng, part) for part in item)


def _noise(rng: np.random.Generator, part: Part) -> Part:
    if isinstance(part, str):
        return "".join(rng.permutation(list(part)))
    with Image.open(io.BytesIO(part)) as image:
        shape = (image.height, image.width, len(image.getbands()))
    return png(rng.integers(0, 256, shape, dtype=np.uint8))


def kind_of(item: Item) -> tuple[Any, ...]:
    """What items that stand beside each other share: the number of parts, and the shape of pictures."""
    if isinstance(item[0], str):
        return (len(item), "text")
    with Image.open(io.BytesIO(item[0])) as image:
        return (len(item), image.height, image.width, image.mode)


def _texts(given: Any, name: str) -> list[Item]:
    if isinstance(given, str) or not all(isinstance(text, str) for text in given):
        raise TypeError(f"{name}: expected a list of texts alone, got {type(given).__name__}")
    empty = [i for i, text in enumerate(given) if not text.strip()]
    if empty:
        raise ValueError(f"{name}: expected texts with letters, got none in number {empty[0]}")
    return [(text,) for text in given]
