"""Sentences as rows of tokens, with a vocabulary of the training split's most frequent words."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from vaejax.checks import check_array, check_choice, check_positive_int
from vaejax.data.arrays import Dataset
from vaejax.data.corpora import Corpus, corpus
from vaejax.data.factored import check_held_out, check_seed, drawn
from vaejax.data.folders import data_folder
from vaejax.data.prepare import load_arrays, prepare
from vaejax.data.recipes import Recipe
from vaejax.data.records import notes_of
from vaejax.types import END, UNKNOWN, Split

_VERSION = "1.0.0"
_SPLITS = ("train", "validation", "test")
_SPECIAL = ("<end>", "<unk>")  # END and UNKNOWN
_WORDS = re.compile(r"<unk>|\w+(?:['\u2019]\w+)*|[^\w\s]")  # what text() writes comes back
SPLITTING = ("words", "spaces")


@dataclass(frozen=True)
class Sentences(Dataset):
    """The three splits of a set of sentences, x: int32 [N, T] of support "tokens".

    `vocabulary`: what each token stands for, [V]: "<end>", "<unk>", then words, the most frequent first.
    `words`: how a line becomes words, as `sentences` takes it.
    """

    vocabulary: tuple[str, ...] = ()
    words: str = "words"

    def tokens(self, lines: Sequence[str]) -> np.ndarray:
        """The tokens of sentences, int32 [n, T]; longer ones are cut.

        Raises:
            TypeError: anything but a list of texts: the signs of one text are no sentences.
        """
        if isinstance(lines, str) or not all(isinstance(line, str) for line in lines):
            raise TypeError(f"lines: expected a list of texts, got {lines!r:.60}")
        places = {word: i for i, word in enumerate(self.vocabulary)}
        x = np.full((len(lines), self.train.arrays["x"].shape[1]), END, np.int32)
        for n, line in enumerate(lines):
            x[n] = _row(words_of(line, self.words), places, x.shape[1])
        return x

    def text(self, x: np.ndarray) -> list[str]:
        """Tokens [n, T] as sentences, words with spaces between them, up to the end.

        Raises:
            TypeError, ValueError: anything but integers [n, T], or tokens outside of the vocabulary.
        """
        check_array(x, "x")
        if x.dtype.kind not in "iu" or x.ndim != 2:
            raise TypeError(f"x: expected integers [n, T], got {x.dtype} {list(x.shape)}")
        rows = np.asarray(x).tolist()
        rows = [row[: row.index(END)] if END in row else row for row in rows]  # behind it is padding
        if others := {t for row in rows for t in row if not 0 <= t < len(self.vocabulary)}:
            raise ValueError(f"x: expected tokens in 0..{len(self.vocabulary) - 1}, got {min(others)}")
        return [" ".join(self.vocabulary[t] for t in row) for row in rows]


def sentences(
    source: str | os.PathLike[str],
    *,
    length: int = 30,
    vocabulary: int = 10_000,
    words: str = "words",
    feature: str = "text",
    held_out: float = 0.1,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
) -> Sentences:
    """Sentences of a text, one a line, as rows of tokens: for `nets.LSTMEncoder` and `nets.LSTMDecoder`.

    x is int32 [N, T]: the words of a line, then `types.END`, 0, to the end of the row. A line of more than
    T words is cut to its first T, and then has no end. A word outside of the vocabulary is `types.UNKNOWN`,
    1. The vocabulary is the training split's: of words equally frequent, the first in alphabetical order.
    Empty lines are left out.

    The splits are those of the source; one that it lacks is drawn from the lines of "train", at random and
    for all lines alike: that a line stands in two splits is possible where the text repeats itself.

    The first call prepares the set on disk, through tensorflow-datasets; later ones load .npy files.

    Args:
        source: the path of a text file, UTF-8; or of a folder with train.txt, and where there are such
            validation.txt (or valid.txt) and test.txt; "bible_kjv", the 31 102 verses of the King James
            Bible, from Debian's bible-kjv-text; or a set of tensorflow-datasets by its name, each line of a
            feature of which is a sentence ("lm1b", "imdb_reviews", "tiny_shakespeare").
        length: T, the most words of a row.
        vocabulary: V, the most tokens, the two special ones included.
        words: "words", lower-case words and punctuation marks by themselves, or "spaces", what stands between
            spaces as it is, for text that was split into words already.
        feature: of a set of tensorflow-datasets.
        held_out: the share of the lines that each split gets which the source lacks, in (0, 1/2).
        seed: of that draw, not negative.
        folder: where prepared sets lie; None for $VAEJAX_DATA, else ~/.cache/vaejax.

    Returns:
        A `Sentences`, a `Dataset` with the `vocabulary` and, between lines and rows, `tokens` and `text`.

    Raises:
        FileNotFoundError: a path that is not there, or the Bible is not installed.
        ValueError: arguments out of range, a text that is not UTF-8 or has too few lines, or a set without
            that feature.
        TypeError: arguments of another kind.
        ImportError, OSError, RuntimeError: a set of tensorflow-datasets could not be prepared.

    Source: Bowman et al. 2016, arXiv 1511.06349; the King James Bible of 1611.
    """
    if not isinstance(source, str | os.PathLike) or not os.fspath(source):
        raise TypeError(f"source: expected a path or a name, got {source!r}")
    check_positive_int(length, "length")
    check_positive_int(vocabulary, "vocabulary")
    if vocabulary <= len(_SPECIAL):
        raise ValueError(f"vocabulary: expected more than {len(_SPECIAL)} tokens, got {vocabulary}")
    check_choice(words, SPLITTING, "words")
    check_held_out(held_out)
    check_seed(seed)
    place = data_folder(folder)
    text = corpus(source, feature, place)
    recipe = _Prepared(text, int(length), int(vocabulary), words, float(held_out), int(seed)).recipe
    known = notes_of(prepare(recipe, place))["vocabulary"]
    train, validation, test = (Split(load_arrays(recipe, place, split), "tokens") for split in _SPLITS)
    return Sentences(train, validation, test, vocabulary=tuple(known), words=words)


def words_of(line: str, words: str) -> list[str]:
    """The words of a line."""
    return line.split() if words == "spaces" else _WORDS.findall(line.lower())


def _row(words: Sequence[str], places: Mapping[str, int], length: int) -> np.ndarray:
    row = np.full(length, END, np.int32)
    for t, word in enumerate(words[:length]):
        token = places.get(word, UNKNOWN)
        row[t] = UNKNOWN if token == END else token  # a text may say "<end>"
    return row


@dataclass(frozen=True)
class _Prepared:
    """How a set is made of a corpus; what is read of it is kept for all splits."""

    text: Corpus
    length: int
    size: int
    words: str
    held_out: float
    seed: int

    @property
    def recipe(self) -> Recipe:
        """How the set is prepared on disk."""
        options = f"length{self.length}-vocabulary{self.size}-{self.words}"
        drawn = f"held_out{self.held_out:g}-seed{self.seed}"
        return Recipe(
            name="sentences",
            config=f"{self.text.name}-{self.text.identity}-{options}-{drawn}",
            version=_VERSION,
            features={"x": (self.length,)},
            splits={split: partial(self._examples, split) for split in _SPLITS},
            dtype=np.int32,
            notes=lambda: {"vocabulary": self.vocabulary},
        )

    @cached_property
    def lines(self) -> dict[str, list[list[str]]]:
        """The words of every line of every split."""
        of = {
            split: [words for line in make() if (words := words_of(line, self.words))]
            for split, make in self.text.lines.items()
        }
        lacking = [split for split in _SPLITS if split not in of]
        train = of["train"]
        rows = drawn(len(train), lacking, self.held_out, self.seed, f"{self.text.name}: its lines")
        of |= {split: [train[n] for n in some] for split, some in rows.items()}
        if empty := [split for split, lines in of.items() if not lines]:
            raise ValueError(f"{self.text.name}: expected a line at least in each split, got none in {empty}")
        return of

    @cached_property
    def vocabulary(self) -> list[str]:
        """Of the training split, as far as it is seen."""
        seen = Counter(word for words in self.lines["train"] for word in words[: self.length])
        for special in _SPECIAL:
            del seen[special]
        ordered = sorted(seen, key=lambda word: (-seen[word], word))
        return [*_SPECIAL, *ordered[: self.size - len(_SPECIAL)]]

    def _examples(self, split: str) -> Iterator[Mapping[str, np.ndarray]]:
        places = {word: i for i, word in enumerate(self.vocabulary)}
        for words in self.lines[split]:
            yield {"x": _row(words, places, self.length)}
