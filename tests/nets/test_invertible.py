"""Invertible decoders: change of variables, the way back, where they start, what they integrate to."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import nets
from vaejax.ops.flows import spline

KEY, B, LATENTS = jax.random.key(0), 2, 3
LINEAR = nets.MLP((), (2, 2))
FLAT = (5,)
IMAGE = (4, 8, 3)


def start_of(shape):
    return nets.MLP((), (*shape[:-1], 2 * shape[-1]))


NETS = {
    "flat_affine": lambda: nets.FlatFlow(start_of(FLAT), FLAT, 3, features=(6,)),
    "flat_spline": lambda: nets.FlatFlow(start_of(FLAT), FLAT, 2, "spline", 4, features=(6, 5)),
    "flat_alpha": lambda: nets.FlatFlow(start_of((2, 3)), (2, 3), 1, alpha=0.05, features=()),
    "image": lambda: nets.ImageFlow(start_of(IMAGE), IMAGE, 3, features=4),
    "image_spline": lambda: nets.ImageFlow(
        start_of((2, 4, 1)), (2, 4, 1), 1, "spline", 3, scales=1, features=4
    ),
    "image_alpha": lambda: nets.ImageFlow(
        start_of((4, 4, 1)), (4, 4, 1), 2, alpha=0.1, checkers=0, features=4
    ),
    "checkers_alone": lambda: nets.ImageFlow(start_of((4, 4, 1)), (4, 4, 1), 0, checkers=3, features=4),
}


def random_params(net, *inputs):
    """Of no special size: what starts at 0 is moved."""
    shapes = jax.eval_shape(net.init, KEY, *inputs)
    rng = np.random.default_rng(0)

    def draw(path, a):
        mixes = jax.tree_util.keystr(path).count("er_")  # L and U of many channels: not too far from I
        return rng.normal(size=a.shape, scale=0.05 if mixes else 0.3)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize("name", NETS)
def test_the_determinant_is_that_of_the_jacobian_and_the_way_back_leads_back(name, x64):
    net = NETS[name]()
    rng = np.random.default_rng(1)
    z, x = rng.normal(size=(B, LATENTS)), rng.random((B, *net.shape))
    params = random_params(net, z, x)

    @jax.jit
    def run(params, z, x):
        u, log_det = net.apply(params, z, x)
        back, of_back = net.apply(params, z, u, method="generate")
        jacobian = jax.jacfwd(lambda x: net.apply(params, z[0], x)[0])(x[0])
        many = net.apply(params, z, jnp.stack([x, x[::-1]]))  # z broadcasts against what leads x
        return u, log_det, back, of_back, jacobian.reshape(u.shape[-1], -1), many

    u, log_det, back, of_back, jacobian, many = run(params, z, x)
    assert u.shape == (B, x[0].size)
    np.testing.assert_allclose(back, x, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(of_back, -log_det, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(log_det[0], np.linalg.slogdet(jacobian)[1], rtol=1e-8)
    assert np.count_nonzero(jacobian) > jacobian.shape[0]  # values mix
    np.testing.assert_allclose(many[0][0], u, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(many[1][0], log_det, rtol=1e-9)


@pytest.mark.parametrize("name", ["flat_affine", "image", "image_spline"])
def test_it_starts_as_the_affine_map_of_z(name, x64):
    net = NETS[name]()
    rng = np.random.default_rng(1)
    z, x = rng.normal(size=(B, LATENTS)), rng.normal(size=(B, *net.shape))
    params = jax.jit(net.init)(KEY, z, x)
    u, log_det = net.apply(params, z, x)
    loc, raw = np.split(net.start.apply({"params": params["params"]["start"]}, z), 2, -1)
    log_scale = np.logaddexp(raw, -6)  # -6 + softplus(raw + 6)
    v = (x - loc) * np.exp(-log_scale)
    np.testing.assert_allclose(np.sort(u), np.sort(v.reshape(B, -1)), rtol=1e-8)
    np.testing.assert_allclose(log_det, -log_scale.reshape(B, -1).sum(-1), rtol=1e-8)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_the_density_integrates_to_one(kind, x64):
    net = nets.FlatFlow(LINEAR, (2, 1), 2, kind, features=(5,))
    z = jnp.ones(LATENTS)
    params = random_params(net, z, jnp.zeros((2, 1)))
    params["params"]["start"] = jax.tree.map(lambda a: 0.3 * a, params["params"]["start"])
    grid = np.linspace(-12, 12, 601)
    x = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2, 1)
    u, log_det = jax.jit(net.apply)(params, z, x)
    density = np.exp(-0.5 * np.sum(u**2, -1) - np.log(2 * np.pi) + log_det)
    np.testing.assert_allclose(density.sum() * (grid[1] - grid[0]) ** 2, 1, atol=2e-3)


def test_squeezing_keeps_neighbours_together():
    image = jnp.arange(16.0).reshape(4, 4, 1)
    squeezed = nets.image_flow._squeezed(image)
    np.testing.assert_array_equal(squeezed[0, 0], [0, 1, 4, 5])
    np.testing.assert_array_equal(nets.image_flow._spread(squeezed), image)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nets.FlatFlow(LINEAR, (1,), 1), ValueError, "shape: expected at least 2"),
        (lambda: nets.FlatFlow(LINEAR, (2,), -1), ValueError, "steps: expected"),
        (lambda: nets.FlatFlow(LINEAR, (2,), 1, "cubic"), ValueError, "kind: expected"),
        (lambda: nets.FlatFlow(LINEAR, (2,), 1, alpha=0.5), ValueError, "alpha: expected"),
        (lambda: nets.FlatFlow("net", (2,), 1), TypeError, "start: expected"),
        (lambda: nets.FlatFlow(LINEAR, (2,), 1, noise=3), TypeError, "noise: expected"),
        (lambda: nets.FlatFlow(LINEAR, (2,), 1, features=(0,)), ValueError, r"features\[0\]"),
        (lambda: nets.ImageFlow(LINEAR, (6, 6, 1)), ValueError, r"sides divisible by 2\^scales = 4"),
        (lambda: nets.ImageFlow(LINEAR, (4, 4, 1), checkers=True), TypeError, "checkers: expected"),
        (lambda: nets.ImageFlow(LINEAR, (4, 4, 1), scales=0), ValueError, "scales: expected"),
    ],
)
def test_wrong_sizes_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_wrong_shapes_are_named():
    net = nets.FlatFlow(LINEAR, (2, 1), 1)
    with pytest.raises(ValueError, match=r"x: expected \[..., 2, 1\], got \(4, 3\)"):
        jax.eval_shape(net.init, KEY, jnp.zeros((4, 2)), jnp.zeros((4, 3)))
    with pytest.raises(
        ValueError, match=r"start: expected loc and log-scale .* \(4, 2, 6\); got \(4, 2, 2\)"
    ):
        jax.eval_shape(nets.FlatFlow(LINEAR, (2, 3)).init, KEY, jnp.zeros((4, 2)), jnp.zeros((4, 2, 3)))


def test_splines_leave_the_colour_that_stays(x64):
    """A mask of zeros on the numbers of a spline is the identity, as the checkers take it."""
    x = np.linspace(-3, 3, 7)
    y, log_det = spline(jnp.asarray(x), jnp.zeros((7, 8)), 5.0)
    np.testing.assert_allclose(y, x, atol=1e-12)
    np.testing.assert_allclose(log_det, 0, atol=1e-12)
