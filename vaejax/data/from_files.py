"""Sets as the field publishes them: files looked for, checked, prepared and loaded, all by one function."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from vaejax.data.arrays import Dataset
from vaejax.data.cache import Field
from vaejax.data.finding import found, manual_folder, there
from vaejax.data.folders import data_folder
from vaejax.data.grids import FactorGrid
from vaejax.data.pixels import check_pixels, make_dataset
from vaejax.data.prepare import cached_arrays, prepare
from vaejax.data.published import PUBLISHED
from vaejax.data.recipes import Recipe
from vaejax.data.records import notes_of, source_of
from vaejax.files import expanded

HELD_OUT = 0.1  # the share of "train" that a split gets which the files lack
DRAWN = ("dequantised", "dynamic")  # views that draw something new each time


def published(
    name: str,
    *,
    file: str | os.PathLike[str] | None = None,
    pixels: str | None = None,
    options: Mapping[str, Any] | None = None,
    checksum: bool = True,
    folder: str | os.PathLike[str] | None = None,
) -> Dataset:
    """A set of the field, from the files in which it is published: "dsprites", ...; docs/data.md has all.

    The first call reads the files and prepares the set on disk, `python -m vaejax.data NAME --file PATH`
    shows a bar; later ones need them no more. Nothing is downloaded, and nothing is unpickled.

    Arrays are x: uint8 [N, H, W, C] and, where there are labels or factors, y. Splits that the files lack are
    the last tenth of what is left of the training split.

    Args:
        name: of the set; `python -m vaejax.data` lists all.
        file: the file, or the folder with the files or one that it is. None: the folders
            downloads/manual/NAME and downloads/manual in `folder`.
        pixels: what a model sees of x; see `fashion_mnist`. None: "binary" for sets that store 0 and 1, else
            "unit_interval".
        options: of sets that have some, {name: value}; what they leave out has its default: "celeba" takes
            crop=148 and side=64, "emnist" part="balanced", "qmnist" columns=("class",).
        checksum: whether files whose checksum is known must have it.
        folder: where prepared sets lie; None for $VAEJAX_DATA, else ~/.cache/vaejax.

    Returns:
        A `Dataset`; with `factor_names` where factors are known, and a `FactorGrid`, with `num_values` and
        `sample_images(factors)`, where there is an image of every combination of them (and `pixels` draws
        nothing).

    Raises:
        FileNotFoundError: the files are not there; says where they were looked for and are published.
        ImportError: a package that reads the format is missing; says what to install.
        OSError: the disk is full; nothing half-made is left.
        TypeError, ValueError: another name or argument, other files, or damaged ones.
    """
    check_published(name)
    if pixels is not None:
        check_pixels(pixels)
    place = data_folder(folder)
    directory = prepare_published(name, place, file=file, options=options, checksum=checksum)
    notes, stored = notes_of(directory), stored_arrays(directory)
    view = pixels or PUBLISHED[name].pixels
    size = len(stored["train"]["x"])
    held_out = max(1, round(HELD_OUT * size))
    made = make_dataset(stored, view, num_validation=held_out, num_test=held_out)
    factors = {factor: int(n) for factor, n in notes.get("factors", [])}
    named = replace(made, factor_names=tuple(factors) or None)
    if not notes.get("grid") or view in DRAWN:
        return named
    return FactorGrid(
        named.train, named.validation, named.test, named.factor_names, num_values=tuple(factors.values())
    )


def check_published(name: str) -> None:
    """Raise unless this is the name of a published set."""
    if not isinstance(name, str):
        raise TypeError(f"name: expected a str, got {type(name).__name__} ({name!r})")
    if name not in PUBLISHED:
        close = difflib.get_close_matches(name, PUBLISHED)
        hint = f"; perhaps {' or '.join(map(repr, close))}" if close else ""
        raise ValueError(f"name: expected one of {', '.join(sorted(PUBLISHED))}; got {name!r}{hint}")


def prepare_published(
    name: str,
    folder: Path,
    *,
    file: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    checksum: bool = True,
    progress: bool = False,
) -> Path:
    """Where a set lies in the folder, prepared from its files where it is missing."""
    chosen, config = chosen_options(name, options)
    made = prepared(name, folder, config)
    if made is not None and file is None:
        return made
    paths = find(name, folder, file)
    sizes = {file: path.stat().st_size for file, path in paths.items() if path.is_file()}
    if made is not None:
        before = notes_of(made)["bytes"]
        if before != sizes:
            raise ValueError(
                f"{name}: expected the files that it was prepared from, of {before} bytes; got {sizes}; "
                f"delete {made} to prepare it from these"
            )
        return made
    recipe = PUBLISHED[name].recipe(paths, **chosen)  # which tells a file of another kind at once
    if checksum:
        check_sums(paths, PUBLISHED[name].sha256)
    noted = replace(recipe, config=config, notes=partial(_notes, recipe, sizes))
    return prepare(noted, folder, progress=progress)


def chosen_options(name: str, options: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    """All options of a set, and how its config is called with them.

    Raises:
        TypeError, ValueError: anything but a mapping, or a name that is no option of the set.
    """
    known, options = PUBLISHED[name].options, {} if options is None else options
    if not isinstance(options, Mapping):
        raise TypeError(f"options: expected a mapping or None, got {type(options).__name__}")
    if others := sorted(set(options) - set(known)):
        has = ", ".join(known) or "none"
        raise ValueError(f"options: expected those of {name}, {has}; got {others[0]!r}")
    told = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    chosen = {**known, **told}
    spelled = (f"-{key}_{_spelled(chosen[key])}" for key in sorted(chosen) if chosen != known)
    return chosen, "published" + "".join(spelled)


def _spelled(value: Any) -> str:
    """An option in the name of a folder."""
    return "_".join(map(str, value)) if isinstance(value, tuple) else str(value)


def prepared(name: str, folder: Path, config: str = "published") -> Path | None:
    """Where a published set lies that is prepared; None where it is not."""
    made = [path.parent for path in sorted((folder / name / config).glob("*/metadata.json"))]
    return made[-1] if made else None


def stored_arrays(directory: Path, *, progress: bool = False) -> dict[str, dict[str, Any]]:
    """The arrays of all splits of a published set that is prepared, by what its notes say of them."""
    notes = notes_of(directory)
    fields = {
        name: Field(tuple(shape), np.dtype(dtype), itemgetter(name))
        for name, (dtype, shape) in notes["arrays"].items()
    }
    sources = {split: partial(source_of, directory, split) for split in notes["splits"]}
    return {
        split: cached_arrays(directory, split, fields, source, progress=progress)
        for split, source in sources.items()
    }


def _notes(recipe: Recipe, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What is kept beside a set, so that it is loaded without its files."""
    arrays = {name: [np.dtype(f.dtype).str, f.shape] for name, f in recipe.fields.items()}
    own = recipe.notes() if recipe.notes else {}
    return {**own, "arrays": arrays, "splits": list(recipe.splits), "bytes": dict(sizes)}


def looked_for(folder: Path, name: str) -> list[Path]:
    """The folders in which the files of a set are looked for."""
    manual = manual_folder(folder, name)
    return [manual, manual.parent]


def lying_in(place: Path, name: str) -> dict[str, Path]:
    """{name: path} of the files of a set, in one of its forms; {} where the folder has not all of them."""
    for form in (PUBLISHED[name].files, PUBLISHED[name].unpacked):
        if form and len(paths := found(place, form)) == len(form):
            return paths
    return {}


def find(name: str, folder: Path, file: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """{name: path} of the files of a published set: `file`, or those in the folders for them.

    Raises:
        FileNotFoundError: they are not there; says where they were looked for and are published.
    """
    files, unpacked = PUBLISHED[name].files, PUBLISHED[name].unpacked
    places = looked_for(folder, name) if file is None else [expanded(file, "file")]
    for place in places:
        if paths := lying_in(place, name):
            return paths
        for form in (files, unpacked):
            itself = len(form) == 1 and file is not None and place.exists()
            if itself and place.is_dir() == form[0].endswith("/"):
                return {form[0]: place}
    looked = " ".join(there(place, files) for place in places)
    what = "file" if len(files) == 1 else "folder"
    also = f", or {', '.join(unpacked)}," if unpacked else ""
    raise FileNotFoundError(
        f"{name}: expected {', '.join(files)}{also} in one folder. {looked} They are published at "
        f"{PUBLISHED[name].source}; put them into {manual_folder(folder, name)}, or name the {what}: "
        f"python -m vaejax.data {name} --file PATH"
    )


def check_sums(paths: Mapping[str, Path], sha256: Mapping[str, str]) -> None:
    """Raise ValueError for a file that has another checksum than the published one.

    A file that was unpacked, or packed by somebody else, is not compared: its name says so by its ".gz".
    """
    for file, expected in sha256.items():
        if file not in paths or paths[file].suffix != Path(file).suffix:
            continue
        with open(paths[file], "rb") as opened:
            got = hashlib.file_digest(opened, "sha256").hexdigest()
        if got != expected:
            raise ValueError(
                f"{paths[file]}: expected the published {file}, of SHA-256 {expected}; got {got}. Fetch it "
                "again or, where you know that it is right, leave this check out: checksum=False, "
                "--no-checksum"
            )
