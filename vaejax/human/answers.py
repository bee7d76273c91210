"""The files that raters send: read one by one, and checked against the key of their sheet."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaejax.files import expanded, write_json
from vaejax.human.sheet import AnswerKey

__all__ = ["Answers", "read_answers", "write_answers"]

_MOST = 20_000_000  # bytes of a file; a thousand answers are a tenth of a megabyte
_RATER = re.compile(r"[0-9a-f]{8,32}")
_WON = {"left": 1.0, "tie": 0.5, "right": 0.0}  # by what stands on the left
_GENERATED = {"real": 0.0, "generated": 1.0}


class Answers(NamedTuple):
    """What R raters said in the T trials of a sheet.

    `values` are of a pair what its first system has won, 1, .5 for a tie or 0; of "likert" the level from 1;
    of "turing" 1 where it was called generated, 0 where real; nan is no answer.
    """

    raters: tuple[str, ...]
    forms: np.ndarray  # [R], which order each has seen
    values: np.ndarray  # [R, T]
    seconds: np.ndarray  # [R, T]
    places: np.ndarray  # [R, T], when it was answered first, from 0
    refused: tuple[str, ...] = ()  # why files were not used, each by its name


def read_answers(answer_key: AnswerKey, paths: Iterable[str | os.PathLike[str]]) -> Answers:
    """Read the files of raters; one that cannot be used is refused with its reason, and the others are used.

    Refused are files of another sheet, that lack trials or have one twice, that are not JSON, with answers
    that the page does not give, and a rater's second file. Nothing in a file is run.

    Args:
      answer_key: of the sheet, from `read_key`.
      paths: files, or folders of *.json.

    Raises:
      TypeError: `answer_key` is no AnswerKey, or `paths` are none.
      ValueError: no file can be used.
    """
    check_answer_key(answer_key)
    found, refused = {}, []
    for path in _files(paths):
        name = _plain(str(path))
        try:
            rater, *one = _checked(answer_key, path)
            if rater in found:
                raise ValueError(f"rater {rater} has answered in {found[rater][0]}")
            found[rater] = name, one
        except (OSError, ValueError, RecursionError) as error:
            refused.append(f"{name}: {_plain(str(error))}")
    if not found:
        raise ValueError("answers: expected files of raters, got none that can be used" + _listed(refused))
    columns = zip(*(one for _, one in found.values()), strict=True)
    forms, values, seconds, places = (np.array(column) for column in columns)
    return Answers(tuple(found), forms, values, seconds, places, tuple(refused))


def write_answers(answer_key: AnswerKey, answers: Answers, folder: str | os.PathLike[str]) -> list[Path]:
    """Write the file of each rater, as the page does: of simulated ones, or of those that stay anonymous.

    Args:
      answer_key: of the sheet.
      answers: complete ones.
      folder: where answers-RATER.json go.

    Raises:
      TypeError: `answer_key` is no AnswerKey, or `answers` no Answers.
      ValueError: an answer is missing, or the answers are of another sheet.
    """
    check_answer_key(answer_key)
    check_answers(answers, answer_key)
    if not np.isfinite(answers.values).all():
        raise ValueError("answers: expected one of every rater in every trial, got some nan")
    paths = []
    for r, rater in enumerate(answers.raters):
        form = answer_key.forms[answers.forms[r]]
        listed = [
            {
                "trial": int(t), "answer": _said(answer_key, int(t), form.swapped[t], answers.values[r, t]),
                "seconds": float(answers.seconds[r, t]), "changes": 0,
            }
            for t in np.argsort(answers.places[r], kind="stable")
        ]  # fmt: skip
        whole = {"sheet": answer_key.sheet, "rater": rater, "form": int(answers.forms[r]), "answers": listed}
        paths.append(expanded(folder) / f"answers-{rater}.json")
        write_json(paths[-1], whole)
    return paths


def check_answer_key(value: Any) -> None:
    """Raise TypeError unless `value` is the key of a sheet."""
    if not isinstance(value, AnswerKey):
        raise TypeError(
            f"answer_key: expected an AnswerKey, as read_key or sheet makes it; got {type(value).__name__}"
        )


def check_answers(value: Any, answer_key: AnswerKey) -> None:
    """Raise unless `value` is the Answers of a sheet, whole or not."""
    if not isinstance(value, Answers):
        raise TypeError(f"answers: expected Answers, as read_answers gives them; got {type(value).__name__}")
    if value.values.shape != (len(value.raters), len(answer_key.trials)):
        expected = f"answers: expected {len(answer_key.trials)} of each rater, as the sheet has trials"
        raise ValueError(f"{expected}; got {value.values.shape[1]}")


def _files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if not isinstance(paths, Iterable):
        raise TypeError(f"paths: expected files or folders, got {type(paths).__name__} ({paths!r})")
    each = [expanded(path, "paths") for path in paths]
    return [file for path in each for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]


def _checked(key: AnswerKey, path: Path) -> tuple[Any, ...]:
    """(rater, form, values, seconds, places) of a file; raise ValueError for what the page did not write."""
    if path.stat().st_size > _MOST:
        raise ValueError(f"expected at most {_MOST} bytes, got {path.stat().st_size}")
    try:
        held = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"expected JSON, got something else ({error})") from None
    if not isinstance(held, dict) or not isinstance(held.get("answers"), list):
        raise ValueError("expected the answers of a rating page, got other JSON")
    if held.get("sheet") != key.sheet:
        raise ValueError(f"expected answers to sheet {key.sheet}, got {_short(held.get('sheet'))}")
    rater, number = held.get("rater"), held.get("form")
    if not isinstance(rater, str) or not _RATER.fullmatch(rater):
        raise ValueError(f"rater: expected 8 to 32 hexadecimal digits, got {_short(rater)}")
    if type(number) is not int or not 0 <= number < len(key.forms):
        raise ValueError(f"form: expected one of {len(key.forms)}, got {_short(number)}")
    total = len(key.trials)
    values, seconds = np.full(total, np.nan), np.full(total, np.nan)
    places = np.full(total, -1)
    for place, answer in enumerate(held["answers"]):
        trial = answer.get("trial") if isinstance(answer, dict) else None
        if type(trial) is not int or not 0 <= trial < total:
            raise ValueError(f"answers: expected trials 0 to {total - 1}, got {_short(trial)}")
        if places[trial] >= 0:
            raise ValueError(f"answers: expected each trial once, got {trial} again")
        places[trial] = place
        values[trial] = _value(key, trial, key.forms[number].swapped[trial], answer.get("answer"))
        seconds[trial] = _seconds(answer.get("seconds"))
    if missing := np.flatnonzero(places < 0).tolist():
        raise ValueError(f"answers: expected all {total} trials, got none for {len(missing)} of them")
    return rater, number, values, seconds, places


def _value(key: AnswerKey, place: int, swapped: bool, answer: Any) -> float:
    """An answer as a number; see `Answers`."""
    trial = key.trials[place]
    if trial.paired:
        known = _WON if key.ties else {side: won for side, won in _WON.items() if side != "tie"}
        value = known.get(answer) if isinstance(answer, str) else None
        value = 1 - value if value is not None and swapped else value
    elif trial.task == "turing":
        value = _GENERATED.get(answer) if isinstance(answer, str) else None
    else:
        value = answer if type(answer) is int and 1 <= answer <= len(key.scale) else None
    if value is None:
        raise ValueError(f"trial {place}: expected an answer of its page, got {_short(answer)}")
    return float(value)


def _said(key: AnswerKey, place: int, swapped: bool, value: float) -> Any:
    """The number as an answer of the page."""
    trial = key.trials[place]
    if trial.paired:
        return {won: side for side, won in _WON.items()}[1 - value if swapped else value]
    if trial.task == "turing":
        return {told: answer for answer, told in _GENERATED.items()}[value]
    return int(value)


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError(f"seconds: expected a number of at least 0, got {_short(value)}")
    return float(value)


def _short(value: Any) -> str:
    """Part of what a stranger's file holds, for a message."""
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]}..."


def _plain(text: str) -> str:
    """Text without the signs that move a terminal's cursor or colour its lines."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _listed(lines: list[str]) -> str:
    return "".join(f"\n  {line}" for line in lines)
