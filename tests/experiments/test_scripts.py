"""Every command of the pages that runs an experiment, from its flags to its figures, at two steps."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from experiments import (
    codes,
    decoders,
    disentangle,
    identify,
    iwae,
    jl1_cost,
    labels,
    ladder,
    likelihoods,
    modalities,
    two_stage,
    wae,
)
from tests.commands import run_by
from tests.experiments.tiny import TINY, dense
from vaejax import evaluation, lab, runs, train
from vaejax.lab import estimate

FOLDER = Path(__file__).parents[2] / "experiments"
SCRIPTS = {script.__name__.split(".")[1]: script for script in TINY}
PRESETS = {name: script.PRESETS for name, script in SCRIPTS.items()}
TYPED = run_by("tests/experiments/test_scripts.py")
# presets are one size here: of commands that differ in theirs alone the first is run
RUN = {re.sub(r" --preset \w+", "", command.split("#")[0].strip()): command for command in reversed(TYPED)}
COST = estimate.Cost(1.0, 1.0, {"": train.FitCost(train.StepCost(1.0, 1.0, 1.0, 5, 1.0, 1.0), 2, 0.0)})
# what each draws, and the trainings it needs
FIGURES = {
    "codes": {"codebook_use", "gallery"},
    "collapse": {"draws", "scores", "training_curves"},
    "decoders": {"gallery"},
    "deep_hierarchy": {"levels", "reconstructions", "samples"},
    "disentangle": {"scores_mini_sprites", "traversals_mini_sprites"},
    "expressiveness": {"pseudo_inputs", "samples", "scores"},
    "holes": {"imputations"},
    "identify": {"masks", "scores"},
    "groups": {"scores", "shared", "traversals"},
    "human_eval": {"gallery", "ratings"},
    "iwae": {"k_curve", "training_curves"},
    "jl1_cost": {"against_seconds", "against_steps"},
    "jl1_natural_patches": {"columns", "jacobian_columns", "reconstructions", "scores", "training_curves"},
    "jl1_sprites_multi": {
        "interpolations", "jacobian_columns", "reconstructions", "samples", "scores", "training_curves",
        "traversals",
    },
    "jl1_three_dots": {
        "interpolations", "jacobian_columns", "reconstructions", "samples", "scores", "training_curves",
        "traversals",
    },
    "labels": {"classes_digits", "swaps_digits"},
    "ladder": {"kl_per_level", "levels_ladder-2", "samples"},
    "likelihoods": {"gallery"},
    "modalities": {"made_digits", "made_sprites"},
    "text": {"scores", "training_curves"},
    "two_stage": {"samples"},
    "wae": {"codes", "gallery"},
}  # fmt: skip


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An empty folder to stand in, where every preset is tiny.

    Of rows that the tests of `training` and `score` see one is left, that takes every branch of its script;
    of iwae two, whose difference is shown.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEJAX_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setattr("vaejax.plots.style.DPI", 20)
        dense(patch)
        for name, script in SCRIPTS.items():
            tiny = {preset: replace(TINY[script], preset=preset) for preset in PRESETS[name]}
            patch.setattr(script, "PRESETS", tiny)
        patch.setattr(jl1_cost, "ROWS", {k: jl1_cost.ROWS[k] for k in ("beta_vae", "jl1_exact")})
        patch.setattr(codes, "ROWS", {k: k for k in ("fsq",)})
        patch.setattr(decoders, "ROWS", {k: k for k in ("two_stage",)})
        for script, most in ((iwae, 2), (ladder, 1)):
            some = lambda config, of=script.rows, n=most: dict(list(of(config).items())[:n])  # noqa: E731
            patch.setattr(script, "rows", some)
        patch.setattr(likelihoods, "ROWS", {k: k for k in (likelihoods.BYTES,)})
        patch.setattr(identify, "ROWS", {k: k for k in ("anchors",)})
        patch.setattr(wae, "ROWS", {k: k for k in ("wae_gan",)})
        patch.setattr(codes, "ROWS", {k: k for k in ("residual",)})
        patch.setattr(modalities, "METHODS", {k: v for k, v in modalities.METHODS.items() if k == "moe"})
        patch.setattr(two_stage, "ROWS", {k: k for k in ("rae",)})
        patch.setattr(two_stage, "EACH", {k: at for k, at in two_stage.EACH.items() if at[0] == "rae"})
        patch.setattr(disentangle, "METHODS", {k: k for k in ("factor_vae",)})
        patch.setattr(labels, "METHODS", {k: k for k in ("m2", "m1")})  # m1 trains both kinds on its codes
        patch.setattr(evaluation.scores, "dci", partial(evaluation.scores.dci, trees=2))
        yield tmp_path_factory.mktemp("empty")


def test_every_script_is_here():
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(SCRIPTS) == set(FIGURES)


@pytest.mark.parametrize("command", TYPED)
def test_a_command_trains_scores_tabulates_and_draws(command, empty, monkeypatch, capsys):
    monkeypatch.chdir(empty)
    module, *flags = shlex.split(command, comments=True)[2:]
    name = module.split(".")[1]
    swept = [flag for flag in flags if re.match(r"\w+=", flag)]
    if swept and name != "jl1_natural_patches":
        flags.append("--dry-run")  # the pages give the same sweep for every experiment: one is trained,
    elif swept:  # at the first two values of every field
        flags = [re.sub(r"^(\w+=[^,]+,[^,]+),.*", r"\1", flag) for flag in flags]
    if "--steps" in flags:  # as few as without
        flags[flags.index("--steps") + 1] = str(TINY[SCRIPTS[name]].steps)
    monkeypatch.setattr(estimate, "measured", lambda *_: COST)  # tests/lab/test_estimate.py measures
    monkeypatch.setattr(sys, "argv", [module, *flags])
    config = lab.parse(SCRIPTS[name].PRESETS, SCRIPTS[name].__doc__)
    named = flags[flags.index("--preset") + 1] if "--preset" in flags else next(iter(PRESETS[name]))
    assert config.preset == named
    if command not in RUN.values():
        return
    report = SCRIPTS[name].main(config)
    printed = capsys.readouterr().out
    assert "| " in printed
    if "--dry-run" in flags:
        assert report["seconds"] > 0
        assert "run folder" not in printed
        return
    folder = Path(printed.split("run folder: ")[1].splitlines()[0])
    assert folder.parent == empty / "runs"
    told = runs.read_json(folder / "report.json")
    assert told.keys() == report.keys()
    for cell in told.get("cells", [told]):
        assert all(cell["models"].values())  # numbers of every row
    assert len(told.get("cells", ())) == (2 ** len(swept) if swept else 0)
    assert printed.splitlines()[-1] == f"report and figures: {folder}"
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == (drawn if swept else FIGURES[name])
    assert drawn


def test_the_pages_run_every_script():
    assert {command.split(".", 1)[1].split()[0] for command in TYPED} == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_one_short_file_and_its_presets_bear_their_names(name):
    text = (FOLDER / f"{name}.py").read_text()
    below = text.split('"""', 2)[2].strip().splitlines()
    assert len(below) <= {"collapse": 165, "disentangle": 165}.get(name, 120)
    assert "experiments" not in "".join(below)  # no script imports another
    assert all(preset.preset == key for key, preset in PRESETS[name].items())
    assert f"python -m experiments.{name} --preset fast" in text
