"""Sets on disk: prepared once through tensorflow-datasets, then read from .npy files.

The only file that imports tensorflow-datasets, inside the functions that need it: a cached set of our own
loads without. Everything is written as array_record, the format that works without TensorFlow.
"""

from __future__ import annotations

import difflib
import importlib.util
import logging
import os
import re
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vaejax.files import expanded
from vaejax.progress import Bar

_WORK_PREFIX = ".preparing-"
_STALE_SECONDS = 24 * 3600
_READ_CHUNK = 1000
_ANSWER_SECONDS = 20

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


class Field(NamedTuple):
    """What becomes of the examples of a source: `pick(example)`, one row of an array of this type."""

    shape: tuple[int, ...]
    dtype: Any
    pick: Callable[[Mapping[str, Any]], Any]


def data_folder(folder: str | os.PathLike[str] | None) -> Path:
    """The folder of prepared sets: the argument, else $VAEJAX_DATA, else ~/.cache/vaejax."""
    if folder is None:
        folder = os.environ.get("VAEJAX_DATA") or "~/.cache/vaejax"
    elif not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder: expected a path or None, got {type(folder).__name__} ({folder!r})")
    return expanded(folder)


def load_arrays(recipe: Recipe, folder: Path, split: str, *, progress: bool = False) -> dict[str, np.ndarray]:
    """Return the read-only arrays of a split, {name: uint8 [N, ...]}; prepares the set where missing."""
    directory = prepare(recipe, folder)
    fields = {name: Field(shape, np.uint8, itemgetter(name)) for name, shape in recipe.features.items()}
    return cached_arrays(directory, split, fields, lambda: _source(directory, split), progress=progress)


def prepare(recipe: Recipe, folder: Path, *, progress: bool = False) -> Path:
    """Return `folder/name/config/version`, where the set lies, making it where it is missing.

    Whatever appears there was renamed into place when it was complete, so an interrupted preparation
    starts clean and processes may prepare at once. `progress` shows tensorflow-datasets' bars.
    """
    directory = folder / recipe.name / recipe.config / recipe.version
    if directory.is_dir():
        return directory
    _log.info("preparing %s (%s) in %s", recipe.name, recipe.config, directory)
    with _work_folder(directory.parent) as work, _quiet(progress):
        _write(recipe, work)
        try:
            os.rename(work / recipe.name / recipe.config / recipe.version, directory)
        except OSError:
            if not directory.is_dir():  # else another process was first, with the same data
                raise
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

    They are mapped, not read: slices of a set larger than the memory cost what they hold.
    """
    paths = {name: directory / f"{split}-{name}.npy" for name in fields}
    if not all(path.is_file() for path in paths.values()):
        with _work_folder(directory.parent) as work:
            made = {name: work / path.name for name, path in paths.items()}
            with _quiet(progress):
                _read(source(), fields, made, split)
            for path in paths.values():
                os.replace(work / path.name, path)
    return {name: np.load(path, mmap_mode="r") for name, path in paths.items()}


def download(urls: Mapping[str, str], folder: Path, name: str) -> dict[str, Path]:
    """Return files of the set `name`, {file name: path}, downloaded to `folder/downloads/name` where missing.

    Checksums are those that tensorflow-datasets has for the URLs.

    Raises:
        OSError: they cannot be had, or are not those that the checksums are of.
    """
    import tensorflow_datasets as tfds

    place = folder / "downloads" / name
    missing = {file: url for file, url in urls.items() if not (place / file).is_file()}
    if missing:
        with urllib.request.urlopen(next(iter(missing.values())), timeout=_ANSWER_SECONDS):
            pass  # where nothing answers, TFDS would try for minutes
        with _work_folder(place) as work:
            manager: Any = tfds.download.DownloadManager(download_dir=work, dataset_name=name)
            try:
                paths = manager.download(missing)
            except Exception as error:  # TFDS's own have no common base
                raise OSError(str(error)) from error
            for file, path in paths.items():
                os.replace(path, place / file)
    return {file: place / file for file in urls}


def tfds_sources(name: str, folder: Path, *, progress: bool = False) -> tuple[Path, Mapping[str, Any]]:
    """Return where a set of tensorflow-datasets lies and its data sources by split; prepared if missing.

    Raises:
        ValueError: a name that tensorflow-datasets does not know.
        ImportError: it must be prepared, and TensorFlow, which that takes, is not installed.
        RuntimeError: it could not be prepared or read.
    """
    import tensorflow_datasets as tfds

    load: Any = tfds.data_source  # its decorators hide the signature
    tensorflow = importlib.util.find_spec("tensorflow") is not None  # without, it fails after the download
    try:
        if not _base(name).isidentifier():
            raise tfds.core.DatasetNotFoundError
        with _quiet(progress):
            arguments = {"data_dir": folder, "builder_kwargs": {"file_format": "array_record"}}
            sources = load(name, download=tensorflow, **arguments)
    except tfds.core.DatasetNotFoundError:
        close = difflib.get_close_matches(_base(name), tfds.list_builders(with_community_datasets=False))
        hint = f"; perhaps {' or '.join(map(repr, close))}" if close else ""
        raise ValueError(f"name: expected a set of tensorflow-datasets, got {name!r}{hint}") from None
    except Exception as error:
        raise RuntimeError(
            f"{name}: could not be prepared or read in {folder}: {error}\n{_elsewhere(name, folder)}"
        ) from error
    if not sources:  # what data_source returns for a set that is not there
        raise ImportError(
            f"{name}: expected TensorFlow, with which tensorflow-datasets writes images; pip install "
            f"tensorflow\n{_elsewhere(name, folder)}"
        )
    return Path(next(iter(sources.values())).dataset_info.data_dir), sources


def _elsewhere(name: str, folder: Path) -> str:
    command = f"tfds build {name} --file_format=array_record --data_dir=DIR"
    return f"On a machine that can prepare it: {command}; then copy DIR/{_base(name)} to {folder}"


def _base(name: str) -> str:
    """The name without config and version."""
    return re.split("[/:]", name)[0]


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

    Builder(data_dir=folder, config=config, file_format="array_record").download_and_prepare()


@contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    """Silence TFDS: its two bold lines and, unless wanted, its bars would break the lines of a run."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import tqdm_utils

    bars: Any = tqdm_utils.tqdm_lib
    if not progress:
        tfds.disable_progress_bar()
    tqdm_utils.tqdm_lib = SimpleNamespace(tqdm=Bar)  # its own write a line for every update of a log file
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        tqdm_utils.tqdm_lib = bars
        tfds.enable_progress_bar()  # TFDS's default


def _source(directory: Path, split: str) -> Any:
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(directory)  # its decorators hide the signatures
    return builder.as_data_source(split)


def _read(source: Any, fields: Mapping[str, Field], paths: Mapping[str, Path], split: str) -> None:
    """Write what `fields` pick of the split's examples, in order, to .npy files."""
    from tensorflow_datasets.core.utils import tqdm_utils

    arrays = {
        name: np.lib.format.open_memmap(paths[name], "w+", field.dtype, (len(source), *field.shape))
        for name, field in fields.items()
    }
    with tqdm_utils.tqdm(total=len(source), desc=split, unit=" examples") as bar:
        for first in range(0, len(source), _READ_CHUNK):
            rows = range(first, min(first + _READ_CHUNK, len(source)))
            for row, example in zip(rows, source.__getitems__(list(rows)), strict=True):
                for name, field in fields.items():
                    arrays[name][row] = field.pick(example)
            bar.update(len(rows))
