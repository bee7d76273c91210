"""What pip installs of a checkout, and what pages and messages say of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import vaejax
from vaejax.hints import extra

ROOT = Path(__file__).parent.parent
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """{name: bytes} of what `pip install -e .` makes, of a checkout that holds what is read for it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    (folder / "vaejax").mkdir()
    shutil.copy(ROOT / "vaejax" / "__init__.py", folder / "vaejax")
    build = "from setuptools.build_meta import build_editable; print(build_editable('out'))"
    (folder / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "out" / done.stdout.splitlines()[-1]) as files:
        return folder, {name: files.read(name) for name in files.namelist()}


def test_an_editable_install_is_a_path_that_type_checkers_follow(wheel):
    folder, files = wheel
    (pth,) = (text.decode().strip() for name, text in files.items() if name.endswith(".pth"))
    assert Path(pth).resolve() == folder.resolve()  # no import hook, which only runs
    assert not [name for name in files if name.endswith(".py")]


def test_the_version_is_one_and_the_description_links_nowhere_inside_the_checkout(wheel):
    (told,) = (message_from_bytes(text) for name, text in wheel[1].items() if name.endswith("METADATA"))
    assert told["Version"] == vaejax.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", vaejax.__version__)
    assert told["Description-Content-Type"] == "text/markdown"
    text = told.get_payload()
    links = re.findall(r"\]\((.*?)\)", text)
    assert links
    assert all(link.startswith("https://") for link in links)
    assert set(told.get_all("Provides-Extra")) == EXTRAS


def test_no_message_names_a_package_that_no_registry_has():
    sources = [path for folder in ("vaejax", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 200
    for path in sources:
        text = path.read_text()
        assert "vaejax[" not in text, path
        for name in re.findall(r"-e '\.\[(\w+)\]'", text) + re.findall(r"extra\('(\w+)'\)", text):
            assert name in EXTRAS, path
    assert "pip install -c constraints.txt -e '.[eval]'" in extra("eval")


def test_the_readme_says_what_each_extra_is_for():
    block = re.search(r"```\n(pip install.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    named = re.findall(r"\w+", " ".join(re.findall(r"\[([\w,]+)\]", block)))
    assert set(named) == EXTRAS - {"dev"}
    assert all(line.startswith("pip install -c constraints.txt -e ") for line in block.splitlines() if line)


def test_make_says_what_it_does_before_minutes_of_silence():
    shown = subprocess.run(["make", "-nB", "demo"], cwd=ROOT, capture_output=True, text=True).stdout
    lines = shown.splitlines()
    (told,) = (i for i, line in enumerate(lines) if line.startswith("echo") and "minutes" in line)
    (pip,) = (i for i, line in enumerate(lines) if " pip install " in line)
    assert told < pip


def test_pages_whose_code_needs_an_extra_name_it():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    code = {p: "".join(re.findall(r"^```python\n(.*?)^```", p.read_text(), re.S | re.M)) for p in pages}
    asking = [
        p
        for p, text in code.items()
        if re.search(r"\b(digits|colour_patches|natural_patches)\(|sklearn", text)
    ]
    assert {p.name for p in asking} >= {"collapse.md", "experiment.md", "latents.md"}
    for page in asking:
        assert re.search(r"extra\s+`eval`", page.read_text()), page.name
