"""Folders of data: where sets lie, and work that is whole or gone, also on a full disk or after a kill."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaejax.files import expanded

_WORK = ".preparing-"
_NEW = ".new-"
_LOCK = "lock"  # a file in every work folder, locked for as long as the process lives that works there
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MIB = 2**20


def data_folder(folder: str | os.PathLike[str] | None) -> Path:
    """The folder of prepared sets: the argument, else $VAEJAX_DATA, else ~/.cache/vaejax; ~ is the home."""
    if folder is None:
        folder = os.environ.get("VAEJAX_DATA") or "~/.cache/vaejax"
    elif not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder: expected a path or None, got {type(folder).__name__} ({folder!r})")
    if not os.fspath(folder):
        raise ValueError("folder: expected a path or None, got an empty one")
    return expanded(folder)


class NoRoomError(OSError):
    """A disk, a quota or a file was full."""


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """A fresh folder in `parent`, removed at the end; a process that is killed leaves it to `sweep`."""
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=parent))
    work = new.with_name(_WORK + new.name.removeprefix(_NEW))
    lock = None
    try:
        lock = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT)
        _lock(lock)
        os.rename(new, work)  # only now, locked, is it a work folder that others look at
        yield work
    finally:
        for folder in (new, work):
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def sweep(*parents: Path) -> None:
    """Remove the work folders in `parents` whose processes are dead."""
    for parent in parents:
        for work in parent.glob(_WORK + "*"):
            if not _in_work(work):
                shutil.rmtree(work, ignore_errors=True)


def _in_work(work: Path) -> bool:
    """Whether a process holds the lock of a work folder, or may: some disks have no locks."""
    try:
        lock = os.open(work / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:  # another user's, or a read-only disk
        return True
    try:
        return not _lock(lock)
    finally:
        os.close(lock)


def _lock(file: int) -> bool:
    """Lock an open file until it is closed, also by the end of the process; False where that fails."""
    import fcntl  # only where sets are prepared: not every system has it

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def room(folder: Path, what: str, size: int | None = None) -> Iterator[None]:
    """Turn what a full disk makes of the block into one OSError: where, what did not fit, its bytes."""
    free = shutil.disk_usage(folder).free
    try:
        yield
    except NoRoomError:  # of a block inside, which knows more
        raise
    except Exception as error:
        number = full_disk(error)
        if number is None:
            raise
        takes = "did not fit" if size is None else f"take {size / _MIB:.1f} MiB"
        if told := re.search("Needed: [^(]*", str(error)):  # tensorflow-datasets looks ahead
            takes = f"did not fit ({told[0].strip().lower()})"
        raise NoRoomError(
            number,
            f"{os.strerror(number)}: {what} {takes}, {free / _MIB:.1f} MiB were free; nothing half-made is "
            "left. Make room, or name another folder",
            str(folder),
        ) from None


def full_disk(error: BaseException | None) -> int | None:
    """The number of the error of a full disk (or quota, or largest file) behind an error, else None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return error.errno
        said = str(error)  # C++ gives no numbers
        for number in _FULL:
            if os.strerror(number) in said:
                return number
        if "Not enough disk space" in said:
            return errno.ENOSPC
        error = error.__cause__ or error.__context__
    return None
