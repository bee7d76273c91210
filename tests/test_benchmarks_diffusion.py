"""The peer of the diffusion decoder is the same model, and the faster peer counts; no speed is asserted."""

import jax
import numpy as np
import pytest

from benchmarks import diffusion
from benchmarks.steps import Program, images
from vaejax import nets


def test_the_report_judges_against_the_faster_peer(capsys):
    steps = {"vaejax": [1.0, 2.0, 3.0], "torch": [9.0, 8.0, 7.0], "torch, compiled": [5.0, 4.0, 6.0]}
    draws = {"vaejax": [3.0, 3.0, 3.0], "torch": [4.0, 4.0, 4.0]}
    result = diffusion.report(diffusion.Config(), steps, draws, Program(lambda: None, [], 7.0, 11.0))
    assert result["ratios"] == {"step/torch": 0.4, "samples/torch": 0.75}
    assert result["passed"] == {"step/torch": True, "samples/torch": False}
    assert "64 samples" in capsys.readouterr().out


def test_the_net_has_about_a_million_parameters():
    net = nets.UNet((28, 28, 1), features=diffusion.FEATURES, embed=diffusion.EMBED)
    z, u, g = (np.zeros((1, *shape), np.float32) for shape in ((diffusion.LATENTS,), (28, 28, 1), ()))
    params = jax.eval_shape(net.init, jax.random.key(0), z, u, g)
    assert 0.9e6 < sum(a.size for a in jax.tree.leaves(params)) < 1.1e6


def test_the_peer_is_the_same_function():
    torch = pytest.importorskip(
        "torch", reason="the peer is PyTorch's, of the extra bench, which is not installed"
    )
    from benchmarks.torch_diffusion_peer import TorchDiffusionVAE

    sizes = diffusion.FEATURES, diffusion.LATENTS, diffusion.HIDDEN, diffusion.EMBED
    peer = TorchDiffusionVAE(diffusion.SIDE, *sizes)
    x = images(diffusion.SIDE, 2)
    ours = jax.eval_shape(diffusion.build().init, jax.random.key(0), {"x": x})[0]
    assert sum(a.size for a in jax.tree.leaves(ours)) == sum(p.numel() for p in peer.parameters())
    bound = peer.neg_elbo(torch.from_numpy(x).permute(0, 3, 1, 2))
    assert bound.shape == (2,)
    bound.mean().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in peer.parameters() if p.grad is not None)
    assert peer.make_sampler(2, 3, False)().shape == (2, 1, diffusion.SIDE, diffusion.SIDE)
