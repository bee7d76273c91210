"""Sweeps of the flagship: cells share trainings, go on after a stop, and have the numbers of a single run."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import jl1_config, jl1_report, jobs, sweep
from experiments import jl1_three_dots as flagship
from vaejax import distributions, models, nets, runs
from vaejax.train.measure import StepCost


def _place(name="jl1_vae", seed=3, **changes):
    """The folder of a training of a sweep."""
    config = replace(jl1_config.Config(sweep=("seeds=1",), first_seed=seed), **changes)
    ((_, each),) = jl1_config.plan(config, Path("run"))
    return each[name][0].folder


# another value for every field; with it another training, or the same
OTHER = {
    "side": 16, "radius": 0.1, "images": 9, "latents": 9, "width": 0.1, "steps": 9, "batch_size": 9,
    "learning_rate": 0.1, "beta": 9.0, "gamma": 9.0, "ramp": 9, "method": "exact", "columns": 9,
    "microbatch": None, "chunk": 9, "clusters": 9, "samples": 9,
}  # fmt: skip
FREE = {
    "preset": "small", "folder": Path("f"), "workers": 9, "tensorboard": True, "report_only": True,
    "dry_run": True,
}  # fmt: skip


def test_a_training_lies_in_a_folder_named_by_all_that_it_depends_on():
    fields = {f.name for f in dataclasses.fields(jl1_config.Config)}
    assert fields == OTHER.keys() | FREE.keys() | {"seeds", "first_seed", "sweep"}
    for name in jl1_config.MODELS:
        first = _place(name)
        assert first.parent == Path("run/trainings")
        assert (first.name.split("-")[0], first.name.split("-")[2]) == (name, "seed3")
        assert first != _place(name, seed=4)
        free = FREE | ({k: OTHER[k] for k in ("gamma", "method", "columns")} if name == "beta_vae" else {})
        for field, value in (OTHER | FREE).items():
            assert (_place(name, **{field: value}) == first) is (field in free), field
    assert _place(sweep=("seeds=8",)) == _place()  # more seeds find the first ones
    assert _place(method="exact", columns=9) == _place(method="exact")
    assert _place(gamma=0.0) == _place("beta_vae")  # without the penalty there is one model


def _default(config):
    return jobs.open_folder("jl1_three_dots", config, flagship.PRESETS)[1]


def test_the_default_folder_of_a_sweep_is_that_of_any_grid():
    paper = flagship.PRESETS["paper"]
    one = replace(paper, sweep=())
    assert _default(one) == Path("runs/jl1_three_dots-paper")
    changed = _default(replace(one, seeds=3))
    for axes in (("gamma=1",), ("gamma=1", "beta=1,2")):
        assert _default(replace(paper, sweep=axes)) == Path("runs/jl1_three_dots-paper-sweep")
        assert _default(replace(paper, seeds=3, sweep=axes)).name == f"{changed.name}-sweep"


def _parse(*arguments):
    return flagship.parse(flagship.PRESETS, flagship.__doc__, arguments)


def test_the_command_line(capsys):
    assert _parse("--sweep", "gamma=.1,.2", "beta=1", "--seeds", "2").sweep == ("gamma=.1,.2", "beta=1")
    paper = _parse("--preset", "paper")
    assert [c.values["gamma"] for c in sweep.cells(paper, ())] == [0, 0.05, 0.1, 0.2, 0.4]
    assert _parse("--preset", "paper", "--sweep").sweep == ()
    with pytest.raises(SystemExit):
        _parse("--help")
    shown = capsys.readouterr().out
    assert "--sweep [STR [STR ...]]" in shown
    assert "gamma=.05,.1,.2 beta=1,4" in shown


def test_a_dry_run_counts_every_training_of_the_grid_once(monkeypatch, capsys):
    seconds = iter((1e-3, 1e-2))
    monkeypatch.setattr(jobs.train, "measure_step", lambda *a, **k: StepCost(next(seconds), 1.0, 5, 1.0, 1.0))
    costs = flagship.main(replace(flagship.PRESETS["paper"], workers=2, dry_run=True))
    # ten beta-VAEs, also gamma = 0; ten JL1-VAEs for each of the four others
    assert costs["hours"] == pytest.approx((10 * 1e-3 + 40 * 1e-2) * 300_000 / 3600 / 2)
    assert "500000 images of 64 x 64: 1953 MiB" in capsys.readouterr().out
    seconds = iter((1.0, 2.0, 4.0, 8.0))
    grid = ("side=16,32", "gamma=.1,.2", "seeds=1,2")
    costs = flagship.main(flagship.Config(sweep=grid, steps=3600, workers=1, dry_run=True))
    labels = ["beta-VAE, side=16", "JL1-VAE, side=16", "beta-VAE, side=32", "JL1-VAE, side=32"]
    assert list(costs) == [*labels, "hours"]
    assert costs["hours"] == pytest.approx(2 * 1 + 4 * 2 + 2 * 4 + 4 * 8)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("gama=1",), "sweep: expected one of .*gamma.*; got 'gama'"),
        (("workers=1,2",), "sweep: .* got 'workers': it cannot be swept"),
        (("preset=fast,small",), "sweep: .* got 'preset': it cannot be swept"),
        (("gamma=.1,high",), "sweep: expected gamma=value,value,... with values of float; got 'high'"),
        (("gamma=.1,-1",), "gamma: expected a finite number of at least 0, got -1.0"),
        (("side=32,17",), "side: expected"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_before_anything_is_made(tmp_path, axes, message):
    with pytest.raises(ValueError, match=message):
        flagship.main(flagship.Config(sweep=axes, folder=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


CONFIG = flagship.Config(
    seeds=1, first_seed=5, side=16, images=64, latents=2, steps=12, chunk=1, batch_size=4, ramp=0,
    microbatch=None, clusters=2, samples=300, workers=1,
)  # fmt: skip


def _build(config):
    """Dense nets, which compile fast."""
    return models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=config.latents, features=(4,), event_ndims=3),
        decoder=nets.MLP(features=(4,), output_shape=(config.side, config.side, 1)),
        latents=config.latents,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )


class Flagship:
    """The flagship with small nets, and what it did: trainings, their chunks, figures."""

    def __init__(self, patch, folder):
        self.folder, self.trained, self.chunks, self.stop_at = folder, [], 0, None
        self.figures, self.drawn = {}, []
        fit, report = jobs.train.fit, jobs.parallel.report

        def spy(*arguments, **options):
            self.trained.append(options["folder"].name.split("-")[0])
            return fit(*arguments, **options)

        def count(amount):
            report(amount)
            self.chunks += amount in (1, 2)  # a step of a beta-VAE, of a JL1-VAE
            if self.chunks == self.stop_at:
                raise KeyboardInterrupt

        patch.setattr(flagship, "build", _build)
        patch.setattr(jobs.train, "fit", spy)
        patch.setattr(jobs.parallel, "report", count)
        patch.setattr(jl1_report, "draw", lambda folder, folders, report: self.drawn.append(folders))
        patch.setattr(jl1_report.plots, "save", lambda figure, path: self.figures.update({path: figure}))

    def __call__(self, *axes, stop_at=None, **changes):
        self.trained, self.chunks, self.stop_at, self.drawn = [], 0, stop_at, []
        return flagship.main(replace(CONFIG, **{"sweep": axes, "folder": self.folder / "sweep", **changes}))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """An interrupted sweep of gamma, what it did, and what it did when it went on."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEJAX_DATA", str(folder / "data"))
        run = Flagship(patch, folder)
        with pytest.raises(KeyboardInterrupt):
            run("gamma=.1,.2", stop_at=12 + 11)
        before = run.trained
        result = run("gamma=.1,.2")
        yield run, result, before, run.trained, run.chunks, run.drawn


def test_an_interrupted_sweep_goes_on_where_it_stopped_and_cells_share_the_beta_vae(work):
    run, _, before, after, chunks, _ = work
    assert before == ["jl1_vae", "jl1_vae"]  # the second cell's was stopped at step 11
    assert after == ["jl1_vae", "beta_vae"]  # one beta-VAE for both cells
    assert chunks == 2 + 12  # the stopped one goes on from its checkpoint at step 10
    names = sorted(path.name for path in (run.folder / "sweep" / "trainings").iterdir())
    assert [name.split("-")[0] for name in names] == ["beta_vae", "jl1_vae", "jl1_vae"]
    assert runs.read_json(run.folder / "sweep" / "config.json")["sweep"] == ["gamma=.1,.2"]


def test_a_cell_has_the_numbers_of_a_run_without_a_sweep(work):
    run, result, *_ = work
    alone = run(folder=run.folder / "alone", gamma=0.2)
    assert run.trained == ["jl1_vae", "beta_vae"]
    cell = result["cells"][1]
    assert cell["values"] == {"gamma": 0.2}
    for name, scores in alone["models"].items():
        for key in scores.keys() - {"train_seconds"}:
            assert cell["models"][name][key] == scores[key], (name, key)
    assert cell["local_mig_ratio"] == alone["local_mig_ratio"]
    assert cell["models"]["jl1_vae"] != result["cells"][0]["models"]["jl1_vae"]
    assert set(alone) == {"models", "difference", "local_mig_ratio", "passed", "config"}
    again = run("gamma=.3", folder=run.folder / "alone", report_only=True)  # as with a preset that sweeps
    assert again["models"] == alone["models"]


def test_the_report_the_table_and_the_figure_are_of_every_cell(work, capsys):
    run, result, *_ = work
    run(report_only=True, gamma=7.0)  # what the folder holds, whatever the flags say
    saved = runs.read_json(run.folder / "sweep" / "report.json")
    assert saved["cells"] == json.loads(json.dumps(result["cells"]))
    (figure,) = run.figures.values()
    (path,) = run.figures
    assert path == run.folder / "sweep" / "figures" / "sweep.png"
    keys = ("local_mig", "local_modularity", "reconstruction", "kl")
    for axes, key in zip(figure.axes, keys, strict=True):
        lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]
        means = [[c["models"][m][key]["mean"] for c in saved["cells"]] for m in ("beta_vae", "jl1_vae")]
        assert lines == [([0.1, 0.2], mean) for mean in means]
    printed = capsys.readouterr().out.strip().splitlines()
    assert len(printed) == 2 + 2
    assert printed[0].split("|")[1].strip() == "gamma"
    with (run.folder / "sweep" / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, table, cell in zip(rows, saved["table"], saved["cells"], strict=True):
        mean = cell["models"]["jl1_vae"]["local_mig"]["mean"]
        assert table["gamma"] == float(row["gamma"]) == cell["values"]["gamma"]
        assert table["JL1-VAE local MIG"] == float(row["JL1-VAE local MIG"]) == mean
        assert float(row["local MIG, JL1-VAE over beta-VAE"]) == cell["local_mig_ratio"]


def test_the_cell_of_the_config_itself_has_the_figures_of_a_run(work):
    run, *_, drawn = work
    assert CONFIG.gamma == 0.2
    (folders,) = drawn
    ((_, each),) = jl1_config.plan(replace(CONFIG, sweep=("gamma=.2",)), run.folder / "sweep")
    place = {name: job.folder for name, (job,) in each.items()}
    assert folders == {"beta_vae": [place["beta_vae"]], "jl1_vae": [place["jl1_vae"]]}


def test_an_extended_grid_trains_what_is_new_and_other_settings_are_refused(work):
    run, before, *_ = work
    result = run("gamma=0,.1,.2", "beta=1,2")
    # beta = 2: a beta-VAE and two JL1-VAEs; gamma = 0 is the beta-VAE
    assert run.trained == ["jl1_vae", "jl1_vae", "beta_vae"]
    cells = {tuple(cell["values"].values()): cell for cell in result["cells"]}
    assert list(cells) == list(itertools.product((0.0, 0.1, 0.2), (1.0, 2.0)))
    assert cells[0.1, 1.0]["models"] == before["cells"][0]["models"]
    for beta in (1.0, 2.0):
        same = cells[0.0, beta]["models"]
        assert same["jl1_vae"] == same["beta_vae"] == cells[0.2, beta]["models"]["beta_vae"]
    assert cells[0.0, 1.0]["models"] != cells[0.0, 2.0]["models"]
    with pytest.raises(ValueError, match=r"holds a run of another config .*ramp: 0 there, 3 now"):
        run("gamma=.1", ramp=3)
    with pytest.raises(ValueError, match=r"sweep: \['gamma=0,.1,.2', 'beta=1,2'\] there, \[\] now"):
        run()
    runs.write_json(run.folder / "other" / "config.json", CONFIG)
    with pytest.raises(ValueError, match=r"sweep: \[\] there, \['gamma=.1'\] now"):
        run("gamma=.1", folder=run.folder / "other")
