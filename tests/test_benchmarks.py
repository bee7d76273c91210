"""What the benchmarks count and compare; speed itself is never asserted in a test."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import jacobian, steps, sweep
from vaejax.objectives import compose, coupling, geometry, posterior_mean


def test_every_penalty_has_its_cost_measured():
    penalties = {name for module in (geometry, coupling, posterior_mean) for name in module.__all__}
    assert set(jacobian.PENALTIES) == penalties - {"reconstruction_at_mean"}
    every = {label: make() for group in jacobian.PENALTIES.values() for label, make in group.items()}
    model, batch = steps.build(16, 3), {"x": jnp.zeros((2, 16, 16, 1)), "index": jnp.arange(2)}

    def nats(key):
        vae = model.bind(model.init(key, batch)[0])
        return compose(**every)(key, vae, batch, 0)[1][0]

    assert set(every) < set(jax.eval_shape(nats, jax.random.key(0)))


def test_what_cannot_be_timed_is_refused():
    for name in ("threads", "rounds", "steps", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            jacobian.Config(**{name: 0})
    with pytest.raises(ValueError, match=r"threads: expected at most the \d+ cores there are, got 5000"):
        jacobian.Config(threads=5000)


def test_multiply_adds_by_hand():
    encoder = 16 * (31**2 * 32 + 14**2 * 32 * 32 + 6**2 * 32 * 64 + 2**2 * 64 * 64) + 256 * 256 + 2 * 256 * 10
    decoder = 10 * 256 + 256 * 1024 + 16 * (4**2 * 64 * 64 + 8**2 * 64 * 32 + 16**2 * 32 * 32 + 32**2 * 32)
    assert steps.multiply_adds(steps.build(), 64) == (encoder, decoder)


def test_the_peers_have_the_same_model():
    pytest.importorskip("torch", reason="the peer is PyTorch's, of the extra bench, which is not installed")
    from benchmarks.torch_peer import TorchVAE

    batch = {"x": jax.ShapeDtypeStruct((1, 64, 64, 1), np.float32)}
    sizes = []
    for model in (
        steps.build(),
        steps.build(encoder=jacobian.LaxEncoder(10), decoder=jacobian.LaxDecoder()),
    ):
        params, _ = jax.eval_shape(lambda b, model=model: model.init(jax.random.key(0), b), batch)
        sizes.append(sum(a.size for a in jax.tree.leaves(params)))
    sizes.append(sum(p.numel() for p in TorchVAE(10).parameters()))
    assert len(set(sizes)) == 1


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch.func's own
def test_the_peers_penalties_are_ours_and_its_ways_are_all_tried():
    torch = pytest.importorskip("torch", reason="the peer is PyTorch's, of the extra bench")
    from benchmarks.torch_peer import penalty_of, variants

    weight = 0.5 * torch.arange(12.0).reshape(3, 4).sin().double()
    decoder = lambda z: (z @ weight).reshape(-1, 1, 2, 2)  # noqa: E731
    z = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.5, 1.0]]).double()
    p = torch.sigmoid(z @ weight)
    expected = ((p * (1 - p)).abs() @ weight.abs().T).sum()
    torch.testing.assert_close(penalty_of(decoder, z, exact=True), expected)
    torch.testing.assert_close(penalty_of(decoder, z, exact=False), expected, rtol=1e-3, atol=0)
    assert len({v.label for v in variants(penalty=True)}) == 8
    assert len({v.label for v in variants(penalty=False)}) == 4


def test_the_report_compares_medians_and_judges_them(capsys):
    seconds = {
        "beta_vae": [1.0, 2.0, 9.0], "exact": [4.0, 4.0, 4.0], "columns1": [2.0, 2.0, 2.0],
        "eager_beta_vae": [4.0, 4.0, 5.0], "eager_jl1": [20.0, 20.0, 20.0],
        "compiled_beta_vae": [8.0, 8.0, 8.0], "compiled_jl1": [16.0, 16.0, 16.0],
        "product": [1e-9, steps.PRODUCT / 1e12, 1.0],
    }  # fmt: skip
    result = jacobian.report(jacobian.Config(), {}, seconds, {64: 30.0, 512: 30.0})
    assert set(result["passed"]) == set(jacobian.BARS) < set(result["ratios"])
    for way, ratios in {"eager": (0.5, 0.2), "compiled": (0.25, 0.25), "torch": (0.5, 0.25)}.items():
        assert (result["ratios"][f"beta_vae/{way}"], result["ratios"][f"exact/{way}"]) == ratios
    assert result["passed"]["exact/torch"]
    assert not result["passed"]["exact/floor"]  # the floor is far below at a rate of 1e12
    encoder, decoder = steps.multiply_adds(steps.build(), 64)
    floor = (3 * 11 * decoder + 3 * encoder) * 64 / 1e12
    np.testing.assert_allclose(result["ratios"]["exact/floor"], 4.0 / floor)
    assert "compiled_jl1" in capsys.readouterr().out
    grown = jacobian.report(jacobian.Config(), {}, seconds, {64: 30.0, 512: 31.0})
    assert not grown["passed"]["exact_temporaries_mib"]


def test_a_setting_of_the_sweep_is_a_row_a_method_beside_its_floor(monkeypatch):
    monkeypatch.setattr(sweep, "METHODS", {"exact": "JL1, exact"})
    (row,) = sweep.measure(sweep.Setting(16, 2, 4), 1)
    encoder, decoder = steps.multiply_adds(steps.build(16, 2), 16)
    flops = 2 * (3 * 3 * decoder + 3 * encoder) * 4
    np.testing.assert_allclose(row["floor, ms"], flops / row["GFLOP/s of the product"] / 1e6)
    assert 0 < row["min"] <= row["ms, median"] <= row["max"]
    assert (row["side"], row["d"], row["B"]) == (16, 2, 4)


def test_the_sweep_writes_every_row_and_draws_the_medians(tmp_path, monkeypatch):
    def measure(setting, rounds):
        ms = setting.d * setting.side * setting.B / (setting.chunk or 1)
        times = {"ms, median": ms, "min": ms / 2, "max": 2 * ms, "floor, ms": ms / 3}
        row = {**setting._asdict(), **times, "temporaries, MiB": 5.0}
        return [{"method": name, **row} for name in sweep.METHODS.values()]

    monkeypatch.setattr(sweep, "measure", measure)
    result = sweep.main(1, tmp_path / "sweep.json", tmp_path / "figures")
    assert json.loads((tmp_path / "sweep.json").read_text())["rows"] == result["rows"]
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"jacobian_latents.png", "jacobian_sizes.png"}
    assert len(result["rows"]) == 3 * len(sweep.settings())
    side_16 = sweep.grid_figure(result["rows"]).axes[0]
    np.testing.assert_allclose(side_16.lines[0].get_xydata(), [[d, d * 16 * 64] for d in sweep.LATENTS])
    np.testing.assert_allclose(side_16.lines[1].get_ydata(), [d * 16 * 64 / 3 for d in sweep.LATENTS])
    chunks = sweep.lines_figure(result["rows"]).axes[1]
    np.testing.assert_allclose(chunks.lines[0].get_xydata(), [[m, 10 * 32 * 64 / m] for m in sweep.CHUNKS])


def test_the_settings_cover_what_the_sweep_promises():
    settings = sweep.settings()
    assert len(set(settings)) == len(settings)
    assert {(s.side, s.d) for s in settings} == {(s, d) for s in (16, 32, 64) for d in (2, 5, 10, 32, 64)}
    assert {s.B for s in settings} == {16, 64, 256}
    assert {s.chunk for s in settings} == {None, 1, 4, 16, 64}
    assert all(s.microbatch is None for s in settings if s.sliced)


def test_every_kind_has_its_turn_in_every_round_and_warms_up_first():
    calls = []
    kinds = {name: lambda n, name=name: calls.append((name, n)) for name in ("a", "b")}
    seconds = steps.time_in_turn(kinds, 3, 2, warm=1)
    assert calls == [("a", 1), ("a", 3), ("b", 1), ("b", 3)] * 3  # the first round is not kept
    assert {name: len(of) for name, of in seconds.items()} == {"a": 2, "b": 2}


def test_a_missed_bar_ends_with_an_error_only_where_that_is_asked_for_and_the_figures_are_kept(tmp_path):
    result = {"passed": {"fast": True, "slow": False}, "ratios": {"slow": 2.0}}
    assert steps.judged(result, None, check=False) is result
    with pytest.raises(SystemExit, match=r"^bars missed: slow$"):
        steps.judged(result, tmp_path / "out.json", check=True)
    assert json.loads((tmp_path / "out.json").read_text()) == result
