"""The experiment in docs/experiment.md is whole: it runs as a file, in an empty folder, by every command."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

import pytest

from tests.commands import run_by
from vaejax import lab, runs

COMMANDS = run_by("tests/lab/test_example.py")
FEW = ["--steps=2", "--chunk=2", "--batch-size=4"]
NAMES = {
    "vae-seed0", "beta_vae-seed0", "config.json", "figures", "manifest.json", "report.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The file, imported as Python imports what it runs, in an empty folder; with trainings as of `FEW`."""
    folder = tmp_path_factory.mktemp("example")
    page = Path(__file__).parents[2] / "docs" / "experiment.md"
    text = page.read_text().split("```python\n")[1].split("```")[0]
    path = folder / "my_experiment.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("my_experiment", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "my_experiment", module)
        patch.setattr("vaejax.plots.style.DPI", 20)
        patch.chdir(folder)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture
def run(script, capsys):
    """A function of flags: (report, what was printed), of trainings side by side in this process."""

    def run_with(flags):
        report = script.main(lab.parse(script.PRESETS, script.__doc__, [*flags, *FEW, "--workers=1"]))
        return report, capsys.readouterr().out

    return run_with


@pytest.fixture(scope="module")
def trained(script):
    """What a command without flags leaves, that `--report-only` reads."""
    script.main(lab.parse(script.PRESETS, script.__doc__, [*FEW, "--workers=1"]))
    (folder,) = Path("runs").iterdir()
    return folder


def test_the_example_trains_scores_and_draws(trained, script, capsys):
    assert trained.name.startswith("my_experiment-fast-")
    assert {path.name for path in trained.iterdir()} == NAMES
    assert [path.name for path in (trained / "figures").iterdir()] == ["curves.png"]
    found = runs.read_json(trained / "report.json")["models"]
    assert set(found) == set(script.ROWS)
    assert all(found["vae"][name] is not None for name in script.COLUMNS.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_its_command_runs_to_its_end_with_every_flag_of_the_page(command, trained, script, run):
    flags = shlex.split(command)[2:]
    if "--help" in flags:
        with pytest.raises(SystemExit) as end:
            run(flags)
        assert end.value.code == 0
        return
    report, printed = run(flags)
    if "--dry-run" in flags:
        assert report["seconds"] > 0
        return
    for label in ("VAE", "beta-VAE", *script.COLUMNS):
        assert f"| {label} " in printed
    cells = report.get("cells", [report])
    betas = ",".join(flag.removeprefix("beta=") for flag in flags if flag.startswith("beta="))
    swept = [{"beta": float(beta)} for beta in betas.split(",") if beta]
    assert [cell["values"] for cell in report.get("cells", [])] == swept
    assert all(cell["models"].keys() == script.ROWS.keys() for cell in cells)


def test_the_page_names_its_flags():
    named = {flag for command in COMMANDS for flag in shlex.split(command) if flag.startswith("--")}
    assert named == {"--dry-run", "--help", "--report-only", "--retry", "--seeds", "--sweep", "--workers"}
