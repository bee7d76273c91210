"""Sets that we make ourselves: prepared once through tensorflow-datasets, then read from .npy files.

The only file that imports tensorflow-datasets, inside the functions that need it: a cached set loads
without. Everything is written as array_record, the format that works without TensorFlow.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

_WORK_PREFIX = ".preparing-"
_STALE_SECONDS = 24 * 3600
_READ_CHUNK = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How to make a set.

    `config` spells everything that the arrays depend on, and is part of the path; `version` moves
    when the same configuration would give other arrays. `features` maps array names to the shape of
    one example, all uint8. `splits` maps split names to a function that yields the examples in order.
    """

    name: str
    config: str
    version: str
    features: Mapping[str, tuple[int, ...]]
    splits: Mapping[str, Callable[[], Iterator[Mapping[str, np.ndarray]]]]


def data_folder(folder: str | os.PathLike[str] | None) -> Path:
    """The folder of prepared sets: the argument, else $VAEJAX_DATA, else ~/.cache/vaejax."""
    if folder is None:
        folder = os.environ.get("VAEJAX_DATA") or "~/.cache/vaejax"
    elif not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder: expected a path or None, got {type(folder).__name__} ({folder!r})")
    return Path(folder).expanduser()


def load_arrays(recipe: Recipe, folder: Path, split: str) -> dict[str, np.ndarray]:
    """Return the read-only arrays of a split, {name: uint8 [N, ...]}, preparing the set where it is missing.

    They lie in `folder/name/config/version`. Whatever appears there was renamed into place when it
    was complete, so an interrupted preparation starts clean and processes may prepare at once.
    """
    directory = folder / recipe.name / recipe.config / recipe.version
    if not directory.is_dir():
        _prepare(recipe, directory)
    paths = {name: directory / f"{split}-{name}.npy" for name in recipe.features}
    if not all(path.is_file() for path in paths.values()):
        _cache(recipe, directory, split, paths)
    arrays = {name: np.load(path) for name, path in paths.items()}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _prepare(recipe: Recipe, directory: Path) -> None:
    _log.info("preparing %s (%s) in %s", recipe.name, recipe.config, directory)
    with _work_folder(directory.parent) as work:
        _write(recipe, work)
        try:
            os.rename(work / recipe.name / recipe.config / recipe.version, directory)
        except OSError:
            if not directory.is_dir():  # else another process was first, with the same data
                raise


def _cache(recipe: Recipe, directory: Path, split: str, paths: Mapping[str, Path]) -> None:
    arrays = _read(recipe, directory, split)
    with _work_folder(directory.parent) as work:
        for name, path in paths.items():
            np.save(work / path.name, arrays[name])
            os.replace(work / path.name, path)


@contextmanager
def _work_folder(parent: Path) -> Iterator[Path]:
    """A fresh folder in `parent`, removed at the end; so are those that killed processes left behind."""
    parent.mkdir(parents=True, exist_ok=True)
    for other in parent.glob(_WORK_PREFIX + "*"):
        try:
            stale = time.time() - other.stat().st_mtime > _STALE_SECONDS
        except FileNotFoundError:  # its process has just finished
            continue
        if stale:
            shutil.rmtree(other, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(recipe: Recipe, folder: Path) -> None:
    """Write the set through TFDS to `folder/name/config/version`."""
    import tensorflow_datasets as tfds

    config = tfds.core.BuilderConfig(name=recipe.config, version=recipe.version)

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = recipe.name
        VERSION = tfds.core.Version(recipe.version)
        BUILDER_CONFIGS: ClassVar = [config]

        def _info(self):
            features = {
                name: tfds.features.Tensor(shape=shape, dtype=np.uint8)
                for name, shape in recipe.features.items()
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,  # the examples stay in the order of their keys
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(make) for split, make in recipe.splits.items()}

        def _generate_examples(self, make):
            return enumerate(make())

    builder = Builder(data_dir=folder, config=config, file_format="array_record")
    # Its bars and its two bold lines would break the lines of a run.
    tfds.disable_progress_bar()
    try:
        with redirect_stdout(StringIO()):
            builder.download_and_prepare()
    finally:
        tfds.enable_progress_bar()  # TFDS's default


def _read(recipe: Recipe, directory: Path, split: str) -> dict[str, np.ndarray]:
    """Read one split from TFDS's files, in order."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(directory)  # its decorators hide the signatures
    source = builder.as_data_source(split)
    arrays = {name: np.empty((len(source), *shape), np.uint8) for name, shape in recipe.features.items()}
    for first in range(0, len(source), _READ_CHUNK):
        rows = range(first, min(first + _READ_CHUNK, len(source)))
        for row, example in zip(rows, source.__getitems__(list(rows)), strict=True):
            for name, array in arrays.items():
                array[row] = example[name]
    return arrays
