"""`python -m vaejax.human`: a rating page from run folders, and a report from the answers."""

from __future__ import annotations

import argparse
import inspect
import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaejax import data, evaluation, plots, runs
from vaejax.files import expanded
from vaejax.human.answers import read_answers
from vaejax.human.page import read_key, write
from vaejax.human.report import report
from vaejax.human.sheet import sheet
from vaejax.human.tables import tables
from vaejax.keys import named_key
from vaejax.progress import Bar
from vaejax.types import VAE, Array

SHOWN = ("samples", "reconstructions", "traversals")
FRAMES = np.linspace(-2.0, 2.0, 5)  # of a traversal
STRIPS = {
    "ab": {"one": "In which of the two does one thing change, and only one?"},
    "likert": {"one": "How clearly does one thing change here, and only one?"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the page or the report that the command line asks for; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        given.command(given)
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vaejax.human", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="make|report")
    make = commands.add_parser("make", help="a rating page from run folders", allow_abbrev=False)
    make.set_defaults(command=_make)
    add = make.add_argument
    add("--runs", nargs="+", required=True, metavar="FOLDER", help="two run folders or more")
    add("--out", required=True, metavar="FOLDER", help="where rate.html and key.json go")
    add(
        "--show", choices=SHOWN, default=SHOWN[0], help="what raters see of the models (default: %(default)s)"
    )
    add("--samples", type=int, default=40, help="items of each model to choose from (default: %(default)s)")
    add("--data", help="the set of the inputs and of real images, as fashion_mnist (default: the runs' own)")
    add("--pixels", help="what its pixels are, as dynamic (default: the set's own)")
    add("--side", type=int, help="of a set that is drawn, as three_dots (default: the runs' own)")
    black_white: Any = {"type": float, "nargs": 2, "default": (0.0, 1.0), "metavar": ("BLACK", "WHITE")}
    add("--limits", **black_white, help="values of images; beyond them they saturate (default: 0 1)")
    add("--tasks", nargs="+", help="of ab, likert, turing, diversity (default: ab likert, turing with data)")
    add("--pairs", type=int, default=10, help="comparisons of each two models (default: %(default)s)")
    add("--items", type=int, default=10, help="of each model, rated alone (default: %(default)s)")
    add("--repeats", type=int, default=3, help="of each task, shown twice (default: %(default)s)")
    add("--checks", type=int, default=3, help="of attention, beside noise (default: %(default)s)")
    add("--title", help="of the page")
    add("--checkpoint", choices=("latest", "best"), default="latest", help="(default: %(default)s)")
    add("--seed", type=int, default=0, help="of samples, order and sides (default: %(default)s)")
    told = commands.add_parser("report", help="tables and a figure from answers", allow_abbrev=False)
    told.set_defaults(command=_report)
    add = told.add_argument
    add("folder", help="that of the page, with its key.json")
    add("answers", nargs="+", help="files that raters sent, or folders of them")
    add(
        "--ties",
        choices=("half", "drop"),
        default="half",
        help="half a win, or not counted (default: %(default)s)",
    )
    add("--leave-out-failed", action="store_true", help="without raters who missed an attention check")
    add("--resamples", type=int, default=1000, help="of each bootstrap (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the bootstraps (default: %(default)s)")
    return parser


def _make(given: argparse.Namespace) -> None:
    """Load the models, take what raters see, and write page and key."""
    key = jax.random.key(given.seed)
    folders = [expanded(folder, "runs") for folder in given.runs]
    names = _names(folders)
    loaded = {
        name: runs.load(folder, checkpoint=given.checkpoint)
        for name, folder in zip(names, Bar(folders, desc="runs", unit="run", leave=False), strict=True)
    }
    configs = [run.config for run in loaded.values()]
    source = given.data or _shared(configs, "dataset")
    tasks = given.tasks or ["ab", "likert", *(["turing"] if source and given.show != "traversals" else [])]
    options = {"pixels": given.pixels, "side": given.side or _shared(configs, "side")}
    real, inputs, support = _images(given, key, source, options, tasks)
    take = partial(_items, named_key(key, "/samples"), given, inputs)
    systems = {name: take(name, run.vae, run.model.support) for name, run in loaded.items()}
    of_sheet = {name: getattr(given, name) for name in ("pairs", "items", "repeats", "checks")}
    of_sheet |= {"title": given.title} if given.title else {}
    if given.show == "traversals":
        of_sheet["questions"] = {task: STRIPS[task] for task in tasks if task in STRIPS}
    if given.show == "reconstructions":
        of_sheet["references"] = _in_unit(inputs, support)
    made = sheet(
        named_key(key, "/sheet"), systems, real=_in_unit(real, support), tasks=tasks,
        limits=tuple(given.limits), **of_sheet,
    )  # fmt: skip
    page = write(made, given.out)
    size = page.stat().st_size / 1e6
    print(f"{page}: {len(made.key.trials)} trials, {size:.1f} MB; raters get this file alone")
    print(f"{page.parent / 'key.json'} says what is what: keep it")


def _report(given: argparse.Namespace) -> None:
    """Print the tables, and write report.json and the figure beside the page."""
    folder = expanded(given.folder)
    answer_key = read_key(folder)
    answers = read_answers(answer_key, given.answers)
    for line in answers.refused:
        print(f"not used: {line}", file=sys.stderr)
    bar: Any = partial(Bar, desc="resampling", unit="draw", leave=False)
    found = report(
        jax.random.key(given.seed), answer_key, answers, count_ties=given.ties,
        leave_out_failed=given.leave_out_failed, resamples=given.resamples, progress=bar,
    )  # fmt: skip
    for title, rows in tables(found).items():
        print(f"\n{title}\n\n{runs.table(rows)}")
    runs.write_json(folder / "report.json", found)
    figure = plots.save(plots.ratings(found), folder / "figures" / "ratings.png")
    print(f"\n{len(answers.raters)} raters; {folder / 'report.json'}, {figure}")


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths that tell them apart."""
    for parts in range(1, 1 + max(len(folder.parts) for folder in folders)):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"runs: expected each folder once, got {[str(folder) for folder in folders]}")


def _shared(configs: Sequence[Mapping[str, Any]], field: str) -> Any:
    """What all configs say of a field, if they say the same."""
    said = [config.get(field) for config in configs]
    return said[0] if all(value == said[0] for value in said) else None


def _images(
    given: argparse.Namespace, key: Array, source: str | None, options: Mapping[str, Any],
    tasks: Sequence[str],
) -> tuple[np.ndarray | None, np.ndarray | None, str]:  # fmt: skip
    """Real images and other ones, the inputs, of the test split, as models eat them, and their support.

    None where there is no need of them.
    """
    num_real = given.items * len(given.runs) if "turing" in tasks else 0
    num_inputs = given.samples if given.show != "samples" else 0
    if not num_real + num_inputs:
        return None, None, ""
    if source is None:
        expected = "data: expected --data NAME, as fashion_mnist"
        raise ValueError(f"{expected}: the configs of the runs do not name one set")
    maker: Any = getattr(data, source) if source in data.__all__ else partial(data.from_tfds, source)
    known = inspect.signature(maker).parameters
    test = maker(**{k: v for k, v in options.items() if v is not None and k in known}).test
    some = data.first(test, num_real + num_inputs)
    batch = some.transform(named_key(key, "/x"), {"x": some.arrays["x"], "index": np.arange(some.size)})
    x = np.asarray(batch["x"])
    return x[:num_real] if num_real else None, x[num_real:] if num_inputs else None, test.support


def _items(
    key: Array, given: argparse.Namespace, x: np.ndarray | None, name: str, vae: VAE, support: str
) -> np.ndarray:
    """What raters see of a model: n images [n, H, W, C], or traversals of F frames [n, F, H, W, C]."""
    bar: Any = partial(Bar, desc=name, leave=False)
    if x is None:
        found = evaluation.prior_samples(named_key(key, name), vae, given.samples, progress=bar)
    elif given.show == "reconstructions":
        found = evaluation.reconstruct(vae, x, key=named_key(key, name))
    else:
        first = evaluation.traverse(vae, x[0], FRAMES)  # [d, F, H, W, C]
        others = bar(range(1, math.ceil(given.samples / len(first))))
        found = np.concatenate([first, *(evaluation.traverse(vae, x[i], FRAMES) for i in others)])
    images = _in_unit(np.asarray(found)[: given.samples], support)
    low, high = given.limits
    beyond = float(np.mean((images < low) | (images > high)))
    if beyond:
        print(
            f"{name}: {100 * beyond:.2g} % of the values are beyond the limits, and shown as black or white"
        )
    return images


def _in_unit(images: Any, support: str) -> Any:
    """Bytes as parts of 255, all else as it came."""
    return images / np.float32(255) if images is not None and support == "bytes" else images


if __name__ == "__main__":
    sys.exit(main())
