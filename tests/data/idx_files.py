"""IDX files of any shape, for tests."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def idx_bytes(array: np.ndarray) -> bytes:
    code, order = {"u1": (8, "u1"), "i4": (12, ">i4")}[array.dtype.str[1:]]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(order).tobytes()


def write_set(folder: Path, sizes: dict[str, int], zipped: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write the four files of a small MNIST; returns {split: (images, labels)}."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    made = {}
    for split, names in NAMES.items():
        images = rng.integers(0, 256, (sizes[split], 28, 28), np.uint8)
        made[split] = (images, rng.integers(0, 10, sizes[split], np.uint8))
        for name, array in zip(names, made[split], strict=True):
            data = idx_bytes(array)
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    return made


def write_qmnist(
    folder: Path, sizes: dict[str, int]
) -> tuple[dict[str, Path], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Write the four files of a small QMNIST; returns {name: path} and {split: (images, labels [N, 8])}."""
    rng, made = np.random.default_rng(0), {}
    for split, n in sizes.items():
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        labels = rng.integers(0, 400_000, (n, 8)).astype(np.int32)
        labels[:, 0] = np.arange(n) % 10
        made[split] = (images, labels)
        (folder / f"qmnist-{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"qmnist-{split}-labels-idx2-int.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    return {path.name: path for path in folder.iterdir()}, made
