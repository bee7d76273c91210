"""Sets on disk: prepared once through tensorflow-datasets, then read from .npy files."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaejax.data import records
from vaejax.data.cache import Field, array_files, array_paths, num_bytes, read_arrays
from vaejax.data.folders import full_disk, room, sweep, work_folder
from vaejax.data.recipes import Recipe

_log = logging.getLogger(__name__)


def load_arrays(recipe: Recipe, folder: Path, split: str, *, progress: bool = False) -> dict[str, np.ndarray]:
    """Return the read-only arrays of a split, {name: uint8 [N, ...]}; prepares the set where missing."""
    directory = prepare(recipe, folder, progress=progress)
    return cached_arrays(
        directory, split, recipe.fields, lambda: records.source_of(directory, split), progress=progress
    )


def prepare(recipe: Recipe, folder: Path, *, progress: bool = False) -> Path:
    """Return `folder/name/config/version`, where the set lies, making it where it is missing.

    Whatever appears there, records and arrays, was renamed into place when it was complete, so an interrupted
    preparation starts clean and processes may prepare at once. `progress` shows tensorflow-datasets' bars.
    """
    directory = folder / recipe.name / recipe.config / recipe.version
    sweep(*(folder / recipe.name).glob("*"), folder / "downloads" / recipe.name)
    if directory.is_dir():
        return directory
    _log.info("preparing %s (%s) in %s", recipe.name, recipe.config, directory)
    with work_folder(directory.parent) as work, records.quiet(progress):
        made = work / recipe.version
        with room(directory.parent, f"the set {recipe.name}"), ExitStack() as stack:
            blocks, files = records.write(recipe, made), {}
            for split, block in blocks:
                if split not in files:
                    paths = array_paths(made, split, recipe.fields)
                    files[split] = stack.enter_context(array_files(paths, recipe.fields))
                files[split](block)
        _move(made, directory)
    return directory


def cached_arrays(
    directory: Path,
    split: str,
    fields: Mapping[str, Field],
    source: Callable[[], Any],
    *,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Return the arrays of a split from their .npy files in `directory`, made from `source()` at first.

    Where nothing can be written, they are read from the records into memory.
    """
    paths = array_paths(directory, split, fields)
    if all(path.is_file() for path in paths.values()):
        return read_arrays(paths, fields)
    if not all(os.access(folder, os.W_OK) for folder in (directory, directory.parent)):
        _log.info("%s: read into memory, since nothing can be written there", directory)
        with records.quiet(progress):
            blocks = list(records.read(source(), fields, split, directory))
        arrays = {name: np.concatenate([block[name] for block in blocks]) for name in fields}
        for array in arrays.values():
            array.flags.writeable = False  # as those mapped from files
        return arrays
    with work_folder(directory.parent) as work, records.quiet(progress):
        _write_split(source(), split, fields, work, directory)
        for path in paths.values():
            os.replace(work / path.name, path)
    return read_arrays(paths, fields)


def prepare_tfds(
    builder: Any,
    name: str,
    folder: Path,
    fields: Mapping[str, Field],
    splits: Sequence[str],
    *,
    progress: bool = False,
) -> tuple[Path, dict[str, Callable[[], Any]]]:
    """Return where a set lies, and {split: function that gives its source}; prepares it where missing.

    A set that is prepared here has its arrays, `fields` of `splits`, from the start.

    Raises:
        ImportError: it must be prepared, and TensorFlow, which that takes, is not installed.
        OSError: the disk is full.
        RuntimeError: it could not be prepared.
        ValueError: its files are damaged.
    """
    directory, parent = Path(builder.data_dir), folder / records.base_name(name)
    sweep(parent, directory.parent)
    if not directory.is_dir():
        if importlib.util.find_spec("tensorflow") is None:  # without, it fails after the download
            raise ImportError(
                f"{name}: expected TensorFlow, with which tensorflow-datasets writes images; pip install "
                f"tensorflow\n{records.elsewhere(name, folder)}"
            )
        with work_folder(parent) as work, records.quiet(progress):
            made = _build(name, folder, work)
            for split in splits:
                if split in records.splits_of(made):
                    _write_split(records.source_of(made, split), split, fields, made, parent)
            directory.parent.mkdir(parents=True, exist_ok=True)
            _move(made, directory)
    return directory, {
        split: partial(records.source_of, directory, split) for split in records.splits_of(directory)
    }


def _build(name: str, folder: Path, work: Path) -> Path:
    """Let tensorflow-datasets prepare a set in `work`; what it downloads stays in `folder`."""
    builder = records.tfds_builder(name, work)
    try:
        with room(work.parent, f"the set {name}"):
            builder.download_and_prepare(download_dir=folder / "downloads")
    except Exception as error:
        if full_disk(error):
            raise
        raise RuntimeError(records.failed(name, folder, error)) from error
    return Path(builder.data_dir)


def _move(made: Path, directory: Path) -> None:
    try:
        os.rename(made, directory)
    except OSError:
        if not directory.is_dir():  # else another process was first, with the same data
            raise


def _write_split(source: Any, split: str, fields: Mapping[str, Field], target: Path, folder: Path) -> None:
    """Write the .npy files of a split to `target`; an error of a full disk names `folder`."""
    with (
        room(folder, f"the arrays of split {split!r}", num_bytes(fields, len(source))),
        array_files(array_paths(target, split, fields), fields) as write,
    ):
        for block in records.read(source, fields, split, folder):
            write(block)
