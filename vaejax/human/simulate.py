"""Raters of known taste: to try a study, and its size, before anybody is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit

from vaejax.checks import check_finite, check_positive_int
from vaejax.human.answers import Answers, check_answer_key
from vaejax.human.design import NOISE, REAL
from vaejax.human.sheet import AnswerKey
from vaejax.keys import check_key, numpy_generator
from vaejax.types import Array

__all__ = ["simulate"]


def simulate(
    key: Array, answer_key: AnswerKey, raters: int, quality: Mapping[str, float], *,
    called: Mapping[str, float] | None = None, left: float = 0.0, ties: float = 0.0, spread: float = 0.0,
    slips: float = 0.0,
) -> Answers:  # fmt: skip
    """Answers of raters to whom every system has a known quality.

    Of a pair the first wins with the chance sigma(quality_1 - quality_2 + left), where left has its sign by
    the side: Bradley-Terry with strengths exp(quality). On a scale of L levels P(level > l) =
    sigma(quality - c_l), with L - 1 cuts c_l from -2 to 2 (cumulative logit).

    Args:
      key: typed PRNG key.
      answer_key: of the sheet.
      raters: R.
      quality: {system: number}; noise loses always, but for slips.
      called: {system or "real": chance to be called generated}, for the Turing task.
      left: how much the left side is favoured, in log-odds.
      ties: chance of "no difference" in a pair.
      spread: standard deviation of what each rater makes of each system's quality.
      slips: chance that any answer is given blindly.

    Raises:
      TypeError, ValueError: a system without a quality or, in the Turing task, without a chance; chances
        outside [0, 1].
    """
    check_key(key)
    check_answer_key(answer_key)
    check_positive_int(raters, "raters")
    _check(answer_key, quality, called, {"ties": ties, "slips": slips}, {"left": left, "spread": spread})
    rng = numpy_generator(key)
    names = [*answer_key.systems, REAL, NOISE]
    seen = np.array([*(quality[name] for name in answer_key.systems), 0.0, -50.0])
    seen = seen + spread * rng.normal(size=(raters, len(names)))  # [R, systems]
    chance = np.array([(called or {}).get(name, 0.5) for name in names])
    trials = answer_key.trials
    first, second = (np.array([names.index(t.systems[side]) for t in trials]) for side in (0, -1))
    forms = rng.integers(len(answer_key.forms), size=raters)
    swapped = np.array([form.swapped for form in answer_key.forms])[forms]  # [R, T]
    shape = swapped.shape
    wins = rng.random(shape) < expit(seen[:, first] - seen[:, second] + np.where(swapped, -left, left))
    tied = (rng.random(shape) < ties) & answer_key.ties & (second != names.index(NOISE))
    cuts = np.linspace(-2, 2, len(answer_key.scale) - 1)
    level = 1 + (rng.random(shape)[..., None] < expit(seen[:, first, None] - cuts)).sum(axis=-1)
    paired, likert = (
        np.array(of) for of in zip(*((t.paired, t.task == "likert") for t in trials), strict=True)
    )
    values = np.where(
        paired, np.where(tied, 0.5, wins), np.where(likert, level, rng.random(shape) < chance[first])
    )
    blind = np.where(likert, rng.integers(1, len(answer_key.scale) + 1, shape), rng.integers(0, 2, shape))
    values = np.where(rng.random(shape) < slips, blind, values).astype(float)
    places = np.argsort([answer_key.forms[form].order for form in forms], axis=1)
    seconds = np.round(rng.lognormal(1.0, 0.5, shape), 3)
    digits = rng.integers(0, 2**63, raters)
    return Answers(tuple(f"{d:016x}" for d in digits), forms, values, seconds, places)


def _check(
    answer_key: AnswerKey, quality: Mapping[str, float], called: Mapping[str, float] | None,
    chances: Mapping[str, float], numbers: Mapping[str, Any],
) -> None:  # fmt: skip
    needed = {"quality": (quality, answer_key.systems)}
    if "turing" in answer_key.questions:
        needed["called"] = (called or {}, (*answer_key.systems, REAL))
    for name, (given, systems) in needed.items():
        if missing := [system for system in systems if system not in given]:
            raise ValueError(f"{name}: expected a number for every system, got none for {missing}")
        numbers = {**numbers, **{f"{name}[{system!r}]": given[system] for system in systems}}
    for name, value in {**numbers, **chances}.items():
        check_finite(value, name)
    for name, value in {**chances, **(called or {})}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a chance in [0, 1], got {value}")
