"""Every script from its flags to its figures, at two steps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from experiments import disentangle, jl1_cost, likelihoods
from tests.experiments.tiny import TINY, dense
from vaejax import evaluation, runs

FOLDER = Path(__file__).parents[2] / "experiments"
SCRIPTS = {script.__name__.split(".")[1]: script for script in TINY}
# what each draws, and the trainings it needs
FIGURES = {
    "collapse": {"draws", "scores", "training_curves"},
    "disentangle": {"scores_mini_sprites", "traversals_mini_sprites"},
    "iwae": {"k_curve", "scores", "training_curves"},
    "jl1_cost": {"against_seconds", "against_steps"},
    "jl1_natural_patches": {"columns", "jacobian_columns", "reconstructions", "scores", "training_curves"},
    "jl1_sprites_multi": {
        "interpolations", "jacobian_columns", "reconstructions", "samples", "scores", "training_curves",
        "traversals_JL1-VAE", "traversals_beta-VAE",
    },
    "jl1_three_dots": {
        "interpolations", "jacobian_columns", "reconstructions", "samples", "scores", "training_curves",
        "traversals_JL1-VAE", "traversals_beta-VAE",
    },
    "likelihoods": {"gallery"},
    "wae": {"codes", "gallery"},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEJAX_DATA", str(tmp_path_factory.mktemp("data")))
        dense(patch)
        # those that differ by more than a term
        patch.setattr(jl1_cost, "ROWS", {k: jl1_cost.ROWS[k] for k in ("beta_vae", "jl1_exact")})
        patch.setattr(likelihoods, "ROWS", {k: k for k in ("optimal_scale", likelihoods.BYTES)})
        patch.setattr(disentangle, "METHODS", {k: k for k in ("beta_vae", "factor_vae")})
        patch.setattr(evaluation.scores, "dci", partial(evaluation.scores.dci, trees=2))
        yield


def test_every_script_is_here():
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(SCRIPTS) == set(FIGURES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_trains_scores_tabulates_and_draws(name, tmp_path, capsys):
    script = SCRIPTS[name]
    report = script.main(replace(TINY[script], folder=tmp_path / "run"))
    told = runs.read_json(tmp_path / "run" / "report.json")
    assert told.keys() == report.keys() >= {"models", "config"}
    for scores in told["models"].values():
        assert scores  # numbers of every row
    assert {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")} == FIGURES[name]
    assert "| " in capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_one_short_file_and_its_presets_bear_their_names(name):
    text = (FOLDER / f"{name}.py").read_text()
    below = text.split('"""', 2)[2].strip().splitlines()
    assert len(below) <= (165 if name in ("collapse", "disentangle") else 120)
    assert "experiments" not in "".join(below)  # no script imports another
    assert all(preset.preset == key for key, preset in SCRIPTS[name].PRESETS.items())
    assert f"python -m experiments.{name} --preset fast" in text
