"""VDVAE by its layers: the authors' sizes, one program for equal levels, and gradients everywhere."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import distributions, models, nets, objectives, sample
from vaejax.models import posteriors
from vaejax.models.levels import runs_of

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LOSS = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
LIKELIHOOD = distributions.discretised_logistic_mixture(1)
X = jnp.asarray(RNG.integers(0, 256, (2, 4, 4, 1)), jnp.float32)


def small(levels="1x1,4m1,4x2", encoder="4x2,4d4,1x1", **options):
    sizes = {"width": 8, "channels": 2, "likelihood": LIKELIHOOD, **options}
    return models.vdvae((4, 4, 1), levels, encoder, **sizes)


def of_cells():
    """NVAE's: cells as bodies, posteriors relative to the prior, bounded heads."""
    cells = [nets.EncoderCell(groups=2), nets.DecoderCell(expand=2, groups=2)]
    levels = []
    for i, event in enumerate([(1, 1, 2), (4, 4, 2), (4, 4, 2)]):
        family = posteriors.residual(event) if i else posteriors.gaussian(event)
        decoder = nets.BlockDecoder(8, cells[1], 3, up=1 if i else 4)
        prior = nets.BlockPrior(2, 4, clamp=5.0) if i else None
        levels.append(models.Level(family, nets.BlockEncoder(2, 4, cells[0], 5.0), decoder, prior))
    pyramid = nets.FromBytes(nets.Pyramid(8, 2, (1, 4), (1, 2), (0, 1)))
    return models.hierarchical_vae(
        encoder=pyramid, levels=levels, decoder=nets.PixelHead(3), likelihood=LIKELIHOOD
    )


def block(C, F, out, taps):
    """Numbers of 1 x 1, twice F to F, and 1 x 1, with their biases."""
    return (C + 1) * F + 2 * (taps * F + 1) * F + (F + 1) * out


def test_cifar10s_model_has_the_authors_sizes():
    """39 million parameters and 43 levels, counted from the layers by hand."""
    levels, encoder = "1x1,4m1,4x2,8m4,8x5,16m8,16x10,32m16,32x21", "32x11,32d2,16x6,16d2,8x6,8d2,4x3,4d4,1x3"
    likelihood = distributions.discretised_logistic_mixture(10)
    model = models.vdvae((32, 32, 3), levels, encoder, width=384, channels=16, likelihood=likelihood)
    params, _ = jax.eval_shape(model.init, KEY, {"x": jnp.zeros((1, 32, 32, 3))})
    assert len(model.spec["levels"]) == 43
    W, F, C = 384, 96, 16
    count = (9 * 3 + 1) * W + 3 * block(W, F, W, 1) + 30 * block(W, F, W, 9)  # the pyramid
    count += 42 * (block(2 * W, F, 2 * C, 9) + block(W, F, 2 * C + W, 9) + block(W, F, W, 9))
    count += block(W, F, 2 * C, 1) + block(W, F, W, 1)  # the top sees a alone, and its prior is fixed
    count += 43 * (C + 1) * W + W + sum(side**2 for side in (4, 8, 16, 32)) * W  # z, and the learned maps
    count += 2 * W + (W + 1) * 100
    assert sum(a.size for a in jax.tree.leaves(params)) == count
    assert count == pytest.approx(39e6, rel=0.01)


def products(model):
    """How many matrix products and convolutions the program of a gradient has."""
    params, _ = jax.eval_shape(model.init, KEY, {"x": X})
    loss = jax.grad(lambda p: LOSS(KEY, model.bind(p), {"x": X}, 0)[0])
    text = jax.jit(loss).lower(params).as_text()
    return text.count("dot_general") + text.count("stablehlo.convolution")


def test_equal_levels_and_blocks_are_in_the_program_once():
    few = products(small("1x1,4m1,4x3", "4x2,4d4,1x1"))
    many = products(small("1x1,4m1,4x9", "4x7,4d4,1x1"))
    assert few == many > 20


def test_levels_of_a_side_are_one_run_but_for_the_last_which_enlarges():
    model = models.from_spec(json.loads(json.dumps(small("1x2,2m1,2x3,4m2,4x4", "4x1,4d2,2x1,2d2,1x1").spec)))
    levels = model.spec["levels"]
    ups = [level["options"]["decoder"]["options"]["up"] for level in levels]
    assert ups == [1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1]
    assert runs_of(levels, "top_down") == ((0, 1), (1, 1), (2, 3), (5, 1), (6, 5))


@pytest.mark.parametrize("make", [small, of_cells, lambda: small(dtype="bfloat16")])
def test_gradients_reach_every_parameter_and_the_bound_is_of_the_path(make):
    model = make()
    params, _ = jax.eval_shape(model.init, KEY, {"x": X})
    params = jax.tree.map(lambda a: jnp.asarray(0.4 * RNG.normal(size=a.shape), a.dtype), params)

    @jax.jit
    def run(params):
        vae = model.bind(params)
        draw = sample(KEY, vae, {"x": X})
        decoded = vae.decode(draw.z).log_prob(X)
        return jax.grad(lambda p: LOSS(KEY, model.bind(p), {"x": X}, 0)[0])(params), draw, decoded

    grads, draw, decoded = run(params)
    still = [jax.tree_util.keystr(p) for p, g in jax.tree_util.tree_leaves_with_path(grads) if not g.any()]
    assert not still
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    np.testing.assert_allclose(decoded, draw.log_px, rtol=1e-4)
    assert [z.shape for z in draw.z] == [
        (2, *spec["options"]["posterior"]["options"]["latents"]) for spec in model.spec["levels"]
    ]


def test_a_fresh_model_has_standard_normal_priors_at_every_level():
    model = small()
    params, _ = jax.jit(model.init)(KEY, {"x": X})
    draw = jax.jit(lambda p: sample(KEY, model.bind(p), {"x": X}))(params)
    for p in draw.p:
        np.testing.assert_array_equal(p.mean(), np.zeros_like(p.mean()))
        np.testing.assert_array_equal(p.stddev(), np.ones_like(p.mean()))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"levels": "1x1,4y2"}, ValueError, "levels: expected layers as 8x5 or 8m4, got '4y2'"),
        ({"levels": "1x1,4d2"}, ValueError, "levels: expected layers as 8x5 or 8m4, got '4d2'"),
        ({"encoder": "4x1,1m1"}, ValueError, "encoder: expected layers as 8x6 or 8d2, got '1m1'"),
        ({"encoder": "4x1,4d2,2x1"}, ValueError, r"encoder: expected blocks at sides \[1, 4\] as the levels"),
        ({"width": 0}, ValueError, "width: expected at least 1, got 0"),
        ({"channels": 0}, ValueError, "channels: expected at least 1, got 0"),
        ({"levels": "2x1,3m2", "encoder": "3x1,2x1"}, ValueError, "sides: expected some, the smallest first"),
    ],
)
def test_bad_layers_are_named(options, error, message):
    with pytest.raises(error, match=message):
        small(**options)
