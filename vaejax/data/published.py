"""The sets of the field that are read from the files in which they are published: a line for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vaejax.data import factor_files
from vaejax.data.records import Recipe


@dataclass(frozen=True)
class Published:
    """A set as it is published.

    `files`: the names of the files that it takes, those of folders with a "/" at the end; they are found with
    ".gz" and without. `recipe(paths)`: of {name in `files`: path}, checks the files and says how the arrays
    are made. `about`: one line, what the images are, how many, their factors. `source`: where the files are
    published, and what documents them. `sha256`: {name in `files`: checksum} where they are known. `pixels`:
    what a model sees unless it is told otherwise.
    """

    files: tuple[str, ...]
    recipe: Callable[[Mapping[str, Path]], Recipe]
    about: str
    source: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    pixels: str = "unit_interval"


PUBLISHED: Mapping[str, Published] = {
    "dsprites": Published(
        files=(factor_files.DSPRITES,),
        recipe=factor_files.dsprites_recipe,
        about="737 280 binary 64x64 sprites; shape 3, scale 6, orientation 40, x 32, y 32",
        source="https://github.com/google-deepmind/dsprites-dataset",
        pixels="binary",
    ),
}
