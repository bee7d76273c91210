"""Small real images that come with scikit-learn and scikit-image: nothing is downloaded or prepared."""

from __future__ import annotations

import numpy as np

from vaejax.checks import check_positive_int
from vaejax.data.arrays import Dataset
from vaejax.data.factored import check_seed
from vaejax.data.pixels import check_pixels, make_dataset
from vaejax.hints import extra

COLOUR_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")  # all in the wheel
_LARGEST_DIGIT_VALUE = 16
_HELD_OUT_DIGITS = 200
_MAX_SIDE = 64


def digits(*, pixels: str = "unit_interval") -> Dataset:
    """scikit-learn's handwritten digits: 8 x 8 grey, 1397 for training, 200 for validation, 200 for the test.

    The order is scikit-learn's, where digits of one writer stand together: the test, the last 200, has other
    writers than the training set. Arrays x: uint8 [N, 8, 8, 1], round(255 k / 16) of the stored k = 0..16,
    and y: uint8 [N], the class.

    Args:
        pixels: what a model sees of x; see `fashion_mnist`.

    Returns:
        A `Dataset`.

    Raises:
        ImportError: scikit-learn is not installed; it comes with the extra `eval`.
        ValueError: another name for `pixels`.

    Source: Alpaydin & Kaynak 1998, doi 10.24432/C50P49 (the test part); CC BY 4.0.
    """
    check_pixels(pixels)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(f"digits: expected scikit-learn, which has them; {extra('eval')}") from error
    values, classes = load_digits(return_X_y=True)
    x = np.rint(np.asarray(values) * (255 / _LARGEST_DIGIT_VALUE)).astype(np.uint8).reshape(-1, 8, 8, 1)
    arrays = _read_only({"x": x, "y": np.asarray(classes, np.uint8)})
    held_out = _HELD_OUT_DIGITS
    return make_dataset({"train": arrays}, pixels, num_validation=held_out, num_test=held_out)


def colour_patches(side: int = 16, *, seed: int = 0, pixels: str = "unit_interval") -> Dataset:
    """Patches of four colour photographs that come with scikit-image: 3493 of 16 x 16.

    Each photograph is cut into a grid of patches, from its upper left corner and without overlap; what is
    left over at the right and below is not used. They are shuffled; a tenth is the validation split, a tenth
    the test. Arrays x: uint8 [N, side, side, 3] and y: int32 [N, 3], (picture, row, column) of the patch's
    upper left corner, the pictures in the order astronaut, chelsea, coffee, rocket.

    Args:
        side: pixels along a side, 2..64.
        seed: of the shuffling, not negative.
        pixels: what a model sees of x; see `fashion_mnist`.

    Returns:
        A `Dataset`.

    Raises:
        ImportError: scikit-image is not installed; it comes with the extra `eval`.
        TypeError, ValueError: arguments of another type or range.
    """
    check_pixels(pixels)
    check_positive_int(side, "side")
    if not 2 <= side <= _MAX_SIDE:
        raise ValueError(f"side: expected 2..{_MAX_SIDE}, got {side}")
    check_seed(seed)
    side, seed = int(side), int(seed)
    try:
        import skimage.data
    except ImportError as error:
        raise ImportError(
            f"colour_patches: expected scikit-image, which has the photographs; {extra('eval')}"
        ) from error
    pictures = [getattr(skimage.data, name)() for name in COLOUR_PHOTOGRAPHS]
    places = [
        (picture, row, column)
        for picture, pixel in enumerate(pictures)
        for row in range(0, pixel.shape[0] - side + 1, side)
        for column in range(0, pixel.shape[1] - side + 1, side)
    ]
    y = np.random.default_rng(seed).permutation(np.array(places, np.int32))
    x = np.stack([pictures[p][row : row + side, column : column + side] for p, row, column in y])
    tenth = len(x) // 10
    arrays = _read_only({"x": x, "y": y})
    return make_dataset({"train": arrays}, pixels, num_validation=tenth, num_test=tenth)


def _read_only(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for array in arrays.values():
        array.flags.writeable = False
    return arrays
