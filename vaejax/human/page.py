"""Files of a study: the page that raters open, and the key to it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from vaejax.files import expanded, read_json, write_json, write_text
from vaejax.human.design import Form, Trial
from vaejax.human.sheet import AnswerKey, Sheet

__all__ = ["read_key", "write"]

PAGE, KEY = "rate.html", "key.json"


def write(sheet: Sheet, folder: str | os.PathLike[str]) -> Path:
    """Write rate.html, which raters get, and key.json, which they do not: it alone says what is what.

    The page is one file that asks no server for anything: a policy in it forbids every request.

    Args:
      sheet: from `vaejax.human.sheet`.
      folder: where the two files go.

    Returns:
      The page.

    Raises:
      TypeError: `sheet` is no Sheet.
      ValueError: the folder holds the key of another sheet, whose answers nobody could read any more.
    """
    if not isinstance(sheet, Sheet):
        raise TypeError(f"sheet: expected a Sheet, as human.sheet makes it; got {type(sheet).__name__}")
    folder = expanded(folder)
    if (folder / KEY).exists() and (held := read_key(folder).sheet) != sheet.key.sheet:
        raise ValueError(f"folder: expected one without a sheet, got {folder}, which holds sheet {held}")
    write_json(folder / KEY, sheet.key)
    write_text(folder / PAGE, _page(sheet.page))
    return folder / PAGE


def read_key(folder: str | os.PathLike[str]) -> AnswerKey:
    """The key of a folder that `write` made, or of a key.json by its own name.

    Raises:
      FileNotFoundError: there is none.
      ValueError: the file is another.
    """
    path = expanded(folder)
    path = path / KEY if path.is_dir() else path
    held = read_json(path)
    try:
        trials = [
            Trial(**{**trial, "systems": tuple(trial["systems"]), "items": tuple(map(tuple, trial["items"]))})
            for trial in held["trials"]
        ]
        orders = [Form(tuple(form["order"]), tuple(form["swapped"])) for form in held["forms"]]
        lists = {name: tuple(held[name]) for name in ("systems", "scale")}
        return AnswerKey(**{**held, **lists, "trials": tuple(trials), "forms": tuple(orders)})
    except (KeyError, TypeError) as error:
        raise ValueError(f"folder: expected the key of a sheet in {path}, got something else") from error


def _page(page: Any) -> str:
    """The whole file; what is not ours stands in it as JSON without a tag, or escaped."""
    style, script = _read("rate.css"), _read("layout.js") + _read("rate.js")
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    return Template(_read(PAGE)).substitute(
        title=html.escape(page["title"]), policy=policy, style=style, script=script, page=_safe(page)
    )


def _safe(value: Any) -> str:
    """JSON in which no text can end the block that it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")  # ASCII, and no "<" at all


def _hash(text: str) -> str:
    """What a page's policy calls the one style or script that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return resources.files("vaejax.human").joinpath(name).read_text(encoding="utf-8")
