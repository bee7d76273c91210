"""Reports: hand counts of a small study, and known ranks, biases and confusions that are found again."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.human.studies import CALLED, KEY, QUALITY, SYSTEMS, grey, study
from vaejax import human

FOUR = {"four": 0.0, "three": 0.5, "two": 1.0, "one": 1.5}  # sigma(.5) is .62


def counted(sheet, said, raters=2, **options):
    """A report of raters who all say what `said(trial)` says."""
    rows = np.array([[float(said(trial)) for trial in sheet.key.trials]] * raters)
    many = np.zeros_like(rows)
    answers = human.Answers(tuple(f"{r:08x}" for r in range(raters)), np.arange(raters), rows, many + 2, many)
    return human.report(KEY, sheet.key, answers, resamples=20, **options)


@pytest.fixture(scope="module")
def sheet():
    return study()


def first_is_best(trial):
    """The system that comes first in SYSTEMS wins; of it all levels are 5; all generated ones are seen."""
    if trial.paired:
        return trial.systems[1] == "noise" or SYSTEMS.index(trial.systems[0]) < SYSTEMS.index(
            trial.systems[1]
        )
    if trial.task == "turing":
        return trial.systems[0] != "real"
    return 5 if trial.systems[0] == SYSTEMS[0] else 2


def test_a_study_counted_by_hand(sheet):
    found = counted(sheet, first_is_best)
    for task, n in (("ab", 12), ("diversity", 4)):
        ((_, scores),) = found[task].items()
        for entry in scores["win_rates"]:
            assert (entry["mean"], entry["n"], entry["ties"]) == (1.0, n, 0)
        s = [scores["strengths"][name]["mean"] for name in SYSTEMS]
        assert s[0] > s[1] > s[2]
        assert s[0] * s[2] == pytest.approx(s[1] ** 2, rel=1e-6)
        assert scores["agreement"]["krippendorff_alpha"] == pytest.approx(1)
        assert found["left"][task]["mean"] == 0.5  # sides are balanced
    levels = found["likert"]["quality"]["systems"]
    assert levels[SYSTEMS[0]] == {"counts": [0, 0, 0, 0, 8], "median": 5.0, "mean": 5.0, "n": 8}
    assert levels[SYSTEMS[2]]["counts"] == [0, 8, 0, 0, 0]
    compared = {(c["a"], c["b"]): c for c in found["likert"]["quality"]["compared"]}
    assert [compared[pair]["mean"] for pair in ((SYSTEMS[0], SYSTEMS[1]), (SYSTEMS[1], SYSTEMS[2]))] == [
        1.0,
        0.5,
    ]
    assert compared[SYSTEMS[0], SYSTEMS[1]]["p_holm"] == pytest.approx(
        3 * compared[SYSTEMS[0], SYSTEMS[1]]["p"]
    )
    turing = found["turing"]["origin"]
    assert turing["all"]["balanced_accuracy"]["mean"] == turing["all"]["sensitivity"]["mean"] == 1.0
    assert turing["all"]["sensitivity"]["n"] == turing["all"]["specificity"]["n"] == 24
    assert turing["systems"][SYSTEMS[1]]["sensitivity"]["n"] == 8
    assert {task: entry["mean"] for task, entry in found["consistency"].items()} == dict.fromkeys(
        ("ab", "likert", "turing", "diversity"), 1.0
    )
    assert found["failed"] == []
    assert found["raters"]["00000000"] == {
        "checks_missed": 0,
        "checks": 3,
        "seconds": 2.0,
        "consistency": 1.0,
    }


def test_repeats_and_checks_enter_no_score(sheet):
    def otherwise(trial):
        return first_is_best(trial) if trial.role == "first" else 1 if trial.task == "likert" else 0

    plain, found = counted(sheet, first_is_best), counted(sheet, otherwise)
    for task in ("ab", "likert", "turing", "diversity"):
        assert found[task] == plain[task]
    assert found["consistency"]["likert"]["mean"] == 0
    assert len(found["failed"]) == 2
    assert found["raters"]["00000000"]["checks_missed"] == 3


def test_what_is_not_answered_counts_nowhere(sheet):
    """One rater of whom every second answer is missing, beside one of whom none is."""
    rows = np.array([[float(first_is_best(trial)) for trial in sheet.key.trials]] * 2)
    rows[1, ::2] = np.nan
    answers = human.Answers(
        ("0" * 8, "1" * 8), np.arange(2), rows, np.where(np.isnan(rows), np.nan, 3), rows * 0
    )
    found = human.report(KEY, sheet.key, answers, resamples=10)
    firsts = np.array([trial.role == "first" for trial in sheet.key.trials])
    for task in ("ab", "turing"):
        of = firsts & [trial.task == task for trial in sheet.key.trials]
        ((_, scores),) = found[task].items()
        if task == "ab":
            assert sum(entry["n"] for entry in scores["win_rates"]) == np.isfinite(rows[:, of]).sum()
        else:
            both = scores["all"]["sensitivity"]["n"] + scores["all"]["specificity"]["n"]
            assert both == np.isfinite(rows[:, of]).sum()
        assert scores["agreement"]["fleiss_kappa"] is None
        assert scores["agreement"]["krippendorff_alpha"] == pytest.approx(1)
    assert found["failed"] == []
    assert {entry["mean"] for entry in found["consistency"].values()} <= {1.0, None}
    assert found["raters"]["1" * 8]["seconds"] == 3


def test_ties_count_as_they_are_said_to(sheet):
    def tied(trial):
        return 0.5 if trial.paired else first_is_best(trial)

    half, dropped = (counted(sheet, tied, count_ties=how) for how in ("half", "drop"))
    assert {entry["mean"] for entry in half["ab"]["quality"]["win_rates"]} == {0.5}
    assert {
        (entry["mean"], entry["n"], entry["ties"]) for entry in dropped["ab"]["quality"]["win_rates"]
    } == {(None, 0, 12)}
    assert half["ab"]["quality"]["strengths"][SYSTEMS[0]]["mean"] == pytest.approx(1)
    assert half["left"]["ab"] == {"mean": None, "ci95": [None, None], "n": 0, "p": None}
    assert half["ab"]["quality"]["agreement"] == {"krippendorff_alpha": None, "fleiss_kappa": None}
    assert half["failed"]  # a tie with noise


def test_who_misses_a_check_is_left_out_only_if_asked(sheet):
    answers = human.simulate(KEY, sheet.key, 5, QUALITY, called=CALLED)
    checks = [i for i, trial in enumerate(sheet.key.trials) if trial.role == "check"]
    answers.values[2, checks[0]] = 0
    bad = answers.raters[2]
    kept = human.report(KEY, sheet.key, answers, resamples=20)
    assert (kept["failed"], kept["left_out"]) == ([bad], [])
    assert kept["ab"]["quality"]["win_rates"][0]["n"] == 5 * 6
    without = human.report(KEY, sheet.key, answers, resamples=20, leave_out_failed=True)
    assert (without["failed"], without["left_out"]) == ([bad], [bad])
    assert without["ab"]["quality"]["win_rates"][0]["n"] == 4 * 6
    assert set(without["raters"]) == set(answers.raters)  # listed all the same
    answers.values[:, checks[0]] = 0
    with pytest.raises(ValueError, match="leave_out_failed: expected somebody who missed no"):
        human.report(KEY, sheet.key, answers, leave_out_failed=True)


def test_ranks_of_four_systems_are_recovered_by_ten_raters_of_sixty_pairs():
    """In nine of ten studies or more; of 60, at the same strengths, it was in 59."""
    pictures = {name: grey(np.arange(20) + 30 * i + 2) for i, name in enumerate(FOUR)}
    sheet = human.sheet(KEY, pictures, tasks=("ab",), pairs=10, repeats=0, checks=0)
    assert len(sheet.key.trials) == 60
    right = []
    for key in jax.random.split(KEY, 10):
        answers = human.simulate(key, sheet.key, 10, FOUR, spread=0.2, ties=0.1)
        found = human.report(key, sheet.key, answers, resamples=2)["ab"]["quality"]["strengths"]
        right.append(sorted(found, key=lambda name: found[name]["mean"]) == list(FOUR))
    assert sum(right) >= 9


def test_a_bias_to_the_left_is_found_and_does_not_move_the_strengths():
    sheet = study(tasks=("ab",), pairs=10)
    answers = human.simulate(KEY, sheet.key, 40, dict.fromkeys(SYSTEMS, 0.0), left=1.0)
    found = human.report(KEY, sheet.key, answers, resamples=2)
    low, high = found["left"]["ab"]["ci95"]
    assert low < 1 / (1 + np.exp(-1)) < high
    assert found["left"]["ab"]["p"] < 1e-6
    for entry in found["ab"]["quality"]["strengths"].values():
        assert entry["mean"] == pytest.approx(1, abs=0.1)
    fair = human.report(KEY, sheet.key, human.simulate(KEY, sheet.key, 40, QUALITY), resamples=2)
    assert fair["left"]["ab"]["p"] > 0.01


def test_a_known_confusion_and_known_levels_are_found():
    sheet = study(tasks=("likert", "turing"), items=8)
    called = {"real": 0.1, SYSTEMS[0]: 0.1, SYSTEMS[1]: 0.5, SYSTEMS[2]: 0.9}
    answers = human.simulate(KEY, sheet.key, 60, QUALITY, called=called)
    found = human.report(KEY, sheet.key, answers, resamples=50)
    for name in SYSTEMS:
        of = found["turing"]["origin"]["systems"][name]
        for share, truth in (
            ("sensitivity", called[name]),
            ("specificity", 0.9),
            ("balanced_accuracy", called[name] / 2 + 0.45),
        ):
            low, high = of[share]["ci95"]
            assert low < truth < high
    assert abs(found["turing"]["origin"]["systems"][SYSTEMS[0]]["d_prime"]) < 0.3
    compared = found["likert"]["quality"]["compared"]
    assert all(c["ci95"][0] > 0.5 and c["p_holm"] < 1e-3 for c in compared)
    assert "ab" not in found


def test_tables_have_every_number_and_no_table_lacks_a_row(sheet):
    found = counted(sheet, first_is_best)
    tables = human.tables(found)
    assert len(tables) == 2 + 2 + 2 + 1 + 2
    assert all(rows for rows in tables.values())
    rows = next(rows for title, rows in tables.items() if title.startswith("turing"))
    assert rows[-1]["sensitivity"] == "1.00 [0.86, 1.00]"
    assert [row["excellent"] for row in tables["likert, quality: answers"]] == [8, 0, 0]
    assert tables["agreement and consistency"][0]["left preferred"].startswith("0.50 [")
    assert {row["checks missed"] for row in tables["raters"]} == {"0 of 3"}


def test_one_rater_alone_gives_no_interval_over_raters(sheet):
    found = counted(sheet, first_is_best, raters=1)
    assert found["ab"]["quality"]["strengths"][SYSTEMS[0]]["ci95"] == [None, None]
    assert found["ab"]["quality"]["agreement"] == {"krippendorff_alpha": None, "fleiss_kappa": None}
    assert human.tables(found)["ab, quality: strengths (Bradley-Terry)"][0]["strength"].count("[") == 0


def test_the_same_key_gives_the_same_report(sheet):
    answers = human.simulate(KEY, sheet.key, 3, QUALITY, called=CALLED)
    one, again = (human.report(KEY, sheet.key, answers, resamples=10) for _ in range(2))
    assert one == again
    with pytest.raises(TypeError, match="answer_key"):
        human.report(KEY, sheet, answers)
    with pytest.raises(ValueError, match=r"answers: expected .* of each rater, as the sheet has trials"):
        human.report(KEY, study(tasks=("ab",)).key, answers)
