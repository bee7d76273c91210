"""The page: one file that gives nothing away, asks nobody, and lets no text become markup."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import struct
import tomllib
from pathlib import Path

import jax
import pytest

from tests.human.studies import KEY, REFERENCES, SYSTEMS, study
from vaejax import human

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vaejax" / "human"
NASTY = '</script><script>alert(1)</script><img src=x onerror=alert(2)> & \u2028 "quoted"'


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    sheet = study(references=REFERENCES)
    return sheet, human.write(sheet, tmp_path_factory.mktemp("rating"))


class Blocks(html.parser.HTMLParser):
    """The tags of a page, their attributes, and the text of its blocks."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.blocks, self.inside = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = f"{tag} {dict(attrs).get('type', '')}".strip()

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.blocks[self.inside] = self.blocks.get(self.inside, "") + data


def chunks(file):
    """Names and contents of the chunks of a PNG."""
    at, found = 8, []
    while at < len(file):
        (size,) = struct.unpack(">I", file[at : at + 4])
        found.append((file[at + 4 : at + 8].decode(), file[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def test_the_source_names_no_system_and_no_role(written):
    sheet, page = written
    text = page.read_text()
    block = Blocks(text).blocks["script application/json"]
    assert not [name for name in SYSTEMS if name in text]
    assert not [word for word in ("noise", "repeat", "check", "first", "real") if f'"{word}"' in block]
    held = json.loads(block)
    assert held == json.loads(json.dumps(sheet.page))
    assert held.keys() == {"sheet", "title", "intro", "outro", "scale", "ties", "parts", "trials", "forms"}
    assert all(trial.keys() == {"task", "question", "shown", "reference"} for trial in held["trials"])
    assert all(form.keys() == {"order", "swapped"} for form in held["forms"])


def test_pictures_are_pixels_alone_and_alike_in_all_else(written):
    sheet, _ = written
    headers = set()
    for part in sheet.page["parts"]:
        found = chunks(base64.b64decode(part["png"]))
        assert [name for name, _ in found] == ["IHDR", "IDAT", "IEND"]
        headers.add(found[0][1])
    assert len(headers) == 1
    assert len({part["png"] for part in sheet.page["parts"]}) == len(sheet.page["parts"])


def test_a_policy_in_the_page_allows_its_own_script_and_style_and_no_request(written):
    _, page = written
    blocks = Blocks(page.read_text())
    (policy,) = [a["content"] for tag, a in blocks.tags if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.keys() == {"default-src", "img-src", "style-src", "script-src"}
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for rule, block in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256(blocks.blocks[block].encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttp|innerHTML|eval\(", page.read_text())
    assert [tag for tag, a in blocks.tags if "src" in a] == []
    assert [a["href"] for _, a in blocks.tags if "href" in a] == ["data:,"]


def test_texts_that_users_give_become_no_markup(tmp_path):
    questions = {"ab": {"q": NASTY}, "likert": {"q": NASTY}}
    texts = {"x": [NASTY, "b"], "y": ["c", NASTY]}
    options = {
        "title": NASTY,
        "intro": NASTY,
        "outro": NASTY,
        "scale": (NASTY, "b"),
        "references": [NASTY, "e"],
    }
    sheet = human.sheet(
        KEY, texts, tasks=("ab", "likert"), questions=questions, pairs=1, items=1, checks=1, **options
    )
    text = human.write(sheet, tmp_path).read_text()
    blocks = Blocks(text)
    assert [tag for tag, _ in blocks.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in blocks.tags}
    assert blocks.blocks["title"] == NASTY
    held = json.loads(blocks.blocks["script application/json"])
    assert held["title"] == held["trials"][0]["question"] == NASTY
    assert {"text": NASTY} in held["parts"]


def test_a_key_that_is_read_is_the_sheets(written):
    sheet, page = written
    assert human.read_key(page.parent) == human.read_key(page.parent / "key.json") == sheet.key


def test_the_key_of_another_sheet_is_not_overwritten(written, tmp_path):
    sheet, page = written
    before = page.read_text()
    assert human.write(sheet, page.parent).read_text() == before
    with pytest.raises(
        ValueError, match=f"folder: expected one without a sheet, .* holds sheet {sheet.key.sheet}"
    ):
        human.write(study(jax.random.key(1)), page.parent)
    assert page.read_text() == before
    (tmp_path / "key.json").write_text('{"sheet": "a"}')
    with pytest.raises(ValueError, match=r"expected the key of a sheet in .*key\.json"):
        human.read_key(tmp_path)
    with pytest.raises(FileNotFoundError):
        human.read_key(tmp_path / "nothing")


def test_the_files_of_the_page_are_short_and_in_the_wheel():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "vaejax"
    ]
    files = {path for path in PACKAGE.iterdir() if path.suffix not in (".py", "")}
    assert files == {path for glob in shipped for path in PACKAGE.parent.glob(glob)} - {
        PACKAGE.parent / "py.typed"
    }
    assert {path.name for path in files} == {"rate.css", "rate.html", "rate.js", "layout.js"}
    for path in files:
        lines = path.read_text().splitlines()
        assert len(lines) <= 300
        assert max(map(len, lines)) <= 110
    script = "".join(path.read_text() for path in files if path.suffix == ".js")
    functions = re.findall(r"^function \w+\(.*?^}", script, re.M | re.S)
    assert len(functions) > 15
    assert max(function.count("\n") for function in functions) < 40
