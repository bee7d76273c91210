"""Files found loose, in folders, in zip and tar archives, gzipped or not; damaged archives are named."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from vaejax.data.archives import files, path_of

DATA = {"one.bin": b"first" * 100, "two.bin": bytes(range(256))}


def zip_bytes(data):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in data.items():
            archive.writestr(f"set/{name}", value)
    return made.getvalue()


def tar_bytes(data, mode="w:gz"):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for name, value in data.items():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = len(value)
            archive.addfile(info, io.BytesIO(value))
    return made.getvalue()


def put(folder, form):
    """{name: path} of the files of DATA in one of the forms."""
    made = {"zip": zip_bytes, "tar.gz": tar_bytes, "tgz": tar_bytes, "tar": lambda d: tar_bytes(d, "w")}
    if form in made:
        path = folder / f"set.{form}"
        path.write_bytes(made[form](DATA))
        return {path.name: path}
    ending = ".gz" * form.endswith("gzipped")
    for name, value in DATA.items():
        path = folder / "deep" / f"{name}{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(value) if ending else value)
    if form.startswith("folder"):
        return {"set/": folder}
    return {path.name: path for path in (folder / "deep").iterdir()}


@pytest.mark.parametrize(
    "form", ["loose", "loose gzipped", "folder", "folder gzipped", "zip", "tar", "tar.gz", "tgz"]
)
def test_files_are_found_in_every_form(tmp_path, form):
    with files(put(tmp_path, form)) as found:
        assert found.missing("one.bin", "three.bin", "two.bin") == ["three.bin"]
        for name in ("two.bin", "one.bin", "two.bin"):  # in any order, again
            with found.open(name) as file:
                assert file.read() == DATA[name]
        if "gzipped" not in form:
            assert [found[name].size for name in DATA] == [500, 256]
        with pytest.raises(FileNotFoundError, match=r"expected a file three.bin, got one.bin\S*, two.bin"):
            found["three.bin"]


def test_a_gzipped_file_under_the_plain_name_and_inside_an_archive(tmp_path):
    path = tmp_path / "one.bin"
    path.write_bytes(gzip.compress(b"packed"))
    (tmp_path / "all.zip").write_bytes(zip_bytes({"two.bin.gz": gzip.compress(b"inner")}))
    with files({"one.bin": path, "all.zip": tmp_path / "all.zip"}) as found:
        for name, expected in (("one.bin", b"packed"), ("two.bin", b"inner")):
            with found.open(name) as file:
                assert file.read() == expected


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


ZIP, TAR = zip_bytes(DATA), tar_bytes(DATA)
BROKEN = {
    "a web page for a zip": (
        "a.zip",
        b"<html>",
        "expected a zip archive, got a file that starts with b'<htm'",
    ),
    "a web page for a tar": ("a.tar.gz", b"<html>", "expected a gzipped tar archive, got a file that starts"),
    "a cut zip": ("a.zip", ZIP[:-10], "expected a whole archive, got a damaged one"),
    "a cut tar": ("a.tar.gz", TAR[:-60], "expected a whole gzip file, got a damaged one"),
    "a tar that is none": ("a.tgz", gzip.compress(b"x" * 600), "expected a whole archive, got a damaged one"),
    "a wrong byte in a zip": ("a.zip", flipped(ZIP, 40 + len("set/one.bin")), "got a damaged one"),
}


def read_all(paths):
    with files(paths) as found:
        for name in DATA:
            with found.open(name) as file:
                file.read()


@pytest.mark.parametrize("damage", BROKEN)
def test_damage_is_named(tmp_path, damage):
    name, data, message = BROKEN[damage]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_all({name: path})
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_read_where_it_lies(tmp_path):
    path = tmp_path / "a.mat"
    path.touch()
    assert path_of({"a.mat": path}, "a.mat") == path
    with pytest.raises(FileNotFoundError, match=r"expected the file b.mat, got .*a.mat"):
        path_of({"a.mat": path}, "b.mat")
