"""What README.md, CONTRIBUTING.md, docs/ and the headers of scripts say to type, and which tests run it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
# without what is made of docstrings
WRITTEN = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "api")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN]
SCRIPTS = [
    path
    for folder in ("experiments", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]
EXPERIMENTS = [path.stem for path in SCRIPTS if path.parent.name == "experiments"]

# a program, or words of which one is a flag; before either, values of the environment
_PROGRAM = re.compile(
    r"([A-Z_]+=\S* )*(\S*python3?|apt(-get)?|bash|conda|git|make|pip3?|pre-commit|sh|sudo|uv) "
)
_FLAGGED = re.compile(r"[a-z][\w./-]*( [\w./-]+)* --?[a-z]")

OTHER = ("python", "text")  # languages of blocks that are no commands
RUN = {  # who runs a command to its end, at its smallest size; the first pattern that fits
    r"python -m \S+( \S+)? --help": "tests/test_commands.py",
    r"python -m experiments\.(?!disentangle --dataset dsprites)": "tests/experiments/test_scripts.py",
    r"python -m benchmarks\.kill": "tests/train/test_kill.py",
    r"python -m benchmarks\.(?!data$)": "tests/test_commands_benchmarks.py",
    r"python -m vaejax\.": "tests/test_commands_run.py",
    r"python my_experiment\.py": "tests/lab/test_example.py",
    r"make demo": "tests/test_commands.py",  # it is a command of an experiment
}
NOT_RUN = {  # what no test can run, and why; what it names is looked up in tests/test_commands.py
    r"(pip|uv pip|apt-get|sudo|pre-commit) ": "it changes what is installed, or asks a network",
    r"([A-Z_]+=\S* )*make (test|quick|lint)": "the tests would run themselves",
    r"\.venv/bin/python -m pytest ": "likewise",
    r"python -m benchmarks\.data$": "of 737 280 images; tests/test_benchmarks_data.py runs it with 2048",
    r"python -m experiments\.disentangle --dataset dsprites$": "its file is had by hand; test_disentangle.py",
    r"bash benchmarks/device\.sh cuda12 ": "it needs a GPU; test_benchmarks_device.py runs its parts tiny",
    r"du -": "a program of the system",
    r"tensorboard ": "a server, which does not end",
    r"\S*python docs/make_api\.py": "it writes into docs/; tests/test_docs_links.py compares what it makes",
}


def commands_of(text: str) -> Iterator[str]:
    """The commands of a page: lines of fenced blocks, but those of `OTHER`, and code in backticks.

    Flags alone, as `--dry-run`, go with the last program that the page named.
    """
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    fenced = [re.sub(r"\s*\\\n\s*", " ", code) for language, code in blocks if language not in OTHER]
    plain = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    program = None
    for code in re.findall(r"`([^`]+)`", plain):
        words = code.split()
        command = " ".join(words)
        if re.match("--[a-z]", command) and program is not None:
            yield f"{program} {command}"
        elif (_PROGRAM.match(f"{command} ") and len(words) > 1) or _FLAGGED.match(command):
            if words[0].endswith("python"):
                program = " ".join(words[: 3 if words[1] == "-m" else 2])
            yield command
    for block in fenced:
        lines = [re.sub(r"\s+#.*", "", line).strip() for line in block.splitlines()]
        yield from filter(None, lines)


def headers() -> Iterator[str]:
    """The commands that the headers of scripts give; each has one."""
    for script in SCRIPTS:
        found = re.findall(r"^    (python -m .+)$", script.read_text().split('"""')[1], re.M)
        assert found, f"{script.name}: the header has no command"
        yield from found


def expanded(command: str) -> list[str]:
    """One command for each experiment where NAME stands for any."""
    programs = EXPERIMENTS if "experiments.NAME" in command else [""]
    return [command.replace("experiments.NAME", f"experiments.{name}") for name in programs]


def kind_of(command: str) -> str | None:
    """The test file that runs a command, or why none does; None of a command that nobody knows."""
    both = {**RUN, **NOT_RUN}
    return next((who for pattern, who in both.items() if re.match(pattern, command)), None)


COMMANDS: Sequence[str] = sorted(
    {
        each
        for command in [*(c for page in PAGES for c in commands_of(page.read_text())), *headers()]
        for each in expanded(command)
    }
)


def run_by(file: str) -> list[str]:
    """The commands that a test file runs."""
    return [command for command in COMMANDS if kind_of(command) == file]
