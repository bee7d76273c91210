"""Where sentences come from: files of lines, Debian's King James Bible, text sets of tensorflow-datasets."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaejax.data import records
from vaejax.data.prepare import prepare_tfds
from vaejax.files import expanded

BIBLE = "bible_kjv"
_BIBLE_FILE = Path("/usr/lib/bible.data")  # of Debian's bible-kjv-text
_HEADER = 92  # its bytes before the places of the windows; the last four are their number
_SPLITS = ("train", "validation", "test")
_FILES = {"train": ("train",), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}


class Corpus(NamedTuple):
    """Lines of text, in splits of which it has "train" at least; `identity` is another for another text."""

    name: str
    identity: str
    lines: Mapping[str, Callable[[], Iterator[str]]]


def corpus(source: str | os.PathLike[str], feature: str, folder: Path, progress: bool = False) -> Corpus:
    """The corpus that `data.sentences` names so.

    Raises:
        FileNotFoundError: a path that is not there, or the Bible is not installed.
        ImportError, OSError, RuntimeError, ValueError: as `data.sentences`.
    """
    if isinstance(source, str) and source == BIBLE:
        return _bible(_BIBLE_FILE)
    path = expanded(source)
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return Corpus(_plain(path.stem), _digest(path), {"train": partial(_file_lines, path)})
    if not isinstance(source, str) or path.suffix or source.startswith(("/", ".", "~")):
        raise FileNotFoundError(f"source: expected a file of sentences or a folder of such, got {path}")
    return _of_tfds(source, feature, folder, progress)


def _of_folder(path: Path) -> Corpus:
    files = {
        split: next((p for name in names if (p := path / f"{name}.txt").is_file()), None)
        for split, names in _FILES.items()
    }
    found = {split: file for split, file in files.items() if file is not None}
    if "train" not in found:
        raise FileNotFoundError(
            f"{path}: expected train.txt, and if there are such validation.txt (or valid.txt) and test.txt"
        )
    identity = hashlib.sha1("".join(_digest(file) for file in found.values()).encode()).hexdigest()[:12]
    return Corpus(_plain(path.name), identity, {s: partial(_file_lines, f) for s, f in found.items()})


def _file_lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:  # some editors begin with a mark
            yield from file
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8, got {error}") from None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()[:12]


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name)[:40] or "text"


def _bible(path: Path) -> Corpus:
    """The King James Bible, a verse a line, from the file that Debian's `bible` program reads."""
    if not path.is_file():
        raise FileNotFoundError(f"{BIBLE}: expected {path}, as Debian's bible-kjv-text installs it")
    return Corpus(BIBLE, _digest(path), {"train": partial(_verses, path)})


def _verses(path: Path) -> Iterator[str]:
    for line in _unpacked(path).decode("latin-1").splitlines():
        found = re.match(r"\w+:\d+ +(.*)", line)  # Ge1:1 In the beginning ...; the first line is a title
        if found:
            yield found[1]


def _unpacked(path: Path) -> bytes:
    """The text of a file of windows, each packed by compress(1) without its own header."""
    packed = path.read_bytes()
    if packed[:4] != b"EC02" or len(packed) < _HEADER:
        raise ValueError(f"{path}: expected a compressed data file of the bible program, got another one")
    windows = int.from_bytes(packed[_HEADER - 4 : _HEADER], "big")
    starts = np.frombuffer(packed, ">u4", windows + 1, _HEADER).tolist()  # the last is the end
    try:
        return b"".join(_window(packed[a:b]) for a, b in itertools.pairwise(starts))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{BIBLE}: expected the program gzip, which unpacks it") from error
    except subprocess.CalledProcessError as error:
        raise ValueError(f"{path}: expected what gzip unpacks; it said {error.stderr!r}") from error


def _window(packed: bytes) -> bytes:
    """Unpack one; gzip knows the format by the three bytes of its header: up to 16 bits, in blocks."""
    header = b"\x1f\x9d\x90"
    return subprocess.run(["gzip", "-dc"], input=header + packed, capture_output=True, check=True).stdout


def _of_tfds(name: str, feature: str, folder: Path, progress: bool) -> Corpus:
    builder: Any = records.tfds_builder(name, folder)
    features = builder.info.features
    known = list(features) if hasattr(features, "keys") else []
    if feature not in known or features[feature].np_dtype not in (object, str, bytes):
        raise ValueError(f"{name}: expected a text feature {feature!r}, got {', '.join(known) or features}")
    directory, sources = prepare_tfds(builder, name, folder, {}, (), progress=progress)
    if "train" not in sources:
        raise ValueError(f"{name}: expected a split 'train', got {', '.join(map(repr, sources)) or 'none'}")
    lines = {s: partial(_tfds_lines, directory, s, feature) for s in _SPLITS if s in sources}
    return Corpus(_plain(directory.relative_to(folder).as_posix()), _plain(feature), lines)


def _tfds_lines(directory: Path, split: str, feature: str) -> Iterator[str]:
    for text in records.texts_of(directory, split, feature):
        yield from text.splitlines()
