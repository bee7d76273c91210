"""MNIST and Fashion-MNIST from small IDX files: where they are looked for, what becomes of them."""

from __future__ import annotations

import contextlib
import functools
import http.server
import signal
import subprocess
import sys
import threading
import time
import urllib.error

import jax
import numpy as np
import pytest
from tensorflow_datasets.core.download import checksums

from tests.data.idx_files import NAMES, idx_bytes, write_set
from vaejax.data import fashion_mnist, mnist, mnists, prepare
from vaejax.data.__main__ import main

SIZES = {"train": 30, "test": 12}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Small sets, none installed, no network."""

    def unreachable(url, **options):
        raise urllib.error.URLError(f"no way to {url}")

    monkeypatch.setattr(mnists, "_SIZES", SIZES)
    monkeypatch.setattr(mnists, "_DEBIAN", {"fashion_mnist": tmp_path / "debian"})
    monkeypatch.setattr(prepare.urllib.request, "urlopen", unreachable)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def written(folder):
    return write_set(folder / "downloads" / "manual" / "mnist", SIZES, zipped=False)


def test_splits_are_the_files_in_their_order(folder, written):
    data = mnist(num_validation=4, folder=folder)
    (train, train_labels), (test, test_labels) = written["train"], written["test"]
    for split, x, y in (
        (data.train, train[:-4], train_labels[:-4]),
        (data.validation, train[-4:], train_labels[-4:]),
        (data.test, test, test_labels),
    ):
        assert split.support == "unit_interval"
        np.testing.assert_array_equal(split.arrays["x"], x[..., None], strict=True)
        np.testing.assert_array_equal(split.arrays["y"], y, strict=True)
        seen = split.transform(jax.random.key(0), dict(split.arrays))["x"]
        np.testing.assert_array_equal(np.asarray(seen), x[..., None] * np.float32(1 / 255))
        with pytest.raises(ValueError, match="read-only"):
            split.arrays["x"][0] = 0


def test_a_static_draw_does_not_depend_on_what_is_held_out(folder, written):
    few, many = (mnist(pixels="static", num_validation=n, folder=folder) for n in (1, 20))
    for one in (few, many):
        x = np.concatenate([one.train.arrays["x"], one.validation.arrays["x"]])
        assert (x.shape, one.validation.support) == ((30, 28, 28, 1), "binary")
        np.testing.assert_array_equal(x[:10], few.train.arrays["x"][:10])
        np.testing.assert_array_equal(x[10:29], few.train.arrays["x"][10:])
    assert (few.train.arrays["x"][:12] != few.test.arrays["x"]).any()
    assert abs(few.train.arrays["x"].mean() - written["train"][0][:-1].mean() / 255) < 0.02


def test_a_prepared_set_is_read_without_files_or_tfds(folder, written, tmp_path, monkeypatch):
    expected = mnist(folder=folder, num_validation=1).train.arrays["x"]
    (tmp_path / "mnist").symlink_to(folder / "mnist")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # importing it fails
    np.testing.assert_array_equal(mnist(folder=tmp_path, num_validation=1).train.arrays["x"], expected)


def test_an_interrupted_cache_leaves_nothing_and_starts_clean(folder, written, tmp_path, monkeypatch):
    (tmp_path / "downloads").symlink_to(folder / "downloads")
    read = prepare._read

    def interrupted(*given):
        read(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "_read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mnist(folder=tmp_path, num_validation=1)
    assert list(tmp_path.rglob("*.npy")) == list(tmp_path.rglob(".preparing-*")) == []
    data = mnist(folder=tmp_path, num_validation=1)
    np.testing.assert_array_equal(data.test.arrays["x"][..., 0], written["test"][0])


def test_files_are_found_where_debian_puts_them(tmp_path):
    debian = write_set(tmp_path / "debian", SIZES, zipped=True)
    data = fashion_mnist(folder=tmp_path, num_validation=1)
    np.testing.assert_array_equal(data.test.arrays["x"][..., 0], debian["test"][0])
    with pytest.raises(FileNotFoundError, match="mnist: expected"):
        mnist(folder=tmp_path)


def test_files_in_the_manual_folder_come_first_but_only_all_four(tmp_path):
    manual = tmp_path / "downloads" / "manual" / "fashion_mnist"
    mine = write_set(manual, SIZES, zipped=False)
    for images, _ in mine.values():
        images[:] = 7
    for split, names in NAMES.items():
        (manual / names[0]).write_bytes(idx_bytes(mine[split][0]))
    debian = write_set(tmp_path / "debian", SIZES, zipped=True)
    data = fashion_mnist(folder=tmp_path, num_validation=1)
    assert (data.test.arrays["x"] == 7).all()

    (manual / NAMES["test"][1]).unlink()
    (tmp_path / "fashion_mnist").rename(tmp_path / "elsewhere")
    data = fashion_mnist(folder=tmp_path, num_validation=1)
    np.testing.assert_array_equal(data.test.arrays["x"][..., 0], debian["test"][0])


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The files of a set on a server of this machine; gives (set, requested paths)."""
    monkeypatch.undo()
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


def test_an_interrupted_download_ends_at_once_and_leaves_nothing(tmp_path):
    """A server that never ends its files; the program is another process, since it exits."""
    asked = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000000000")
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked has gone
                for _ in range(600):
                    self.wfile.write(bytes(10_000))
                    if len(list(tmp_path.rglob("*.tmp*"))) == 4:  # all files are on their way
                        asked.set()
                    time.sleep(0.1)

        def log_message(self, *args):
            del args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = (
            "import runpy, sys; from vaejax.data import mnists; "
            f"mnists._URLS = {{'mnist': 'http://127.0.0.1:{server.server_port}/'}}; "
            f"sys.argv = ['data', 'mnist', '--folder', {str(tmp_path)!r}]; "
            "runpy.run_module('vaejax.data', run_name='__main__')"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        assert asked.wait(120)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
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


def test_missing_files_say_what_to_do_and_leave_nothing(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        fashion_mnist(folder=tmp_path)
    message = str(caught.value)
    for part in (
        "fashion_mnist: expected train-images-idx3-ubyte, ",
        f"(or .gz) in {tmp_path / 'downloads/manual/fashion_mnist'} or {tmp_path / 'debian'}, or a way",
        "no way to http://fashion-mnist.",
        "install Debian's dataset-fashion-mnist, or put the files into",
    ):
        assert part in message
    assert [p for p in tmp_path.rglob("*") if p.is_file() or p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            NAMES["train"][0],
            np.zeros((30, 28, 27), np.uint8),
            r"expected shape \[30, 28, 28\], got \[30, 28, 27\]",
        ),
        (
            NAMES["test"][1],
            np.zeros(11, np.uint8),
            r"t10k-labels-idx1-ubyte: expected shape \[12\], got \[11\]",
        ),
        (
            NAMES["train"][1],
            np.full(30, 10, np.uint8),
            "train-labels-idx1-ubyte: expected classes 0..9, got 10",
        ),
    ],
)
def test_files_of_another_set_are_refused(tmp_path, name, array, message):
    manual = tmp_path / "downloads" / "manual" / "mnist"
    write_set(manual, SIZES, zipped=False)
    (manual / name).write_bytes(idx_bytes(array))
    with pytest.raises(ValueError, match=message):
        mnist(folder=tmp_path)
    assert list((tmp_path / "mnist" / "idx").iterdir()) == []


def test_the_command_prepares_with_a_bar_and_says_where(folder, written, tmp_path, capfd):
    (tmp_path / "downloads").symlink_to(folder / "downloads")
    assert main(["mnist", "--folder", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "train: x uint8 [30, 28, 28, 1], y uint8 [30]",
        "test: x uint8 [12, 28, 28, 1], y uint8 [12]",
        f"mnist lies in {tmp_path / 'mnist' / 'idx' / '1.0.0'}",
    ]
    assert "Generating train examples" in err
    assert mnist(folder=tmp_path, num_validation=1).test.size == 12
    assert capfd.readouterr() == ("", "")


def test_the_command_says_what_went_wrong(tmp_path, capsys, monkeypatch):
    assert main(["fashion_mnist", "--folder", str(tmp_path)]) == 1
    assert "fashion_mnist: expected train-images-idx3-ubyte" in capsys.readouterr().err

    write_set(tmp_path / "debian", SIZES, zipped=True)

    def interrupted(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mnists, "read_idx", interrupted)
        assert main(["fashion_mnist", "--folder", str(tmp_path)]) == 130
    assert "the same command starts again" in capsys.readouterr().err
    assert list((tmp_path / "fashion_mnist" / "idx").iterdir()) == []
    assert main(["fashion_mnist", "--folder", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pixels": "gray"}, ValueError, "pixels: expected one of .* got 'gray'"),
        ({"num_validation": 0}, ValueError, "num_validation: expected at least 1, got 0"),
        ({"num_validation": 0.1}, TypeError, "num_validation: expected an int, got float"),
        ({"num_validation": 30}, ValueError, "num_validation: expected less than 30 examples, got 30"),
        ({"pixels": "binary"}, ValueError, "pixels: expected 'dynamic', 'static' or 'threshold'"),
        ({"folder": 3}, TypeError, r"folder: expected a path or None, got int \(3\)"),
    ],
)
def test_bad_arguments(folder, written, arguments, error, message):
    with pytest.raises(error, match=message):
        mnist(**{"folder": folder, **arguments})
