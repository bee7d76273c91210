"""Files of raters: what a page writes is read back; all else is refused by name, and the rest used."""

from __future__ import annotations

import json
import re

import jax
import numpy as np
import pytest

from tests.human.studies import CALLED, KEY, QUALITY, study
from vaejax import human


@pytest.fixture(scope="module")
def sheet():
    return study()


@pytest.fixture(scope="module")
def simulated(sheet):
    return human.simulate(KEY, sheet.key, 4, QUALITY, called=CALLED, ties=0.2)


@pytest.fixture
def files(sheet, simulated, tmp_path):
    return human.write_answers(sheet.key, simulated, tmp_path / "answers")


def changed(file, change):
    """The same file with something else in it."""
    held = json.loads(file.read_text())
    change(held)
    file.write_text(json.dumps(held))


def test_what_is_written_is_read(sheet, simulated, files):
    answers = human.read_answers(sheet.key, files)
    assert answers.raters == simulated.raters
    assert answers.refused == ()
    for name in ("forms", "values", "seconds", "places"):
        np.testing.assert_array_equal(getattr(answers, name), getattr(simulated, name))
    again = human.read_answers(sheet.key, [files[0].parent])  # the folder
    assert sorted(again.raters) == sorted(answers.raters)


def test_an_answer_is_what_its_form_had_there(sheet, simulated, files):
    held = json.loads(files[0].read_text())
    form = sheet.key.forms[held["form"]]
    assert tuple(answer["trial"] for answer in held["answers"]) == form.order
    for answer in held["answers"]:
        trial, value = sheet.key.trials[answer["trial"]], simulated.values[0, answer["trial"]]
        if trial.paired:
            left = trial.systems[::-1] if form.swapped[answer["trial"]] else trial.systems
            preferred = {"left": left[0], "right": left[1], "tie": None}[answer["answer"]]
            assert value == {trial.systems[0]: 1.0, trial.systems[1]: 0.0, None: 0.5}[preferred]
        elif trial.task == "turing":
            assert answer["answer"] == ("generated" if value else "real")
        else:
            assert answer["answer"] == value


def of_task(held, key, task):
    return next(answer for answer in held["answers"] if key.trials[answer["trial"]].task == task)


REFUSED = {
    "another sheet": (lambda h, k: h.update(sheet="0123"), "expected answers to sheet"),
    "no sheet": (lambda h, k: h.pop("sheet"), "expected answers to sheet .*, got None"),
    "a trial less": (lambda h, k: h["answers"].pop(), "expected all .* trials, got none for 1 of them"),
    "a trial twice": (
        lambda h, k: h["answers"].append(h["answers"][0]),
        "expected each trial once, got .* again",
    ),
    "a trial too many": (lambda h, k: h["answers"].append({"trial": 10**6}), "expected trials 0 to"),
    "a trial of words": (
        lambda h, k: h["answers"].append({"trial": "0"}),
        "expected trials 0 to .*, got '0'",
    ),
    "no trial": (lambda h, k: h["answers"].append(7), "expected trials 0 to .*, got None"),
    "a true trial": (lambda h, k: h["answers"][0].update(trial=True), "expected trials 0 to .*, got True"),
    "no answers": (lambda h, k: h.update(answers={}), "expected the answers of a rating page"),
    "another form": (lambda h, k: h.update(form=8), "form: expected one of 8, got 8"),
    "a form of words": (lambda h, k: h.update(form="0"), "form: expected"),
    "a rater of words": (lambda h, k: h.update(rater="<b>bob</b>"), "rater: expected 8 to 32 hexadecimal"),
    "another side": (
        lambda h, k: of_task(h, k, "ab").update(answer="up"),
        "expected an answer of its page, got 'up'",
    ),
    "a level too high": (lambda h, k: of_task(h, k, "likert").update(answer=6), "answer of its page, got 6"),
    "a level of truth": (
        lambda h, k: of_task(h, k, "likert").update(answer=True),
        "answer of its page, got True",
    ),
    "a side of a level": (lambda h, k: of_task(h, k, "likert").update(answer="left"), "got 'left'"),
    "a level of a side": (lambda h, k: of_task(h, k, "ab").update(answer=1), "answer of its page, got 1"),
    "a list": (lambda h, k: of_task(h, k, "turing").update(answer=["real"]), "answer of its page, got list"),
    "no time": (
        lambda h, k: h["answers"][0].pop("seconds"),
        "seconds: expected a number of at least 0, got None",
    ),
    "a time below 0": (lambda h, k: h["answers"][0].update(seconds=-1), "seconds: .*, got -1"),
    "a time that is none": (
        lambda h, k: h["answers"][0].update(seconds=float("nan")),
        "seconds: .*, got nan",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_the_page_did_not_write_is_refused_and_the_rest_used(case, sheet, files):
    change, message = REFUSED[case]
    changed(files[1], lambda held: change(held, sheet.key))
    answers = human.read_answers(sheet.key, files)
    assert len(answers.raters) == 3
    (line,) = answers.refused
    assert re.search(f"^{re.escape(str(files[1]))}: .*{message}", line)


BYTES = {
    "no JSON": (b"hello", "expected JSON"),
    "nothing": (b"", "expected JSON"),
    "half a file": (b'{"sheet": "', "expected JSON"),
    "no text": (b"\xff\xfe\x00", "expected JSON"),
    "other JSON": (b"[1, 2]", "expected the answers of a rating page"),
    "very deep": (b"[" * 100_000, ""),
    "a number of many digits": (b"1" * 5000, "expected"),
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_answers_are_refused(case, sheet, files):
    held, message = BYTES[case]
    files[0].write_bytes(held)
    answers = human.read_answers(sheet.key, files)
    assert len(answers.raters) == 3
    (line,) = answers.refused
    assert line.startswith(f"{files[0]}: ")
    assert message in line


def test_a_files_text_is_shown_without_its_power(sheet, files):
    evil = files[0].with_name("\x1b[31mred\n.json")
    evil.write_bytes(files[0].read_bytes())
    changed(evil, lambda held: held.update(sheet="\x1b[2J" + "x" * 1000))
    answers = human.read_answers(sheet.key, [*files, evil, files[0].with_name("none.json")])
    assert len(answers.raters) == 4
    assert len(answers.refused) == 2
    for line in answers.refused:
        assert line.isprintable()
        assert len(line) < 500
    assert "No such file" in answers.refused[1]


def test_a_rater_counts_once(sheet, files):
    again = files[0].with_name("again.json")
    again.write_bytes(files[0].read_bytes())
    answers = human.read_answers(sheet.key, [*files, again])
    assert len(answers.raters) == 4
    assert answers.refused[0].startswith(f"{again}: rater {answers.raters[0]} has answered in {files[0]}")


def test_without_any_answer_there_is_an_error_with_all_reasons(sheet, files, tmp_path):
    for file in files:
        file.write_text("{}")
    with pytest.raises(
        ValueError, match=r"got none that can be used\n  .*answers-.*: expected the answers"
    ) as error:
        human.read_answers(sheet.key, files)
    assert str(error.value).count("\n") == 4
    with pytest.raises(ValueError, match="got none that can be used"):
        human.read_answers(sheet.key, [])
    with pytest.raises(TypeError, match="answer_key: expected an AnswerKey"):
        human.read_answers(sheet, files)


def test_ties_are_refused_where_the_page_has_none():
    sheet = study(ties=False, tasks=("ab",), pairs=1)
    answers = human.simulate(KEY, sheet.key, 1, QUALITY, ties=1.0)
    assert set(np.unique(answers.values)) <= {0.0, 1.0}
    assert sheet.page["ties"] is False


def test_missing_answers_are_not_written(sheet, simulated, tmp_path):
    with pytest.raises(ValueError, match="expected one of every rater in every trial"):
        human.write_answers(sheet.key, simulated._replace(values=simulated.values * np.nan), tmp_path)


# raters of known taste


def test_simulated_raters_have_the_chances_that_they_are_given():
    sheet = study(pairs=10, items=8, repeats=0)
    answers = human.simulate(KEY, sheet.key, 2000, QUALITY, called=CALLED, left=0.5, ties=0.1)
    swapped = np.array([form.swapped for form in sheet.key.forms])[answers.forms]
    for i, trial in enumerate(sheet.key.trials):
        values = answers.values[:, i]
        if trial.role == "check":
            assert (values == 1).all()
        elif trial.paired:
            gap = QUALITY[trial.systems[0]] - QUALITY[trial.systems[1]] + np.where(swapped[:, i], -0.5, 0.5)
            expected = np.mean(0.9 / (1 + np.exp(-gap)))
            assert np.mean(values == 1) == pytest.approx(expected, abs=0.05)
            assert np.mean(values == 0.5) == pytest.approx(0.1, abs=0.03)
        elif trial.task == "turing":
            assert values.mean() == pytest.approx(CALLED[trial.systems[0]], abs=0.05)
        else:
            above = 1 / (1 + np.exp(np.linspace(-2, 2, 4) - QUALITY[trial.systems[0]]))
            assert values.mean() == pytest.approx(1 + above.sum(), abs=0.15)


def test_bad_tastes_are_refused(sheet):
    for options, message in (
        ({"quality": {}}, "quality: expected a number for every system, got none for"),
        ({"called": {}}, r"called: .* got none for .*'real'"),
        ({"called": CALLED | {"real": 1.5}}, r"real: expected a chance in \[0, 1\]"),
        ({"ties": 2.0}, "ties: expected a chance"),
        ({"left": np.inf}, "left: expected a finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            human.simulate(KEY, sheet.key, 2, **{"quality": QUALITY, "called": CALLED, **options})
    with pytest.raises(TypeError, match="answer_key"):
        human.simulate(jax.random.key(0), sheet, 2, QUALITY)
