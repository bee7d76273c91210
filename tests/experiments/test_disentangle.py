"""Seven methods at a tiny size: what each minimises, with equal budgets, and how it is scored."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaejax
from experiments import disentangle as experiment
from tests.data import published_files
from tests.experiments.tiny import CONFIGS, dense
from vaejax import evaluation, train
from vaejax.keys import named_key
from vaejax.ops import aggregate, jacobian
from vaejax.types import Split, TrainState

SIZE = 40  # of a training set
WEIGHTS = replace(
    CONFIGS[experiment], ramp=10, beta=2.0, annealed_gamma=7.0, annealed_nats=5.0, annealed_steps=20,
    tc_beta=3.0, factor_gamma=4.0, critic_rate=0.01, dip_i=5.0, dip_ii=6.0, jl1_beta=1.5, jl1_gamma=0.3,
    columns=3,
)  # fmt: skip
KEY = jax.random.key(1)
X = np.random.default_rng(0).integers(0, 2, (SIZE, 16, 16, 1)).astype(np.float32)
BATCH = {"x": X[:8]}
LOAD = experiment.load


@pytest.fixture(scope="module", autouse=True)
def small():
    """Dense nets, images without a file."""
    split = Split({"x": X}, "binary")
    images = SimpleNamespace(train=split, test=split, known="grid")
    with pytest.MonkeyPatch.context() as patch:
        dense(patch)
        patch.setattr(experiment, "load", lambda config, name: images)
        yield


@pytest.fixture(scope="module")
def made(small):
    """{method: its Training, and the arguments of its updates by gradients}, with slices of 4 if they may."""
    found, real = {}, train.gradient_update
    with pytest.MonkeyPatch.context() as patch:
        for method in experiment.METHODS:
            updates = []

            def recorded(objective, model, optimizer, wrt=None, microbatch=None, updates=updates):
                updates.append((objective, wrt, microbatch))
                return real(objective, model, optimizer, wrt, microbatch)

            patch.setattr(train, "gradient_update", recorded)
            config = replace(WEIGHTS, microbatch=4)
            found[method] = experiment.training(config, f"mini_sprites-{method}"), updates
    return found


@pytest.fixture(scope="module")
def params(made):
    """Parameters of FactorVAE's model, which has what all methods look at."""
    return jax.jit(made["factor_vae"][0].model.init)(jax.random.key(0), BATCH)[0]


def _expected(method, vae, draw, step):
    """What a method adds to the reconstruction, at a step of the ramp: from the formulas, by hand."""
    part = min(step / 10, 1.0)
    loc, scale = np.asarray(draw.q.mean(), np.float64), np.asarray(draw.q.stddev(), np.float64)
    kl = 0.5 * np.sum(loc**2 + scale**2 - 1 - 2 * np.log(scale), axis=1).mean()

    def dip(S, off, diagonal):
        S_off = S - np.diag(np.diag(S))
        return off * np.sum(S_off**2) + diagonal * np.sum((np.diag(S) - 1) ** 2)

    def beta_tc():
        log_qz, marginals = aggregate.log_density(draw.z, draw.q.mean(), draw.q.stddev(), SIZE, "mws")
        total = np.asarray(log_qz - marginals.sum(-1))
        return float((draw.log_q - draw.log_p + (3.0 - 1) * total).mean())

    def jl1():
        columns = jacobian.decoder_jacobian(lambda z: vae.decode(z).mean(), draw.z)
        return 1.5 * kl + 0.3 * float(jnp.abs(columns).sum((1, 2)).mean())

    covariance = np.cov(loc.T, ddof=0)
    if method == "annealed_vae":
        return 7.0 * abs(kl - min(step / 20, 1.0) * 5.0)
    added = {
        "beta_vae": lambda: 2.0 * kl,
        "beta_tcvae": beta_tc,
        "factor_vae": lambda: kl + 4.0 * float(vae.heads["critic"](draw.z).mean()),
        "dip_vae_i": lambda: kl + dip(covariance, 5.0, 50.0),
        "dip_vae_ii": lambda: kl + dip(covariance + np.diag((scale**2).mean(0)), 6.0, 6.0),
        "jl1_vae": jl1,
    }
    return part * added[method]()


def test_every_method_minimises_its_term_at_its_weight(made, params):
    model, steps = made["factor_vae"][0].model, (0, 4, 15)

    @jax.jit
    def losses(params):
        vae = model.bind(params)
        each = {
            method: jax.vmap(lambda s, f=updates[0][0]: f(KEY, vae, BATCH, s)[0])(jnp.array(steps))
            for method, (_, updates) in made.items()
        }
        return each, vaejax.sample(named_key(KEY, "/draw"), vae, BATCH)

    found, draw = losses(params)
    assert list(found) == sorted(experiment.METHODS)  # as jax sorts them
    for method, values in found.items():
        for step, loss in zip(steps, values, strict=True):
            more = _expected(method, model.bind(params), draw, step)
            assert float(loss) == pytest.approx(-float(draw.log_px.mean()) + more, rel=1e-5), (method, step)
            assert step == 0 or abs(more) > 1e-3  # there is something to tell


def test_without_a_ramp_the_weights_are_there_at_once():
    for method in set(experiment.METHODS) - {"annealed_vae"}:
        for weight, _ in experiment.terms(replace(WEIGHTS, ramp=0), method, SIZE).values():
            assert weight(0) == weight(99) > 0


def test_factor_vae_is_two_players_each_at_its_rate(params):
    """Adam's first step is its rate, up to its epsilon: no group moves twice or at the other's."""
    step = experiment.training(replace(WEIGHTS, ramp=0), "mini_sprites-factor_vae").update
    state = TrainState(params, None, step.init(params), jnp.zeros((), int))
    after, metrics = jax.jit(lambda s: step.apply(s, KEY, BATCH, None))(state)  # pyright: ignore
    for group, rate in (("encoder", 2e-3), ("decoder", 2e-3), ("critic", 0.01)):
        moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), after.params[group], params[group])
        assert float(max(jax.tree.leaves(moved))) == pytest.approx(rate, rel=0.02), group
    assert {"vae/total_correlation", "critic/cross_entropy"} <= set(metrics)


def test_slices_only_where_no_term_mixes_the_batch(made):
    for method, (_, updates) in made.items():
        sliced = method in ("beta_vae", "factor_vae", "jl1_vae")
        assert updates[0][2] == (4 if sliced else None), method
    assert [wrt for _, wrt, _ in made["factor_vae"][1]] == [("encoder", "decoder"), ("critic",)]


def test_the_budgets_are_equal(made, params):
    """As many steps on the same images, from the same weights."""
    assert {(t.parts(WEIGHTS)[""][1], t.data.train.size) for t, _ in made.values()} == {(WEIGHTS.steps, SIZE)}
    vae = made["beta_vae"][0].model
    own, _ = jax.jit(vae.init)(jax.random.key(0), BATCH)
    assert set(own) == {"encoder", "decoder"} < set(params)
    for group in own:
        jax.tree.map(np.testing.assert_array_equal, own[group], params[group])
    # what scores a second method finds the programs of the first: their bound models are of one kind
    kinds = {jax.tree.structure(t.model.bind(own)) for m, (t, _) in made.items() if m != "factor_vae"}
    assert len(kinds) == 1


@pytest.mark.parametrize(("dataset", "skipped"), [("mini_sprites", ()), ("three_dots", ("dci",))])
def test_scores_are_taken_at_the_numbers_of_the_config(dataset, skipped, monkeypatch):
    asked = {}

    def scores(key, vae, known, **options):
        asked.update(options, vae=vae, known=known)
        return SimpleNamespace(values={"mig": 0.5, "n": 9, "degenerate": []})

    names = ("reconstruction", "kl", "neg_elbo", "mutual_information", "marginal_kl", "kl_per_dimension")
    monkeypatch.setattr(evaluation, "disentanglement_scores", scores)
    monkeypatch.setattr(
        evaluation, "elbo_parts", lambda key, vae, split: dict.fromkeys(names, 1.0) | {"n": 3}
    )
    config = replace(WEIGHTS, scored=11, fitted=7, dci_fitted=5, sampled=13)
    images = experiment.load(config, dataset)
    report = experiment.score(config, f"{dataset}-beta_vae", "model", images)  # pyright: ignore
    assert report == {"mig": 0.5, "n": 9, "degenerate": [], **dict.fromkeys(names, 1.0)}
    assert asked == {
        "vae": "model", "known": "grid", "num_samples": 11, "train": 7, "test": 3, "train_dci": 5,
        "num_samples_chen": 13, "skip": skipped,
    }  # fmt: skip


def test_rows_of_several_sets_are_told_apart():
    both = experiment.rows(experiment.PRESETS["medium"])
    assert len(set(both.values())) == len(both) == 14
    assert both["three_dots-jl1_vae"] == "JL1-VAE, three_dots"
    assert list(experiment.rows(WEIGHTS).values()) == list(experiment.METHODS.values())


def test_the_table_has_every_score_and_what_is_wrong_with_it():
    assert {name for names in evaluation.scores.NAMES.values() for name in names} < set(experiment.COLUMNS)
    report = {"degenerate": ["mig", "sap"], "infinite": [], "missing": {"dci_completeness": "why"}}
    shown = {flag: experiment.COLUMNS[flag](report) for flag in report}
    assert shown == {"degenerate": "mig, sap", "infinite": "", "missing": "dci_completeness"}


def test_the_weights_of_the_paper_preset_are_the_papers():
    paper = experiment.PRESETS["paper"]
    assert (paper.beta, paper.tc_beta, paper.factor_gamma) == (4, 6, 35)
    assert (paper.annealed_gamma, paper.annealed_nats, paper.annealed_steps) == (1000, 25, 100_000)
    assert (paper.jl1_beta, paper.jl1_gamma) == (4, 0.1)
    assert (paper.critic, paper.critic_rate) == ((1000,) * 6, 1e-4)
    assert (paper.steps, paper.batch_size, paper.learning_rate, paper.latents) == (300_000, 64, 1e-4, 10)
    assert (paper.scored, paper.fitted, paper.dci_fitted, paper.sampled) == (10_000,) * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": ("mnist",)}, "dataset: expected one of 'mini_sprites', 'three_dots'"),
        ({"dataset": ()}, "dataset: expected one or several, each once"),
        ({"dataset": ("dsprites", "dsprites")}, "dataset: expected one or several, each once"),
        ({"side": 24}, "side: expected a multiple of 16, got 24"),
        ({"side": 48, "dataset": ("three_dots",)}, "side: expected a power of two of at least 16, got 48"),
        ({"fitted": 0}, "fitted: expected at least 1, got 0"),
        ({"tc_beta": -1.0}, "tc_beta: expected a finite number of at least 0, got -1.0"),
        ({"dip_ii": float("nan")}, "dip_ii: expected a finite number of at least 0, got nan"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)


def test_a_side_that_nothing_reads_is_let_be():
    assert experiment.Config(dataset=("dsprites",), side=24).side == 24


def test_a_published_set_is_scored_on_images_of_any_factors(tmp_path, monkeypatch):
    published_files.write_dsprites(tmp_path / "downloads" / "manual")
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path))
    loaded = LOAD(replace(WEIGHTS, images=10), "dsprites")
    assert (loaded.train.size, loaded.train.support, loaded.test.size) == (10, "binary", 2)
    assert loaded.known.sample_images(np.zeros((3, 5), int)).shape == (3, 4, 4, 1)
