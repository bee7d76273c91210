"""Sets on a full or read-only disk, damaged sets, processes that die: a clear error, and nothing is left."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from vaejax.data import cache, folders, records, three_dots
from vaejax.data.__main__ import main
from vaejax.data.folders import data_folder, room, work_folder

SMALL = {"num_train": 200, "num_validation": 30, "num_test": 20}


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """A folder with the set three_dots(16, **SMALL) prepared in it."""
    folder = tmp_path_factory.mktemp("master")
    _ = three_dots(16, folder=folder, **SMALL).train
    return folder


@pytest.fixture
def copy(master, tmp_path):
    """The folder of the prepared set in a folder of its own."""
    subprocess.run(["cp", "-r", f"{master}/three_dots", tmp_path], check=True)
    (directory,) = tmp_path.glob("three_dots/*/*")
    return directory


def dots(directory):
    return three_dots(16, folder=directory.parents[2], **SMALL)


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


@contextmanager
def largest_file(size):
    """The system refuses to write beyond `size` bytes of a file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_all_arrays_are_there_once_a_set_is_prepared(copy, monkeypatch):
    monkeypatch.setattr(records, "read", None)
    assert [s.size for s in (dots(copy).train, dots(copy).validation, dots(copy).test)] == [200, 30, 20]


def test_no_room_for_the_arrays(copy):
    (copy / "train-x.npy").unlink()
    before = files(copy.parents[2])
    with (
        largest_file(20_000),
        pytest.raises(OSError, match="File too large: the arrays of split 'train' take 0"),
    ):
        _ = dots(copy).train
    assert files(copy.parents[2]) == before
    assert dots(copy).train.arrays["x"].shape == (200, 16, 16, 1)


def test_no_room_while_a_set_is_prepared_leaves_nothing(tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            cache,
            "open",
            lambda path, mode: os.fdopen(os.open("/dev/full", os.O_WRONLY), mode),
            raising=False,
        )
        with pytest.raises(OSError, match="No space left on device") as caught:
            _ = three_dots(16, folder=tmp_path, **SMALL).test
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path / "three_dots") in caught.value.filename
    assert "MiB were free; nothing half-made is left" in str(caught.value)
    assert files(tmp_path) == []
    assert three_dots(16, folder=tmp_path, **SMALL).test.size == 20


def test_no_room_for_the_records(tmp_path):
    with largest_file(1000), pytest.raises(OSError, match="File too large: the set three_dots did not fit"):
        _ = three_dots(16, folder=tmp_path, **SMALL).test
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "x"), errno.ENOSPC),
        (OSError(errno.EDQUOT, "x"), errno.EDQUOT),
        (RuntimeError("writing a.riegeli: No space left on device"), errno.ENOSPC),
        (OSError("Not enough disk space. Needed: 9.00 GiB (download: 8.00 GiB)"), errno.ENOSPC),
        (OSError(errno.EACCES, "x"), None),
        (ValueError("x"), None),
    ],
)
def test_errors_of_a_full_disk_are_told_from_others(error, number, tmp_path):
    wrapped = ValueError("wrapped")
    wrapped.__cause__ = error
    with pytest.raises(OSError if number else ValueError) as caught, room(tmp_path, "the set mine"):
        raise wrapped
    assert getattr(caught.value, "errno", None) == number
    if number:
        assert f"{os.strerror(number)}: the set mine did not fit" in str(caught.value)


CUTS = {"empty": 0, "in the header": 60, "in the rows": 9000}


@pytest.mark.parametrize("size", CUTS.values(), ids=CUTS)
def test_a_cut_array_names_itself_and_the_remedy(copy, size, capsys):
    path = copy / "train-x.npy"
    os.truncate(path, size)
    with pytest.raises(ValueError, match="expected a whole file of uint8") as caught:
        _ = dots(copy).train
    assert str(caught.value).startswith(f"{path}: ")
    assert "delete this file" in str(caught.value)
    path.unlink()  # the remedy
    np.testing.assert_array_equal(dots(copy).train.arrays["x"].shape, (200, 16, 16, 1))


def test_the_array_of_another_set_names_itself(copy):
    for name, other, message in (
        ("train-x", np.zeros((200, 8, 8, 1), np.uint8), r"got uint8 \[200, 8, 8, 1\]"),
        ("train-x", np.zeros((200, 16, 16, 1), np.float32), "got float32"),
        ("train-y", np.zeros((199, 6), np.uint8), "expected 200 rows, as train-x.npy has, got 199"),
        ("train-y", np.array([{}], object), "got a damaged one"),
    ):
        kept = (copy / f"{name}.npy").read_bytes()
        np.save(copy / f"{name}.npy", other)
        with pytest.raises(ValueError, match=rf"{name}.npy: .*{message}.*delete this file"):
            _ = dots(copy).train
        (copy / f"{name}.npy").write_bytes(kept)


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "info", "features"])
def test_damaged_records_name_their_folder_and_the_remedy(copy, damage):
    for path in copy.glob("*.npy"):
        path.unlink()
    (record,) = copy.glob("*train*array_record*")
    if damage in ("cut", "empty"):
        os.truncate(record, 3000 if damage == "cut" else 0)
    elif damage == "missing":
        record.unlink()
    else:
        os.truncate(copy / {"info": "dataset_info.json", "features": "features.json"}[damage], 0)
    with pytest.raises(ValueError, match="expected a whole set") as caught:
        _ = dots(copy).train
    assert str(caught.value).startswith(f"{copy}: ")
    assert "Delete this folder, and prepare or copy the set again" in str(caught.value)
    assert list(copy.parents[2].rglob(".preparing-*")) == []


@pytest.fixture
def read_only(monkeypatch):
    """Nothing can be written: what tries to, fails (as root, permissions hold nobody back)."""

    def refused(*args, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    for module, name in ((os, "mkdir"), (os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir")):
        monkeypatch.setattr(module, name, refused)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(folders.shutil, "rmtree", refused)


def test_a_set_on_a_read_only_place_is_read(copy, read_only):
    assert dots(copy).train.arrays["x"].shape == (200, 16, 16, 1)


def test_records_on_a_read_only_place_are_read_into_memory(copy, master, request):
    for path in copy.glob("*.npy"):
        path.unlink()
    request.getfixturevalue("read_only")
    split = dots(copy).validation
    expected = three_dots(16, folder=master, **SMALL).validation
    for name in ("x", "y"):
        np.testing.assert_array_equal(split.arrays[name], expected.arrays[name], strict=True)
    with pytest.raises(ValueError, match="read-only"):
        split.arrays["x"][0] = 0


WORKER = """
import runpy, sys
from pathlib import Path
with runpy.run_path(sys.argv[1])["work_folder"](Path(sys.argv[2])) as work:
    (work / "half").write_bytes(bytes(1000))
    print(work, flush=True)
    sys.stdin.read()
"""


def test_what_a_dead_process_left_goes_at_the_next_start_and_what_a_live_one_makes_stays(copy):
    command = [sys.executable, "-c", WORKER, folders.__file__, str(copy.parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as other:
        try:
            work = Path(other.stdout.readline().strip())
            (copy / "train-x.npy").unlink()  # a second preparation, beside the first
            assert dots(copy).train.size == 200
            assert (work / "half").is_file()
        finally:
            other.kill()
    assert (work / "half").is_file()
    assert dots(copy).test.size == 20  # all there: nothing is prepared
    assert list(copy.parents[2].rglob(".preparing-*")) == []


def test_a_folder_without_a_lock_is_nobodys(copy):
    (copy.parent / ".preparing-old" / "three_dots").mkdir(parents=True)
    with work_folder(copy.parent) as work:
        assert dots(copy).test.size == 20
        assert [path for path in copy.parent.iterdir() if path.name.startswith(".")] == [work]
    assert list(copy.parent.iterdir()) == [copy]


def test_a_folder_of_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAEJAX_DATA", "~/variable")
    assert data_folder("~/mine") == data_folder(Path("~/mine")) == tmp_path / "mine"
    assert data_folder(None) == tmp_path / "variable"
    for wrong, message in (("", "got an empty one"), ("~nobody-has-this-name/x", "somebody's home")):
        with pytest.raises(ValueError, match=f"folder: .*{message}"):
            data_folder(wrong)


def test_the_command_says_it_in_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["three_dot", "--folder", "~/sets"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "'three_dot'" in err
    assert "'three_dots'" in err
    assert main(["mnist", "--folder", "~nobody-has-this-name"]) == 1
    assert "folder: expected '~' to be somebody's home" in capsys.readouterr().err
