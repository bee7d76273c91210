"""The progress bar of everything here: tqdm's, but for log files, where it is a line every 30 seconds."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

__all__ = ["Bar", "watching"]

SECONDS = 30.0


class Bar(tqdm):
    """tqdm's bar where somebody sees it move; else lines of their own, at least 30 seconds apart.

    A terminal and a notebook are redrawn as tqdm does. In a file or a pipe each redrawing would be one more
    line: there the first state, the last and one every 30 seconds are written, however often the bar moves.

    Args:
      *args, **options: those of `tqdm.tqdm`.
    """

    _time: Callable[[], float]  # tqdm's clock

    def __init__(self, *args: Any, **options: Any):
        stream = options.get("file") or sys.stderr
        self._seldom = not _is_seen(stream)
        self._next = -math.inf
        if self._seldom:
            options |= {"file": _Lines(stream), "mininterval": SECONDS, "miniters": 1, "position": 0}
        super().__init__(*args, **options)

    def refresh(self, *args: Any, **options: Any) -> Any:
        """Redraw the bar, if it is time."""
        if self._seldom and not self.disable:
            now = self._time()
            if now < self._next:
                return None
            self._next = now + SECONDS
        return super().refresh(*args, **options)


@contextlib.contextmanager
def watching(
    title: str, total: int, done: Callable[[], int], *, unit: str = "step", told: Callable[[], str] = str
) -> Iterator[None]:
    """Show `done()` of `total` steps, by whichever process they are done, and what `told()` says."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            look()
            shown.refresh()

    def look() -> None:
        shown.n = done()
        shown.set_postfix_str(told(), refresh=False)

    with Bar(total=total, initial=done(), desc=title, unit=unit) as shown:
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            look()


class _Lines:
    """A stream that gets what a bar writes as lines, without what moves a cursor."""

    def __init__(self, stream: Any):
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line and line != self._last:  # the end is often shown already
            self._stream.write(line + "\n")
            self._last = line

    def flush(self) -> None:
        self._stream.flush()


def _is_seen(stream: Any) -> bool:
    """Whether what is written is a terminal or the output of a notebook's cell."""
    terminal = getattr(stream, "isatty", lambda: False)()
    return terminal or type(stream).__module__.startswith("ipykernel")
