"""Data sets as host arrays: `Split`s of uint8 or float arrays with a support and a transform."""

from __future__ import annotations

from vaejax.data.anchored import Anchored, anchored
from vaejax.data.arrays import Dataset, from_arrays
from vaejax.data.bundled import colour_patches, digits
from vaejax.data.from_files import published
from vaejax.data.grids import FactorGrid
from vaejax.data.holes import missing_squares, with_holes
from vaejax.data.labels import keep_labels, one_hot, with_condition
from vaejax.data.mini_sprites import MiniSprites, mini_sprites
from vaejax.data.mnists import fashion_mnist, mnist
from vaejax.data.modalities import captioned, halves, joined, missing_modalities, only, read_captions
from vaejax.data.natural import NaturalPatches, natural_patches, whiten
from vaejax.data.own_files import from_file
from vaejax.data.own_images import from_images
from vaejax.data.pairs import pairs
from vaejax.data.sentences import Sentences, sentences
from vaejax.data.sources import from_source
from vaejax.data.splits import first, pooled, random_part, sample
from vaejax.data.sprites_multi import SpritesMulti, sprites_multi
from vaejax.data.standard import Standardise, standardised, transform_from_spec
from vaejax.data.tables import Table, from_table
from vaejax.data.tfds_sets import from_tfds
from vaejax.data.three_dots import ThreeDots, three_dots
from vaejax.rows import RowSource

__all__ = [
    "Anchored",
    "Dataset",
    "FactorGrid",
    "MiniSprites",
    "NaturalPatches",
    "RowSource",
    "Sentences",
    "SpritesMulti",
    "Standardise",
    "Table",
    "ThreeDots",
    "anchored",
    "captioned",
    "colour_patches",
    "digits",
    "fashion_mnist",
    "first",
    "from_arrays",
    "from_file",
    "from_images",
    "from_source",
    "from_table",
    "from_tfds",
    "halves",
    "joined",
    "keep_labels",
    "mini_sprites",
    "missing_modalities",
    "missing_squares",
    "mnist",
    "natural_patches",
    "one_hot",
    "only",
    "pairs",
    "pooled",
    "published",
    "random_part",
    "read_captions",
    "sample",
    "sentences",
    "sprites_multi",
    "standardised",
    "three_dots",
    "transform_from_spec",
    "whiten",
    "with_condition",
    "with_holes",
]
