"""Published files by their names, wherever they lie: loose, in folders, in zip or tar archives."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

REMEDY = "; delete it and fetch it again"
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError)
_SHOWN = 6


class Found(NamedTuple):
    """A file: how it is opened, what it is called in errors, its bytes as they lie there."""

    open: Callable[[], Any]
    where: str
    size: int


class Files(NamedTuple):
    """Files by their last names."""

    found: Mapping[str, Found]
    paths: tuple[Path, ...]

    def missing(self, *names: str) -> list[str]:
        """Which of the names are not there."""
        return [name for name in names if not self._has(name)]

    def __getitem__(self, name: str) -> Found:
        """The file of that name, or of that name with .gz.

        Raises:
            FileNotFoundError: it is not there; says what is.
        """
        if not (key := self._has(name)):
            there = sorted(self.found)
            more = ", ..." * (len(there) > _SHOWN)
            places = ", ".join(map(str, self.paths)) or "no files"
            got = ", ".join(there[:_SHOWN]) + more or "nothing"
            raise FileNotFoundError(f"{places}: expected a file {name}, got {got}")
        return self.found[key]

    def _has(self, name: str) -> str | None:
        return next((key for key in (name, f"{name}.gz") if key in self.found), None)

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """The bytes of a file, unpacked where it is gzipped.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it turns out to be damaged while it is read.
        """
        found = self[name]
        with whole(found.where), found.open() as file:
            yield gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == _GZIP else file


def path_of(paths: Mapping[str, Path], name: str) -> Path:
    """The path of the file of that name; FileNotFoundError where it is not there."""
    if name not in paths or not paths[name].is_file():
        there = ", ".join(str(path) for path in paths.values()) or "no files"
        raise FileNotFoundError(f"expected the file {name}, got {there}")
    return paths[name]


@contextmanager
def whole(where: Any) -> Iterator[None]:
    """Turn what a damaged archive makes of the block into one ValueError that names it."""
    try:
        yield
    except _DAMAGED as error:
        kind = "gzip file" if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error) else "archive"
        raise ValueError(f"{where}: expected a whole {kind}, got a damaged one ({error}){REMEDY}") from error


@contextmanager
def files(paths: Mapping[str, Path]) -> Iterator[Files]:
    """The files that `paths` names {name: path}, and those inside its folders and archives.

    Archives are told by their endings, .zip, .tar, .tar.gz, .tgz; they stay open inside the block.

    Raises:
        ValueError: a damaged archive, or something else under the name of one.
    """
    with ExitStack() as stack:
        found: dict[str, Found] = {}
        for name, path in paths.items():
            if path.is_dir():
                inside = _of_folder(path)
            elif path.name.endswith(_ARCHIVES):
                with whole(path):
                    inside = (_of_zip if path.suffix == ".zip" else _of_tar)(path, stack)
            else:
                inside = [(name, Found(partial(open, path, "rb"), str(path), path.stat().st_size))]
            for member, one in inside:
                found.setdefault(PurePosixPath(member).name, one)
        yield Files(found, tuple(paths.values()))


def _of_folder(path: Path) -> Iterator[tuple[str, Found]]:
    for inside in path.rglob("*"):
        if inside.is_file():
            yield inside.name, Found(partial(open, inside, "rb"), str(inside), inside.stat().st_size)


def _of_zip(path: Path, stack: ExitStack) -> list[tuple[str, Found]]:
    _check_start(path, _ZIP, "a zip archive")
    archive = stack.enter_context(zipfile.ZipFile(path))
    return [
        (info.filename, Found(partial(archive.open, info), f"{path}/{info.filename}", info.file_size))
        for info in archive.infolist()
        if not info.is_dir()
    ]


def _of_tar(path: Path, stack: ExitStack) -> list[tuple[str, Found]]:
    if path.suffix != ".tar":
        _check_start(path, _GZIP, "a gzipped tar archive")
    archive = stack.enter_context(tarfile.TarFile.open(path))
    return [
        (info.name, Found(partial(archive.extractfile, info), f"{path}/{info.name}", info.size))
        for info in archive
        if info.isfile()
    ]


def _check_start(path: Path, start: bytes, kind: str) -> None:
    """Raise unless the file starts so: what a server answers in place of it is told at once."""
    with open(path, "rb") as file:
        got = file.read(len(start))
    if got != start:
        raise ValueError(f"{path}: expected {kind}, got a file that starts with {got!r}{REMEDY}")
