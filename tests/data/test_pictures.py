"""Pictures of any size become arrays of one; the files are written by Pillow, which is not what is tested."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vaejax.data.pictures import Frame


def saved(image, form="PNG", **options):
    made = io.BytesIO()
    image.save(made, form, **options)
    return made.getvalue()


def png(array):
    return saved(Image.fromarray(array))


def random(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def read(data, *frame):
    return Frame(*frame).read(io.BytesIO(data), "some.png")


def test_the_middle_is_cut_out_with_the_odd_pixel_right_and_below():
    x = random(9, 8, 3)
    np.testing.assert_array_equal(read(png(x), (4, 5), (4, 5)), x[2:6, 1:6], strict=True)
    np.testing.assert_array_equal(read(png(x), (9, 8), (9, 8)), x, strict=True)


@pytest.mark.parametrize(
    ("got", "size", "part"),
    [
        ((12, 20), (6, 6), np.s_[:, 4:16]),  # a square of the shorter side
        ((21, 12), (6, 6), np.s_[4:16, :]),
        ((12, 20), (6, 10), np.s_[:, :]),
        ((12, 20), (4, 2), np.s_[:, 7:13]),
        ((16, 6), (4, 2), np.s_[2:14, :]),
    ],
)
def test_without_a_crop_it_is_the_largest_part_of_that_shape(got, size, part):
    x = np.kron(random(*got, 1), np.ones((1, 1, 3), np.uint8))
    whole = read(png(x[part].copy()), size, None)
    np.testing.assert_array_equal(read(png(x), size, None), whole)
    assert whole.shape == (*size, 3)


def test_a_resize_to_a_half_is_bilinear_over_all_pixels_that_fall_together():
    x = random(12, 12)
    weights = np.array([1, 3, 3, 1]) / 8  # a triangle of twice the width
    inner = read(png(x), (6, 6), None, 1)[1:-1, 1:-1, 0]
    expected = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            expected[i, j] = weights @ x[2 * i + 1 : 2 * i + 5, 2 * j + 1 : 2 * j + 5] @ weights
    assert np.abs(inner - expected).max() <= 1  # two roundings, one for each axis


def test_colour_and_grey():
    x = random(5, 5, 3)
    grey = read(png(x), (5, 5), None, 1)
    luma = x @ np.array([0.299, 0.587, 0.114])
    assert grey.shape == (5, 5, 1)
    assert np.abs(grey[..., 0] - luma).max() <= 1
    of_grey = read(png(x[..., 0].copy()), (5, 5), None, 3)
    np.testing.assert_array_equal(of_grey, np.repeat(x[..., :1], 3, axis=2))
    palette = saved(Image.fromarray(x[..., 0] % 4 * 60).convert("P"))
    np.testing.assert_array_equal(read(palette, (5, 5), None, 1)[..., 0], x[..., 0] % 4 * 60)


def test_a_picture_that_lies_on_its_side_is_turned():
    x = np.zeros((8, 16, 3), np.uint8)
    x[:, :8] = 255
    image = Image.fromarray(x)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    data = saved(image, "JPEG", exif=exif, quality=100)
    turned = read(data, (16, 8), (16, 8), 1)[..., 0]
    assert turned[:8].min() > 250
    assert turned[8:].max() < 5


def test_transparency_is_refused_unless_there_is_none():
    x = random(4, 4, 4)
    x[..., 3] = 255
    np.testing.assert_array_equal(read(png(x), (4, 4), None), x[..., :3])
    x[1, 2, 3] = 254
    with pytest.raises(ValueError, match="expected a picture without transparency, got one with it"):
        read(png(x), (4, 4), None)


JPEG = saved(Image.fromarray(random(40, 40, 3)), "JPEG")
PNG = png(random(40, 40, 3))
BROKEN = {
    "empty": (b"", "expected a whole PNG or JPEG picture, got"),
    "text": (b"<html>", "expected a whole PNG or JPEG picture, got"),
    "a cut JPEG": (JPEG[:-200], "expected a whole PNG or JPEG picture, got image file is truncated"),
    "a cut PNG": (PNG[:-200], "expected a whole PNG or JPEG picture, got"),
    "a PNG without its end": (PNG[:-12], "expected a whole PNG or JPEG picture, got truncated PNG file"),
    "a wrong byte in a PNG": (PNG[:25] + bytes([PNG[25] ^ 255]) + PNG[26:], "expected a whole PNG or JPEG"),
    "another format": (saved(Image.fromarray(random(40, 40)), "BMP"), "expected a whole PNG or JPEG picture"),
    "16 bits": (
        saved(Image.fromarray(np.full((40, 40), 60_000, np.uint16))),
        "expected 8 bits a channel, got a picture of Pillow's mode 'I;16'",
    ),
    "too small": (
        png(random(20, 40, 3)),
        r"expected a picture of at least 30 x 30 \(H x W\), the crop; got 20 x 40",
    ),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_damage_is_named(damage):
    data, message = BROKEN[damage]
    with pytest.raises(ValueError, match=f"some.png: {message}"):
        read(data, (8, 8), (30, 30))


def test_another_size_than_the_expected_one():
    with pytest.raises(ValueError, match=r"a.jpg: expected a picture of 218 x 178 \(H x W\), got 40 x 40"):
        Frame((8, 8)).read(io.BytesIO(JPEG), "a.jpg", expected=(218, 178))
