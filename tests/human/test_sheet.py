"""Sheets: what they show is what their key says, balanced, and by chance alone."""

from __future__ import annotations

import itertools
from collections import Counter

import jax
import numpy as np
import pytest
from scipy import stats

from tests.human.studies import EACH, KEY, REAL, REFERENCES, SYSTEMS, grey, study, systems, value_of
from vaejax import human


@pytest.fixture(scope="module")
def made():
    return study()


@pytest.fixture(scope="module")
def matched():
    return study(references=REFERENCES)


def seen(sheet, side):
    """The values of what stands at a side of each trial, as the page has it."""
    return [
        [value_of(sheet.page["parts"][i]) for i in trial["shown"][side]] for trial in sheet.page["trials"]
    ]


def told(name, items):
    start = 3 * EACH if name == "real" else SYSTEMS.index(name) * EACH
    return [start + i + 2 for i in items]


def test_the_key_says_what_stands_on_the_page(made):
    for side in (0, -1):
        for trial, values in zip(made.key.trials, seen(made, side), strict=True):
            name, items = trial.systems[side], trial.items[side]
            assert values == ([None] if name == "noise" else told(name, items))
    for trial, entry in zip(made.key.trials, made.page["trials"], strict=True):
        assert trial.task == entry["task"]
        assert entry["question"] == made.key.questions[trial.task][trial.question]
        assert len(entry["shown"]) == len(trial.systems)
        assert entry["reference"] == []


def test_items_of_one_input_stand_beside_each_other_and_beside_their_input(matched):
    for trial, entry in zip(matched.key.trials, matched.page["trials"], strict=True):
        beside = [value_of(matched.page["parts"][i]) for i in entry["reference"]]
        if trial.task in ("ab", "likert"):
            ((item,),) = set(trial.items)
            assert beside == [4 * EACH + item + 2]
        else:
            assert beside == []
    inputs = [
        t.items
        for t in matched.key.trials
        if t.task == "turing" and t.role == "first" and "real" not in t.systems
    ]
    assert len(set(inputs)) == len(inputs) == 12  # no two of one input: neither would be real
    assert set(matched.key.questions["likert"]) == {"quality", "match"}
    assert set(matched.key.questions["ab"]) == {"match"}


@pytest.mark.parametrize("task", ["ab", "diversity"])
def test_every_pair_is_compared_equally_often_and_half_the_time_on_either_side(made, task):
    firsts = [i for i, t in enumerate(made.key.trials) if t.task == task and t.role == "first"]
    pairs = Counter(frozenset(made.key.trials[i].systems) for i in firsts)
    assert pairs == {frozenset(p): 6 if task == "ab" else 2 for p in itertools.combinations(SYSTEMS, 2)}
    for form in made.key.forms:
        left = Counter()
        for i in firsts:
            names = made.key.trials[i].systems
            left[frozenset(names), names[form.swapped[i]]] += 1
        assert set(left.values()) == {3 if task == "ab" else 1}
    used = Counter(made.key.trials[i].items[0] for i in firsts) if task == "ab" else {}
    assert all(count <= 3 for count in used.values())  # other items each time


def test_of_two_forms_one_has_the_sides_of_the_other_swapped(made):
    assert len(made.key.forms) == 8
    paired = np.array([t.paired for t in made.key.trials])
    for one, other in zip(made.key.forms[::2], made.key.forms[1::2], strict=True):
        assert (np.array(one.swapped) != np.array(other.swapped)).tolist() == paired.tolist()
    assert len({form.order for form in made.key.forms}) == 8


def test_a_repeat_is_the_same_trial_later_with_its_sides_swapped(made):
    repeats = [i for i, t in enumerate(made.key.trials) if t.role == "repeat"]
    assert Counter(made.key.trials[i].task for i in repeats) == dict.fromkeys(
        ("ab", "likert", "turing", "diversity"), 3
    )
    for i in repeats:
        trial, first = made.key.trials[i], made.key.trials[made.key.trials[i].repeats]
        assert trial._replace(role="first", repeats=None) == first
        for form in made.key.forms:
            between = form.order.index(i) - form.order.index(trial.repeats)
            assert between > (1 if trial.task == "diversity" else 3)
            assert form.swapped[i] != form.swapped[trial.repeats] or not trial.paired


def test_every_form_has_every_trial_once_task_by_task(made):
    for form in made.key.forms:
        assert sorted(form.order) == list(range(len(made.key.trials)))
        tasks = [made.key.trials[i].task for i in form.order]
        assert [task for task, _ in itertools.groupby(tasks)] == ["ab", "likert", "turing", "diversity"]


@pytest.mark.parametrize("of", ["made", "matched"])
def test_what_the_turing_task_shows_stands_nowhere_else_and_half_of_it_is_real(of, request):
    sheet = request.getfixturevalue(of)
    uses = {"turing": [], "others": []}
    for trial, entry in zip(sheet.key.trials, sheet.page["trials"], strict=True):
        if trial.role != "repeat":
            uses["turing" if trial.task == "turing" else "others"] += [
                *itertools.chain(*entry["shown"]),
                *entry["reference"],
            ]
    assert len(set(uses["turing"])) == len(uses["turing"]) == 24
    assert not set(uses["turing"]) & set(uses["others"])
    shown = [t.systems[0] for t in sheet.key.trials if t.task == "turing" and t.role == "first"]
    assert Counter(shown) == {"real": 12, **dict.fromkeys(SYSTEMS, 4)}


def test_checks_show_an_item_beside_noise_on_either_side(made):
    checks = [i for i, t in enumerate(made.key.trials) if t.role == "check"]
    assert len(checks) == 3
    assert all(made.key.trials[i].systems[1] == "noise" for i in checks)
    sides = np.array([[form.swapped[i] for i in checks] for form in made.key.forms])
    assert set(sides.sum(axis=0)) == {4}


def test_names_of_systems_do_not_touch_the_page(made):
    other = study(names=("a", "b", "c"))
    assert other.page == made.page
    assert other.key.sheet == made.key.sheet
    assert other.key.systems == ("a", "b", "c")


def test_the_same_key_makes_the_same_sheet_and_another_key_another():
    one, again, other = (study(key, pairs=2, items=1) for key in (KEY, KEY, jax.random.key(0)))
    assert one == again
    assert one.key.sheet != other.key.sheet
    assert one.key.forms != other.key.forms


def test_no_order_on_the_page_tells_a_system():
    """Over 150 keys: the place of a picture, of a trial, and the side of a system are all by chance."""
    places, first, real_first = {name: [] for name in ("x", "y", "real")}, [], []
    real = grey(range(100, 104))
    for seed in range(150):
        given = {"x": grey(range(8)), "y": grey(range(50, 58))}
        options = {"pairs": 2, "items": 2, "repeats": 0, "checks": 0, "forms": 1}
        sheet = human.sheet(
            jax.random.key(seed), given, real=real, tasks=("ab", "turing"), limits=(0, 255), **options
        )
        for trial, entry in zip(sheet.key.trials, sheet.page["trials"], strict=True):
            for name, parts in zip(trial.systems, entry["shown"], strict=True):
                places[name].append(parts[0] / len(sheet.page["parts"]))
        first += [t.systems[0] == "x" for t in sheet.key.trials if t.paired]
        turing = [t.systems[0] for t in sheet.key.trials if t.task == "turing"]
        real_first.append(turing[0] == "real")
    assert stats.kruskal(*places.values()).pvalue > 0.01
    assert stats.binomtest(sum(first), len(first)).pvalue > 0.01
    assert stats.binomtest(sum(real_first), len(real_first)).pvalue > 0.01


def test_texts_and_strips_are_items_too():
    texts = {"x": [f"x writes {i}" for i in range(5)], "y": [f"y writes {i}" for i in range(5)]}
    sheet = human.sheet(KEY, texts, tasks=("ab", "likert"), pairs=2, items=2)
    parts = [part["text"] for part in sheet.page["parts"]]
    assert {f"{name} writes" for name in texts} <= {text[:8] for text in parts}
    noise = [t for t in sheet.key.trials if t.role == "check"]
    entry = sheet.page["trials"][sheet.key.trials.index(noise[0])]
    item, other = (parts[group[0]] for group in entry["shown"])
    assert sorted(item) == sorted(other) != item

    strips = np.stack([grey(np.arange(4) + 10 * i) for i in range(6)])  # [n, F, H, W, C]
    sheet = human.sheet(KEY, {"x": strips, "y": strips + 100}, tasks=("ab",), pairs=2, checks=0)
    for trial, entry in zip(sheet.key.trials, sheet.page["trials"], strict=True):
        for name, (item,), group in zip(trial.systems, trial.items, entry["shown"], strict=True):
            start = 10 * item + (100 if name == "y" else 0)
            assert [value_of(sheet.page["parts"][i]) for i in group] == [start + f for f in range(4)]


def test_values_are_shown_as_the_limits_say():
    x = np.full((3, 2, 2, 1), 0.5)
    sheet = human.sheet(KEY, {"x": x, "y": x * 2}, tasks=("ab",), pairs=1, checks=0)
    assert {value_of(part) for part in sheet.page["parts"]} == {128, 255}
    sheet = human.sheet(KEY, {"x": x, "y": x * 4}, tasks=("ab",), pairs=1, checks=0, limits=(0, 1))
    assert {value_of(part) for part in sheet.page["parts"]} == {128, 255}


FLOATS = np.zeros((20, 2, 2, 1))
TWO = {"x": FLOATS, "y": FLOATS}
TALL = np.zeros((20, 3, 2, 1))
BITS = np.eye(4, dtype=np.uint8).reshape(4, 2, 2, 1)
STRIPS = np.zeros((9, 2, 2, 2, 1))
REFUSED = {  # the task is "ab" where none is named
    "one system": ({"x": FLOATS}, {}, "systems: expected .* two systems"),
    "a name that is taken": ({"x": FLOATS, "real": FLOATS}, {}, "names other than 'real'"),
    "other shapes": ({"x": FLOATS, "y": TALL}, {}, "items of one kind"),
    "texts beside images": ({"x": FLOATS, "y": ["a"] * 20}, {}, "items of one kind"),
    "values beyond": ({"x": FLOATS, "y": FLOATS + 2}, {}, r"systems\['y'\]: expected values in \[0, 1\]"),
    "binary bytes": ({"x": FLOATS, "y": BITS}, {}, "got 0 and 1 alone"),
    "an empty text": ({"x": ["a", " "], "y": ["a", "b"]}, {}, "number 1"),
    "no real ones": (TWO, {"tasks": ("turing",)}, "real: expected real items for the task 'turing'"),
    "few real ones": (TWO, {"tasks": ("turing",), "real": FLOATS[:5]}, "real: expected at least 20 items"),
    "few items": ({"x": FLOATS, "y": FLOATS[:3]}, {"tasks": ("likert",)}, r"\['y'\]: expected at least 10"),
    "another task": (TWO, {"tasks": ("abc",)}, "tasks: expected one of 'ab'"),
    "a task twice": (TWO, {"tasks": ("ab", "ab")}, "each once"),
    "questions of no task": (TWO, {"questions": {"what": {}}}, "questions: expected one of"),
    "no questions": (TWO, {"questions": {"ab": {}}}, r"questions\['ab'\]"),
    "no pairs": (TWO, {"pairs": 0}, "pairs: expected at least 1"),
    "one level": (TWO, {"scale": ("good",)}, "scale: expected 2 to 9"),
    "other references": (TWO, {"references": FLOATS[:3]}, "references: expected one for each"),
    "a real reference": (
        TWO, {"tasks": ("turing",), "real": FLOATS, "references": FLOATS, "items": 1}, "give them away",
    ),
    "groups of strips": ({"x": STRIPS, "y": STRIPS}, {"tasks": ("diversity",)}, "no 'diversity' of strips"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_study_is_refused(case):
    given, options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        human.sheet(KEY, given, **{"tasks": ("ab",), **options})


def test_options_of_another_type_are_refused():
    for options, expected in (({"pairs": 1.5}, "an int"), ({"title": 3}, "a text")):
        with pytest.raises(TypeError, match=f"{next(iter(options))}: expected {expected}"):
            human.sheet(KEY, TWO, tasks=("ab",), **options)


def test_a_key_that_is_none_is_refused():
    with pytest.raises(TypeError, match="typed PRNG key"):
        human.sheet(0, systems(), real=REAL)
