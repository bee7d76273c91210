"""The sets of the field that are read from the files in which they are published: a line for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vaejax.data import factor_files, norb, numbered
from vaejax.data.recipes import Recipe


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


def _mpi3d(name: str, kind: str, file: str, num_values: tuple[int, ...] = factor_files.MPI3D) -> Published:
    factors = dict(zip(factor_files.MPI3D_FACTORS, num_values, strict=True))
    return Published(
        files=(file,),
        recipe=partial(factor_files.mpi3d_recipe, name, num_values),
        about=f"{math.prod(num_values)} colour 64x64 {kind}; {_sizes(factors)}",
        source="https://github.com/rr-learning/disentanglement_dataset",
    )


def _numbered(name: str, kind: str, folder: str, factors: Mapping[str, int]) -> Published:
    return Published(
        files=(folder,),
        recipe=partial(numbered.numbered_recipe, name, factors),
        about=f"{math.prod(factors.values())} colour 128x128 {kind}; {_sizes(factors)}",
        source="https://github.com/NVlabs/High-res-disentanglement-datasets",
    )


def _sizes(factors: Mapping[str, int]) -> str:
    return ", ".join(f"{factor} {n}" for factor, n in factors.items())


PUBLISHED: Mapping[str, Published] = {
    "cars3d": Published(
        files=(factor_files.CARS3D,),
        recipe=factor_files.cars3d_recipe,
        about="17568 colour 128x128 renderings; car 183, azimuth 24, elevation 4",
        source="http://www.scottreed.info/files/nips2015-analogy-data.tar.gz, its folder data/cars",
    ),
    "dsprites": Published(
        files=(factor_files.DSPRITES,),
        recipe=factor_files.dsprites_recipe,
        about="737280 binary 64x64 sprites; shape 3, scale 6, orientation 40, x 32, y 32",
        source="https://github.com/google-deepmind/dsprites-dataset",
        pixels="binary",
    ),
    "falcor3d": _numbered("falcor3d", "renderings of a living room", "Falcor3D_down128/", numbered.FALCOR3D),
    "isaac3d": _numbered("isaac3d", "renderings of a robot's arm", "Isaac3D_down128/", numbered.ISAAC3D),
    "mpi3d_complex": _mpi3d(
        "mpi3d_complex",
        "photographs of everyday objects",
        "real3d_complicated_shapes_ordered.npz",
        factor_files.MPI3D_COMPLEX,
    ),
    "mpi3d_real": _mpi3d("mpi3d_real", "photographs of shapes", "mpi3d_real.npz"),
    "mpi3d_realistic": _mpi3d("mpi3d_realistic", "realistic renderings of shapes", "mpi3d_realistic.npz"),
    "mpi3d_toy": _mpi3d("mpi3d_toy", "simple renderings of shapes", "mpi3d_toy.npz"),
    "shapes3d": Published(
        files=(factor_files.SHAPES3D,),
        recipe=factor_files.shapes3d_recipe,
        about="480000 colour 64x64 renderings; floor_hue 10, wall_hue 10, object_hue 10, scale 8, shape 4, "
        "orientation 15",
        source="https://github.com/google-deepmind/3d-shapes",
        sha256={factor_files.SHAPES3D: "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"},
    ),
    "smallnorb": Published(
        files=norb.FILES,
        recipe=norb.smallnorb_recipe,
        about="97200 grey 96x96 photographs of toys; category 5, instance 10, elevation 9, azimuth 18, "
        "lighting 6, camera 2",
        source="https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
        sha256={
            norb.FILES[0]: "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
            norb.FILES[1]: "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
            norb.FILES[2]: "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
            norb.FILES[3]: "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
            norb.FILES[4]: "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
            norb.FILES[5]: "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
        },
    ),
}
