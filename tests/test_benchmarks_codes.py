"""The benchmark of codes and its peers compute the same; the report compares them; no speed is asserted."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import vaejax
from benchmarks import codes
from vaejax.models.posteriors.codebooks import EPS
from vaejax.ops.codes import ema_update

REASON = "the peers are PyTorch's, of the extra bench, which is not installed"


@pytest.fixture
def small(monkeypatch):
    """Few vectors and codes."""
    monkeypatch.setattr(codes, "VECTORS", (2, 3, 3, 4))
    monkeypatch.setattr(codes, "CODES", 8)
    for name, size in {"SIDE": 8, "FEATURES": 4, "DIM": 4, "BATCH": 3}.items():
        monkeypatch.setattr(codes, name, size)


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason=REASON)
    pytest.importorskip("vector_quantize_pytorch", reason=REASON)
    return torch


def test_the_temporaries_of_a_search_do_not_grow_with_the_vectors():
    """From 2^20 scores on they are of a chunk; below, of the scores."""
    few, many, more = (codes.temporaries(n, dim=8, V=64) for n in (2**8, 2**18, 2**20))
    assert few < many == pytest.approx(more, abs=0.01)
    assert many < codes.BARS["nearest_temporaries_mib"][1]


def test_the_cost_is_of_the_nearest_codes_with_the_gradient_straight_through(small):
    z, e, g = codes.vectors()
    with jax.enable_x64(True):
        z, e, g = (a.astype(np.float64) for a in (z, e, g))
        run = jax.jit(jax.value_and_grad(codes.cost, (0, 1), has_aux=True))
        (value, (through, k)), (of_z, of_e) = run(z, e, g)
    nearest = np.square(z[..., None, :] - e).sum(-1).argmin(-1)
    q, off = e[nearest], codes.COMMITMENT * 2 * (z - e[nearest]) / z.size
    np.testing.assert_array_equal(k, nearest)
    np.testing.assert_allclose(through, q)
    assert value == pytest.approx((g * q).sum() + codes.COMMITMENT * np.square(z - q).mean())
    np.testing.assert_allclose(of_z, g + off)
    by_code = np.stack([-off[nearest == v].sum(axis=0) for v in range(len(e))])
    np.testing.assert_allclose(of_e, by_code, atol=1e-15)


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_the_peers_of_the_search_give_the_same_codes_and_gradients(learned, by_hand, small, torch):
    from benchmarks.torch_codes_peer import make_quantise

    z, e, g = codes.vectors()
    q, k, *gradients = make_quantise(z, e, g, learned, codes.COMMITMENT, by_hand)()
    run = jax.jit(jax.value_and_grad(codes.cost, (0, 1), has_aux=True))
    (_, (through, indices)), of = run(z, e, g)
    np.testing.assert_array_equal(k.numpy().ravel(), np.ravel(indices))
    np.testing.assert_allclose(q.numpy().reshape(z.shape), through, atol=1e-6)
    assert len(gradients) == 1 + learned
    for theirs, ours in zip(gradients, of, strict=False):
        np.testing.assert_allclose(theirs.numpy().reshape(ours.shape), ours, atol=1e-6)


def test_the_peer_of_the_step_has_the_same_parameters_and_moves_the_same_means(small, torch):
    from benchmarks.torch_codes_peer import TorchVQVAE, nearest

    sizes = (codes.CHANNELS, codes.FEATURES, codes.DIM, codes.CODES)
    model = TorchVQVAE(*sizes, codes.DECAY, codes.SCALE, codes.COMMITMENT)
    x = codes.images(8)
    params, variables = jax.eval_shape(codes.build().init, jax.random.key(0), {"x": x})
    ours = sum(a.size for a in jax.tree.leaves(params))
    assert sum(p.numel() for p in model.parameters()) == ours
    assert sorted(a.shape for a in jax.tree.leaves(variables)) == sorted(
        (1, *b.shape) for b in (model.codebook, model.counts, model.sums)
    )
    z = np.random.default_rng(1).normal(size=(20, codes.DIM)).astype(np.float32)
    start = [a.numpy().copy() for a in (model.counts, model.sums, model.codebook)]
    k = nearest(torch.from_numpy(z), model.codebook)
    np.testing.assert_array_equal(k, np.square(z[:, None] - start[2]).sum(-1).argmin(-1))
    model.update(torch.from_numpy(z), k)
    n, m, e = ema_update(start[0], start[1], z, k.numpy(), codes.DECAY, EPS)
    chosen = np.isin(np.arange(codes.CODES), k)[:, None]
    for theirs, wanted in (
        (model.counts, n), (model.sums, m), (model.codebook, np.where(chosen, e, start[2])),
    ):  # fmt: skip
        np.testing.assert_allclose(theirs, wanted, rtol=1e-5, atol=1e-6)


def layers(params):
    """The kernels and biases of a net of maps in the order of its layers."""
    blocks = [f"block_{n}_{part}" for n in range(2) for part in range(2)]
    order = (
        ("conv_0", "conv_1", *blocks, "out") if "conv" not in params else ("conv", *blocks, "conv_0", "out")
    )
    return [params[name] for name in order]


def test_the_peer_of_the_step_has_the_cost_of_the_same_weights(small, torch):
    from benchmarks.torch_codes_peer import TorchVQVAE

    sizes = (codes.CHANNELS, codes.FEATURES, codes.DIM, codes.CODES)
    peer, model = TorchVQVAE(*sizes, codes.DECAY, codes.SCALE, codes.COMMITMENT), codes.build()
    x = codes.images(3)

    def cost(key):
        params, variables = model.init(key, {"x": x})
        draw = vaejax.sample(key, model.bind(params, variables), {"x": x})
        return params, variables, codes.COMMITMENT * draw.extra["commitment"] - draw.log_px

    params, variables, ours = jax.jit(cost)(jax.random.key(0))
    for net in ("encoder", "decoder"):
        theirs = [
            m
            for m in getattr(peer, net).modules()
            if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
        ]
        for module, own in zip(theirs, layers(params[net]), strict=True):
            kernel = np.asarray(own["kernel"])
            transposed = isinstance(module, torch.nn.ConvTranspose2d)  # the peer's kernel is turned around
            weight = kernel[::-1, ::-1].transpose(2, 3, 0, 1) if transposed else kernel.transpose(3, 2, 0, 1)
            module.weight.data.copy_(torch.from_numpy(weight.copy()))
            module.bias.data.copy_(torch.from_numpy(np.array(own["bias"])))
    peer.codebook.copy_(torch.from_numpy(np.array(variables["codebook"][0])))
    images = torch.from_numpy(x).permute(0, 3, 1, 2)
    np.testing.assert_allclose(peer.cost(images).detach(), ours, rtol=1e-5)


def test_a_run_at_a_tiny_size_has_the_documented_ratios(small, torch, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(codes, "use_cores", lambda threads: None)  # the other tests keep their cores
    monkeypatch.setattr(codes, "NUMBERS", (4,))
    output, threads = tmp_path / "codes.json", torch.get_num_threads()
    result = codes.main(codes.Config(rounds=1, steps=2, threads=threads, output=output))
    assert set(result["ratios"]) == set(codes.BARS)
    assert output.exists()
    assert "ema_vq_vae/torch" in capsys.readouterr().out


def test_the_report_compares_medians_and_the_most_temporaries(capsys):
    times = {"vaejax": [1.0, 3.0, 2.0], "torch": [5.0, 4.0, 10.0]}
    seconds = dict.fromkeys(("straight_through", "codebook", "ema_vq_vae"), times)
    seconds["codebook"] = {**times, "torch, by hand": [0.5] * 3}
    result = codes.report(codes.Config(), seconds, {1: 3.0, 4: 40.0})
    assert result["comparisons"]["straight_through/torch"] == {
        "value": 0.4, "min": 0.25, "least": 0.2, "most": 0.75, "bar": 0.6, "aim": 0.35, "held": True,
    }  # fmt: skip
    assert result["passed"] == {
        "straight_through/torch": True, "codebook/torch": True, "ema_vq_vae/torch": True,
        "nearest_temporaries_mib": False,
    }  # fmt: skip
    assert result["ratios"]["nearest_temporaries_mib"] == 40.0
    assert "held" in capsys.readouterr().out
