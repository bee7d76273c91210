"""Data sets as host arrays: `Split`s of uint8 or float arrays with a support and a transform."""

from __future__ import annotations

from vaejax.data.arrays import Dataset, from_arrays
from vaejax.data.bundled import colour_patches, digits
from vaejax.data.mini_sprites import MiniSprites, mini_sprites
from vaejax.data.mnists import fashion_mnist, mnist
from vaejax.data.natural import NaturalPatches, natural_patches, whiten
from vaejax.data.sentences import Sentences, sentences
from vaejax.data.splits import first, pooled, sample
from vaejax.data.sprites_multi import SpritesMulti, sprites_multi
from vaejax.data.tfds_sets import from_tfds
from vaejax.data.three_dots import ThreeDots, three_dots

__all__ = [
    "Dataset",
    "MiniSprites",
    "NaturalPatches",
    "Sentences",
    "SpritesMulti",
    "ThreeDots",
    "colour_patches",
    "digits",
    "fashion_mnist",
    "first",
    "from_arrays",
    "from_tfds",
    "mini_sprites",
    "mnist",
    "natural_patches",
    "pooled",
    "sample",
    "sentences",
    "sprites_multi",
    "three_dots",
    "whiten",
]
