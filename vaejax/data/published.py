"""The sets of the field that are read from the files in which they are published: a line for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vaejax.data import amat, celeba, cifar, factor_files, idx_sets, matlab_sets, norb, numbered
from vaejax.data.recipes import Recipe


@dataclass(frozen=True)
class Published:
    """A set as it is published.

    `files`: the names of the files that it takes, those of folders with a "/" at the end; they are found with
    ".gz" and without. `unpacked`: those of its other form, as an archive unpacks. `options`: what `recipe`
    may be told, with the defaults. `recipe(paths, **options)`: of {name in `files`, or in `unpacked`: path},
    checks the files and says how the arrays are made. `about`: one line, what the images are, how many, their
    factors. `source`: where the files are published, and what documents them. `sha256`: {name in `files`:
    checksum} where they are known. `pixels`: what a model sees unless it is told otherwise.
    """

    files: tuple[str, ...]
    recipe: Callable[..., Recipe]
    about: str
    source: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    pixels: str = "unit_interval"
    unpacked: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


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


_SVHN = {
    "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "extra_32x32.mat": "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
    "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
}

PUBLISHED: Mapping[str, Published] = {
    "binarized_mnist": Published(
        files=tuple(f"binarized_mnist_{part}.amat" for part in ("train", "valid", "test")),
        recipe=amat.binarized_mnist_recipe,
        about="70000 binary 28x28 digits, one fixed draw; no labels",
        source="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
        sha256={
            "binarized_mnist_train.amat": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
            "binarized_mnist_valid.amat": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
            "binarized_mnist_test.amat": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
        },
        pixels="binary",
    ),
    "cars3d": Published(
        files=(factor_files.CARS3D,),
        recipe=factor_files.cars3d_recipe,
        about="17568 colour 128x128 renderings; car 183, azimuth 24, elevation 4",
        source="http://www.scottreed.info/files/nips2015-analogy-data.tar.gz, its folder data/cars",
    ),
    "celeba": Published(
        files=("img_align_celeba.zip", *celeba.LISTS),
        unpacked=("img_align_celeba/", *celeba.LISTS),
        recipe=celeba.celeba_recipe,
        options={"crop": 148, "side": 64},
        about="202599 colour faces, cut to crop x crop, resized to side x side; 40 attributes",
        source="http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        sha256={
            "img_align_celeba.zip": "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
            "list_attr_celeba.txt": "f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
            "list_eval_partition.txt": "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
        },
    ),
    "cifar10": Published(
        files=("cifar-10-binary.tar.gz",),
        unpacked=("cifar-10-batches-bin/",),
        recipe=cifar.cifar10_recipe,
        about="60000 colour 32x32 pictures; 10 classes",
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        sha256={"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    ),
    "cifar100": Published(
        files=("cifar-100-binary.tar.gz",),
        unpacked=("cifar-100-binary/",),
        recipe=cifar.cifar100_recipe,
        about="60000 colour 32x32 pictures; coarse class 20, fine class 100",
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        sha256={
            "cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
        },
    ),
    "dsprites": Published(
        files=(factor_files.DSPRITES,),
        recipe=factor_files.dsprites_recipe,
        about="737280 binary 64x64 sprites; shape 3, scale 6, orientation 40, x 32, y 32",
        source="https://github.com/google-deepmind/dsprites-dataset",
        pixels="binary",
    ),
    "emnist": Published(
        files=("gzip.zip",),
        unpacked=("gzip/",),
        recipe=idx_sets.emnist_recipe,
        options={"part": "balanced"},
        about="131600 grey 28x28 digits and letters of 47 classes; other parts by the option",
        source="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        sha256={"gzip.zip": "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"},
    ),
    "falcor3d": _numbered("falcor3d", "renderings of a living room", "Falcor3D_down128/", numbered.FALCOR3D),
    "frey_faces": Published(
        files=("frey_rawface.mat",),
        recipe=matlab_sets.frey_faces_recipe,
        about="1965 grey 28x20 frames of a video of one face; no labels",
        source="https://cs.nyu.edu/~roweis/data.html",
    ),
    "isaac3d": _numbered("isaac3d", "renderings of a robot's arm", "Isaac3D_down128/", numbered.ISAAC3D),
    "kmnist": Published(
        files=(
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ),
        recipe=idx_sets.kmnist_recipe,
        about="70000 grey 28x28 hiragana; 10 classes",
        source="http://codh.rois.ac.jp/kmnist/index.html.en",
        sha256={
            "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
    ),
    "mpi3d_complex": _mpi3d(
        "mpi3d_complex",
        "photographs of everyday objects",
        "real3d_complicated_shapes_ordered.npz",
        factor_files.MPI3D_COMPLEX,
    ),
    "mpi3d_real": _mpi3d("mpi3d_real", "photographs of shapes", "mpi3d_real.npz"),
    "mpi3d_realistic": _mpi3d("mpi3d_realistic", "realistic renderings of shapes", "mpi3d_realistic.npz"),
    "mpi3d_toy": _mpi3d("mpi3d_toy", "simple renderings of shapes", "mpi3d_toy.npz"),
    "omniglot": Published(
        files=("chardata.mat",),
        recipe=matlab_sets.omniglot_recipe,
        about="32415 grey 28x28 characters; alphabet 50, character 55",
        source="https://github.com/yburda/iwae/tree/master/datasets/OMNIGLOT",
    ),
    "qmnist": Published(
        files=(
            "qmnist-train-images-idx3-ubyte.gz",
            "qmnist-train-labels-idx2-int.gz",
            "qmnist-test-images-idx3-ubyte.gz",
            "qmnist-test-labels-idx2-int.gz",
        ),
        recipe=idx_sets.qmnist_recipe,
        options={"columns": ("class",)},
        about="120000 grey 28x28 digits; class, and by the option writer and more",
        source="https://github.com/facebookresearch/qmnist",
    ),
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
    "svhn": Published(
        files=("train_32x32.mat", "test_32x32.mat"),
        recipe=matlab_sets.svhn_recipe,
        about="99289 colour 32x32 digits of house numbers; 10 classes",
        source="http://ufldl.stanford.edu/housenumbers/",
        sha256={file: _SVHN[file] for file in ("train_32x32.mat", "test_32x32.mat")},
    ),
    "svhn_extra": Published(
        files=("train_32x32.mat", "extra_32x32.mat", "test_32x32.mat"),
        recipe=matlab_sets.svhn_extra_recipe,
        about="svhn with 531131 easier digits more to train on",
        source="http://ufldl.stanford.edu/housenumbers/",
        sha256=_SVHN,
    ),
}
