"""`python -m vaejax.data` lists all sets; `python -m vaejax.data NAME` prepares one, says where it lies."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vaejax.data.folders import data_folder
from vaejax.data.from_files import prepare_published, stored_arrays
from vaejax.data.listing import AT_ONCE, listing
from vaejax.data.mini_sprites import mini_sprites
from vaejax.data.mnists import idx_recipe
from vaejax.data.prepare import load_arrays, prepare
from vaejax.data.published import PUBLISHED
from vaejax.data.recipes import Recipe
from vaejax.data.tfds_sets import tfds_arrays
from vaejax.data.three_dots import three_dots

_INTERRUPTED = 130
_RECIPES: Mapping[str, Callable[[Path], Recipe]] = {
    "fashion_mnist": partial(idx_recipe, "fashion_mnist"),
    "mini_sprites": lambda folder: mini_sprites(folder=folder).recipe,
    "mnist": partial(idx_recipe, "mnist"),
    "three_dots": lambda folder: three_dots(folder=folder).recipe,
}
NAMES = (*_RECIPES, *AT_ONCE, *PUBLISHED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the set that the command line names, or list all; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        folder = data_folder(given.folder)
        if given.name is None:
            print(listing(folder))
            return 0
        if given.name in AT_ONCE:
            print(f"{given.name} needs no preparing: data.{given.name}() makes it from what is installed")
            return 0
        directory, splits = _prepared(given, folder)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing half-done is left, the same command starts again", file=sys.stderr)
        return _INTERRUPTED
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        ours = difflib.get_close_matches(given.name or "", NAMES, cutoff=0.8)
        hint = f"; of vaejax's own, {ours[0]!r}" if ours and given.name not in ours else ""
        print(f"{error}{hint}", file=sys.stderr)
        return 1
    for split, arrays in splits.items():
        print(f"{split}: " + ", ".join(f"{k} {a.dtype} {list(a.shape)}" for k, a in arrays.items()))
    print(f"{given.name} lies in {directory}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vaejax.data", description=__doc__)
    parser.add_argument(
        "name",
        nargs="?",
        help=f"{', '.join(sorted((*_RECIPES, *PUBLISHED)))}, or a name that tensorflow-datasets knows (of "
        "two that are called alike, its own with its version, as cifar10:3.0.2); without one, all are listed",
    )
    parser.add_argument("--file", help="the published file, or the folder with the files, of a published set")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of a published set that has options, as crop=140; several values with commas between them",
    )
    parser.add_argument(
        "--no-checksum", action="store_true", help="take a file that has another checksum than the published"
    )
    parser.add_argument(
        "--folder", help="where prepared sets lie (default: $VAEJAX_DATA, else ~/.cache/vaejax)"
    )
    return parser


def _prepared(given: Any, folder: Path) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Where the set lies, prepared if it was not, and the arrays of its splits."""
    if given.name in PUBLISHED:
        directory = prepare_published(
            given.name, folder, file=given.file, options=_options(given), checksum=not given.no_checksum,
            progress=True,
        )  # fmt: skip
        return directory, stored_arrays(directory, progress=True)
    for flag, value in (("--file", given.file), ("--option", given.option)):
        if value:
            raise ValueError(f"{flag}: expected one of {', '.join(PUBLISHED)}, got {given.name!r}")
    if given.name in _RECIPES:
        recipe = _RECIPES[given.name](folder)
        directory = prepare(recipe, folder, progress=True)
        return directory, {
            split: load_arrays(recipe, folder, split, progress=True) for split in recipe.splits
        }
    directory, splits, _ = tfds_arrays(given.name, folder, progress=True)
    return directory, splits


def _options(given: Any) -> dict[str, Any]:
    """The options that the command line names, each of the type of its default."""
    options: dict[str, Any] = {}
    for text in given.option:
        key, equals, value = text.partition("=")
        default = PUBLISHED[given.name].options.get(key)
        if not equals or (isinstance(default, int) and not value.isdecimal()):
            expected = "KEY=VALUE" if not equals else f"{key}=NUMBER"
            raise ValueError(f"--option: expected {expected}, got {text!r}")
        split = tuple(value.split(",")) if isinstance(default, tuple) else value
        options[key] = int(value) if isinstance(default, int) else split
    return options


if __name__ == "__main__":
    status = main()
    if status == _INTERRUPTED:
        os._exit(status)  # else Python waits until the threads of tensorflow-datasets have their files
    sys.exit(status)
