"""Seven methods at a tiny size: what each minimises, what a run writes, that the numbers are the files'."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaejax
from experiments import disentangle as experiment
from experiments import disentangle_report
from experiments.disentangle_config import CHEN_SECONDS, METHODS, PRESETS, SETS, Config
from vaejax import data, disentanglement, evaluation, nets, plots, runs, train
from vaejax.keys import named_key
from vaejax.ops import aggregate, jacobian
from vaejax.types import Split, TrainState

SIZE = 40  # of a training set
TINY = dataclasses.replace(
    PRESETS["fast"],
    first_seed=3, side=16, latents=3, steps=2, batch_size=8, chunk=1, workers=1, columns=3, critic=(8,),
    scored=200, sampled=20, fitted=60, dci_fitted=60,
)  # fmt: skip
WEIGHTS = dataclasses.replace(
    TINY, ramp=10, beta=2.0, annealed_gamma=7.0, annealed_nats=5.0, annealed_steps=20, tc_beta=3.0,
    factor_gamma=4.0, critic_rate=0.01, dip_i=5.0, dip_ii=6.0, jl1_beta=1.5, jl1_gamma=0.3,
)  # fmt: skip
KEY = jax.random.key(1)
X = np.random.default_rng(0).integers(0, 2, (8, 16, 16, 1)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def dense():
    """Dense nets in the place of convolutions, which take long to compile."""

    def encoder(latents, width):
        return nets.MLPEncoder(latents, (8,), event_ndims=3)

    def decoder(side, channels, width):
        return nets.MLP((8,), (side, side, channels), activation="softplus")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.nets, "ConvEncoder", encoder)
        patch.setattr(experiment.nets, "ConvDecoder", decoder)
        yield patch


@pytest.fixture(scope="module")
def run(tmp_path_factory, dense):
    folder = tmp_path_factory.mktemp("disentangle") / "run"
    dense.setattr(disentanglement, "dci", partial(disentanglement.dci, trees=2))
    experiment.main(dataclasses.replace(TINY, folder=folder))
    return folder


@pytest.fixture(scope="module")
def bound(dense):
    """FactorVAE's model, which has what all methods look at; its parameters, and a draw of KEY."""
    model = experiment.build(WEIGHTS, "mini_sprites", "factor_vae")
    params, _ = model.init(jax.random.key(0), {"x": X})
    draw = jax.jit(vaejax.sample)(named_key(KEY, "/draw"), model.bind(params), {"x": X})
    return model, params, draw


def _expected(method, vae, draw, step):
    """What a method adds to the reconstruction, at a step of the ramp: from the formulas, by hand."""
    part = min(step / 10, 1.0)
    loc, scale = np.asarray(draw.q.mean(), np.float64), np.asarray(draw.q.stddev(), np.float64)
    kl = 0.5 * np.sum(loc**2 + scale**2 - 1 - 2 * np.log(scale), axis=1).mean()

    def dip(S, off, diagonal):
        S_off = S - np.diag(np.diag(S))
        return off * np.sum(S_off**2) + diagonal * np.sum((np.diag(S) - 1) ** 2)

    covariance = np.cov(loc.T, ddof=0)
    if method == "annealed_vae":
        return 7.0 * abs(kl - min(step / 20, 1.0) * 5.0)
    if method == "beta_tcvae":
        log_qz, marginals = aggregate.log_density(draw.z, draw.q.mean(), draw.q.stddev(), SIZE, "mws")
        total = np.asarray(log_qz - marginals.sum(-1))
        return part * float((draw.log_q - draw.log_p + (3.0 - 1) * total).mean())
    if method == "jl1_vae":
        columns = jacobian.decoder_jacobian(lambda z: vae.decode(z).mean(), draw.z)
        return part * (1.5 * kl + 0.3 * float(jnp.abs(columns).sum((1, 2)).mean()))
    return (
        part
        * {
            "beta_vae": lambda: 2.0 * kl,
            "factor_vae": lambda: kl + 4.0 * float(vae.heads["critic"](draw.z).mean()),
            "dip_vae_i": lambda: kl + dip(covariance, 5.0, 50.0),
            "dip_vae_ii": lambda: kl + dip(covariance + np.diag((scale**2).mean(0)), 6.0, 6.0),
        }[method]()
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_minimises_its_term_at_its_weight(method, bound):
    model, params, draw = bound
    vae = model.bind(params)
    terms = experiment.terms(WEIGHTS, method, SIZE)
    objective = jax.jit(vaejax.compose(reconstruction=vaejax.objectives.reconstruction, **terms))
    for step in (0, 4, 15):
        loss, _ = objective(KEY, vae, {"x": X}, step)
        more = _expected(method, vae, draw, step)
        assert float(loss) == pytest.approx(-float(draw.log_px.mean()) + more, rel=1e-5), step
        assert step == 0 or abs(more) > 1e-3  # there is something to tell


def test_without_a_ramp_the_weights_are_there_at_once():
    config = dataclasses.replace(WEIGHTS, ramp=0)
    for method in set(METHODS) - {"annealed_vae"}:
        for weight, _ in experiment.terms(config, method, SIZE).values():
            assert weight(0) == weight(99) > 0


def test_factor_vae_is_two_players_each_at_its_rate(bound):
    """Adam's first step is its rate, up to its epsilon: no group moves twice or at the other's."""
    model, params, _ = bound
    step = experiment.update(dataclasses.replace(WEIGHTS, ramp=0), model, "factor_vae", SIZE)
    state = TrainState(params, None, step.init(params), jnp.zeros((), int))
    after, metrics = jax.jit(lambda s: step.apply(s, KEY, {"x": X}, None))(state)
    for group, rate in (("encoder", 2e-3), ("decoder", 2e-3), ("critic", 0.01)):
        moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), after.params[group], params[group])
        assert float(max(jax.tree.leaves(moved))) == pytest.approx(rate, rel=0.02), group
    assert {"vae/total_correlation", "critic/cross_entropy"} <= set(metrics)


def test_slices_only_where_no_term_mixes_the_batch(bound):
    model, params, _ = bound
    for method in METHODS:  # terms that mix the batch refuse a microbatch
        step = experiment.update(dataclasses.replace(WEIGHTS, microbatch=4), model, method, SIZE)
        state = TrainState(params, None, step.init(params), jnp.zeros((), int))
        traced = str(jax.make_jaxpr(lambda s, step=step: step.apply(s, KEY, {"x": X}, None))(state))
        assert ("f32[4,16,16,1]" in traced) == (method in ("beta_vae", "factor_vae", "jl1_vae")), method


def test_a_run_leaves_every_score_of_every_method(run):
    methods = runs.read_json(run / "report.json")["datasets"]["mini_sprites"]
    assert list(methods) == list(METHODS)
    for method, scores in methods.items():
        saved = runs.read_json(run / f"mini_sprites-{method}-seed3" / "report.json")
        for key in disentangle_report.TABLED.values():
            assert scores[key]["per_seed"] == [saved[key]], key
    drawn = {p.stem for p in (run / "figures").glob("*.png")}
    assert drawn == {"scores_mini_sprites", "traversals_mini_sprites"}


def test_the_budgets_are_equal(run):
    """As many steps; in the first, the same images, weights and noise (FactorVAE's noise is its player's)."""
    seen = {m: train.read_metrics(run / f"mini_sprites-{m}-seed3")[0] for m in METHODS}
    assert {len(next(iter(metrics.values()))) for metrics in seen.values()} == {2}
    firsts = {metrics["reconstruction"][0] for m, metrics in seen.items() if m != "factor_vae"}
    assert len(firsts) == 1
    with_critic, plain = (
        experiment.build(WEIGHTS, "mini_sprites", m).init(KEY, {"x": X})[0]
        for m in ("factor_vae", "dip_vae_i")
    )
    for group in plain:
        jax.tree.map(np.testing.assert_array_equal, plain[group], with_critic[group])


def test_the_scores_are_those_of_the_model_on_disk(run):
    folder = run / "mini_sprites-dip_vae_ii-seed3"
    vae = runs.load(folder).vae
    known: Any = data.mini_sprites(16)
    key = jax.random.key(experiment.SCORE_KEY)
    again = evaluation.disentanglement_scores(
        named_key(key, "scores"), vae, known, num_samples=200, train=60, test=30,
        skip=("mig_chen", "sap_svm", "dci", "local", "explicitness", "beta_vae"),
    ).values  # fmt: skip
    again |= experiment.dci(TINY, named_key(key, "dci"), vae, known, trees=False)
    saved = runs.read_json(folder / "report.json")
    for name in ("mig", "modularity", "irs", "factor_vae", "dci_informativeness_lasso"):
        assert again[name] == pytest.approx(saved[name], abs=1e-4), name
    assert saved["dci_informativeness_trees"] != saved["dci_informativeness_lasso"]


def test_traversals_show_the_latents_of_the_largest_kl(run):
    folders = {m: run / f"mini_sprites-{m}-seed3" for m in ("annealed_vae", "jl1_vae")}
    figure = disentangle_report.traversals(folders, X[0])
    for axes, (method, folder) in zip(figure.axes, folders.items(), strict=True):
        kl = runs.read_json(folder / "report.json")["kl_per_dimension"]
        assert axes.get_title() == METHODS[method]
        assert [t.get_text() for t in axes.get_yticklabels()] == [f"{v:.2f}" for v in sorted(kl)[::-1]]
        assert len(axes.images) == 3 * len(disentangle_report.VALUES)


def test_report_only_rebuilds_and_trains_nothing(run, monkeypatch):
    before = (run / "report.json").read_text()
    for path in [run / "report.json", *(run / "figures").glob("*.png")]:
        path.unlink()
    monkeypatch.setattr(train, "fit", lambda *a, **k: pytest.fail("trained again"))
    experiment.main(Config(folder=run, report_only=True, first_seed=99, dataset=("three_dots",)))
    after = (run / "report.json").read_text()
    assert after.split('"config"')[0] == before.split('"config"')[0]
    assert len(list((run / "figures").glob("*.png"))) == 2


def _finished(folder, numbers):
    """Trainings of two seeds on both sets, whose scores are numbers(data set, method, seed)."""
    config = dataclasses.replace(TINY, seeds=2, dataset=("mini_sprites", "three_dots"))
    each = experiment.plan(config, folder)
    for job in each:
        (name,) = job.config.dataset
        runs.write_json(job.folder / "report.json", numbers(name, job.name, job.seed))
    return each


def test_means_and_intervals_are_over_the_seeds_of_a_method_on_a_set(tmp_path):
    place = list(METHODS).index

    def numbers(name, method, seed):
        kl = 100 * (name == "three_dots") + 10 * place(method) + seed
        trees = {"dci_completeness_trees": 0.5} if name == "mini_sprites" else {}
        return {"kl": float(kl), "mig": 0.25, **trees, "library": "a text", "kl_per_dimension": [1.0, 2.0]}

    each = _finished(tmp_path, numbers)
    assert len({job.folder for job in each}) == len(each) == 2 * len(METHODS) * 2
    report = {"datasets": disentangle_report.summarise(each)}
    for name, extra in (("mini_sprites", 0), ("three_dots", 100)):
        for method in METHODS:
            scores = report["datasets"][name][method]
            assert scores["kl"] == runs.mean_ci95([extra + 10 * place(method) + s for s in (3.0, 4.0)])
            assert (scores["library"], scores["degenerate"]) == ("a text", [])
            assert "kl_per_dimension" not in scores
    lines = disentangle_report.table(report, "three_dots", TINY).splitlines()
    assert [c.strip() for c in lines[0].split("|")[2:-1]] == list(METHODS.values())
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["MIG, histogram", "KL"]
    assert lines[3].split("|")[-2].strip() == "163.5 [157.1, 169.9]"  # 12.71 / 2 on both sides
    assert "DCI completeness, 60 codes" in disentangle_report.table(report, "mini_sprites", TINY)
    (each[5].folder / "report.json").unlink()
    with pytest.raises(FileNotFoundError, match=f"{each[5].folder.name} has no report.json"):
        disentangle_report.summarise(each)


def test_what_is_flagged_or_infinite_in_some_seed_stands_under_the_table(tmp_path):
    def numbers(name, method, seed):
        bad = (name, method, seed) == ("mini_sprites", "jl1_vae", 4)
        return {
            "mig": 0.0,
            "gaussian_total_correlation": None if bad else 0.5,
            "degenerate": ["mig", "sap"] if method == "beta_vae" and seed == 3 else [],
            "infinite": ["gaussian_total_correlation"] if bad else [],
            "library": f"scikit-learn 1.{seed}",
        }

    report = {"datasets": disentangle_report.summarise(_finished(tmp_path, numbers))}
    rows = disentangle_report.table(report, "mini_sprites", TINY).splitlines()[2:]
    cells = [c.strip() for c in rows[-1].split("|")[1:-1]]
    assert cells == ["Gaussian total correlation", *["0.5 [0.5, 0.5]"] * 6, "-"]
    notes = disentangle_report.notes(report, "mini_sprites")
    assert notes == [
        "classifiers by scikit-learn 1.3, scikit-learn 1.4",
        "nothing to measure in some seed of beta-VAE: mig, sap",
        "infinite in some seed of JL1-VAE: gaussian_total_correlation",
    ]
    assert "infinite" not in " ".join(disentangle_report.notes(report, "three_dots"))
    runs.write_json(tmp_path / "report.json", report)


def test_what_has_no_mean_is_left_out_of_the_figure(run, monkeypatch):
    report = runs.read_json(run / "report.json")
    config = dataclasses.replace(TINY, folder=run)
    report["datasets"]["mini_sprites"]["dip_vae_i"]["kl"] = {"mean": None, "ci95": [None, None]}
    shown = {}
    monkeypatch.setattr(disentangle_report, "traversals", lambda *a: None)
    monkeypatch.setattr(plots, "save", lambda *a: None)
    draw = plots.score_comparison
    monkeypatch.setattr(plots, "score_comparison", lambda v, **k: shown.update(v) or draw(v, **k))
    loaded = experiment.load(config, "mini_sprites")
    disentangle_report.draw(run, experiment.plan(config, run), report, "mini_sprites", config, loaded)
    assert set(METHODS.values()) - set(shown["KL"]) == {"DIP-VAE-I"}
    assert set(shown["MIG, histogram"]) == set(METHODS.values())


def _titles(text):
    """First cells of the rows of Markdown tables, without heads."""
    firsts = [line.split("|")[1].strip() for line in text.splitlines() if line.strip().startswith("|")]
    return [first.removesuffix(", nats") for first in firsts if first.strip("-")]


def test_published_tables_have_the_titles_that_the_command_prints():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme.split("## Seven ways to disentangle")[1].split("\n## ")[0]
    for text, preset, least in ((section, "medium", 17), (experiment.__doc__, "fast", 7)):
        every = {"beta_vae": dict.fromkeys(disentangle_report.TABLED.values())}
        printed = disentangle_report.titled(disentangle_report.TABLED, every, PRESETS[preset])
        titles = _titles(text)
        assert len(titles) >= least
        assert set(titles) <= set(printed)


def test_a_set_of_tensorflow_datasets_is_scored_on_its_training_split(monkeypatch):
    x = np.zeros((30, 64, 64, 1), np.uint8)
    y = np.arange(60).reshape(30, 2)
    asked = []

    def from_tfds(name, *, pixels):
        asked.append((name, pixels))
        return data.from_arrays(x, x, [y, y], support=pixels)

    monkeypatch.setattr(data, "from_tfds", from_tfds)
    monkeypatch.setattr(experiment, "TESTED", 5)
    loaded = experiment.load(dataclasses.replace(TINY, images=10), "dsprites")
    assert asked == [("dsprites", "binary")]
    assert (loaded.train.size, loaded.test.size, loaded.known.size) == (10, 5, 27)
    assert isinstance(loaded.known, Split)


def test_a_dry_run_adds_up_all_trainings_and_scores(monkeypatch, capsys):
    cost = train.StepCost(0.36, 1.0, 10, 1.0, 1.0)
    monkeypatch.setattr(train, "measure_step", lambda *a, **k: cost)
    medium = dataclasses.replace(PRESETS["medium"], workers=2, dry_run=True, steps=1000)
    told = experiment.main(medium)
    assert told["hours"] == pytest.approx(7 * 2 * 3 * 0.1 / 2)
    trees = 2 * (SETS["mini_sprites"].tree_seconds or 0.0)  # 2000 codes; three-dots has none
    seconds = SETS["mini_sprites"].seconds + SETS["three_dots"].seconds + trees + 2 * 2 * CHEN_SECONDS
    assert told["scoring_hours"] == pytest.approx(7 * 3 * seconds / 3600 / 2)
    assert f"{told['scoring_hours']:.2g} hours of scores" in capsys.readouterr().out
    both = experiment.dry_run(dataclasses.replace(medium, dataset=("mini_sprites", "dsprites")))
    assert len(both) == 2 * 7 + 2  # another side, another cost
    assert both["hours"] == pytest.approx(told["hours"])


def test_the_weights_of_the_paper_preset_are_the_papers():
    paper = PRESETS["paper"]
    assert (paper.beta, paper.tc_beta, paper.factor_gamma) == (4, 6, 35)
    assert (paper.annealed_gamma, paper.annealed_nats, paper.annealed_steps) == (1000, 25, 100_000)
    assert (paper.jl1_beta, paper.jl1_gamma) == (4, 0.1)
    assert (paper.critic, paper.critic_rate) == ((1000,) * 6, 1e-4)
    assert (paper.steps, paper.batch_size, paper.learning_rate, paper.latents) == (300_000, 64, 1e-4, 10)
    assert (paper.scored, paper.fitted, paper.dci_fitted, paper.sampled) == (10_000,) * 4
    assert all(preset.preset == name for name, preset in PRESETS.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": ("mnist",)}, "dataset: expected one of 'mini_sprites', 'three_dots'"),
        ({"dataset": ()}, "dataset: expected one or several, each once"),
        ({"dataset": ("dsprites", "dsprites")}, "dataset: expected one or several, each once"),
        ({"fitted": 0}, "fitted: expected at least 1, got 0"),
        ({"annealed_steps": 0}, "annealed_steps: expected at least 1, got 0"),
        ({"tc_beta": -1.0}, "tc_beta: expected a finite number of at least 0, got -1.0"),
        ({"dip_ii": float("nan")}, "dip_ii: expected a finite number of at least 0, got nan"),
        ({"critic_rate": 0.0}, "critic_rate: expected a positive finite number, got 0.0"),
        ({"steps": 0}, "steps: expected at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)
