"""Files that are downloaded: from a server of this machine, with checksums, interrupted, on a full disk."""

from __future__ import annotations

import contextlib
import errno
import functools
import http.server
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from tensorflow_datasets.core.download import checksums

from tests.data.idx_files import NAMES, write_set
from vaejax.data import mnist, mnists

SIZES = {"train": 30, "test": 12}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The files of a set on a server of this machine; gives (set, requested paths)."""
    monkeypatch.setattr(mnists, "_SIZES", SIZES)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    made = write_set(tmp_path / "served", SIZES, zipped=True)
    handler = functools.partial(Handler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(mnists, "_URLS", {"mnist": f"http://127.0.0.1:{server.server_port}/"})
        yield made, asked
        server.shutdown()


def test_else_they_are_downloaded(served, tmp_path):
    made, asked = served
    data = mnist(folder=tmp_path / "data", num_validation=1)
    assert {path[1:] for path in asked} == {f"{name}.gz" for pair in NAMES.values() for name in pair}
    np.testing.assert_array_equal(data.test.arrays["x"][..., 0], made["test"][0])
    np.testing.assert_array_equal(data.validation.arrays["y"], made["train"][1][-1:])


PROGRAM = """
import runpy, signal, sys
import vaejax
heavy = {"distrax", "flax", "matplotlib", "optax", "orbax", "scipy.stats", "tensorflow_probability"}
assert not {*heavy, "vaejax.plots", "vaejax.train"} & {*sys.modules}  # they come when they are first used
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
from vaejax.data import mnists
assert not {*heavy, "tensorflow_datasets"} & {*sys.modules}  # nor does vaejax.data need them to be imported
mnists._URLS = {"mnist": sys.argv[1]}
sys.argv = ["data", "mnist", "--folder", sys.argv[2]]
runpy.run_module("vaejax.data", run_name="__main__")
"""


def test_an_interrupted_download_ends_at_once_and_leaves_nothing(tmp_path):
    """A server that never ends its files; the program is another process, since it exits."""
    asked = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000000000")
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked has gone
                while True:
                    self.wfile.write(bytes(10_000))
                    if len(list(tmp_path.rglob("*.tmp*"))) == 4:  # all files are on their way
                        asked.set()
                    time.sleep(0.1)

        def log_message(self, *args):
            del args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, "-c", PROGRAM, f"http://127.0.0.1:{server.server_port}/", str(tmp_path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                while not asked.wait(0.1):
                    assert process.poll() is None, process.stderr.read()
                process.send_signal(signal.SIGINT)
                said = process.stderr.read()  # to its end: it would not come if the files were waited for
            finally:
                process.kill()
                server.shutdown()
    assert process.returncode == 130
    assert "nothing half-done is left" in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_download_with_another_checksum_is_refused(served, tmp_path, monkeypatch):
    url = f"{mnists._URLS['mnist']}{NAMES['train'][0]}.gz"
    size = (tmp_path / "served" / f"{NAMES['train'][0]}.gz").stat().st_size
    wrong = {url: checksums.UrlInfo(size=size, checksum="0" * 64, filename="some.gz")}
    monkeypatch.setattr(checksums, "get_all_url_infos", lambda: wrong)
    with pytest.raises(FileNotFoundError, match=r"(?s)mnist: expected train-images.*checksum"):
        mnist(folder=tmp_path / "data")


def test_tfds_has_a_checksum_for_every_url():
    known = checksums.get_all_url_infos()
    for url in mnists._URLS.values():
        for name in (name for pair in NAMES.values() for name in pair):
            assert len(known[f"{url}{name}.gz"].checksum) == 64


def test_no_room_for_a_download_is_no_missing_file(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "here")

    monkeypatch.setattr(mnists, "download", full)
    with pytest.raises(OSError, match="No space left on device") as caught:  # no FileNotFoundError
        mnist(folder=tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "mnist" / "idx"))
