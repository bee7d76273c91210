"""Small CIFAR-10 and CIFAR-100 in their binary version, in every form in which they lie."""

from __future__ import annotations

import io
import tarfile

import numpy as np

from vaejax.data import cifar

SIZE = 4
TEN = ([f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"])
HUNDRED = (["train.bin"], ["test.bin"])
SETS = {"cifar10": (TEN, "cifar-10-batches-bin"), "cifar100": (HUNDRED, "cifar-100-binary")}


def shrink(monkeypatch):
    """Let the reader expect few records in each file."""
    sizes = {"train": SIZE, "test": SIZE}
    forms = {name: form._replace(sizes=sizes) for name, form in cifar._FORMS.items()}
    monkeypatch.setattr(cifar, "_FORMS", forms)


def made(name):
    """{file: bytes} and {split: (x, y)}."""
    rng, data, arrays = np.random.default_rng(0), {}, {}
    for split, names in zip(("train", "test"), SETS[name][0], strict=True):
        n = SIZE * len(names)
        x = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
        fine = rng.integers(0, 10 if name == "cifar10" else 100, n, np.uint8)
        y = fine if name == "cifar10" else np.stack([fine // 5, fine], axis=1)
        arrays[split] = (x, y)
        records = [
            bytes(np.atleast_1d(b)) + a.transpose(2, 0, 1).tobytes() for a, b in zip(x, y, strict=True)
        ]
        for i, file in enumerate(names):
            data[file] = b"".join(records[i * SIZE : (i + 1) * SIZE])
    return data, arrays


def write(folder, data, form, inside):
    """{name: path} of the files, in a folder, loose or in an archive, where the batches lie in any order."""
    if form == "archive":
        path = folder / "set.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for file, value in sorted(data.items(), key=lambda item: item[0][::-1]):
                info = tarfile.TarInfo(f"{inside}/{file}")
                info.size = len(value)
                archive.addfile(info, io.BytesIO(value))
        return {path.name: path}
    place = folder / inside
    place.mkdir()
    for file, value in data.items():
        (place / file).write_bytes(value)
    return {f"{inside}/": place} if form == "folder" else {file: place / file for file in data}
