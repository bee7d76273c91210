"""The reference is made of the docstrings; what pages link to, name and run exists; none is out of reach."""

import importlib
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import vaejax
from vaejax import models

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {
    path: path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *DOCS.rglob("*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
    )
}
PACKAGES = {
    name: f"vaejax.{name}" for name in vaejax.__all__ if isinstance(getattr(vaejax, name), ModuleType)
}
PACKAGES |= {"lab": "vaejax.lab", "posteriors": "vaejax.models.posteriors", "priors": "vaejax.models.priors"}


@pytest.fixture(scope="module")
def make_api():
    spec = importlib.util.spec_from_file_location("make_api", DOCS / "make_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _prose(path):
    """The text of a page or a notebook without blocks of code."""
    text = PAGES[path]
    if path.suffix == ".ipynb":
        cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(source) for source in cells)
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def _links(path):
    """(file, anchor) of the links within the repository; of a link within the page that page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", _prose(path))):
        if not re.match(r"https?://", target):
            file, _, place = target.partition("#")
            yield (path.parent / file).resolve() if file else path, place


def _anchors(path):
    titles = re.findall(r"^#+ (.+)$", _prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


# the reference


def test_the_reference_is_what_the_docstrings_give(make_api):
    made = make_api.pages()
    assert {path.name for path in make_api.FOLDER.glob("*")} == set(made)
    for name, text in made.items():
        assert (make_api.FOLDER / name).read_text() == text, f"{name} is stale: python docs/make_api.py"


@pytest.mark.parametrize(
    "package", [name for name in PACKAGES if name not in ("keys", "posteriors", "priors")]
)
def test_every_public_name_is_in_the_reference(package):
    text = (DOCS / "api" / f"{package}.md").read_text()
    for name in importlib.import_module(PACKAGES[package]).__all__:
        assert re.search(rf"^##+ {package}\.{name}$", text, re.MULTILINE), name


def test_top_level_names_are_in_the_reference():
    text = (DOCS / "api" / "vaejax.md").read_text()
    listed = (DOCS / "api" / "README.md").read_text()
    for name in vaejax.__all__:
        assert f"## vaejax.{name}\n" in text or f"]({name}.md)" in listed


DOC = """One line of `a * b`, 2 * 3 < x<y and [B](nats).

    a * b is a formula

Args:
  key, n: the key,
    and _how many_.
  **more: `{}`.

Returns:
  [n], in $,
    > 0.

Raises:
  ValueError: never.

Source: nobody 2000.
"""
MARKDOWN = """One line of `a * b`, 2 \\* 3 < x\\<y and [B]\\(nats).

    a * b is a formula

Arguments:

* `key, n`: the key,
  and \\_how many\\_.
* `**more`: `{}`.

Returns: [n], in \\$,
  \\> 0.

Source: nobody 2000."""


def test_a_docstring_is_shown_as_it_is_read(make_api):
    assert make_api.markdown(DOC) == MARKDOWN


# the pages


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for file, place in _links(path):
        assert file.exists(), file
        if place:
            assert place in _anchors(file), f"{file}#{place}"


def test_every_page_is_reached_from_the_readme():
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        path = todo.pop()
        if path in PAGES and path not in reached:
            reached.add(path)
            todo += [file for file, _ in _links(path)]
    assert set(PAGES) - reached == set()


def _found(name):
    """What a dotted name that begins with a package is; AttributeError if it is nothing."""
    package, *rest = name.split(".")
    thing = importlib.import_module(PACKAGES[package])
    for part in rest:
        try:
            thing = getattr(thing, part)
        except AttributeError:
            thing = importlib.import_module(f"{thing.__name__}.{part}")
    return thing


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_commands_on_pages_exist(path):
    text = PAGES[path]
    for name in re.findall(rf"`(?:vaejax\.)?((?:{'|'.join(PACKAGES)})(?:\.[A-Za-z]\w*)+)", text):
        _found(name)
    for script in re.findall(r"`((?:experiments|benchmarks|notebooks|findings|tests)/[\w/.]+\w)", text):
        assert (ROOT / script).exists(), script
    for folder, name, preset in re.findall(
        r"python -m (experiments|benchmarks)\.([a-z]\w*)(?: --preset (\w+))?", text
    ):
        source = (ROOT / folder / f"{name}.py").read_text()
        assert not preset or f'"{preset}"' in source, (name, preset)


def test_the_index_names_a_function_for_each_remedy():
    """Under "Where to look" a name without a package is of the package that was named last."""
    text = (DOCS / "index.md").read_text().split("## Where to look")[1].split("\n## ")[0]
    package, names = None, 0
    for token in re.findall(r"`([A-Za-z]\w*(?:\.\w+)?)`", text):
        package, _, name = token.rpartition(".") if "." in token else (package, "", token)
        assert hasattr(importlib.import_module(PACKAGES[package]), name), token
        names += 1
    assert names > 60


def test_families_are_those_that_the_reference_has():
    text = (DOCS / "api" / "models.md").read_text()
    for family in ("posteriors", "priors"):
        for name in getattr(models, family).__all__:
            assert f"### models.{family}.{name}\n" in text
