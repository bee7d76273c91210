"""What every door of `vaejax.human` says of arguments of another kind, and answers that are missing."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import pytest

from tests.human.studies import CALLED, KEY, QUALITY, study
from vaejax import human

SMALL = {"pairs": 2, "items": 2, "repeats": 1, "checks": 1, "tasks": ("ab", "likert")}
IMAGES = np.random.default_rng(0).random((12, 2, 3, 1))
MASK = np.ma.masked_greater


@pytest.fixture(scope="module")
def sheet():
    return study()


@pytest.fixture(scope="module")
def answers(sheet):
    return human.simulate(KEY, sheet.key, 3, QUALITY, called=CALLED)


def of(images, **options):
    return human.sheet(KEY, {"A": images, "B": IMAGES[::-1]}, **{**SMALL, **options})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: of(MASK(IMAGES, 0.5)), r"systems\['A'\]: expected an array without a mask"),
        (lambda: of(IMAGES, limits=1), r"limits: expected \(black, white\), got 1"),
        (lambda: of(IMAGES, tasks=3), "tasks: expected some of"),
        (lambda: human.write(study().key, "nowhere"), "sheet: expected a Sheet, .* got AnswerKey"),
        (lambda: human.read_answers(study().key, None), "paths: expected files or folders, got NoneType"),
        (lambda: human.write_answers(study().key, [1], "nowhere"), "answers: expected Answers.*got list"),
        (lambda: human.report(KEY, study().key, "answers"), "answers: expected Answers, .*got str"),
        (
            lambda: human.bradley_terry(KEY, MASK(np.ones((3, 2, 2)), 2), "ab"),
            "wins: expected an array without",
        ),
        (lambda: human.krippendorff_alpha(MASK(np.ones((3, 2)), 2)), "ratings: expected an array without"),
        (lambda: human.fleiss_kappa(MASK(np.ones((3, 2)), 2)), "ratings: expected an array without"),
        (lambda: human.distribution(MASK(np.ones((3, 2)), 2), 5), "levels: expected an array without"),
        (
            lambda: human.superiority(KEY, np.ones((3, 2)), MASK(np.ones((3, 2)), 2), 5),
            "b: expected an array",
        ),
    ],
)
def test_what_is_of_another_kind_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_progress_is_a_function(sheet, answers):
    with pytest.raises(TypeError, match="progress: expected a function"):
        human.report(KEY, sheet.key, answers, progress=True)


@pytest.mark.parametrize("levels", [[[0.0, 2]], [[1, 6]], [[1.5, 2]], [[np.inf, 2]]])
def test_levels_are_those_of_the_scale(levels):
    expected = "expected levels of 1 to 5, or nan where there is no answer"
    with pytest.raises(ValueError, match=f"levels: {expected}"):
        human.distribution(levels, 5)
    with pytest.raises(ValueError, match=f"a: {expected}"):
        human.superiority(KEY, levels, np.ones((1, 2)), 5)
    assert human.distribution([1, 2, 2, np.nan], 3)["counts"] == [1, 2, 0]


def test_texts_may_be_an_array():
    texts = [f"a text of number {i}" for i in range(12)]
    both = {"A": texts, "B": texts[::-1]}
    arrays = {name: np.array(of) for name, of in both.items()}
    assert human.sheet(KEY, arrays, **SMALL).page == human.sheet(KEY, both, **SMALL).page


def test_keys_of_another_generator_make_a_sheet_and_its_report(sheet, answers):
    key = jax.random.key(3, impl="rbg")
    made = study(key=key)
    assert made.page == study(key=key).page != sheet.page
    found = human.report(key, sheet.key, answers, resamples=5)
    assert found["ab"] == human.report(key, sheet.key, answers, resamples=5)["ab"]


def test_missing_answers_take_no_other_score_with_them(sheet, answers):
    """Of a rater who has answered nothing, of an interval that draws such a one alone, and of one who has."""
    values = answers.values.copy()
    values[0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = human.report(KEY, sheet.key, answers._replace(values=values), resamples=400)
    compared = found["likert"]["quality"]["compared"]
    assert all(0 <= entry["mean"] <= 1 and entry["ci95"] == [None, None] for entry in compared)
    assert -1 <= found["likert"]["quality"]["agreement"]["krippendorff_alpha"] <= 1
    assert found["ab"]["quality"]["agreement"]["fleiss_kappa"] is None
    values[1] = np.nan
    alone = human.report(KEY, sheet.key, answers._replace(values=values), resamples=5)
    assert set(alone["likert"]["quality"]["agreement"].values()) == {None}
    assert alone["likert"]["quality"]["systems"]["second-best"]["n"] == 4
    assert human.tables(alone)


@pytest.mark.parametrize("task", ["ab", "likert", "turing", "diversity"])
def test_a_question_that_nobody_answered_is_named(task, sheet, answers):
    none = [trial.task == task and trial.role == "first" for trial in sheet.key.trials]
    values = np.where(none, np.nan, answers.values)
    with pytest.raises(
        ValueError, match=f"answers: expected some to the question '.*' of '{task}', got none"
    ):
        human.report(KEY, sheet.key, answers._replace(values=values), resamples=5)
