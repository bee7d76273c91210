"""The experiment in docs/experiment.md is whole: it runs as a file, in an empty folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from vaejax import lab, runs


@pytest.fixture
def script(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "experiment.md"
    text = page.read_text().split("```python\n")[1].split("```")[0]
    path = tmp_path / "my_experiment.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("my_experiment", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "my_experiment", module)
    monkeypatch.chdir(tmp_path)
    spec.loader.exec_module(module)
    return module


def test_the_example_trains_scores_and_draws(script, tmp_path, capsys):
    arguments = ["--steps", "2", "--chunk", "2", "--workers", "1", "--first-seed", "3"]
    report = script.main(lab.parse(script.PRESETS, script.__doc__, arguments))
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("my_experiment-fast-")
    assert {path.name for path in folder.iterdir()} == {
        "vae-seed3", "beta_vae-seed3", "config.json", "figures", "manifest.json", "report.json",
    }  # fmt: skip
    assert [path.name for path in (folder / "figures").iterdir()] == ["curves.png"]
    assert runs.read_json(folder / "report.json")["models"] == report["models"]
    printed = capsys.readouterr().out
    for label in ("VAE", "beta-VAE", *script.COLUMNS):
        assert f"| {label} " in printed
