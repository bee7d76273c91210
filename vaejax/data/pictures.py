"""PNG and JPEG files as arrays of one size: a stated crop, then a stated resize."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

_FORMATS = ("PNG", "JPEG")
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
# what Pillow raises of damaged files
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Frame:
    """From a picture of any size to one of `size`: a crop in the middle, then a resize.

    `size`: (H, W) of what comes out. `crop`: (H, W) that are cut out of the middle, with the odd pixel to the
    right and below; None: the largest part of the shape of `size`. `channels`: 1 for grey, .299 R + .587 G +
    .114 B, or 3. The resize is bilinear over the pixels that fall together, so nothing is skipped.
    """

    size: tuple[int, int]
    crop: tuple[int, int] | None = None
    channels: int = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what comes out, (H, W, C)."""
        return (*self.size, self.channels)

    def read(self, file: Any, where: str, expected: tuple[int, int] | None = None) -> np.ndarray:
        """A picture, uint8 [H, W, C]; turned upright where its EXIF data say so.

        Args:
            file: its bytes, as a file or a path.
            where: what it is called in errors.
            expected: (H, W) that it must have.

        Raises:
            ValueError: no picture or a damaged one, one of more than 8 bits a channel, with transparency, or
                smaller than the crop.
        """
        try:
            image = ImageOps.exif_transpose(_loaded(file))
        except _ERRORS as error:
            raise ValueError(f"{where}: expected a whole PNG or JPEG picture, got {error}") from error
        got = (image.height, image.width)
        if expected is not None and got != expected:
            raise ValueError(f"{where}: expected a picture of {_by(expected)} (H x W), got {_by(got)}")
        image = _of_channels(image, self.channels, where)
        height, width = self._cut(got, where)
        top, left = (got[0] - height) // 2, (got[1] - width) // 2
        image = image.crop((left, top, left + width, top + height))
        if (height, width) != self.size:
            image = image.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
        return np.asarray(image, np.uint8).reshape(self.shape)

    def _cut(self, got: tuple[int, int], where: str) -> tuple[int, int]:
        """Height and width of what is cut out of a picture."""
        height, width = self.size
        if self.crop is None:  # the largest of that shape: one of the two sides is whole
            if got[0] * width <= got[1] * height:
                return got[0], max(1, got[0] * width // height)
            return max(1, got[1] * height // width), got[1]
        if got[0] < self.crop[0] or got[1] < self.crop[1]:
            raise ValueError(
                f"{where}: expected a picture of at least {_by(self.crop)} (H x W), the crop; got {_by(got)}"
            )
        return self.crop


def _loaded(file: Any) -> Image.Image:
    with Image.open(file, formats=_FORMATS) as first:
        if first.format == "PNG":
            first.verify()  # its checksums, which loading skips; JPEG has none
    if hasattr(file, "seek"):
        file.seek(0)
    with Image.open(file, formats=_FORMATS) as opened:
        opened.load()
        return opened


def _of_channels(image: Image.Image, channels: int, where: str) -> Image.Image:
    if image.mode not in _EIGHT_BITS:
        raise ValueError(f"{where}: expected 8 bits a channel, got a picture of Pillow's mode {image.mode!r}")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise ValueError(
                f"{where}: expected a picture without transparency, got one with it; paint it on a background"
            )
    return image.convert("L" if channels == 1 else "RGB")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
