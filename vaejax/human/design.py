"""Which trials a sheet has, and in which orders and on which sides raters see them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

REAL, NOISE = "real", "noise"  # beside the names of systems
PAIRED = ("ab", "diversity")  # tasks that show two things beside each other
TASKS = ("ab", "likert", "turing", "diversity")


class Trial(NamedTuple):
    """One screen: what it asks, and of which systems which items it shows."""

    task: str
    question: str
    role: str  # "first", "repeat" or "check", of attention
    systems: tuple[str, ...]  # one, or two of which the first is on the left where a form does not swap
    items: tuple[tuple[int, ...], ...]  # of each, the places of its items
    repeats: int | None = None  # the place of the trial that it repeats

    @property
    def paired(self) -> bool:
        """Whether two things stand beside each other."""
        return len(self.systems) == 2


class Form(NamedTuple):
    """One of the orders of a sheet; every rater gets one by chance."""

    order: tuple[int, ...]  # places of trials, as they are shown
    swapped: tuple[bool, ...]  # by place: whether the second stands on the left


class Counts(NamedTuple):
    """How much there is of everything; see `sheet`."""

    pairs: int
    items: int
    repeats: int
    checks: int
    grids: int
    grid: int
    forms: int


class Pools(NamedTuple):
    """Places of items in random order: those kept for the Turing task alone, and the others."""

    turing: Mapping[str, np.ndarray]
    others: Mapping[str, np.ndarray]


def pools(
    rng: np.random.Generator, sizes: Mapping[str, int], real: int, counts: Counts, tasks: Sequence[str],
    matched: bool,
) -> Pools:  # fmt: skip
    """Deal every system's items to the tasks.

    What the Turing task shows stands nowhere else: a picture that is used twice would be no real one.

    Args:
      rng: the source of chance.
      sizes: {system: its number of items}.
      real: the number of real items.
      counts: of everything.
      tasks: those of the sheet.
      matched: whether items of one place belong together, as reconstructions of one input do.

    Raises:
      ValueError: there are too few.
    """
    kept = counts.items if "turing" in tasks else 0
    likert, diversity = ("likert" in tasks) * counts.items, ("diversity" in tasks) * counts.grid
    least = kept * (len(sizes) if matched else 1) + max(1, likert, diversity)
    for name, n in sizes.items():
        if n < least:
            raise ValueError(f"systems[{name!r}]: expected at least {least} items for these tasks, got {n}")
    if kept and real < kept * len(sizes):
        raise ValueError(
            f"real: expected at least {kept * len(sizes)} items, as many as of all systems; got {real}"
        )
    if matched:  # two systems' pictures of one input, seen one after the other, are none of them real
        order = rng.permutation(min(sizes.values()))
        first, rest = order[: kept * len(sizes)].reshape(len(sizes), kept), order[kept * len(sizes) :]
        turing, others = dict(zip(sizes, first, strict=True)), dict.fromkeys(sizes, rest)
    else:
        each = {name: rng.permutation(n) for name, n in sizes.items()}
        turing = {name: order[:kept] for name, order in each.items()}
        others = {name: order[kept:] for name, order in each.items()}
    return Pools(turing | {REAL: rng.permutation(real)[: kept * len(sizes)]}, others)


def trials(
    rng: np.random.Generator, dealt: Pools, counts: Counts, questions: Mapping[str, Iterable[str]],
    matched: bool,
) -> list[Trial]:  # fmt: skip
    """All trials of a sheet, in random order.

    Args:
      rng: the source of chance.
      dealt: from `pools`.
      counts: of everything.
      questions: {task: names of its questions}.
      matched: as for `pools`.
    """
    makers = {"ab": _compared, "likert": _rated, "turing": _told_apart, "diversity": _grids}
    made: list[Trial] = []
    for task, names in questions.items():
        plain = makers[task](rng, dealt, counts, matched)
        new = [Trial(task, name, "first", *shown) for name in names for shown in plain]
        again = rng.permutation(len(new))[: counts.repeats] + len(made)
        made += new
        made += [made[i]._replace(role="repeat", repeats=int(i)) for i in again]
    asked = next(iter(questions.get("ab", ("quality",))))
    for name in rng.permutation(np.resize(list(dealt.others), counts.checks)):
        item = (int(rng.choice(dealt.others[name])),)
        made.append(Trial("ab", asked, "check", (str(name), NOISE), (item, item)))
    order = rng.permutation(len(made))
    place = {int(old): new for new, old in enumerate(order)}
    moved = [made[i] for i in order]
    return [t if t.repeats is None else t._replace(repeats=place[t.repeats]) for t in moved]


Shown = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]  # systems, and the places of their items


def _compared(rng: np.random.Generator, dealt: Pools, counts: Counts, matched: bool) -> list[Shown]:
    """Every pair of systems equally often, each time by other items while there are some."""
    made, used = [], dict.fromkeys(dealt.others, 0)
    for a, b in itertools.combinations(dealt.others, 2):
        for k in range(counts.pairs):
            steps = (k, k) if matched else (used[a] + k, used[b] + k)
            items = [
                (int(np.take(dealt.others[s], i, mode="wrap")),) for s, i in zip((a, b), steps, strict=True)
            ]
            made.append(_in_any_order(rng, (a, b), items))
        used[a], used[b] = used[a] + counts.pairs, used[b] + counts.pairs
    return made


def _grids(rng: np.random.Generator, dealt: Pools, counts: Counts, matched: bool) -> list[Shown]:
    """Groups of items of one system beside another's."""
    del matched
    made = []
    for pair in itertools.combinations(dealt.others, 2):
        for _ in range(counts.grids):
            groups = [tuple(rng.permutation(dealt.others[name])[: counts.grid].tolist()) for name in pair]
            made.append(_in_any_order(rng, pair, groups))
    return made


def _in_any_order(rng: np.random.Generator, pair: tuple[str, str], items: Sequence[tuple[int, ...]]) -> Shown:
    turn = -1 if rng.random() < 0.5 else 1
    return pair[::turn], tuple(items)[::turn]


def _rated(rng: np.random.Generator, dealt: Pools, counts: Counts, matched: bool) -> list[Shown]:
    """As many items of every system, each alone."""
    del rng, matched
    return [((name,), ((int(i),),)) for name, of in dealt.others.items() for i in of[: counts.items]]


def _told_apart(rng: np.random.Generator, dealt: Pools, counts: Counts, matched: bool) -> list[Shown]:
    """The same, and as many real ones as of all systems together."""
    del rng, counts, matched
    return [((name,), ((int(i),),)) for name, of in dealt.turing.items() for i in of]


def forms(rng: np.random.Generator, made: Sequence[Trial], tasks: Sequence[str], count: int) -> list[Form]:
    """Orders and sides; of two forms that follow each other the second has every side of the first swapped.

    Args:
      rng: the source of chance.
      made: the trials.
      tasks: in the order in which raters meet them.
      count: how many.
    """
    both: list[Form] = []
    while len(both) < count:
        swapped = _sides(rng, made)
        mirrored = [not side and trial.paired for side, trial in zip(swapped, made, strict=True)]
        both += [Form(_order(rng, made, tasks), tuple(sides)) for sides in (swapped, mirrored)]
    return both[:count]


def _sides(rng: np.random.Generator, made: Sequence[Trial]) -> list[bool]:
    """Of each question each of two systems is on the left half the time; a repeat has its sides swapped."""
    groups: dict[tuple[str, str, str, frozenset[str]], list[int]] = {}
    for i, trial in enumerate(made):
        if trial.paired and trial.repeats is None:
            group = (trial.task, trial.question, trial.role, frozenset(trial.systems))
            groups.setdefault(group, []).append(i)
    swapped = [False] * len(made)
    for places in groups.values():
        on_left = rng.permutation(np.arange(len(places)) % 2 == rng.integers(2))
        for i, left in zip(places, on_left, strict=True):
            swapped[i] = bool(left) != (made[i].systems == made[places[0]].systems)
    for i, trial in enumerate(made):
        if trial.paired and trial.repeats is not None:
            swapped[i] = not swapped[trial.repeats]
    return swapped


def _order(rng: np.random.Generator, made: Sequence[Trial], tasks: Sequence[str]) -> tuple[int, ...]:
    """Task by task; what is repeated comes in the first third of its task, its repeat in the last."""
    again = {trial.repeats for trial in made if trial.repeats is not None}
    order: list[int] = []
    for task in tasks:
        # an attention check is a pair; where no task has pairs it is among the first task's
        of = "ab" if "ab" in tasks else tasks[0]
        here = [i for i, t in enumerate(made) if (of if t.role == "check" else t.task) == task]
        early = [i for i in here if i in again]
        late = [i for i in here if made[i].role == "repeat"]
        rest = rng.permutation([i for i in here if i not in again and made[i].role != "repeat"]).astype(int)
        start, middle, end = np.array_split(rest, 3)
        for part in ([*early, *start], middle, [*end, *late]):
            order += rng.permutation(np.asarray(part, int)).tolist()
    return tuple(order)
