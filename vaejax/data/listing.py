"""The list of all sets: what each is, what it needs, where that was looked for, what is prepared."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vaejax.data.finding import manual_folder
from vaejax.data.from_files import looked_for, lying_in
from vaejax.data.published import PUBLISHED

MADE: Mapping[str, str] = {
    "mini_sprites": "20736 binary or grey 32x32 sprites; shape 3, scale 4, orientation 12, x 12, y 12",
    "three_dots": "54000 grey 64x64 images of three dots; x0, y0, x1, y1, x2, y2 of 64 each",
}
AT_ONCE: Mapping[str, str] = {
    "colour_patches": "3493 colour 16x16 patches of scikit-image's photographs",
    "digits": "1797 grey 8x8 digits of scikit-learn; 10 classes",
    "natural_patches": "54000 grey 16x16 patches of scikit-image's photographs, whitened",
    "sprites_multi": "54000 colour 64x64 figures of four movable parts; eight factors of 40",
}
DOWNLOADED: Mapping[str, str] = {
    "fashion_mnist": "70000 grey 28x28 pictures of clothes; 10 classes",
    "mnist": "70000 grey 28x28 handwritten digits; 10 classes",
}
_WIDTH = 110


def listing(folder: Path) -> str:
    """Every set by name, in a few lines each."""
    lines = [f"Prepared sets lie in {folder}; --folder or $VAEJAX_DATA names another one.", ""]
    entries = {
        **{name: (about, _made(folder / name, "it is made here")) for name, about in MADE.items()},
        **{name: (about, [f"data.{name}() makes it at once"]) for name, about in AT_ONCE.items()},
        **{name: (about, _downloaded(folder, name)) for name, about in DOWNLOADED.items()},
        **{
            name: (entry.about, [*_options(name), *_published(folder, name)])
            for name, entry in PUBLISHED.items()
        },
    }
    for name in sorted(entries):
        about, state = entries[name]
        lines += [name, *_indented(about), *(line for text in state for line in _indented(text))]
    lines += ["", "Any other name is one of tensorflow-datasets, as stl10: data.from_tfds."]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="    ", subsequent_indent="      ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _prepared(place: Path) -> Iterator[str]:
    """A line for each configuration of a set that is prepared: where it lies, and the sizes of its splits."""
    for info in sorted(place.glob("*/*/dataset_info.json")):
        sizes = {
            path.name.removesuffix("-x.npy"): np.load(path, mmap_mode="r").shape
            for path in sorted(info.parent.glob("*-x.npy"))
        }
        shown = ", ".join(f"{split} {' x '.join(map(str, shape))}" for split, shape in sizes.items())
        yield f"prepared in {info.parent}: {shown or 'records only'}"


def _made(place: Path, otherwise: str) -> list[str]:
    return list(_prepared(place)) or [f"not prepared yet: {otherwise}"]


def _downloaded(folder: Path, name: str) -> list[str]:
    manual = manual_folder(folder, name)
    return _made(folder / name, f"its four IDX files are taken from {manual}, else downloaded")


def _options(name: str) -> list[str]:
    known = PUBLISHED[name].options
    return [f"options: {', '.join(f'{key}={value!r}' for key, value in known.items())}"] if known else []


def _published(folder: Path, name: str) -> list[str]:
    """The state of a published set; of one that is not prepared, its files and where they were looked for."""
    ready = list(_prepared(folder / name))
    if ready:
        return ready
    files, places = PUBLISHED[name].files, looked_for(folder, name)
    for place in places:
        if lying_in(place, name):
            return [f"not prepared yet: its files are in {place}; python -m vaejax.data {name}"]
    where = " or ".join(map(str, places))
    return [
        f"needs {', '.join(files)}, published at {PUBLISHED[name].source}",
        f"not in {where}; or python -m vaejax.data {name} --file PATH",
    ]
