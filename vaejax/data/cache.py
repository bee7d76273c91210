"""Arrays of a split as .npy files: written in full and then renamed, mapped when read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

Blocks = Iterable[Mapping[str, np.ndarray]]  # {name: [n, ...]}, the rows of a split in order


class Field(NamedTuple):
    """What becomes of the examples of a source: `pick(example)`, one row of an array of this type."""

    shape: tuple[int, ...]
    dtype: Any
    pick: Callable[[Mapping[str, Any]], Any]

    def rows(self, examples: Sequence[Mapping[str, Any]], where: str) -> np.ndarray:
        """The rows of some examples, [n, *shape].

        Raises:
            ValueError: they have another shape, or values that the type does not hold; says `where`.
        """
        values = [self.pick(example) for example in examples]
        shapes = {np.shape(value) for value in values}
        if shapes != {self.shape}:
            got = ", ".join(str(list(shape)) for shape in sorted(shapes))
            raise ValueError(f"{where}: expected shape {list(self.shape)} of each example, got {got}")
        picked = np.asarray(values)
        rows = picked.astype(self.dtype)
        if rows.dtype.kind in "iu" and not np.array_equal(rows, picked):
            raise ValueError(f"{where}: expected values of {rows.dtype}, got {picked.min()}..{picked.max()}")
        return rows


def array_paths(directory: Path, split: str, fields: Mapping[str, Field]) -> dict[str, Path]:
    """{name: path} of the files of a split."""
    return {name: directory / f"{split}-{name}.npy" for name in fields}


def num_bytes(fields: Mapping[str, Field], size: int) -> int:
    """How many bytes the arrays of `size` examples take."""
    return sum(size * math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in fields.values())


@contextmanager
def array_files(
    paths: Mapping[str, Path], fields: Mapping[str, Field]
) -> Iterator[Callable[[Mapping[str, np.ndarray]], None]]:
    """A function that writes blocks of rows to .npy files, {name: [n, ...]}; they are whole at the end."""
    # Plain writes: through a memory map of a sparse file, a full disk kills the process without a word.
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(path, "wb")) for name, path in paths.items()}
        sizes = dict.fromkeys(paths, 0)
        for name, field in fields.items():
            _write_header(files[name], field, 0)

        def write(block: Mapping[str, np.ndarray]) -> None:
            for name, rows in block.items():
                files[name].write(np.ascontiguousarray(rows).data)
                sizes[name] += len(rows)

        yield write
        for name, file in files.items():
            file.seek(0)
            _write_header(file, fields[name], sizes[name])  # numpy leaves room in it for a larger size
            file.flush()
            os.fsync(file.fileno())  # some disks find only now that they are full


def _write_header(file: IO[bytes], field: Field, size: int) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(field.dtype)),
        "fortran_order": False,
        "shape": (size, *field.shape),
    }
    np.lib.format.write_array_header_1_0(file, header)


def read_arrays(paths: Mapping[str, Path], fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    """Map the arrays of a split: slices of a set larger than the memory cost what they hold.

    Raises:
        ValueError: a file was cut off or is another one; names it and says what to do.
    """
    arrays = {name: _mapped(path, fields[name]) for name, path in paths.items()}
    first, *others = arrays
    for name in others:
        if len(arrays[name]) != len(arrays[first]):
            raise _damaged(paths[name], f"{len(arrays[first])} rows, as {paths[first].name} has",
                           f"{len(arrays[name])}")  # fmt: skip
    return arrays


def _mapped(path: Path, field: Field) -> np.ndarray:
    wanted = f"a whole file of {np.dtype(field.dtype)} [N{''.join(f', {n}' for n in field.shape)}]"
    try:
        array: Any = np.load(path, mmap_mode="r")
    except (EOFError, ValueError) as error:
        raise _damaged(path, wanted, f"a damaged one ({error})") from error
    if array.dtype != field.dtype or array.ndim == 0 or array.shape[1:] != field.shape:
        raise _damaged(path, wanted, f"{array.dtype} {list(array.shape)}")
    size, whole = path.stat().st_size, array.offset + array.nbytes
    if size != whole:
        raise _damaged(path, wanted, f"{size} bytes in place of {whole}")
    return array


def _damaged(path: Path, expected: str, got: str) -> ValueError:
    return ValueError(
        f"{path}: expected {expected}, got {got}; delete this file, and it is made again from the records "
        "beside it"
    )
