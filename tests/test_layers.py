"""The house's rules of imports and of length, read from the source."""

import ast
from pathlib import Path

import pytest

from tests.conftest import SLOW

TESTS = Path(__file__).parent
ROOT = Path(__file__).parent.parent / "vaejax"
BASE = {
    "types", "keys", "checks", "hints", "rows", "precision", "fixed", "fields", "files", "machine",
    "progress",
}  # fmt: skip
MAY_IMPORT = {
    "types": set(),
    "keys": {"types"},
    "rows": set(),
    "checks": {"types", "rows"},
    "hints": set(),
    "precision": set(),
    "fixed": set(),
    "fields": {"checks"},
    "files": set(),
    "machine": set(),
    "progress": set(),
    "ops": BASE,
    "distributions": BASE | {"ops"},
    "nets": BASE | {"ops"},
    "objectives": BASE | {"ops", "distributions"},
    "models": BASE | {"ops", "distributions", "nets"},
    "train": BASE,
    "data": BASE,
    "disentanglement": BASE | {"ops"},
    "evaluation": BASE | {"ops", "distributions", "objectives", "disentanglement"},
    "plots": BASE,
    "human": BASE | {"plots"},
    "runs": BASE
    | {"ops", "distributions", "nets", "objectives", "models", "train", "data", "disentanglement"}
    | {"evaluation", "plots"},
}
# `python -m vaejax.human` makes its pages of run folders; what it is made of sees no model
OF_COMMANDS = {"human": {"data", "evaluation", "runs"}}
MAY_IMPORT["lab"] = {*MAY_IMPORT}  # all; nothing imports it but experiments
HOMES = {  # third party -> packages that may import it
    "distrax": {"distributions"},
    "flax": {"nets", "models"},
    "optax": {"train", "evaluation"},
    "dm_pix": {"evaluation"},
    "orbax": {"train"},
    "tqdm": {"progress"},
    "tensorboardX": {"train"},
    "tensorflow_datasets": {"data"},
    "matplotlib": {"plots"},
    "h5py": {"data"},
    "scipy": {"data", "runs", "disentanglement", "human"},
    "choix": {"human"},
    "krippendorff": {"human"},
    "statsmodels": {"human"},
    "PIL": {"human", "data"},
    "pyarrow": {"data"},
    "sklearn": {"disentanglement", "data"},
    "tyro": {"lab"},
    "chex": {"ops", "nets"},
}
FILES = [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]
SCRIPTS = [path for folder in ("experiments", "benchmarks") for path in (ROOT.parent / folder).glob("*.py")]


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    allowed = {package} | MAY_IMPORT[package]
    if path.name == "__main__.py":
        allowed |= OF_COMMANDS.get(package, set())
    for name in _imports(path):
        top, *rest = name.split(".")
        if top == "vaejax":
            assert rest[0] in allowed, f"{package} imports {name}"
        elif top in HOMES:
            assert package in HOMES[top], f"{package} imports {top}"
        assert top not in ("experiments", "tests", "benchmarks")


@pytest.mark.parametrize(("library", "package"), [("tensorflow_datasets", "data"), ("optax", "evaluation")])
def test_these_have_one_file_of_a_package(library, package):
    users = [p for p in FILES if any(n.split(".")[0] == library for n in _imports(p))]
    assert len([p for p in users if p.relative_to(ROOT).parts[0] == package]) == 1


def test_every_package_has_a_rule():
    packages = {
        p.name.removesuffix(".py") for p in ROOT.iterdir() if p.suffix in ("", ".py") and "__" not in p.name
    }
    assert packages == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 300


def test_functions_stay_small():
    """At most 40 lines beside the docstring, in what is shipped, experiments and benchmarks."""
    long = []
    for path in [*FILES, *SCRIPTS]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = _lines(node) - (_lines(node.body[0]) if ast.get_docstring(node) else 0)
                long += [f"{path.name}: {node.name} {lines}"] if lines > 40 else []
    assert not long


def _lines(node):
    return node.end_lineno - node.lineno + 1


def test_the_machinery_of_experiments_stays_small():
    """vaejax.lab in at most 800 lines; the scripts, which have a bar each, in 150 with their headers."""
    lab, scripts = (
        [len(path.read_text().splitlines()) for path in folder.glob("*.py")]
        for folder in (ROOT / "lab", ROOT.parent / "experiments")
    )
    assert sum(lab) <= 800
    assert sum(scripts) <= 150 * len(scripts)


def test_what_is_slow_exists():
    for name in SLOW:
        path, _, test = name.partition("::")
        assert any(TESTS.glob(f"{path.rstrip('/')}*")), name  # also the beginning of several names
        assert f"def {test}" in (TESTS / path).read_text() if test else True, name
