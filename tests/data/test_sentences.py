"""Sentences from a file, a folder, the King James Bible and a set that tensorflow-datasets wrote."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import tensorflow_datasets as tfds

from vaejax import data
from vaejax.data import corpora, records
from vaejax.types import END, UNKNOWN

LINES = [f"The {colour} cat sat, on {n} mats." for n in range(5) for colour in ("red", "blue", "red")]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cats & mats.txt"
    path.write_text("\n\n".join(LINES), encoding="utf-8")
    return path


def test_lines_become_rows_of_the_training_splits_most_frequent_words(file, tmp_path, monkeypatch):
    text = data.sentences(file, length=10, vocabulary=12, held_out=0.2, folder=tmp_path / "sets")
    splits = text.train, text.validation, text.test
    assert [s.size for s in splits] == [9, 3, 3]
    assert {s.support for s in splits} == {"tokens"}
    assert {s.arrays["x"].dtype for s in splits} == {np.dtype(np.int32)}
    assert text.vocabulary[:2] == ("<end>", "<unk>")
    assert set(text.vocabulary[2:9]) == {",", ".", "cat", "mats", "on", "sat", "the"}  # in every line
    assert text.vocabulary[2:9] == tuple(sorted(text.vocabulary[2:9]))  # equally often
    assert text.vocabulary[9] == "red"  # then the most frequent: in two lines of three
    assert len(text.vocabulary) == 12
    rows = np.concatenate([s.arrays["x"] for s in splits])
    known = set(text.vocabulary)
    lower = [line.lower().replace(",", " ,").replace(".", " .").split() for line in LINES]
    assert set(text.text(rows)) == {" ".join(w if w in known else "<unk>" for w in line) for line in lower}
    assert np.all(rows[:, 9] == END)  # nine words, then the end
    np.testing.assert_array_equal(text.tokens(text.text(rows[:4])), rows[:4])

    monkeypatch.setattr(records, "write", None)  # from the cache, without a preparation
    again = data.sentences(file, length=10, vocabulary=12, held_out=0.2, folder=tmp_path / "sets")
    np.testing.assert_array_equal(again.test.arrays["x"], text.test.arrays["x"])
    assert again.vocabulary == text.vocabulary


def test_long_lines_are_cut_and_unknown_words_marked(tmp_path):
    (tmp_path / "train.txt").write_text("a a a b b <end> c\nb a\n", encoding="utf-8")
    (tmp_path / "valid.txt").write_text("c a\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("b d b\na <unk>\n", encoding="utf-8")
    text = data.sentences(tmp_path, length=4, vocabulary=4, words="spaces", folder=tmp_path / "sets")
    assert text.vocabulary == ("<end>", "<unk>", "a", "b")
    np.testing.assert_array_equal(text.train.arrays["x"], [[2, 2, 2, 3], [3, 2, END, END]])
    np.testing.assert_array_equal(text.validation.arrays["x"], [[UNKNOWN, 2, END, END]])
    np.testing.assert_array_equal(text.test.arrays["x"], [[3, UNKNOWN, 3, END], [2, UNKNOWN, END, END]])
    np.testing.assert_array_equal(text.tokens(["a <end> b"]), [[2, UNKNOWN, 3, END]])
    assert text.text(text.train.arrays["x"]) == ["a a a b", "b a"]


def test_lines_are_a_list_of_texts_and_rows_are_tokens(file, tmp_path):
    text = data.sentences(file, length=4, vocabulary=5, folder=tmp_path / "sets")
    for lines in ("one text", ["text", None], [b"bytes"]):
        with pytest.raises(TypeError, match="lines: expected a list of texts, got"):
            text.tokens(lines)
    assert text.tokens([]).shape == (0, 4)
    assert text.text(np.array([[UNKNOWN, END, -1, 99]])) == ["<unk>"]  # behind the end is padding
    for x, message in (
        (np.array([[-1, 2, 2, 2]]), r"x: expected tokens in 0\.\.4, got -1"),  # BEGIN is no word
        (np.array([[2, 5, END, 2]]), r"x: expected tokens in 0\.\.4, got 5"),
        (np.zeros((1, 4)), r"x: expected integers \[n, T\], got float64 \[1, 4\]"),
        (np.zeros(4, int), r"x: expected integers \[n, T\], got int64 \[4\]"),
        (np.ma.masked_equal(np.zeros((1, 4), int), 0), "x: expected an array without a mask"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            text.text(x)


def test_another_text_is_another_set(file, tmp_path):
    options = {"length": 10, "vocabulary": 12, "folder": tmp_path / "sets"}
    data.sentences(file, **options)
    file.write_text("\n".join(line.replace("cat", "dog") for line in LINES), encoding="utf-8")
    assert "dog" in data.sentences(file, **options).vocabulary
    assert "cat" not in data.sentences(file, **options).vocabulary


@pytest.mark.skipif(not corpora._BIBLE_FILE.is_file(), reason="Debian's bible-kjv-text is not installed")
def test_the_bible_has_its_verses():
    verses = list(corpora.corpus("bible_kjv", "text", None).lines["train"]())  # pyright: ignore
    assert len(verses) == 31_102
    assert verses[0] == "In the beginning God created the heaven and the earth."
    assert verses[1].startswith("And the earth was without form, and void;")
    assert verses[-1] == "The grace of our Lord Jesus Christ be with you all. Amen."
    assert sum("Jesus wept." in verse for verse in verses) == 1


class VaejaxVerses(tfds.core.GeneratorBasedBuilder):
    """Texts of several lines, and a number."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"text": tfds.features.Text(), "label": np.int64}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(6), "test": self._generate_examples(2)}

    def _generate_examples(self, n):
        for i in range(n):
            yield i, {"text": f"wörd {i} here\n\nand there {i}", "label": i}


def test_a_set_of_tensorflow_datasets_by_its_name(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tensorflow" or find(name))
    text = data.sentences("vaejax_verses", length=5, vocabulary=20, held_out=0.25, folder=tmp_path)
    assert [s.size for s in (text.train, text.validation, text.test)] == [9, 3, 4]
    assert sorted(text.text(text.test.arrays["x"])) == [
        "and there 0", "and there 1", "wörd 0 here", "wörd 1 here",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="vaejax_verses: expected a text feature 'label', got text, label"):
        data.sentences("vaejax_verses", feature="label", folder=tmp_path)


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (3, {}, TypeError, "source: expected a path or a name, got 3"),
        ("nowhere.txt", {}, FileNotFoundError, "source: expected a file of sentences"),
        ("no_such_set", {}, ValueError, "name: expected a set of tensorflow-datasets"),
        ("{file}", {"length": 0}, ValueError, "length: expected at least 1"),
        ("{file}", {"vocabulary": 2}, ValueError, "vocabulary: expected more than 2 tokens, got 2"),
        ("{file}", {"words": "letters"}, ValueError, "words: expected one of 'words', 'spaces'"),
        ("{file}", {"held_out": 0.5}, ValueError, r"held_out: expected a share in \(0, 1/2\), got 0.5"),
        ("{file}", {"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ("{folder}", {}, FileNotFoundError, "expected train.txt"),
    ],
)
def test_what_is_no_text_is_refused(source, options, error, message, file, tmp_path):
    if isinstance(source, str):
        source = source.format(file=file, folder=tmp_path)
    with pytest.raises(error, match=message):
        data.sentences(source, folder=tmp_path / "sets", **options)


def test_files_that_are_damaged_or_of_another_kind_say_so(tmp_path, monkeypatch):
    latin = tmp_path / "latin.txt"
    latin.write_bytes("fünf\nsechs\nsieben\n".encode("latin-1"))
    with pytest.raises(ValueError, match="expected text in UTF-8"):
        data.sentences(latin, folder=tmp_path / "sets")
    monkeypatch.setattr(corpora, "_BIBLE_FILE", tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="as Debian's bible-kjv-text installs it"):
        data.sentences("bible_kjv", folder=tmp_path)
    monkeypatch.setattr(corpora, "_BIBLE_FILE", latin)
    with pytest.raises(ValueError, match="expected a compressed data file of the bible program"):
        list(corpora.corpus("bible_kjv", "text", tmp_path).lines["train"]())
