"""Values in few letters: settings, seeds, times."""

from __future__ import annotations

from typing import Any

__all__ = ["duration", "seeds_text", "short"]


def short(value: Any) -> str:
    """A value in few letters, and different ones in different letters."""
    few = isinstance(value, float) and float(f"{value:g}") == value
    return f"{value:g}" if few else str(value)


def seeds_text(seeds: set[int]) -> str:
    """Seeds in few letters, as "seeds 0 to 3"."""
    first, last = min(seeds, default=0), max(seeds, default=0)
    if len(seeds) > 2 and len(seeds) == last - first + 1:
        return f"seeds {first} to {last}"
    return "" if not seeds else f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}"


def duration(seconds: float) -> str:
    """A time in its two largest units, as 4 min 50 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size, below, parts in (("d", 86400, "h", 24), ("h", 3600, "min", 60), ("min", 60, "s", 60)):
        if seconds >= size:
            whole, rest = divmod(round(seconds / size * parts), parts)
            return f"{whole} {unit} {rest} {below}" if rest else f"{whole} {unit}"
    return f"{seconds:.0f} s"
