"""All that the answers to a sheet say, as numbers with their intervals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaejax.checks import check_progress
from vaejax.human.agreement import fleiss_kappa, krippendorff_alpha
from vaejax.human.answers import Answers, check_answer_key, check_answers
from vaejax.human.comparisons import bradley_terry, position_bias, win_rate
from vaejax.human.design import PAIRED, REAL
from vaejax.human.intervals import imported, proportion
from vaejax.human.ratings import detection, distribution, superiority
from vaejax.human.sheet import AnswerKey
from vaejax.keys import check_key, named_key
from vaejax.types import Array, Progress

__all__ = ["report"]


def report(
    key: Array, answer_key: AnswerKey, answers: Answers, *, count_ties: str = "half",
    leave_out_failed: bool = False, resamples: int = 1000, progress: Progress = iter,
) -> dict[str, Any]:  # fmt: skip
    """Win rates, strengths, levels, detection, agreement, and what there is to know of the raters.

    Repeats and attention checks enter no score. Raters who miss a check are listed under "failed".

    Args:
      key: typed PRNG key, of the bootstraps.
      answer_key: of the sheet.
      answers: from `read_answers`.
      count_ties: of win rates: "half", a tie is half a win, or "drop"; in strengths it is half a win.
      leave_out_failed: leave out the answers of those who missed a check.
      resamples: of each bootstrap.
      progress: wraps the range of a bootstrap of strengths, as a progress bar does.

    Returns:
      {"raters": {rater: ...}, "failed", "left_out", "refused": names; of each task {question: scores};
      "consistency": {task: share of repeats with the same answer}, "left": {task: how often left wins}}.

    Raises:
      TypeError: `answer_key` is no AnswerKey, or `answers` no Answers.
      ValueError: nobody is left, nobody has answered a question, or the answers are of another sheet.
    """
    check_key(key)
    check_answer_key(answer_key)
    check_answers(answers, answer_key)
    check_progress(progress)
    raters = _raters(answer_key, answers)
    failed = [name for name, of in raters.items() if of["checks_missed"]]
    if leave_out_failed:
        answers = _without(answers, failed)
    readers = {"ab": _paired, "diversity": _paired, "likert": _rated, "turing": _told_apart}
    options = {"count_ties": count_ties, "resamples": resamples, "progress": progress}
    found: dict[str, Any] = {
        "sheet": answer_key.sheet, "raters": raters, "failed": failed,
        "left_out": failed if leave_out_failed else [], "refused": list(answers.refused),
        "scale": list(answer_key.scale),
    }  # fmt: skip
    for task, questions in answer_key.questions.items():
        found[task] = {}
        for name in questions:
            at = _places(answer_key, task, "first", name)
            values = answers.values[:, at]
            if not np.isfinite(values).any():
                raise ValueError(f"answers: expected some to the question {name!r} of {task!r}, got none")
            scores = readers[task](named_key(key, f"{task}/{name}"), answer_key, at, values, options)
            found[task][name] = scores | {"agreement": _agreement(task, values)}
    found["consistency"] = _consistency(answer_key, answers)
    found["left"] = _left(answer_key, answers)
    return found


def _places(answer_key: AnswerKey, task: str, role: str, question: str | None = None) -> np.ndarray:
    """Of the trials of a task and role, and where one is named of a question."""
    trials = answer_key.trials
    of = [t.task == task and t.role == role and question in (None, t.question) for t in trials]
    return np.flatnonzero(of)


def _without(answers: Answers, names: Sequence[str]) -> Answers:
    kept = [i for i, name in enumerate(answers.raters) if name not in names]
    if not kept:
        raise ValueError("leave_out_failed: expected somebody who missed no attention check, got nobody")
    raters = tuple(answers.raters[i] for i in kept)
    arrays = {name: getattr(answers, name)[kept] for name in ("forms", "values", "seconds", "places")}
    return answers._replace(raters=raters, **arrays)


def _raters(answer_key: AnswerKey, answers: Answers) -> dict[str, dict[str, Any]]:
    """Of each rater the checks missed, the time of an answer, and the share of repeats answered alike."""
    checks = _places(answer_key, "ab", "check")
    missed = (answers.values[:, checks] < 1).sum(axis=1)  # noise stands second
    same = _same(answer_key, answers)
    return {
        name: {
            "checks_missed": int(missed[r]), "checks": len(checks),
            "seconds": float(np.median(answers.seconds[r][np.isfinite(answers.seconds[r])])),
            "consistency": _share(same[r])["mean"],
        }
        for r, name in enumerate(answers.raters)
    }  # fmt: skip


def _same(answer_key: AnswerKey, answers: Answers) -> np.ndarray:
    """Whether a repeat has the answer of what it repeats, [R, T]: 1 or 0, nan of what is no repeat."""
    same = np.full(answers.values.shape, np.nan)
    for i, trial in enumerate(answer_key.trials):
        if trial.repeats is not None:
            again, first = answers.values[:, i], answers.values[:, trial.repeats]
            same[:, i] = np.where(np.isfinite(again + first), again == first, np.nan)
    return same


def _share(flags: np.ndarray) -> dict[str, Any]:
    """The share of ones among what is not nan."""
    return proportion(int(np.nansum(flags)), int(np.isfinite(flags).sum()))


def _consistency(answer_key: AnswerKey, answers: Answers) -> dict[str, Any]:
    """Of each task the share of repeats with the same answer."""
    same = _same(answer_key, answers)
    return {task: _share(same[:, _places(answer_key, task, "repeat")]) for task in answer_key.questions}


def _left(answer_key: AnswerKey, answers: Answers) -> dict[str, Any]:
    """Of each paired task how often left won, repeats with them."""
    found = {}
    swapped = np.array([answer_key.forms[form].swapped for form in answers.forms])  # [R, T]
    on_left = np.where(swapped, 1 - answers.values, answers.values)
    for task in [task for task in answer_key.questions if task in PAIRED]:
        at = np.concatenate([_places(answer_key, task, role) for role in ("first", "repeat")])
        won = on_left[:, at]
        found[task] = position_bias(int((won == 1).sum()), int((won == 0).sum()))
    return found


def _agreement(task: str, values: np.ndarray) -> dict[str, float | None]:
    """None where nothing was answered by two raters, or all say the same."""
    if (np.isfinite(values).sum(axis=0) < 2).all():
        return {"krippendorff_alpha": None, "fleiss_kappa": None}
    whole = np.isfinite(values).all()
    level = "ordinal" if task == "likert" else "nominal"
    return {
        "krippendorff_alpha": krippendorff_alpha(values, level),
        "fleiss_kappa": fleiss_kappa(values) if whole else None,
    }


def _paired(
    key: Array, answer_key: AnswerKey, at: np.ndarray, values: np.ndarray, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Win rates of each pair of systems, and strengths of all."""
    names = answer_key.systems
    first, second = (
        np.array([names.index(answer_key.trials[i].systems[side]) for i in at]) for side in (0, 1)
    )  # fmt: skip
    wins, won, tied = (np.zeros((len(values), len(names), len(names))) for _ in range(3))
    every = np.arange(len(values))[:, None]
    given = np.isfinite(values)
    for i, j, share in ((first, second, values), (second, first, 1 - values)):
        np.add.at(wins, (every, i, j), np.where(given, share, 0))
        np.add.at(won, (every, i, j), share == 1)
        np.add.at(tied, (every, i, j), share == 0.5)
    rates = []
    for i, j in itertools.combinations(range(len(names)), 2):
        numbers = (won[:, i, j].sum(), won[:, j, i].sum(), tied[:, i, j].sum())
        rate = win_rate(*map(int, numbers), count_ties=options["count_ties"])
        rates.append({"a": names[i], "b": names[j], **rate, "ties": int(numbers[2])})
    kept = {name: options[name] for name in ("resamples", "progress")}
    return {"win_rates": rates, "strengths": bradley_terry(key, wins, names, **kept)}


def _rated(
    key: Array, answer_key: AnswerKey, at: np.ndarray, values: np.ndarray, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Levels of each system, and each two compared by ranks; p adjusted for their number after Holm."""
    L, names = len(answer_key.scale), answer_key.systems
    shown = np.array([answer_key.trials[i].systems[0] for i in at])
    of = {name: values[:, shown == name] for name in names}
    compared = [
        {"a": a, "b": b, **superiority(key, of[a], of[b], L, resamples=options["resamples"])}
        for a, b in itertools.combinations(names, 2)
    ]
    multitest = imported("statsmodels.stats.multitest")
    adjusted = multitest.multipletests([entry["p"] for entry in compared], method="holm")[1]
    for entry, p in zip(compared, adjusted, strict=True):
        entry["p_holm"] = float(p)
    return {"systems": {name: distribution(levels, L) for name, levels in of.items()}, "compared": compared}


def _told_apart(
    key: Array, answer_key: AnswerKey, at: np.ndarray, values: np.ndarray, options: Mapping[str, Any]
) -> dict[str, Any]:
    """How well each system's items, and all together, are told from the same real ones."""
    del key, options
    shown = np.array([answer_key.trials[i].systems[0] for i in at])

    def called(mask: np.ndarray) -> tuple[int, int]:
        given = values[:, mask]
        return int(np.nansum(given)), int(np.isfinite(given).sum())

    real = called(shown == REAL)
    each = {name: detection(*called(shown == name), *real) for name in answer_key.systems}
    return {"systems": each, "all": detection(*called(shown != REAL), *real)}
