"""The peer computes what vaejax computes, and the report compares them; speed is never asserted in a test."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

torch = pytest.importorskip(
    "torch", reason="the peer is PyTorch's, of the extra bench, which is not installed"
)

from benchmarks import evidence  # noqa: E402 - these need PyTorch
from benchmarks.torch_iwae_peer import TorchIWAE, log_likelihood, make_step  # noqa: E402
from vaejax import objectives  # noqa: E402
from vaejax.objectives.importance import of_samples  # noqa: E402

KEYS = {
    "step_B20_K1/torch", "step_B100_K1/torch", "step_B20_K50/torch", "step_B100_K50/torch", "log_px/torch",
}  # fmt: skip
B, K = 4, 8


def to_torch(a):
    return torch.from_numpy(np.array(a))


def peer_of(params):
    """The peer with vaejax's weights; the two maps to loc and logvar are one there."""
    peer = TorchIWAE(evidence.PIXELS, evidence.FEATURES, evidence.LATENTS)
    encoder, decoder = params["encoder"], params["decoder"]
    head = {
        k: jnp.concatenate([encoder["head"][n][k] for n in ("loc", "logvar")], -1) for k in ("kernel", "bias")
    }
    sides = (
        (peer.encoder, (encoder["dense_0"], encoder["dense_1"], head)),
        (peer.decoder, (decoder["dense_0"], decoder["dense_1"], decoder["out"])),
    )
    with torch.no_grad():
        for net, ours in sides:
            linear = [m for m in net if isinstance(m, torch.nn.Linear)]
            for layer, of in zip(linear, ours, strict=True):
                layer.weight.copy_(to_torch(of["kernel"]).T)
                layer.bias.copy_(to_torch(of["bias"]))
    return peer


@pytest.fixture(scope="module")
def both():
    """(model, params, peer, x) with the same weights, biases and all far from zero."""
    x = evidence.binary_images(B)
    model = evidence.build()
    params, _ = model.init(jax.random.key(0), {"x": x[:1]})
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    params = tree.unflatten([a + 0.05 * rng.standard_normal(a.shape).astype(np.float32) for a in leaves])
    return model, params, peer_of(params), x


def noise_of(model, params, x, key):
    """The eps that `iwae(K)` draws for the batch, [K, B, d]."""
    vae = model.bind(params)
    draw = objectives.sample(jax.random.key(9), vae, {"x": x})
    own = of_samples(
        lambda own: (own.z, own.q.distribution.loc, own.q.distribution.scale), key, vae, draw, K, name=""
    )
    z, loc, scale = own
    return np.asarray((z - loc) / scale)


def test_the_bound_and_its_gradient_are_the_peers(both):
    model, params, peer, x = both
    key = jax.random.key(3)
    eps = noise_of(model, params, x, key)

    def loss(params):
        vae = model.bind(params)
        return objectives.iwae(K)(key, vae, objectives.sample(jax.random.key(9), vae, {"x": x})).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    theirs = peer.bound(to_torch(x), to_torch(eps))
    np.testing.assert_allclose(value, -theirs.sum().item(), rtol=1e-6)
    peer.zero_grad()
    (-theirs.sum()).backward()
    expected = dict(peer_of(gradient).named_parameters())  # vaejax's gradient in the peer's places
    for name, p in peer.named_parameters():
        scale = p.grad.abs().max().item()
        np.testing.assert_allclose(p.grad, expected[name].detach(), rtol=1e-3, atol=1e-4 * scale)


def test_of_one_sample_the_peers_bound_is_the_elbo(both):
    *_, peer, x = both
    x, eps = to_torch(x), torch.randn(1, B, evidence.LATENTS, generator=torch.Generator().manual_seed(0))
    loc, logvar = peer.encoder(x).chunk(2, dim=-1)
    q = torch.distributions.Normal(loc, torch.exp(logvar / 2))
    z = loc + q.scale * eps[0]
    px = torch.distributions.Bernoulli(logits=peer.decoder(z))
    p = torch.distributions.Normal(0.0, 1.0)
    elbo = px.log_prob(x).sum(-1) + p.log_prob(z).sum(-1) - q.log_prob(z).sum(-1)
    np.testing.assert_allclose(peer.bound(x, eps).detach(), elbo.detach(), rtol=1e-6)


@pytest.mark.parametrize(("batch_size", "chunk"), [(B, K), (B, 3), (2, K)])
def test_log_px_of_the_peer_is_its_bound_in_any_chunk(both, monkeypatch, batch_size, chunk):
    *_, peer, x = both
    eps = torch.randn(K, 2, evidence.LATENTS, generator=torch.Generator().manual_seed(0)).repeat(1, B // 2, 1)
    place = iter(range(0, 10 * K, chunk))

    def given(k, b, d):
        start = next(place) % (chunk * -(-K // chunk))
        return eps[start : start + k, :b]

    monkeypatch.setattr(torch, "randn", given)
    of_chunks = log_likelihood(peer, x, K, batch_size, chunk)
    np.testing.assert_allclose(of_chunks, peer.bound(to_torch(x), eps).detach(), rtol=1e-6)


def test_log_px_of_a_decoder_that_ignores_z_is_exact_in_both(both):
    model, params, _, x = both
    params = jax.tree.map(lambda a: a, params)
    first = params["decoder"]["dense_0"]
    params["decoder"]["dense_0"] = {**first, "kernel": jnp.zeros_like(first["kernel"])}
    head = params["encoder"]["head"]
    params["encoder"]["head"] = jax.tree.map(jnp.zeros_like, head)  # q(z|x) = p(z): every weight is p(x)
    vae = model.bind(params)
    exact = vae.decode(jnp.zeros((B, evidence.LATENTS))).log_prob(x)
    np.testing.assert_allclose(evidence.marginal(vae, x, K, 2, 4), exact, rtol=1e-6)
    np.testing.assert_allclose(log_likelihood(peer_of(params), x, K, 2, 4), exact, rtol=1e-6)


@pytest.mark.parametrize("microbatch", [None, 2])
def test_the_peers_step_is_adam_on_the_mean_bound(both, monkeypatch, microbatch):
    _, params, *_, x = both
    peer, x = peer_of(params), np.repeat(x[:1], B, axis=0)  # whatever rows it takes, these
    monkeypatch.setattr(torch, "randn", lambda *shape: torch.full(shape, 0.5))
    before = [p.detach().numpy().copy() for p in peer.parameters()]
    (-peer.bound(to_torch(x), torch.randn(2, B, evidence.LATENTS)).mean()).backward()
    gradient = [p.grad.numpy().copy() for p in peer.parameters()]
    make_step(peer, x, B, 2, microbatch)()
    adam = optax.adam(1e-3, b2=0.999, eps=1e-4)
    moves, _ = adam.update(gradient, adam.init(before))
    for p, old, move in zip(peer.parameters(), before, moves, strict=True):
        np.testing.assert_allclose(p.detach().numpy() - old, move, atol=2e-6)  # of 1e-3


@pytest.mark.filterwarnings("ignore:`torch:DeprecationWarning")  # torch.compile's own
@pytest.mark.filterwarnings("ignore:`torch:FutureWarning")
def test_a_run_at_a_tiny_size_has_the_documented_ratios(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(evidence, "STEPS", {"step_B20_K1": (20, 1)})
    monkeypatch.setattr(evidence, "CHUNKS", ((4, 2), (2, 4)))
    monkeypatch.setattr(evidence, "use_cores", lambda threads: None)  # the other tests keep their cores
    output = tmp_path / "evidence.json"
    threads = torch.get_num_threads()
    result = evidence.main(
        evidence.Config(rounds=1, steps=2, images=8, k_eval=4, parts=2, threads=threads, output=output)
    )
    assert set(result["ratios"]) == {"step_B20_K1/torch", "log_px/torch"}
    assert [row["images"] for row in result["chunks"]] == [4, 2]
    step = result["seconds"]["step_B20_K1"]
    comparison = result["comparisons"]["step_B20_K1/torch"]
    ratios = {way: step["vaejax"][0] / step[way][0] for way in (evidence.EAGER, evidence.COMPILED)}
    assert comparison["value"] == pytest.approx(max(ratios.values()))
    for way, ratio in (ratios | {evidence.DEFAULT: step["vaejax"][0] / step[evidence.DEFAULT][0]}).items():
        assert comparison[f"of {way}"] == pytest.approx(ratio)
    assert output.exists()
    assert "log_px/torch" in capsys.readouterr().out
    with pytest.raises(ValueError, match="parts: expected a divisor of the 8 images, got 3"):
        evidence.main(evidence.Config(images=8, parts=3))


def test_the_report_compares_medians_and_judges_them(capsys):
    kinds = [key.removesuffix("/torch") for key in evidence.BARS]
    both = {evidence.EAGER: [8.0, 9.0, 7.0], evidence.COMPILED: [5.0, 4.0, 10.0]}
    seconds = {name: {"vaejax": [1.0, 3.0, 2.0], **both} for name in kinds}
    tried = {name: {(4, 2): 1.0} for name in ("vaejax", *both)}
    result = evidence.report(evidence.Config(), seconds, tried)
    assert set(result["ratios"]) == KEYS
    assert set(result["ratios"].values()) == {2 / 5}
    assert result["comparisons"]["log_px/torch"] == {
        "value": 0.4, "min": 0.25, "least": 0.2, "most": 0.75, "bar": 0.58, "aim": 0.50, "held": True,
        "of torch, eager": 0.25, "of torch, compiled": 0.4, "of torch, default Adam": "",
    }  # fmt: skip
    assert all(result["passed"].values())
    slower = {**seconds, "log_px": {"vaejax": [2.0], evidence.EAGER: [2.0], evidence.COMPILED: [3.0]}}
    assert not evidence.report(evidence.Config(), slower, tried)["passed"]["log_px/torch"]
    assert "held" in capsys.readouterr().out


def test_a_round_sees_the_same_number_of_samples():
    steps = [evidence.steps_of(evidence.Config(steps=600), *of) for of in evidence.STEPS.values()]
    assert steps == [600, 120, 12, 3]
