"""What the benchmarks count and compare; speed itself is never asserted in a test."""

import jax
import numpy as np
import pytest

from benchmarks import jacobian
from tests.test_catalogue import COMBINATORS
from vaejax import objectives

ELBO_TERMS = {"kl", "kl_sampled", "kl_stl", "optimal_gaussian_reconstruction", "reconstruction"}
BOUNDS = {"ciwae", "dreg", "iwae", "miwae", "piwae", "renyi"}


def test_every_penalty_has_its_cost_measured():
    penalties = set(objectives.__all__) - COMBINATORS - ELBO_TERMS - BOUNDS - {"reconstruction_at_mean"}
    assert set(jacobian.PENALTIES) == penalties


def test_multiply_adds_by_hand():
    encoder = 16 * (31**2 * 32 + 14**2 * 32 * 32 + 6**2 * 32 * 64 + 2**2 * 64 * 64) + 256 * 256 + 2 * 256 * 10
    decoder = 10 * 256 + 256 * 1024 + 16 * (4**2 * 64 * 64 + 8**2 * 64 * 32 + 16**2 * 32 * 32 + 32**2 * 32)
    assert jacobian.multiply_adds(jacobian.build(), 64) == (encoder, decoder)


def test_the_peers_have_the_same_model():
    pytest.importorskip("torch", reason="the peer is PyTorch's, of the extra bench, which is not installed")
    from benchmarks.torch_peer import TorchVAE

    batch = {"x": jax.ShapeDtypeStruct((1, 64, 64, 1), np.float32)}
    sizes = []
    for model in (
        jacobian.build(),
        jacobian.build(encoder=jacobian.LaxEncoder(10), decoder=jacobian.LaxDecoder()),
    ):
        params, _ = jax.eval_shape(lambda b, model=model: model.init(jax.random.key(0), b), batch)
        sizes.append(sum(a.size for a in jax.tree.leaves(params)))
    sizes.append(sum(p.numel() for p in TorchVAE(10).parameters()))
    assert len(set(sizes)) == 1


def test_the_report_compares_medians_and_judges_them(capsys):
    seconds = {
        "beta_vae": [1.0, 2.0, 9.0], "exact": [4.0, 4.0, 4.0], "columns1": [2.0, 2.0, 2.0],
        "torch_beta_vae": [4.0, 4.0, 5.0], "torch_jl1": [20.0, 20.0, 20.0],
    }  # fmt: skip
    result = jacobian.report(jacobian.Config(), {}, seconds, 1e12, {64: 30.0, 512: 30.0})
    assert set(result["ratios"]) == set(jacobian.BARS)
    assert result["ratios"]["beta_vae/torch_beta_vae"] == 0.5
    assert result["ratios"]["exact/torch_jl1"] == 0.2
    assert result["passed"]["exact/torch_jl1"]
    assert not result["passed"]["exact/floor"]  # the floor is far below at a rate of 1e12
    encoder, decoder = jacobian.multiply_adds(jacobian.build(), 64)
    floor = (3 * 11 * decoder + 3 * encoder) * 64 / 1e12
    np.testing.assert_allclose(result["ratios"]["exact/floor"], 4.0 / floor)
    assert "torch_jl1" in capsys.readouterr().out
    grown = jacobian.report(jacobian.Config(), {}, seconds, 1e12, {64: 30.0, 512: 31.0})
    assert not grown["passed"]["exact_temporaries_mib"]
