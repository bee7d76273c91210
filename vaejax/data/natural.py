"""Patches of whitened photographs: those that ship inside scikit-image, so nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

import numpy as np

from vaejax.checks import check_positive_int
from vaejax.data.factored import SPLITS, LazySplits, check_sizes_and_seed, stream
from vaejax.data.transforms import cast
from vaejax.hints import extra
from vaejax.types import Split

# All lie in the wheel. Left out: microscopy, drawings, text, the other half of a stereo pair, and pictures
# that are out of focus or nearly empty.
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon", "rocket",
)  # fmt: skip
CUTOFF = 200 / 512  # f0 of Olshausen & Field, 200 cycles per picture of 512 pixels, in cycles per pixel
_LUMA = (0.2125, 0.7154, 0.0721)  # weights of R, G, B in a grey picture (Rec. 709)
_MARGIN = 8  # pixels cut off at each border: there the filter mixes opposite sides of the picture
_BLOCK = 4  # side of the smallest block that one split has to itself, in sides of a patch
_MAX_SIDE = 32  # above it the smallest picture has fewer than three blocks


@dataclass(frozen=True)
class NaturalPatches(LazySplits):
    """Patches at one configuration; `natural_patches` makes and documents it."""

    side: int
    num_train: int
    num_validation: int
    num_test: int
    seed: int

    photographs: ClassVar[tuple[str, ...]] = PHOTOGRAPHS

    @property
    def pictures(self) -> tuple[np.ndarray, ...]:
        """The whitened photographs that patches are cut from, each float32 [H, W] in [0, 1]."""
        return _whitened_photographs()

    def contrasted(self, n: int) -> np.ndarray:
        """n test patches to look at, one of each picture; four fifths of its patches have less contrast.

        Raises:
            TypeError, ValueError: n is no int from 1 to the number of pictures that have a test patch.
        """
        check_positive_int(n, "n")
        x, picture = self.test.arrays["x"], self.test.arrays["y"][:, 0]
        if n > (most := len(np.unique(picture))):
            raise ValueError(f"n: expected at most {most} pictures, got {n}")
        each = [np.flatnonzero(picture == p) for p in range(n)]
        return x[[mine[np.argsort(x[mine].std((1, 2, 3)))[4 * len(mine) // 5]] for mine in each]]

    def _split(self, name: str) -> Split:
        sizes = {"train": self.num_train, "validation": self.num_validation, "test": self.num_test}
        place = SPLITS.index(name)
        regions = [blocks[place] for blocks in _regions(self.pictures, self.side, self.seed)]
        x, y = _cut(self.pictures, regions, sizes[name], self.side, stream(self.seed, place))
        return Split({"x": x, "y": y}, "unit_interval", cast)


def natural_patches(
    side: int = 16,
    *,
    num_train: int = 50_000,
    num_validation: int = 2_000,
    num_test: int = 2_000,
    seed: int = 0,
) -> NaturalPatches:
    """Patches of ten whitened photographs, grey, in [0, 1].

    The ten are scikit-image's; each is made grey, whitened (`whiten`) and cut by 8 pixels all round; one
    shift and one scale bring the extremes of all ten to 0 and 1. So most values lie near .45, with a standard
    deviation of about .05.

    Every picture is cut into blocks of at least 4 side x 4 side pixels, and each block belongs to one
    split: a tenth of them to the test, a tenth to the validation (one at least), the rest to the training
    split. A patch lies inside a block, anywhere, so patches of one split overlap and those of two never do.

    `.train`, `.validation` and `.test` are `Split`s with arrays x: float32 [N, side, side, 1] and y: int32
    [N, 3], (picture, row, column) of the patch's upper left corner: x is
    `pictures[y[0]][y[1] : y[1] + side, y[2] : y[2] + side]`. Every picture gives the same number, up to one.

    Args:
        side: pixels along a side, 2..32.
        num_train: patches of that split.
        num_validation: patches of that split.
        num_test: patches of that split.
        seed: of the blocks and places, not negative.

    Returns:
        A `NaturalPatches`, which also has `photographs`, their names, and `pictures`.

    Raises:
        ImportError: scikit-image is not installed; it comes with the extra `eval`.
        TypeError, ValueError: arguments of another type or range.

    After Olshausen & Field 1996 (doi 10.1038/381607a0), whose ten photographs are others, as Rhodes & Lee
    2021 (arXiv 2106.02923) use them: there patches for training and test overlap.
    """
    sizes = {"num_train": num_train, "num_validation": num_validation, "num_test": num_test}
    check_sizes_and_seed(side=side, **sizes, seed=seed)
    if not 2 <= side <= _MAX_SIDE:
        raise ValueError(f"side: expected 2..{_MAX_SIDE}, got {side}")
    _skimage_data()
    return NaturalPatches(*(int(n) for n in (side, num_train, num_validation, num_test, seed)))


def whiten(picture: np.ndarray, cutoff: float = CUTOFF) -> np.ndarray:
    """Filter a picture with R(f) = f exp(-(f / f0)^4), which flattens a spectrum of amplitudes 1/f.

    Natural pictures have nearly such spectra; the low pass keeps what lies in the corners of the frequency
    plane, mostly noise, from being raised. The picture counts as periodic; R(0) = 0 removes its mean.

    Args:
        picture: [H, W].
        cutoff: f0, in cycles per pixel.

    Returns:
        float64 [H, W], around 0.

    Raises:
        ValueError: a picture of another rank, or a cutoff that is not positive.

    Source: Olshausen & Field 1997, doi 10.1016/S0042-6989(97)00169-7.
    """
    picture = np.asarray(picture, np.float64)
    if picture.ndim != 2 or picture.size == 0:
        raise ValueError(f"picture: expected [H, W], got shape {list(picture.shape)}")
    if not 0 < cutoff < np.inf:
        raise ValueError(f"cutoff: expected positive cycles per pixel, got {cutoff!r}")
    rows, columns = picture.shape
    f = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns))
    gain = f * np.exp(-((f / cutoff) ** 4))
    return np.fft.irfft2(gain * np.fft.rfft2(picture), s=picture.shape)


def _skimage_data():
    try:
        import skimage.data
    except ImportError as error:
        raise ImportError(
            f"natural_patches: expected scikit-image, which has the photographs; {extra('eval')}"
        ) from error
    return skimage.data


@lru_cache(maxsize=1)
def _whitened_photographs() -> tuple[np.ndarray, ...]:
    source, inside = _skimage_data(), slice(_MARGIN, -_MARGIN)
    pictures = [whiten(_grey(getattr(source, name)()))[inside, inside] for name in PHOTOGRAPHS]
    low, high = min(p.min() for p in pictures), max(p.max() for p in pictures)
    scaled = tuple(((p - low) / (high - low)).astype(np.float32) for p in pictures)
    for picture in scaled:
        picture.flags.writeable = False
    return scaled


def _grey(picture: np.ndarray) -> np.ndarray:
    picture = picture.astype(np.float64)
    return picture if picture.ndim == 2 else picture[..., :3] @ np.asarray(_LUMA)


def _regions(
    pictures: tuple[np.ndarray, ...], side: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The blocks (top, bottom, left, right) of every picture, [K, 4] for each of the three splits."""
    rng = stream(seed, len(SPLITS))
    regions = []
    for picture in pictures:
        # as many as fit, and together the whole picture
        rows, columns = (
            np.linspace(0, length, length // (_BLOCK * side) + 1).astype(int) for length in picture.shape
        )
        blocks = [(*vertical, *horizontal) for vertical in pairwise(rows) for horizontal in pairwise(columns)]
        mixed = rng.permutation(np.array(blocks))
        tenth = max(1, len(mixed) // 10)
        regions.append((mixed[2 * tenth :], mixed[tenth : 2 * tenth], mixed[:tenth]))
    return regions


def _cut(
    pictures: tuple[np.ndarray, ...],
    regions: list[np.ndarray],
    size: int,
    side: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Patches at random places of the regions, the pictures in turn: x [n, side, side, 1], y [n, 3]."""
    x = np.empty((size, side, side, 1), np.float32)
    y = np.empty((size, 3), np.int32)
    y[:, 0] = np.arange(size) % len(pictures)
    for p, (picture, blocks) in enumerate(zip(pictures, regions, strict=True)):
        mine = np.flatnonzero(y[:, 0] == p)
        top, bottom, left, right = blocks[rng.integers(len(blocks), size=len(mine))].T
        row, column = rng.integers(top, bottom - side + 1), rng.integers(left, right - side + 1)
        patches = np.lib.stride_tricks.sliding_window_view(picture, (side, side))
        x[mine, ..., 0], y[mine, 1], y[mine, 2] = patches[row, column], row, column
    for array in (x, y):
        array.flags.writeable = False
    return x, y
