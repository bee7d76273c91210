"""Files that a set is made of: which of them a folder has, under the names that people find them with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_OTHERS_SHOWN = 6


def manual_folder(folder: Path, name: str) -> Path:
    """Where the files of a set are looked for, in the folder of prepared sets."""
    return folder / "downloads" / "manual" / name


def found(place: Path, files: Sequence[str]) -> dict[str, Path]:
    """{name: path} of those that a folder has; a name that ends in "/" is a folder's.

    A file is found gzipped or not, whichever its name says, and as 7-zip names what it unpacks.
    """
    paths: dict[str, Path] = {}
    for file in files:
        plain = file.removesuffix(".gz")
        names = [f"{base}{end}" for end in ("", ".gz") for base in (plain, plain.replace("-idx", ".idx"))]
        for path in (place / name for name in names):
            if path.is_dir() if file.endswith("/") else path.is_file():
                paths.setdefault(file, path)
    return paths


def there(place: Path, files: Sequence[str]) -> str:
    """What a folder has of the files, what it lacks and what else lies there."""
    if not place.is_dir():
        return f"{place}: no such folder."
    paths = found(place, files)
    missing = [file for file in files if file not in paths]
    has = [path.name for path in paths.values()]
    others = sorted({path.name for path in place.iterdir()} - set(has))
    if len(others) > _OTHERS_SHOWN:
        others = [*others[:_OTHERS_SHOWN], "..."]
    also = f", also {', '.join(others)}" if others else ""
    return f"{place}: has {', '.join(has) or 'none of them'}, lacks {', '.join(missing)}{also}."
