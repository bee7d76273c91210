"""`python -m vaejax.data NAME`: prepare a set and say where it lies."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from vaejax.data.folders import data_folder
from vaejax.data.mini_sprites import mini_sprites
from vaejax.data.mnists import idx_recipe
from vaejax.data.prepare import load_arrays, prepare
from vaejax.data.records import Recipe
from vaejax.data.tfds_sets import tfds_arrays
from vaejax.data.three_dots import three_dots

_INTERRUPTED = 130
_RECIPES: Mapping[str, Callable[[Path], Recipe]] = {
    "fashion_mnist": partial(idx_recipe, "fashion_mnist"),
    "mini_sprites": lambda folder: mini_sprites(folder=folder).recipe,
    "mnist": partial(idx_recipe, "mnist"),
    "three_dots": lambda folder: three_dots(folder=folder).recipe,
}

_AT_ONCE = ("colour_patches", "digits", "natural_patches", "sprites_multi")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the set that the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vaejax.data", description=__doc__)
    parser.add_argument(
        "name",
        help=f"{', '.join(_RECIPES)}, or a name that tensorflow-datasets knows, as cifar10",
    )
    parser.add_argument(
        "--folder", help="where prepared sets lie (default: $VAEJAX_DATA, else ~/.cache/vaejax)"
    )
    given = parser.parse_args(arguments)
    if given.name in _AT_ONCE:
        print(f"{given.name} needs no preparing: data.{given.name}() makes it from what is installed")
        return 0
    try:
        folder = data_folder(given.folder)
        if given.name in _RECIPES:
            recipe = _RECIPES[given.name](folder)
            directory = prepare(recipe, folder, progress=True)
            splits = {split: load_arrays(recipe, folder, split, progress=True) for split in recipe.splits}
        else:
            directory, splits, _ = tfds_arrays(given.name, folder, progress=True)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing half-done is left, the same command starts again", file=sys.stderr)
        return _INTERRUPTED
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        ours = difflib.get_close_matches(given.name, (*_RECIPES, *_AT_ONCE), cutoff=0.8)
        hint = f"; of vaejax's own, {ours[0]!r}" if ours and given.name not in ours else ""
        print(f"{error}{hint}", file=sys.stderr)
        return 1
    for split, arrays in splits.items():
        print(f"{split}: " + ", ".join(f"{k} {a.dtype} {list(a.shape)}" for k, a in arrays.items()))
    print(f"{given.name} lies in {directory}")
    return 0


if __name__ == "__main__":
    status = main()
    if status == _INTERRUPTED:
        os._exit(status)  # else Python waits until the threads of tensorflow-datasets have their files
    sys.exit(status)
