"""Compiled programs that outlive their process: jax's persistent cache, beside the runs that fill it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

__all__ = ["programs_kept"]

_VARIABLE = "JAX_COMPILATION_CACHE_DIR"  # jax reads it when it is imported


@contextlib.contextmanager
def programs_kept(folder: Path) -> Iterator[None]:
    """Keep what takes jax a second or more to compile within, and find it again: in .jax_cache beside a run.

    So do processes that are started within. Where jax has a cache already, such as that of
    JAX_COMPILATION_CACHE_DIR, it stays the one; and a .jax_cache of another user is not touched: programs are
    machine code, and jax runs what it finds.

    Args:
      folder: a run folder. Programs are not kept inside, so that it stays plain data, which one may be given.
    """
    place = folder.absolute().parent / ".jax_cache"
    if jax.config.jax_compilation_cache_dir or not _is_mine(place):  # pyright: ignore
        yield
        return
    _use(str(place))
    os.environ[_VARIABLE] = str(place)
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
        _use(None)


def _is_mine(place: Path) -> bool:
    """Whether the folder, which is made where there is none, belongs to this user."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return not hasattr(os, "getuid") or place.stat().st_uid == os.getuid()


def _use(place: str | None) -> None:
    compilation_cache.reset_cache()  # it is opened once, by the first program
    jax.config.update("jax_compilation_cache_dir", place)
