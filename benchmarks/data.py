"""How fast published sets are prepared, and in how much memory.

    python -m benchmarks.data

Writes a .npz file of 737 280 images of 64 x 64 zeros and ones with the factors of dSprites, a rectangle in
each, prepares it in a process of its own, and prints seconds, the most memory that the process held, and what
lies on disk then.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vaejax.data.factor_files import DSPRITES
from vaejax.data.from_files import prepare_published

NUM_VALUES = (3, 6, 40, 32, 32)  # shape, scale, orientation, x, y
SIDE = 64
_BLOCK = 32 * 32  # images of one shape, scale and orientation


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--images", type=int, default=int(np.prod(NUM_VALUES)), help="a multiple of 1024")
    parser.add_argument("--folder", help="where the sets are made (default: a temporary folder)")
    parser.add_argument("--prepare", help=argparse.SUPPRESS)  # the file; in a process of its own
    given = parser.parse_args(arguments)
    if given.images < _BLOCK or given.images % _BLOCK:
        parser.error(f"--images: expected a multiple of {_BLOCK}, got {given.images}")
    if given.prepare:
        print(json.dumps(prepared(Path(given.prepare), Path(given.folder))))
        return 0
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        file = Path(made) / DSPRITES
        write_sprites(file, given.images)
        command = [sys.executable, "-m", "benchmarks.data", "--prepare", str(file), "--folder", made]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        size = round(file.stat().st_size / 2**20, 2)
        print(json.dumps({"images": given.images, "file_mib": size, **json.loads(out)}))
    return 0


def write_sprites(path: Path, images: int) -> None:
    """Write a .npz file like that of dSprites; a part has fewer orientations, scales and shapes."""
    y = np.indices((images // _BLOCK, 32, 32), np.int64).reshape(3, -1)
    outer = images // _BLOCK
    shapes = 3 if outer % 3 == 0 else 1
    scales = 6 if outer // shapes % 6 == 0 else 1
    kinds = np.unravel_index(y[0], (shapes, scales, outer // shapes // scales))
    classes = np.stack([np.zeros_like(y[0]), *kinds, y[1], y[2]], axis=1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("imgs.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (images, SIDE, SIDE)}
            np.lib.format.write_array_header_1_0(file, header)
            for block in _sprites(outer):
                file.write(block.tobytes())
        with archive.open("latents_classes.npy", "w") as file:
            np.lib.format.write_array(file, classes)


def _sprites(outer: int) -> Iterator[np.ndarray]:
    """A rectangle at 32 x 32 places, of a size for each of `outer` kinds: uint8 [1024, 64, 64]."""
    for kind in range(outer):
        height, width = 8 + kind % 17, 8 + kind % 13
        block = np.zeros((32, 32, SIDE, SIDE), np.uint8)
        for i, j in np.ndindex(32, 32):
            block[i, j, j : j + height, i : i + width] = 1
        yield block.reshape(_BLOCK, SIDE, SIDE)


def prepared(file: Path, folder: Path) -> dict[str, float]:
    """Seconds, MiB of memory at most and after the imports, and MiB on disk."""
    before, start = _peak(), time.perf_counter()
    directory = prepare_published("dsprites", folder, file=file)
    seconds = time.perf_counter() - start
    arrays, records = (
        sum(path.stat().st_size for path in directory.glob(f"*{kind}*")) / 2**20
        for kind in (".npy", ".array_record")
    )
    return {
        "seconds": round(seconds, 1),
        "peak_mib": round(_peak()),
        "imports_mib": round(before),
        "arrays_mib": round(arrays, 1),
        "records_mib": round(records, 1),
    }


def _peak() -> float:
    """The most memory that this process held, in MiB; Linux counts that of its parent into ru_maxrss."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    sys.exit(main())
