"""The peers of flows are the densities that they say, and the report compares them; no speed is asserted."""

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="the peer is PyTorch's, of the extra bench, which is not installed"
)
pytest.importorskip("zuko", reason="the peer's layers are zuko's, of the extra bench, which is not installed")

from benchmarks import latents  # noqa: E402 - these need PyTorch
from benchmarks.evidence import FEATURES, LATENTS, PIXELS, binary_images  # noqa: E402
from benchmarks.torch_flow_peer import TorchVampVAE, peer  # noqa: E402

B = 3


@pytest.mark.parametrize("name", ["iaf_4", "spline_coupling_4"])
def test_the_peers_bound_is_that_of_the_density_of_its_draw(name):
    """By the inverse maps, in float64; and it has as many numbers to learn as vaejax's, up to constants."""
    sizes = (latents.CONTEXT, latents.WIDTH, latents.STEPS, latents.BINS)
    model = peer(name, PIXELS, FEATURES, LATENTS, *sizes).double()
    x = torch.from_numpy(binary_images(B)).double()
    eps = torch.randn(B, LATENTS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z, log_q = model.draw(x, eps)
    loc, logvar, h = model.encoder(x).split(model.sizes, dim=-1)
    back, total = z, 0.0
    for layer in reversed(model.maps):
        back, log_det = layer(h).inv.call_and_ladj(back)
        total = total + log_det
    base = torch.distributions.Normal(loc, torch.exp(logvar / 2))
    np.testing.assert_allclose(log_q.detach(), (base.log_prob(back).sum(-1) + total).detach(), rtol=1e-8)
    px = torch.distributions.Bernoulli(logits=model.decoder(z))
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    elbo = px.log_prob(x).sum(-1) + log_p - log_q
    np.testing.assert_allclose(model.elbo(x, eps).detach(), elbo.detach(), rtol=1e-8)
    assert (z - (loc + torch.exp(logvar / 2) * eps)).abs().max() > 0.01


def test_the_peers_vamp_prior_is_the_mean_of_its_posteriors():
    model = TorchVampVAE(12, (5,), 3, 4).double()
    z = torch.randn(B, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loc, logvar, _ = model.encoder(torch.sigmoid(model.inputs)).split(model.sizes, dim=-1)
    each = torch.distributions.Normal(loc, torch.exp(logvar / 2)).log_prob(z[:, None]).sum(-1)
    np.testing.assert_allclose(model.log_p(z).detach(), each.exp().mean(1).log().detach(), rtol=1e-10)


def test_an_unknown_row_has_no_peer():
    with pytest.raises(ValueError, match=r"name: expected a row of benchmarks\.latents, got 'vamp'"):
        peer("vamp", PIXELS, FEATURES, LATENTS, 1, 1, 1, 1)


def test_a_run_at_a_tiny_size_has_the_documented_ratios(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(latents, "MODELS", {name: latents.MODELS[name] for name in ("iaf_4", "vamp_500")})
    monkeypatch.setattr(latents, "use_cores", lambda threads: None)  # the other tests keep their cores
    output = tmp_path / "latents.json"
    threads = torch.get_num_threads()
    result = latents.main(latents.Config(rounds=1, steps=2, threads=threads, output=output))
    assert set(result["ratios"]) == {
        "iaf_4/torch", "vamp_500/torch", "iaf_4_compile_seconds", "vamp_500_compile_seconds",
    }  # fmt: skip
    assert output.exists()
    assert "iaf_4/torch" in capsys.readouterr().out


def test_the_report_compares_medians_and_judges_them(capsys):
    seconds = {name: {"vaejax": [1.0, 3.0, 2.0], "torch": [5.0, 4.0, 10.0]} for name in latents.MODELS}
    result = latents.report(latents.Config(), seconds, {"iaf_4": 3.0, "spline_coupling_4": 16.0})
    assert result["comparisons"]["iaf_4/torch"] == {
        "value": 0.4, "min": 0.25, "least": 0.2, "most": 0.75, "bar": 0.6, "aim": 0.4, "held": True,
    }  # fmt: skip
    assert result["passed"] == {
        "iaf_4/torch": True, "spline_coupling_4/torch": True, "vamp_500/torch": True,
        "iaf_4_compile_seconds": True, "spline_coupling_4_compile_seconds": False,
    }  # fmt: skip
    assert "held" in capsys.readouterr().out
