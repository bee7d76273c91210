"""MSE, PSNR and SSIM against their formulas in float64, and over a split of a linear model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from tests import oracle
from vaejax.distributions import Gaussian
from vaejax.evaluation import (
    mse,
    psnr,
    reconstruction_quality,
    sharpness,
    ssim,
    ssim_window,
    variance_explained,
)
from vaejax.types import Split

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def _ssim(a, b, data_range, window):
    """SSIM of [H, W], place by place."""
    u = np.arange(window) - (window - 1) / 2
    w = np.exp(-(u[:, None] ** 2 + u**2) / (2 * 1.5**2))
    w /= w.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for i in range(a.shape[0] - window + 1):
        for j in range(a.shape[1] - window + 1):
            p, q = (image[i : i + window, j : j + window] for image in (a, b))
            mp, mq = np.sum(w * p), np.sum(w * q)
            sp, sq, spq = (
                np.sum(w * (p - mp) ** 2),
                np.sum(w * (q - mq) ** 2),
                np.sum(w * (p - mp) * (q - mq)),
            )
            values.append((2 * mp * mq + c1) * (2 * spq + c2) / ((mp**2 + mq**2 + c1) * (sp + sq + c2)))
    return np.mean(values)


def test_mse_and_psnr_by_hand():
    a = np.zeros((2, 3, 4, 5, 2), np.float32)
    b = a + np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(mse(a, b), [[0.01, 0.04, 0.09]] * 2, rtol=1e-5)
    np.testing.assert_allclose(psnr(a, b, data_range=1.0)[:, 0], 20, rtol=1e-5)
    np.testing.assert_allclose(psnr(a, b, data_range=255.0)[0, 1], 10 * np.log10(255**2 / 0.04), rtol=1e-5)
    low, high = np.full((1, 2, 2, 1), 3, np.uint8), np.full((1, 2, 2, 1), 5, np.uint8)
    assert mse(low, high)[0] == mse(high, low)[0] == 4  # bytes do not wrap around
    assert psnr(a, a, data_range=1.0)[0, 0] == np.inf


def test_the_variance_explained_by_hand():
    x = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]], np.float32)  # squares about the mean: 8 + 6
    assert variance_explained(x, x) == 1
    assert variance_explained(x, np.broadcast_to(x.mean(0), x.shape)) == pytest.approx(0)
    assert variance_explained(x, x + np.array([0.5, -1.0])) == pytest.approx(1 - 3 * 1.25 / 14)
    assert variance_explained(1000 + x[..., None], 1000 + x[..., None] + 1) == pytest.approx(1 - 6 / 14)
    with pytest.raises(ValueError, match=r"reconstruction: expected the shape of x, \[3, 2\], got \[3, 1\]"):
        variance_explained(x, x[:, :1])
    with pytest.raises(ValueError, match="x: expected examples that differ"):
        variance_explained(x[:1], x[:1])


@pytest.mark.parametrize(("shape", "window"), [((13, 12), 11), ((8, 9), 7), ((9, 30), 9)])
def test_ssim_is_its_formula(shape, window):
    a, b = RNG.random((2, 2, *shape, 3)) ** 2
    b = 0.7 * a + 0.3 * b
    assert ssim_window(*shape) == window
    expected = [np.mean([_ssim(a[n, ..., c], b[n, ..., c], 1, window) for c in range(3)]) for n in range(2)]
    value = ssim(a, b, data_range=1.0)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(ssim(b, a, data_range=1.0), value, rtol=1e-5)
    np.testing.assert_allclose(ssim(a, a, data_range=1.0), 1, rtol=1e-6)
    np.testing.assert_allclose(ssim(255 * a, 255 * b, data_range=255.0), value, rtol=1e-4)
    np.testing.assert_allclose(ssim(a[:, None], b[:, None], data_range=1.0)[:, 0], value, rtol=1e-5)


def test_ssim_of_constant_images_is_the_printed_one():
    a, b = np.full((1, 16, 16, 1), 0.5), np.full((1, 16, 16, 1), 0.6)
    assert ssim(a, b, data_range=1.0)[0] == pytest.approx(0.9836092, abs=1e-6)


def test_images_that_cannot_be_compared_are_refused():
    a = np.zeros((4, 4, 1))
    for function in (mse, lambda a, b: psnr(a, b, data_range=1.0), lambda a, b: ssim(a, b, data_range=1.0)):
        with pytest.raises(ValueError, match=r"a, b: expected two arrays of one shape"):
            function(a, a[None])
        with pytest.raises(ValueError, match=r"a, b: expected two arrays of one shape"):
            function(a[0], a[0])
    for function in (psnr, ssim):
        with pytest.raises(ValueError, match="data_range: expected a positive"):
            function(a, a, data_range=0.0)


def _vae(event):
    """A linear model on events of four numbers, with posterior means away from the exact ones."""
    params = oracle.exact_params()
    params["encoder"]["a"] += 0.3
    flat = oracle.linear_vae().bind(params)

    def encode(key, batch):
        return flat.encode(key, {**batch, "x": batch["x"].reshape(-1, 4)})

    def decode(z, c=None):
        return Gaussian(flat.decode(z, c).mean().reshape(-1, *event), 1.0, len(event))

    x = oracle.data(13).astype(np.float32)
    z = x @ np.asarray(params["encoder"]["A"]).T + np.asarray(params["encoder"]["a"])
    xh = z @ oracle.W.T + oracle.B
    return flat._replace(encode=Partial(encode), decode=Partial(decode)), x, xh


def test_the_quality_of_a_split():
    vae, x, xh = _vae((2, 2, 1))
    result = reconstruction_quality(
        KEY, vae, Split({"x": x.reshape(13, 2, 2, 1)}, "real"), data_range=4.0, batch_size=5
    )
    error = np.mean((x - xh) ** 2, axis=1)
    np.testing.assert_allclose(result["per_example"]["mse"], error, rtol=1e-4)
    assert result["mse"] == pytest.approx(error.mean(), rel=1e-5)
    assert result["mse_se"] == pytest.approx(error.std(ddof=1) / np.sqrt(13), rel=1e-4)
    assert result["psnr"] == pytest.approx(np.mean(10 * np.log10(16 / error)), rel=1e-5)
    images = [v.reshape(13, 2, 2, 1) for v in (x, xh)]
    assert result["ssim"] == pytest.approx(np.mean(ssim(*images, data_range=4.0)), rel=1e-4)
    assert (result["n"], result["data_range"], result["ssim_window"]) == (13, 4.0, 1)


def test_vectors_have_no_ssim_and_the_transform_runs():
    vae, x, xh = _vae((4,))
    split = Split({"x": x + 1}, "unit_interval", lambda key, batch: {"x": batch["x"] - 1})
    result = reconstruction_quality(KEY, vae, split)
    assert result["mse"] == pytest.approx(np.mean((x - xh) ** 2), rel=1e-4)
    assert result["data_range"] == 1.0
    assert not any(name.startswith("ssim") for name in result)


def test_real_data_need_a_range():
    vae, x, _ = _vae((4,))
    with pytest.raises(
        ValueError, match="data_range: expected a number for data of support 'real', got None"
    ):
        reconstruction_quality(KEY, vae, Split({"x": x}, "real"))
    with pytest.raises(ValueError, match="data_range: expected a positive"):
        reconstruction_quality(KEY, vae, Split({"x": x}, "real"), data_range=-1.0)
    wide = vae._replace(decode=Partial(lambda z, c=None: Gaussian(jnp.zeros((len(z), 5)), 1.0, 1)))
    with pytest.raises(ValueError, match="x: expected the shape of p"):
        reconstruction_quality(KEY, wide, Split({"x": x}, "real"), data_range=1.0)


def test_sharpness_by_hand():
    rows, columns = np.mgrid[:6, :5]
    plane = (0.3 * rows + 0.4 * columns)[None, ..., None]
    assert sharpness(plane) == pytest.approx(0.5)
    assert sharpness(np.concatenate([plane, 0 * plane])) == pytest.approx(0.25)
    edge = (columns >= 2).astype(float)[None, ..., None]  # one column of four has a step of 1
    assert sharpness(edge) == pytest.approx(1 / 4)
    noise = np.random.default_rng(0).random((4, 12, 12, 1))
    blurred = (noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]) / 4
    assert sharpness(blurred) < 0.7 * sharpness(noise)
    steps = np.array([[0, 200], [100, 0]], np.uint8)[None, ..., None]  # bytes do not wrap around
    assert sharpness(steps) == pytest.approx(np.hypot(200, 100))
    down = np.array([[200, 0], [100, 0]], np.uint8)[None, ..., None]
    assert sharpness(down) == pytest.approx(np.hypot(200, 100))
    with pytest.raises(ValueError, match=r"images: expected \[n, H, W, C\], got shape \(6, 5\)"):
        sharpness(plane[0, ..., 0])
