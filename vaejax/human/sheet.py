"""A sheet: what raters are asked, blinded and balanced, and the key that says what is what."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vaejax.checks import check_choice, check_positive_int
from vaejax.human import design
from vaejax.human.design import NOISE, REAL, TASKS, Counts, Form, Trial
from vaejax.human.parts import Item, Part, items_of, kind_of, noise_like
from vaejax.keys import check_key, numpy_generator
from vaejax.plots.cells import Limits
from vaejax.types import Array

__all__ = ["QUESTIONS", "SCALE", "AnswerKey", "Sheet", "sheet"]

SCALE = ("bad", "poor", "fair", "good", "excellent")  # absolute category rating of ITU-T P.910
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "ab": {"quality": "Which of the two looks more realistic?"},
    "likert": {"quality": "How realistic does this look?"},
    "turing": {"origin": "Is this real, or was it made by a computer?"},
    "diversity": {"diversity": "Which of the two groups is more varied?"},
}
_MATCH = {
    "ab": {"match": "Which of the two matches the input better?"},
    "likert": {"match": "How well does this match the input?"},
}
TITLE = "What do you see?"
INTRO = (
    "You will see pictures or texts and answer a short question about each. There is no right answer: say "
    "what you see. If you are in doubt, take the answer that comes first.\n\n"
    "What is stored: your answers, their order, the seconds that each took, and a random number in place of "
    "a name. They stay in this browser until you save them as a file at the end; nothing is sent anywhere. "
    "You can stop at any time, and go on later on this device."
)
OUTRO = "Please save your answers as a file, and send the file to whoever asked you."


class AnswerKey(NamedTuple):
    """What key.json holds: what is what on a page."""

    sheet: str  # a digest of the page
    systems: tuple[str, ...]
    questions: Mapping[str, Mapping[str, str]]  # {task: {name: text}}
    scale: tuple[str, ...]
    ties: bool
    trials: tuple[Trial, ...]
    forms: tuple[Form, ...]


class Sheet(NamedTuple):
    """A page of trials, as plain data without a word of what is what, and the key to it."""

    page: Mapping[str, Any]
    key: AnswerKey


def sheet(
    key: Array, systems: Mapping[str, Any], *, real: Any = None, references: Any = None,
    tasks: Sequence[str] = ("ab", "likert", "turing"),
    questions: Mapping[str, Mapping[str, str]] | None = None,
    pairs: int = 10, items: int = 10, repeats: int = 3, checks: int = 3, grids: int = 2, grid: int = 9,
    forms: int = 8, ties: bool = True, scale: Sequence[str] = SCALE, limits: Limits = None,
    title: str = TITLE, intro: str = INTRO, outro: str = OUTRO,
) -> Sheet:  # fmt: skip
    """A blinded sheet of trials, by which people compare systems.

    Tasks: "ab" shows two items of two systems beside each other, "likert" one to be rated on a scale,
    "turing" one that is real or not, "diversity" two groups of items. Chance decides which items are shown,
    their order and their sides: each pair of systems is compared equally often, and each of the two is on the
    left half the time. There are several such orders, forms, of which every rater gets one. Some trials come
    back later, a pair with its sides swapped; attention checks show an item beside noise. What the Turing
    task shows stands nowhere else on the page, and as many are real as are not.

    Args:
      key: typed PRNG key.
      systems: {name: items} of two or more: images [n, H, W, C], uint8 or in [0, 1]; strips of frames
        [n, F, H, W, C], such as traversals; or n texts.
      real: real items, for the Turing task: as many as of all systems, of the same kind.
      references: [n, ...] images, or n texts: a condition or an input, which stands beside item i of every
        system in "ab" and "likert"; pairs are then of one input. None: items do not belong together.
      tasks: in the order in which raters meet them.
      questions: {task: {name: text}} in the place of `QUESTIONS`, of the tasks that it names. With references
        "ab" asks which matches the input better, and "likert" also how well.
      pairs: comparisons of each pair of systems, for each question.
      items: of each system, in "likert" and in "turing".
      repeats: trials of each task that are shown twice; fewer where the task has fewer.
      checks: attention checks.
      grids: comparisons of groups, of each pair of systems.
      grid: items in a group.
      forms: how many orders.
      ties: whether "no difference" is an answer.
      scale: names of the 2 to 9 levels of "likert", the lowest first.
      limits: (black, white) of images; values beyond them saturate. None: (0, 255) for uint8, else (0, 1),
        and values beyond them are refused.
      title: the page's.
      intro: what raters read first, paragraphs apart by empty lines: tell them what is stored.
      outro: what they read at the end.

    Raises:
      TypeError, ValueError: an argument is of another kind, items are of different shapes, there are too few
        of them, or the Turing task has no real ones.
    """
    check_key(key)
    counts = Counts(pairs, items, repeats, checks, grids, grid, forms)
    asked = _asked(tasks, questions, references is not None)
    _check_counts(counts)
    _check_texts(scale, title, intro, outro)
    shown = _shown(systems, real, references, tasks, limits)
    rng = numpy_generator(key)
    matched = references is not None
    sizes = {name: len(shown[name]) for name in systems}
    dealt = design.pools(rng, sizes, len(shown.get(REAL, ())), counts, tasks, matched)
    made = design.trials(rng, dealt, counts, asked, matched)
    orders = design.forms(rng, made, tasks, forms)
    page = {
        "title": title, "intro": intro, "outro": outro, "scale": list(scale), "ties": bool(ties),
        **_placed(rng, made, shown, asked), "forms": [form._asdict() for form in orders],
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()[:16]
    solution = AnswerKey(digest, tuple(systems), asked, tuple(scale), bool(ties), tuple(made), tuple(orders))
    return Sheet({"sheet": digest, **page}, solution)


def _asked(
    tasks: Sequence[str], questions: Mapping[str, Mapping[str, str]] | None, matched: bool
) -> dict[str, dict[str, str]]:
    """{task: {name: text}} of the tasks."""
    several = isinstance(tasks, Sequence) and not isinstance(tasks, str)
    if not several or not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"tasks: expected some of {TASKS}, each once; got {tasks!r}")
    for task in [*tasks, *(questions or ())]:
        check_choice(task, TASKS, "tasks" if task in tasks else "questions")
    named = {task: dict(QUESTIONS[task]) for task in TASKS}
    if matched:
        named |= {"ab": _MATCH["ab"], "likert": named["likert"] | _MATCH["likert"]}
    for task, texts in (questions or {}).items():
        if not isinstance(texts, Mapping) or not texts:
            raise ValueError(f"questions[{task!r}]: expected {{name: text}}, got {texts!r}")
        named[task] = {str(name): str(text) for name, text in texts.items()}
    return {task: named[task] for task in tasks}


def _check_counts(counts: Counts) -> None:
    for name, value in counts._asdict().items():
        if name in ("repeats", "checks") and value == 0 and not isinstance(value, bool):
            continue
        check_positive_int(value, name)


def _check_texts(scale: Sequence[str], title: str, intro: str, outro: str) -> None:
    if isinstance(scale, str) or not 2 <= len(scale) <= 9 or not all(isinstance(s, str) for s in scale):
        raise ValueError(f"scale: expected 2 to 9 names of levels, the lowest first; got {scale!r}")
    for name, text in (("title", title), ("intro", intro), ("outro", outro)):
        if not isinstance(text, str):
            raise TypeError(f"{name}: expected a text, got {type(text).__name__} ({text!r})")


def _shown(
    systems: Mapping[str, Any], real: Any, references: Any, tasks: Sequence[str], limits: Limits
) -> dict[str, list[Item]]:
    """The items of every system, "real" and "reference"; raise unless they can stand beside each other."""
    if not isinstance(systems, Mapping) or len(systems) < 2:
        raise ValueError("systems: expected {name: items} of two systems or more")
    for name in systems:
        if not isinstance(name, str) or name in (REAL, NOISE, "reference", ""):
            raise ValueError(f"systems: expected names other than {REAL!r} and {NOISE!r}, got {name!r}")
    if "turing" in tasks and real is None:
        raise ValueError("real: expected real items for the task 'turing', got None; or leave out the task")
    shown = {name: items_of(of, f"systems[{name!r}]", limits) for name, of in systems.items()}
    if real is not None:
        shown[REAL] = items_of(real, "real", limits)
    kinds = {name: kind_of(of[0]) for name, of in shown.items()}
    if len(set(kinds.values())) > 1:
        raise ValueError(f"systems: expected items of one kind, real ones too; got {kinds}")
    if "diversity" in tasks and next(iter(kinds.values()))[0] > 1:
        raise ValueError("tasks: expected no 'diversity' of strips, of which groups are too large")
    if references is not None:
        shown["reference"] = items_of(references, "references", limits)
        sizes = {name: len(shown[name]) for name in (*systems, "reference")}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"references: expected one for each item of every system, got {sizes}")
        if set(shown["reference"]) & set(shown.get(REAL, ())):
            raise ValueError("real: expected other items than the references, which would give them away")
    return shown


def _placed(
    rng: np.random.Generator, made: Sequence[Trial], shown: Mapping[str, list[Item]],
    asked: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:  # fmt: skip
    """Trials as the page has them, and their parts, each once, as they come: by chance, as the trials do."""
    places: dict[Part, int] = {}
    entries = []
    for trial in made:
        groups = [
            noise_like(rng, shown[trial.systems[0]][i[0]]) if name == NOISE else _parts(shown[name], i)
            for name, i in zip(trial.systems, trial.items, strict=True)
        ]
        beside = "reference" in shown and trial.task in ("ab", "likert")
        groups.append(shown["reference"][trial.items[0][0]] if beside else ())
        *numbers, reference = [[places.setdefault(p, len(places)) for p in group] for group in groups]
        text = asked.get(trial.task, QUESTIONS["ab"])[trial.question]
        entry = {"task": trial.task, "question": text, "shown": numbers, "reference": reference}
        entries.append(entry)
    return {"parts": [_plain(part) for part in places], "trials": entries}


def _parts(items: Sequence[Item], places: Sequence[int]) -> Item:
    return tuple(part for i in places for part in items[i])


def _plain(part: Part) -> dict[str, str]:
    return {"text": part} if isinstance(part, str) else {"png": base64.b64encode(part).decode()}
