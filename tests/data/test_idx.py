"""IDX files: what is read is what was written, and every damage is named."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from tests.data.idx_files import idx_bytes
from vaejax.data.archives import files
from vaejax.data.idx import idx_rows


def read(path, shape, code=8):
    with files({path.name: path}) as found, found.open(path.name) as file:
        return list(idx_rows(file, str(path), shape, code))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), (2300, 2), (0, 5)])
def test_what_was_written_is_read(tmp_path, shape, zipped):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = tmp_path / "file"  # the name says nothing
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    rows = read(path, shape)
    assert len(rows) == shape[0]
    for row, expected in zip(rows, array, strict=True):
        np.testing.assert_array_equal(row, expected, strict=True)


def test_a_header_by_hand(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 250]))
    np.testing.assert_array_equal(read(path, (1, 2)), [[9, 250]])
    path.write_bytes(bytes([0, 0, 12, 1, 0, 0, 0, 2, 0, 0, 1, 2, 255, 255, 255, 254]))
    np.testing.assert_array_equal(read(path, (2,), code=12), [258, -2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an IDX file, got one that starts with b''"),
        (b"<html>", "expected an IDX file, got one that starts with b'<htm'"),
        (bytes(8), r"expected an IDX file, got one that starts with b'\\x00\\x00\\x00\\x00'"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0]), "expected IDX type 0x08, unsigned bytes; got 0x0d"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]), r"expected shape \[4\], got \[3\]"),
        (bytes([0, 0, 8, 2, 0, 0, 0, 4, 0, 0, 0, 1]), r"expected shape \[4\], got \[4, 1\]"),
        (
            bytes([0, 0, 8, 1, 4, 0, 0, 0, 1, 2, 3, 4]),
            r"expected shape \[4\], got \[67108864\], the least significant byte first",
        ),
        (
            bytes([0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3]),
            r"expected 4 bytes after the header of shape \[4\], got 3",
        ),
        (
            bytes([0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3, 4, 5]),
            r"expected 4 bytes after the header of shape \[4\], got at least 5",
        ),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "expected a header of 16 bytes, got 8 bytes in all"),
        (
            gzip.compress(idx_bytes(np.arange(4, dtype=np.uint8)), mtime=0)[:-9],
            "expected a whole gzip file, got",
        ),
        (b"\x1f\x8bnonsense", "expected a whole gzip file, got a damaged one"),
    ],
)
def test_damage_is_named(tmp_path, data, message):
    path = tmp_path / "some-file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"some-file: {message}"):
        read(path, (4,))
