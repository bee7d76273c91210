"""Every command that a page or a script's header gives exists, with the flags it is given.

A command is read up to where its flags are parsed, by its own program and parser: an unknown program, flag,
preset or value fails, and nothing is trained. `make` targets are expanded by make, pip's files and extras
looked up in pyproject.toml. `tests/commands.py` says which test runs each to its end, or why none can.
"""

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from argparse import ArgumentParser

import pytest
import tyro

from tests.commands import COMMANDS, EXPERIMENTS, NOT_RUN, ROOT, RUN, commands_of, kind_of, run_by
from vaejax.data.__main__ import NAMES

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# programs of others, and what is no file of the checkout: tests/lab/test_example.py writes it
OTHERS = ("apt-get ", "du ", "pre-commit ", "tensorboard ", "python my_experiment.py ")


class Parsed(BaseException):
    """A program has read its command line."""


def test_the_pages_have_commands():
    assert {"make demo", "make test", "python -m experiments.jl1_three_dots --dry-run"} <= set(COMMANDS)
    assert len(COMMANDS) > 60
    assert len(EXPERIMENTS) == 22


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_run_to_its_end_or_says_why_not(command):
    assert kind_of(command), f"{command!r}: tests/commands.py names no test that runs it, and no reason"


def test_what_runs_commands_is_there_and_no_reason_is_idle():
    for file in set(RUN.values()) - {"tests/test_commands.py"}:
        assert run_by(file), file
        assert re.search(r"\brun_by\b", (ROOT / file).read_text()), file
    for pattern in NOT_RUN:
        assert any(re.match(pattern, command) for command in COMMANDS), pattern
    assert all(command == "make demo" or "--help" in command for command in run_by("tests/test_commands.py"))


def test_a_new_command_would_be_seen():
    text = (
        "Start `streamlit run here --quiet`, or `python -m benchmarks.new --threads\n2`; `z -> x`, `log p`.\n"
        "```\nmake new   # this\ndocker run \\\n  image\n```\n```python\nmake = 1\n```\n"
        "```bash\ngit clone here\n```\nFlags: `--steps 3`."
    )
    found = list(commands_of(text))
    assert found == [
        "streamlit run here --quiet", "python -m benchmarks.new --threads 2",
        "python -m benchmarks.new --steps 3", "make new", "docker run image", "git clone here",
    ]  # fmt: skip
    unknown = {command for command in found if kind_of(command) is None}
    assert unknown == {"streamlit run here --quiet", "make new", "docker run image", "git clone here"}


def check_python(words, monkeypatch):
    """`python -m program flags`, until the flags are parsed."""
    if words[1] != "-m":
        assert (ROOT / words[1]).is_file()
        return
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
        assert end.value.args[0].name in (None, *NAMES)


def check_make(words, monkeypatch):
    """`make target`, by what make would run."""
    shown = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    lines = [shlex.split(line) for line in shown.stdout.splitlines()]
    for line in lines:
        if line[0].endswith("python") and line[1:2] == ["-m"] and line[2].split(".")[0] == "experiments":
            assert " ".join(["python", *line[1:]]) in COMMANDS  # so that it is run, too
            check_python(line, monkeypatch)
    assert lines


def check_packages(words):
    """pip's and uv's files and extras."""
    files = [words[i + 1] for i, word in enumerate(words) if word in ("-c", "-r", "-e", "-o")]
    extras = [words[i + 1] for i, word in enumerate(words) if word == "--extra"]
    for file in files:
        assert (ROOT / file.split("[")[0]).exists()
    for extra in [*extras, *re.findall(r"\[(\w+)\]", " ".join(words))]:
        assert extra in PYPROJECT["project"]["optional-dependencies"]
    assert files


# a program that a test before has imported is run afresh all the same
RUN_AGAIN = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


@RUN_AGAIN
@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith(OTHERS)])
def test_a_command_is_what_its_program_takes(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)  # where the README says that they are run
    words = [word for word in shlex.split(command) if not re.match("[A-Z_]+=", word)]
    if words[0] in ("pip", "uv"):
        check_packages(words)
    elif words[0] == "bash":
        assert subprocess.run(["bash", "-n", *words[1:2]], cwd=ROOT).returncode == 0
    elif words[0].endswith("python"):
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
