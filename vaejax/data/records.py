"""What tensorflow-datasets does for us: it writes sets as records, reads them, knows sets by name, downloads.

The only file that imports it, inside the functions that need it: a cached set of our own loads without.
Everything is written as array_record, the format that works without TensorFlow.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import textwrap
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from vaejax.data.cache import Blocks, Field, num_bytes
from vaejax.data.folders import room, sweep, work_folder
from vaejax.data.recipes import Recipe
from vaejax.progress import Bar

_READ_CHUNK = 1000
_SHARD = 2**26  # bytes of examples in one file
_ANSWER_SECONDS = 20
_NAMES_SHOWN = 20
_SHORT = 500  # characters of an error of another library


def download(urls: Mapping[str, str], folder: Path, name: str) -> dict[str, Path]:
    """Return files of the set `name`, {file name: path}, downloaded to `folder/downloads/name` where missing.

    Checksums are those that tensorflow-datasets has for the URLs.

    Raises:
        OSError: they cannot be had, or are not those that the checksums are of.
    """
    import tensorflow_datasets as tfds

    place = folder / "downloads" / name
    sweep(place)
    missing = {file: url for file, url in urls.items() if not (place / file).is_file()}
    if missing:
        with urllib.request.urlopen(next(iter(missing.values())), timeout=_ANSWER_SECONDS):
            pass  # where nothing answers, TFDS would try for minutes
        with work_folder(place) as work, room(place, f"the files of {name}"):
            manager: Any = tfds.download.DownloadManager(download_dir=work, dataset_name=name)
            try:
                paths = manager.download(missing)
            except Exception as error:  # TFDS's own have no common base
                raise OSError(str(error)) from error
            for file, path in paths.items():
                os.replace(path, place / file)
    return {file: place / file for file in urls}


def tfds_builder(name: str, folder: Path) -> Any:
    """The builder of a set of tensorflow-datasets by its name, or of one in `folder` that it wrote elsewhere.

    Raises:
        ValueError: a set, config or version that is neither known to it nor in `folder`, or damaged files.
        RuntimeError: what it knows cannot be used here.
    """
    import tensorflow_datasets as tfds

    base, builder = base_name(name), cast(Any, tfds.builder)  # its decorators hide the signature
    try:
        if not base.isidentifier():
            raise tfds.core.DatasetNotFoundError
        return builder(name, data_dir=folder, file_format="array_record")
    except Exception as error:
        known = _known(base, folder) if base.isidentifier() else set()
        if name in known or name in {one.split(":")[0] for one in known}:
            if (folder / base).is_dir():
                raise _damaged(folder / base, error) from error
            raise RuntimeError(failed(name, folder, error)) from error
        if known:
            shown = ", ".join(map(repr, sorted(known)[:_NAMES_SHOWN])) + ", ..." * (len(known) > _NAMES_SHOWN)
            raise ValueError(f"name: expected one of the sets of {base}, {shown}; got {name!r}") from None
        close = difflib.get_close_matches(base, tfds.list_builders(with_community_datasets=False))
        hint = f"; perhaps {' or '.join(map(repr, close))}" if close else ""
        raise ValueError(f"name: expected a set of tensorflow-datasets, got {name!r}{hint}") from None


def _known(base: str, folder: Path) -> set[str]:
    """All sets of this name, as 'name/config:version': those of tensorflow-datasets and those on disk."""
    import tensorflow_datasets as tfds

    names = {
        path.parent.relative_to(folder).as_posix()
        for depth in ("*", "*/*")
        for path in (folder / base).glob(f"{depth}/dataset_info.json")
    }
    with suppress(ImportError, ValueError):
        names |= set(cast(Any, tfds.core).load.single_full_names(base, current_version_only=False))
    return {":".join(name.rsplit("/", 1)) for name in names}


def failed(name: str, folder: Path, error: Exception) -> str:
    """What to say where a set could not be prepared."""
    said = textwrap.shorten(str(error), _SHORT)
    return f"{name}: could not be prepared or read in {folder}: {said}\n{elsewhere(name, folder)}"


def elsewhere(name: str, folder: Path) -> str:
    """How to come by a set that cannot be prepared here."""
    command = f"tfds build {name} --file_format=array_record --data_dir=DIR"
    return f"On a machine that can prepare it: {command}; then copy DIR/{base_name(name)} to {folder}"


def _damaged(directory: Path, error: Exception) -> ValueError:
    said = textwrap.shorten(str(error), _SHORT)
    return ValueError(
        f"{directory}: expected a whole set, as tensorflow-datasets writes it; got a damaged one ({said}). "
        "Delete this folder, and prepare or copy the set again"
    )


def base_name(name: str) -> str:
    """The name without config and version."""
    return re.split("[/:]", name)[0]


def write(recipe: Recipe, directory: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Write the set to `directory` as TFDS reads it, example after example; yields (split, rows) as it goes.

    TFDS's builders would hold up to a GiB of a split in memory, and fail beyond it without TensorFlow.
    """
    from tensorflow_datasets.core.utils import tqdm_utils

    writer = _writer(recipe, directory)
    writer.initialize_splits(list(recipe.splits))
    with tqdm_utils.tqdm(total=recipe.num_examples, desc=recipe.name, unit=" examples") as bar:
        for split, examples in recipe.blocks():
            rows = {
                name: field.rows(examples, f"{recipe.name}: {name} of {split!r}")
                for name, field in recipe.fields.items()
            }
            writer.add_examples({split: examples})
            yield split, rows
            bar.update(len(examples))
    writer.close_all()


def _writer(recipe: Recipe, directory: Path) -> Any:
    """TFDS's writer of the set's records, to one file for every 256 MiB."""
    import tensorflow_datasets as tfds

    features = {
        name: tfds.features.Tensor(shape=field.shape, dtype=field.dtype, encoding="bytes")
        for name, field in recipe.fields.items()
    }
    directory.mkdir(parents=True)
    identity = cast(Any, tfds.core).dataset_info.DatasetIdentity(
        name=recipe.name, version=recipe.version, data_dir=str(directory), module_name="",
        config_name=recipe.config,
    )  # fmt: skip
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=tfds.features.FeaturesDict(features),
        metadata=tfds.core.MetadataDict(recipe.notes()) if recipe.notes else None,
    )
    return tfds.core.SequentialWriter(
        info, max_examples_per_shard=max(1, _SHARD // num_bytes(recipe.fields, 1)), file_format="array_record"
    )


@contextmanager
def quiet(progress: bool) -> Iterator[None]:
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


def notes_of(directory: Path) -> dict[str, Any]:
    """The notes of a recipe, from the set that was prepared by it."""
    path = directory / "metadata.json"  # where tensorflow-datasets keeps them
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(directory, error) from error


def splits_of(directory: Path) -> list[str]:
    """The names of the splits of a prepared set."""
    import tensorflow_datasets as tfds

    try:
        return list(cast(Any, tfds.builder_from_directory)(directory).info.splits)
    except Exception as error:
        raise _damaged(directory, error) from error


def source_of(directory: Path, split: str) -> Any:
    """The examples of a split of a prepared set: has a length and `__getitems__(places)`."""
    import tensorflow_datasets as tfds

    try:
        return cast(Any, tfds.builder_from_directory)(directory).as_data_source(split)
    except Exception as error:
        raise _damaged(directory, error) from error


def read(source: Any, fields: Mapping[str, Field], split: str, directory: Path) -> Blocks:
    """What `fields` pick of the split's examples, in order."""
    from tensorflow_datasets.core.utils import tqdm_utils

    with tqdm_utils.tqdm(total=len(source), desc=split, unit=" examples") as bar:
        for examples in _some_at_a_time(source, directory):
            yield {
                name: field.rows(examples, f"{directory}: {name} of {split!r}")
                for name, field in fields.items()
            }
            bar.update(len(examples))


def texts_of(directory: Path, split: str, feature: str) -> Iterator[str]:
    """What a text feature of a split of a prepared set holds, example by example."""
    for examples in _some_at_a_time(source_of(directory, split), directory):
        for example in examples:
            text = example[feature]
            yield text.decode("utf-8") if isinstance(text, bytes) else str(text)


def _some_at_a_time(source: Any, directory: Path) -> Iterator[Any]:
    """The examples of a source in order, in lists."""
    for first in range(0, len(source), _READ_CHUNK):
        try:
            examples = source.__getitems__(list(range(first, min(first + _READ_CHUNK, len(source)))))
        except Exception as error:
            raise _damaged(directory, error) from error
        yield examples
