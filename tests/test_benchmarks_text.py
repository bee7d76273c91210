"""The benchmark of sentences and its peer compute the same; no speed is asserted."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import vaejax
from benchmarks import text

REASON = "the peer is PyTorch's, of the extra bench, which is not installed"
SIZES = {"VOCABULARY": 7, "LENGTH": 5, "LATENTS": 2, "FEATURES": 4, "EMBEDDING": 3, "BATCH": 3}


@pytest.fixture
def small(monkeypatch):
    for name, size in SIZES.items():
        monkeypatch.setattr(text, name, size)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason=REASON)


def test_the_peer_has_the_cost_of_the_same_weights(small, torch):
    from benchmarks.torch_text_peer import TorchText

    x = np.random.default_rng(1).integers(1, 7, (6, 5)).astype(np.int32)
    x[0, 2], x[1, 0], x[2, 4] = 0, 0, 0  # the others have no end
    model = text.build()

    @jax.jit
    def cost(key):
        params, _ = model.init(key, {"x": x})
        draw = vaejax.sample(key, model.bind(params), {"x": x})
        return params, draw.q.mean(), draw.z, -draw.log_px

    params, loc, z, nll = cost(jax.random.key(0))
    peer = TorchText(7, 2, 4, 3)
    own = sum(p.numel() for p in peer.parameters()) - 2 * 4 * 4  # the second bias of both LSTMs
    assert own == sum(a.size for a in jax.tree.leaves(params))
    encoder, decoder = params["encoder"], params["decoder"]
    put = {
        "read.weight": encoder["embedding"]["embedding"], "words.weight": decoder["embedding"]["embedding"],
        **linear("loc", encoder["head"]["loc"]), **linear("logvar", encoder["head"]["logvar"]),
        **linear("initial", decoder["initial"]), **linear("out", decoder["out"]),
        **lstm("encoder", encoder["cell"]), **lstm("decoder", decoder["cell"]),
    }  # fmt: skip
    peer.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in put.items()})
    words = torch.from_numpy(x).long()
    theirs, _, counted = peer.posterior(words)
    np.testing.assert_allclose(theirs.detach(), loc, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        peer.nll(words, torch.from_numpy(np.array(z)), counted).detach(), nll, rtol=1e-5
    )


def linear(name, own):
    return {f"{name}.weight": own["kernel"].T, f"{name}.bias": own["bias"]}


def lstm(name, cell):
    """PyTorch has the gates in the order i, f, g, o, too."""
    of = {side: np.concatenate([cell[f"{side}{g}"]["kernel"] for g in "ifgo"], axis=1).T for side in "ih"}
    bias = np.concatenate([cell[f"h{g}"]["bias"] for g in "ifgo"])
    return {
        f"{name}.weight_ih_l0": of["i"], f"{name}.weight_hh_l0": of["h"],
        f"{name}.bias_ih_l0": bias, f"{name}.bias_hh_l0": np.zeros_like(bias),
    }  # fmt: skip


def test_a_run_at_a_tiny_size_has_the_documented_ratios(small, torch, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(text, "use_cores", lambda threads: None)  # the other tests keep their cores
    output, threads = tmp_path / "text.json", torch.get_num_threads()
    config = text.Config(rounds=1, steps=2, compiled=False, threads=threads, output=output)
    assert set(text.main(config)["ratios"]) == set(text.BARS)
    assert output.exists()
    assert "step/torch" in capsys.readouterr().out


def test_the_faster_peer_counts(capsys):
    seconds = {"vaejax": [1.0, 3.0, 2.0], "torch": [5.0, 6.0, 10.0], "torch, compiled": [4.0, 5.0, 4.0]}
    result = text.report(text.Config(), seconds)
    assert result["comparisons"]["step/torch"] == {
        "value": 0.5, "min": 0.25, "least": 0.25, "most": 0.6, "bar": 0.6, "aim": 0.5, "held": True,
    }  # fmt: skip
    assert "held" in capsys.readouterr().out
