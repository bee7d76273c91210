"""The experiments on the Jacobian penalty: what is minimised, what is scored, presets, verdict, curves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import jl1_cost, jl1_natural_patches, jl1_sprites_multi, jl1_three_dots
from tests.experiments.tiny import CONFIGS, dense
from vaejax import data, disentanglement, evaluation, objectives, runs, train
from vaejax.distributions import Gaussian, diagonal_gaussian
from vaejax.fields import grid
from vaejax.lab import trainings
from vaejax.lab.results import Run
from vaejax.types import VAE, Draw

PAIRED = (jl1_three_dots, jl1_natural_patches, jl1_sprites_multi)
names = pytest.mark.parametrize("script", PAIRED, ids=lambda s: s.__name__.split(".")[1])


@pytest.fixture(autouse=True)
def small(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path_factory.getbasetemp() / "data"))
    dense(monkeypatch)


def loss_of(script, config, name, monkeypatch):
    """The objective that `training` hands over, on fresh parameters and test images: step -> metrics."""
    seen = []

    def record(objective, *args, **kwargs):
        seen.append(objective)
        return train.updates.gradient_update(objective, *args, **kwargs)

    monkeypatch.setattr(script.train, "gradient_update", record)
    made = script.training(config, name)
    batch = {"x": np.random.default_rng(0).random((3, *images(script, config))).astype(np.float32)}
    params, _ = made.model.init(jax.random.key(0), batch)
    vae = made.model.bind(params)
    return jax.jit(lambda step: seen[0](jax.random.key(1), vae, batch, step)[1][0]), vae, batch


def images(script, config):
    """[H, W, C] of a script."""
    side = getattr(config, "side", jl1_natural_patches.SIDE)
    return side, side, 3 if script is jl1_sprites_multi else 1


@names
def test_the_loss_is_its_formula_and_both_weights_rise(script, monkeypatch):
    config = replace(CONFIGS[script], ramp=10, beta=2.0, gamma=0.3, method="exact")
    for name in ("beta_vae", "jl1_vae"):
        metrics, vae, batch = loss_of(script, config, name, monkeypatch)
        for step, part in ((0, 0.0), (4, 0.4), (10, 1.0), (99, 1.0)):
            m = {key: float(value) for key, value in metrics(step).items()}
            expected = m["reconstruction"] + part * 2.0 * m["kl"]
            if name == "jl1_vae":
                expected += part * 0.3 * m["jacobian_l1"]
            assert m["loss"] == pytest.approx(expected, rel=1e-5)
        assert ("jacobian_l1" in m) == (name == "jl1_vae")
    draw = vae.encode(jax.random.key(1), batch)
    J = jax.vmap(jax.jacobian(lambda z: vae.decode(z).mean()))(draw.z)
    exact = objectives.jacobian_l1()(jax.random.key(1), vae, draw)
    assert np.asarray(exact) == pytest.approx(np.abs(J).sum((1, 2, 3, 4)), rel=1e-4)
    metrics, _, _ = loss_of(script, replace(config, ramp=0), "jl1_vae", monkeypatch)
    m = metrics(0)
    assert (float(m["weight/kl"]), float(m["weight/jacobian_l1"])) == pytest.approx((2.0, 0.3))


def test_the_penalties_differ_in_nothing_else(monkeypatch):
    config = replace(CONFIGS[jl1_cost], latents=3, ramp=0, gamma=2.0, gamma_jl2=3.0, gamma_orojar=5.0)
    of_each = {}
    for name in jl1_cost.METHODS:
        metrics, _, _ = loss_of(jl1_cost, config, name, monkeypatch)
        of_each[name] = {k: float(v) for k, v in metrics(0).items()}
    plain = of_each.pop("beta_vae")
    weights = {"jl1_exact": 2.0, "jl1_1": 2.0, "jl1_2": 2.0, "jl2": 3.0, "orojar": 5.0}
    for name, m in of_each.items():
        assert m["weight/penalty"] == weights[name]
        assert m["loss"] == pytest.approx(plain["loss"] + weights[name] * m["penalty"], rel=1e-5)
    assert len({round(m["penalty"], 7) for m in of_each.values()}) == 5


def bound(script, config, data_set):
    """A model of fresh parameters, larger than usual, whose latent 0 is not in use."""
    made = script.training(config, "jl1_vae")
    params, _ = made.model.init(jax.random.key(0), {"x": data_set.test.arrays["x"][:2].astype(np.float32)})
    encoder = jax.tree.map(lambda a: 3 * a, params["encoder"])
    encoder["head"] = jax.tree.map(lambda a: a.at[..., 0].set(0), encoder["head"])
    return made.model.bind({**params, "encoder": encoder})


@pytest.mark.parametrize("script", [jl1_three_dots, jl1_sprites_multi], ids=["three_dots", "sprites_multi"])
def test_local_scores_are_those_of_the_posterior_means(script):
    config, kind = CONFIGS[script], {jl1_three_dots: data.three_dots, jl1_sprites_multi: data.sprites_multi}
    images = kind[script](16, num_train=2, num_test=200)
    vae = bound(script, config, images)
    scores = script.score(config, "jl1_vae", vae, images)
    encode = jax.jit(lambda x: evaluation.posterior_mean(vae, {"x": x}))
    for suffix, locality in (("", 0.1), ("_locality_1", 1.0)):
        size = {"locality": locality, "clusters": 2, "num_samples": 300}
        factors = disentanglement.local_clusters(jax.random.key(2106), images.num_values, **size)
        codes = disentanglement.represent_factors(encode, images.sample_images, factors, batch_size=300)
        local = disentanglement.score_local(codes, factors)
        assert scores[f"local_mig{suffix}"] == pytest.approx(local.mig, abs=1e-4)
        assert scores[f"local_modularity{suffix}"] == pytest.approx(local.modularity, abs=1e-4)
        assert scores[f"local_mig_over_ceiling{suffix}"] == pytest.approx(
            local.values["mig_over_ceiling"], abs=1e-4
        )
    parts = evaluation.elbo_parts(jax.random.key(2022), vae, images.test)
    assert scores["neg_elbo"] == parts["neg_elbo"]
    assert parts["kl_per_dimension"][0] == 0
    if script is jl1_sprites_multi:
        assert scores["used"] == (parts["kl_per_dimension"] > 0.1).sum() == 1


def test_scores_of_patches_are_of_the_columns_in_use():
    config, patches = CONFIGS[jl1_natural_patches], data.natural_patches(16, num_train=100)
    vae = bound(jl1_natural_patches, config, patches)
    told = jl1_natural_patches.score(config, "jl1_vae", vae, patches)
    x = patches.test.arrays["x"]
    columns = np.asarray(jax.jit(evaluation.jacobian_images)(vae, x[:500])).reshape(500, 2, 256)
    assert told["jacobian_l1"] == pytest.approx(np.abs(columns).sum() / 500, rel=1e-4)
    assert told["used"] == 1
    assert told["hoyer"] == pytest.approx(disentanglement.hoyer(columns[:, 1]).mean(), rel=1e-4)
    assert told["kurtosis"] == pytest.approx(disentanglement.kurtosis(columns[:, 1]).mean(), rel=1e-4)
    error = np.square(x - np.asarray(evaluation.reconstruct(vae, x))).sum()
    p = np.stack([x, 1 - x]).astype(float)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1))) / len(x)
    assert told["excess"] == pytest.approx(told["reconstruction"] - entropy, abs=1e-6)
    assert told["explained"] == pytest.approx(1 - error / (len(x) * x.var(0).sum()), abs=1e-4)
    nothing = jl1_natural_patches.sparsity(np.zeros((5, 0, 256)))
    assert nothing == {"kurtosis": 0.0, "hoyer": 0.0}


def test_linear_models_are_scored_as_the_vaes_are():
    config = replace(CONFIGS[jl1_natural_patches], images=1000, latents=4)
    run = SimpleNamespace(config=config, minus=lambda *pair: pair)
    told = jl1_natural_patches.summary(run)
    assert told["difference"] == ("jl1_vae", "beta_vae")
    patches = data.natural_patches(num_train=1000)
    x, test = (s.arrays["x"].reshape(-1, 256).astype(float) for s in (patches.train, patches.test))
    values, vectors = np.linalg.eigh(np.cov(x.T))
    lost = test - x.mean(0) - (test - x.mean(0)) @ vectors[:, -4:] @ vectors[:, -4:].T
    explained = 1 - np.square(lost).sum() / (len(test) * test.var(0).sum())
    for scores in told["rows"].values():  # both have the same subspace
        assert scores[0]["explained"] == pytest.approx(explained, abs=1e-4)
        assert scores[0]["used"] == 4
    columns = vectors[:, -4:].T * np.sqrt(values[-4:, None])
    (pca,) = told["rows"]["PCA"]
    assert pca["jacobian_l1"] == pytest.approx(np.abs(columns).sum(), rel=1e-4)
    assert pca["hoyer"] == pytest.approx(disentanglement.hoyer(columns).mean(), rel=1e-4)


def test_shares_of_a_decoder_whose_columns_are_known():
    """Latent 0 moves tile 1; 1 moves tiles 0 and 3 as 3 to 1; 2 one tile, by the image; 3 is not in use."""
    sprites = data.sprites_multi(16, num_train=1)
    tiles = jnp.asarray(sprites.tiles)
    shown = jnp.stack(
        [tiles == 1, 3.0 * (tiles == 0) - (tiles == 3), jnp.zeros(tiles.shape), jnp.ones(tiles.shape)]
    )

    def encode(key, batch):
        first = (jnp.arange(len(batch["x"])) % 2)[:, None] * jnp.eye(4)[2]  # z_2 is 0 or 1
        q = diagonal_gaussian(first, jnp.ones_like(first))
        return Draw(z=first, log_q=None, log_p=None, q=q, p=q, batch=batch)

    def decode(z, c=None):
        here = jnp.where(z[2] > 0.5, z[2] * (tiles == 0), -2 * z[2] * (tiles == 2))
        return Gaussian(jnp.tensordot(z, shown, 1) + here, 1.0, 3)

    vae = VAE(jax.tree_util.Partial(encode), jax.tree_util.Partial(decode), None, {})
    shares = jl1_sprites_multi.shares(vae, sprites, np.array([True, True, True, False]))
    assert shares["main_share"] == pytest.approx((1 + 0.75 + 1) / 3)
    assert shares["main_share_of_average"] == pytest.approx((1 + 0.75 + 2 / 3) / 3)


@pytest.mark.parametrize(
    ("jl1_migs", "passed"),
    [((0.10, 0.11, 0.12), True), ((0.06, 0.07, 0.08), False), ((0.05, 0.10, 0.25), False), ((0.1,), None)],
    ids=["passes", "below 1.5 times", "interval meets zero", "one seed"],
)
def test_the_verdict(jl1_migs, passed):
    beta = zip((0.050, 0.055, 0.060), (0.87, 0.88, 0.89), strict=True)
    jl1 = zip(jl1_migs, (0.93, 0.94, 0.95), strict=False)
    run = Run(CONFIGS[jl1_three_dots], Path("run"), {}, {}, {})
    run.__dict__["kept"] = {
        name: [{"local_mig": mig, "local_modularity": modularity} for mig, modularity in each]
        for name, each in (("beta_vae", beta), ("jl1_vae", jl1))
    }
    run.report = {"models": {name: runs.means(each) for name, each in run.reports.items()}}
    told = jl1_three_dots.summary(run)
    assert told["passed"] is passed
    assert told["local_mig_ratio"] == pytest.approx(np.mean(jl1_migs) / 0.055)


def place(name="jl1_vae", **changes):
    """The folder of a training of three-dots in a sweep."""
    default = jl1_three_dots.PRESETS["fast"]
    config = replace(default, sweep=(), **changes)
    each = trainings.jobs(config, default, jl1_three_dots.rows(config), Path("run"), (None, None), True)
    return each[name][0].folder


def test_cells_share_what_does_not_depend_on_the_penalty():
    for change in ({"gamma": 9.0}, {"method": "exact"}, {"columns": 9}):
        assert place("beta_vae", **change) == place("beta_vae")
        assert place(**change) != place()
    assert place(method="exact", columns=9) == place(method="exact")
    assert place(gamma=0.0) == place("beta_vae")  # without the penalty there is one model
    assert place("beta_vae", beta=9.0) != place("beta_vae")


def curve(migs, seconds):
    return {"steps": [10, 20, 30], "seconds": seconds, "local_mig": migs, "local_modularity": [0.5] * 3}


def test_what_is_read_off_the_curves_of_the_penalties():
    curves = {
        "beta_vae": [curve([0.0, 0.1, 0.2], [1, 2, 3]), curve([0.0, 0.1, 0.4], [1, 2, 3])],
        "jl1_exact": [curve([0.2, 0.8, 1.0], [10, 20, 30]), curve([0.4, 1.2, 1.0], [10, 20, 30])],
        "jl1_1": [curve([0.0, 0.5, 0.9], [2, 4, 6]), curve([0.0, 0.7, 1.1], [2, 4, 10])],
    }
    steps = np.arange(1, 31)
    metrics = {"step": steps, "reconstruction": np.arange(30.0), "kl": np.ones(30)}
    kept = {train.read_validations: curves.get, train.read_metrics: lambda name: [(metrics, None)] * 2}
    run = SimpleNamespace(rows=curves, read=lambda name, function: kept[function](name))
    told = jl1_cost.summary(run)
    assert told["curves"] == curves
    assert told["equal_seconds"] == 8.0  # of one column: the beta-VAE has no penalty
    assert told["goal"] == pytest.approx(0.9)
    at = {name: [r["local_mig_at_equal_seconds"] for r in seeds] for name, seeds in told["rows"].items()}
    # the beta-VAE stays at its end, the exact one has not had its first score
    expected = {"beta_vae": [0.2, 0.4], "jl1_exact": [0.2, 0.4], "jl1_1": [0.9, 0.7 + 0.4 * 4 / 6]}
    assert at == {name: pytest.approx(values) for name, values in expected.items()}
    assert told["to_goal"] == {
        "beta_vae": None,
        "jl1_exact": {"steps": 20.0, "seconds": 20.0},
        "jl1_1": {"steps": 30.0, "seconds": 8.0},
    }
    assert set(told["minus_exact"]) == {"beta_vae", "jl1_1"}
    assert told["minus_exact"]["beta_vae"]["local_mig"] == runs.welch_ci95([0.2, 0.4], [1.0, 1.0])
    last = told["rows"]["jl1_1"][1]
    assert (last["seconds"], last["local_mig"], last["kl"]) == (10, 1.1, 1.0)
    assert (last["ms_a_step"], last["reconstruction"]) == pytest.approx((200.0, 24.5))


def test_the_presets_are_the_papers():
    for preset in (jl1_three_dots.PRESETS["small"], jl1_three_dots.PRESETS["paper"]):
        assert (preset.side, preset.radius, preset.width, preset.latents) == (64, 0.08, 1.0, 10)
        assert (preset.batch_size, preset.beta, preset.gamma, preset.method) == (64, 4.0, 0.1, "exact")
    small, paper = jl1_three_dots.PRESETS["small"], jl1_three_dots.PRESETS["paper"]
    assert (small.images, small.steps, small.ramp, small.learning_rate) == (20_000, 30_000, 10_000, 1e-3)
    assert (paper.images, paper.steps, paper.ramp, paper.learning_rate) == (500_000, 300_000, 100_000, 1e-4)
    assert (paper.seeds, small.schedule, paper.schedule) == (10, "constant", "constant")
    cells = grid(type(paper), paper.sweep, (), "sweep")
    assert [values["gamma"] for values in cells] == [0, 0.05, 0.1, 0.2, 0.4]
    patches = jl1_natural_patches.PRESETS["paper"]
    assert (patches.beta, patches.gamma, patches.learning_rate) == (0.01, 0.01, 1e-3)
    assert (patches.steps, patches.ramp, patches.images) == (100_000, 50_000, 100_000)
    assert (patches.batch_size, patches.latents, patches.width) == (128, 10, 1.0)
    assert (patches.method, patches.standardise) == ("exact", False)
    sprites = jl1_sprites_multi.PRESETS["paper"]
    assert (sprites.beta, sprites.gamma, sprites.learning_rate) == (0.01, 0.01, 1e-4)
    assert (sprites.steps, sprites.ramp, sprites.side) == (300_000, 100_000, 64)
    assert (sprites.batch_size, sprites.latents, sprites.width) == (64, 10, 1.0)


def test_the_rate_of_the_demo_ends_at_zero(monkeypatch):
    rates = []
    monkeypatch.setattr(jl1_three_dots.optax, "adam", lambda rate: rates.append(rate) or optax.sgd(0.1))
    fast = jl1_three_dots.PRESETS["fast"]
    for config in (fast, replace(fast, schedule="constant")):
        jl1_three_dots.training(config, "beta_vae")
    assert [float(rates[0](n * fast.steps)) for n in (0, 0.7, 0.85, 1)] == pytest.approx(
        [3e-3, 3e-3, 1.5e-3, 0]
    )
    assert rates[1] == 3e-3


def test_what_jl1_cost_trains_is_the_flagship():
    flagship, fast = jl1_three_dots.PRESETS["fast"], jl1_cost.PRESETS["fast"]
    same = ("side", "radius", "images", "batch_size", "beta", "gamma", "width")
    assert [getattr(fast, k) for k in same] == [getattr(flagship, k) for k in same]
    specs = [s.training(c, "beta_vae").model.spec for s, c in ((jl1_cost, fast), (jl1_three_dots, flagship))]
    assert specs[0] == specs[1]


def test_the_encoder_of_patches_standardises_unless_it_is_the_papers(monkeypatch):
    monkeypatch.undo()  # the true nets
    for preset, options in (("fast", (0.455, 0.05)), ("paper", (0.0, 1.0))):
        made = jl1_natural_patches.training(jl1_natural_patches.PRESETS[preset], "beta_vae")
        encoder = made.model.spec["encoder"]["options"]
        assert (encoder["offset"], encoder["scale"]) == options


@pytest.mark.parametrize(
    ("script", "change", "message"),
    [
        (jl1_three_dots, {"method": "random"}, "method: expected one of 'exact', 'columns', 'finite_diff"),
        (jl1_three_dots, {"gamma": -1.0}, "gamma: expected a finite number of at least 0, got -1.0"),
        (jl1_three_dots, {"clusters": 0}, "clusters: expected at least 1, got 0"),
        (jl1_cost, {"gamma_orojar": float("nan")}, "gamma_orojar: expected a finite number of at least 0"),
        (jl1_cost, {"every": 250}, "every: expected chunks, 3 or more, that divide the steps; got 250"),
        (jl1_cost, {"every": 200}, "every: .* got 200"),
        (jl1_cost, {"steps": 1200}, "every: .* got 500"),
    ],
)
def test_bad_settings_are_refused(script, change, message):
    with pytest.raises(ValueError, match=message):
        script.Config(**change)


@pytest.mark.parametrize(
    ("script", "change"),
    [
        (jl1_three_dots, {"side": 17}),
        (jl1_three_dots, {"sweep": ("side=16,17",)}),
        (jl1_cost, {"side": 17}),
        (jl1_sprites_multi, {"side": 17}),
    ],
)
def test_a_side_that_cannot_be_drawn_leaves_no_folder(script, change, tmp_path):
    config = replace(CONFIGS[script], folder=tmp_path / "run", **change)
    with pytest.raises(ValueError, match="side: expected"):
        script.main(config)
    assert not (tmp_path / "run").exists()


def test_dots_that_are_whole_dark_and_apart_are_counted():
    dots = data.three_dots(32)
    x = dots.sample_images(dots.separate(6))
    assert dots.clear_dots(x).tolist() == [3] * 6
    pale = 1 - (1 - x) * 0.4
    assert dots.clear_dots(pale).tolist() == [0] * 6
    factors = np.array([[20, 20, 20, 20, 45, 45], [20, 20, 26, 20, 45, 45], [0, 30, 20, 45, 45, 45]])
    assert dots.clear_dots(dots.sample_images(factors)).tolist() == [2, 1, 2]  # two in one; cut by the frame
    assert dots.clear_dots(np.ones((2, 32, 32, 1))).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"x: expected \[n, 32, 32, 1\], got \(2, 16, 16, 1\)"):
        dots.clear_dots(np.ones((2, 16, 16, 1)))


def test_the_jacobian_of_every_model_is_a_curve():
    """Exact, at the images that were given."""
    config = CONFIGS[jl1_three_dots]
    made = jl1_three_dots.training(config, "beta_vae")
    x = made.data.sample_images(made.data.separate(16))
    params, _ = made.model.init(jax.random.key(0), {"x": x})
    vae = made.model.bind(params)
    J = np.asarray(evaluation.jacobian_images(vae, x))
    told = made.options["validate"](jax.random.key(0), vae)
    assert told == {"jacobian_l1": pytest.approx(np.abs(J).sum((1, 2, 3, 4)).mean(), rel=1e-5)}
