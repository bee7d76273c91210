"""Every command that a page or a script's header gives exists, with the flags it is given.

A command is read up to where its flags are parsed, by its own program and parser: an unknown program, flag,
preset or value fails, and nothing is trained. `make` targets are expanded by make, pip's files and extras
looked up in pyproject.toml. Those of experiments run, at two steps, in tests/experiments/test_scripts.py;
tests of data, benchmarks and kills call the `main` of theirs.
"""

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from pathlib import Path

import pytest
import tyro

from vaejax.data.__main__ import _RECIPES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = [
    path
    for folder in ("experiments", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]
EXPERIMENTS = [path.stem for path in SCRIPTS if path.parent.name == "experiments"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ELSEWHERE = ("apt-get", "uv")  # other people's programs, that a test may not assume


class Parsed(BaseException):
    """A program has read its command line."""


def commands(page):
    """What a page says to type: code in backticks and fenced blocks without a language.

    Flags alone, as `--dry-run`, go with the last program that the page named.
    """
    text = page.read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    fenced = [line for language, block in blocks if not language for line in block.splitlines()]
    plain = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    program = None
    for code in re.findall(r"`([^`]+)`", plain):
        words = code.split()
        if words[0].endswith("python") and words[1:2] == ["-m"]:
            program = " ".join(words[:3])
            yield " ".join(words)
        elif words[0] in ("bash", "make", "pip", *ELSEWHERE) and len(words) > 1:
            yield " ".join(words)
        elif re.match("--[a-z]", code) and program is not None:
            yield f"{program} {' '.join(words)}"
    yield from filter(None, fenced)


def headers():
    for script in SCRIPTS:
        found = re.findall(r"^    (python -m .+)$", script.read_text().split('"""')[1], re.M)
        assert found, f"{script.name}: the header has no command"
        yield from found


def expanded(command):
    """One command for each experiment where NAME stands for any."""
    programs = EXPERIMENTS if "experiments.NAME" in command else [""]
    return [command.replace("experiments.NAME", f"experiments.{name}") for name in programs]


COMMANDS = sorted(
    {
        each
        for command in [*(c for page in PAGES for c in commands(page)), *headers()]
        if not command.startswith(ELSEWHERE)
        for each in expanded(command)
    }
)


def test_the_pages_have_commands():
    assert {"make demo", "make test", "python -m experiments.jl1_three_dots --dry-run"} <= {
        command.split("#")[0].strip() for command in COMMANDS
    }
    assert len(COMMANDS) > 25
    assert len(EXPERIMENTS) == 22


def check_python(words, monkeypatch):
    """`python -m program flags`, until the flags are parsed."""
    module, *flags = words[2:]
    if module == "pytest":
        assert all((ROOT / word).exists() for word in flags if word.startswith("tests"))
        return
    monkeypatch.setattr(sys, "argv", [module, *flags])

    def parsing(parse):
        def parsed(*args, **kwargs):
            raise Parsed(parse(*args, **kwargs))

        return parsed

    monkeypatch.setattr(tyro, "cli", parsing(tyro.cli))
    monkeypatch.setattr(ArgumentParser, "parse_args", parsing(ArgumentParser.parse_args))
    with pytest.raises((Parsed, SystemExit)) as end:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    if "--help" in flags:
        assert end.value.code == 0
        return
    assert isinstance(end.value, Parsed), f"{words}: refused, with {end.value.code}"
    if module == "vaejax.data":
        assert end.value.args[0].name in _RECIPES


def check_make(words, monkeypatch):
    """`make target`, by what make would run."""
    shown = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    lines = [shlex.split(line) for line in shown.stdout.splitlines()]
    for line in lines:
        if line[0].endswith("python") and line[1:2] == ["-m"] and line[2].split(".")[0] == "experiments":
            check_python(line, monkeypatch)
    assert lines


def check_pip(words):
    assert words[1] == "install"
    files = [words[i + 1] for i, word in enumerate(words) if word in ("-c", "-r", "-e")]
    for file in files:
        assert (ROOT / file.split("[")[0]).exists()
    for extra in re.findall(r"\[(\w+)\]", " ".join(words)):
        assert extra in PYPROJECT["project"]["optional-dependencies"]


# a program that a test before has imported is run afresh all the same
RUN_AGAIN = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


@RUN_AGAIN
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_what_its_program_takes(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)  # where the README says that they are run
    words = shlex.split(command)
    if words[0] == "pip":
        check_pip(words)
        return
    words = shlex.split(command, comments=True)
    if words[0] == "bash":
        assert subprocess.run(["bash", "-n", *words[1:2]], cwd=ROOT).returncode == 0
        return
    if words[0].endswith("python"):
        check_python(words, monkeypatch)
    else:
        assert words[0] == "make"
        check_make(words, monkeypatch)


@RUN_AGAIN
@pytest.mark.parametrize(
    "command",
    [
        "python -m experiments.nothing --preset fast",
        "python -m experiments.jl1_three_dots --presets fast",
        "python -m experiments.jl1_three_dots --preset none",
        "python -m benchmarks.kill --kills many",
        "python -m vaejax.data fashion_mnists",
        "make demos",
        "pip install -c constraints.txt -e '.[cuda99]'",
    ],
)
def test_a_command_that_is_wrong_would_be_seen(command, monkeypatch, capsys):
    with pytest.raises((AssertionError, ImportError)):
        test_a_command_is_what_its_program_takes(command, monkeypatch, capsys)
