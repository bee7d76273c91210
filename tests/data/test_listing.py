"""The list of all sets, and the command that prepares one."""

import os
import re

import pytest

from tests.data import published_files as files
from vaejax.data import finding
from vaejax.data.__main__ import main
from vaejax.data.listing import AT_ONCE, DOWNLOADED, MADE
from vaejax.data.published import PUBLISHED

Y = files.grid(*files.DSPRITES_VALUES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small dSprites, prepared."""
    return files.prepared_dsprites(tmp_path_factory.mktemp("published"))


def test_the_list_says_of_every_set_what_it_needs_and_what_is_prepared(folder, capsys):
    assert main(["--folder", str(folder)]) == 0
    out = capsys.readouterr().out
    entries = dict(re.findall(r"^(\w+)\n((?:    .*\n)+)", out, flags=re.M))
    assert set(PUBLISHED) | {"three_dots", "mini_sprites", "mnist", "digits"} <= set(entries)
    together = {name: " ".join(text.split()) for name, text in entries.items()}
    assert f"prepared in {folder}/dsprites/published/1.0.0: test 2 x 4 x 4 x 1" in together["dsprites"]
    assert (
        "needs 3dshapes.h5, published at https://github.com/google-deepmind/3d-shapes" in together["shapes3d"]
    )
    assert f"not in {folder}/downloads/manual/shapes3d or {folder}/downloads/manual" in together["shapes3d"]
    assert "data.digits() makes it at once" in together["digits"]
    assert "shape 3, scale 6, orientation 40, x 32, y 32" in together["dsprites"]


def test_the_list_says_what_lies_there_unprepared(tmp_path, capsys):
    files.write_dsprites(tmp_path / "downloads" / "manual")
    assert main(["--folder", str(tmp_path)]) == 0
    found = f"its files are in {tmp_path}/downloads/manual; python -m vaejax.data dsprites"
    assert found in " ".join(capsys.readouterr().out.split())


def test_the_command_prepares_with_a_bar(tmp_path, capsys):
    path = files.write_dsprites(tmp_path)
    assert main(["dsprites", "--file", str(path), "--folder", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert f"train: x uint8 [{len(Y) - 4}, 4, 4, 1], y uint8 [{len(Y) - 4}, 5]" in out
    assert f"dsprites lies in {tmp_path}/dsprites/published/1.0.0" in out
    assert re.search(rf"dsprites: 100%.* {len(Y)}/{len(Y)}", err)
    assert main(["dsprites", "--folder", str(tmp_path)]) == 0  # the file is no longer needed


def test_the_command_says_it_in_a_line(tmp_path, capsys):
    path = files.write_dsprites(tmp_path, b"nothing of the kind")
    for arguments, message in (
        (["dsprites", "--file", str(path)], "expected a whole .npz file"),
        (["dsprites"], "is published at|are published at"),
        (["mnist", "--file", str(path)], "--file: expected one of .*cars3d"),
    ):
        assert main([*arguments, "--folder", str(tmp_path / "sets")]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert re.search(message, err)
        assert err.count("\n") == 1


def test_names_of_files_are_found_as_people_have_them(tmp_path):
    for name in ("a-idx3-ubyte.gz", "b.idx1-ubyte", "c.mat", "d.bin.gz"):
        (tmp_path / name).touch()
    (tmp_path / "cars").mkdir()
    wanted = ("a-idx3-ubyte", "b-idx1-ubyte.gz", "c.mat.gz", "d.bin", "cars/")
    paths = finding.found(tmp_path, wanted)
    assert [paths[name].name for name in wanted] == [
        "a-idx3-ubyte.gz",
        "b.idx1-ubyte",
        "c.mat",
        "d.bin.gz",
        "cars",
    ]
    assert finding.found(tmp_path, ("cars", "c.mat/")) == {}
    assert os.fspath(finding.manual_folder(tmp_path, "x")) == f"{tmp_path}/downloads/manual/x"


def test_no_name_is_taken_twice():
    names = [*MADE, *AT_ONCE, *DOWNLOADED, *PUBLISHED]
    assert len(set(names)) == len(names)
