"""How a set is made, example by example, wherever the examples come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from vaejax.data.cache import Field, num_bytes

_BLOCK = 4000  # examples at a time
_BLOCK_BYTES = 2**20

Example = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How to make a set.

    `config` spells everything that the arrays depend on, and is part of the path; `version` moves
    when the same configuration would give other arrays. `features` maps array names to the shape of
    one example, `dtype` is the type of all, or {name: type}. `splits` maps split names to a function that
    yields the examples in order. What `notes` gives, plain data, is written beside them, and read by
    `notes_of`. `together`, where reading a file once for each split would take too long, yields the same
    examples with their splits, (split, example), in one pass.
    """

    name: str
    config: str
    version: str
    features: Mapping[str, tuple[int, ...]]
    splits: Mapping[str, Callable[[], Iterator[Example]]]
    dtype: Any = np.uint8
    notes: Callable[[], Mapping[str, Any]] | None = None
    together: Callable[[], Iterator[tuple[str, Example]]] | None = None
    num_examples: int | None = None  # of all splits, for the bar

    @property
    def fields(self) -> dict[str, Field]:
        """How the arrays are read from the records."""
        return {
            name: Field(shape, self.dtype_of(name), itemgetter(name)) for name, shape in self.features.items()
        }

    def dtype_of(self, name: str) -> Any:
        """The type of an array."""
        return self.dtype[name] if isinstance(self.dtype, Mapping) else self.dtype

    def examples(self) -> Iterator[tuple[str, Example]]:
        """Every example with its split, those of a split in their order."""
        if self.together is not None:
            return self.together()
        return ((split, example) for split, make in self.splits.items() for example in make())

    def blocks(self) -> Iterator[tuple[str, list[Example]]]:
        """The same, some examples of a split at a time.

        Raises:
            ValueError: a split has none.
        """
        n = max(1, min(_BLOCK, _BLOCK_BYTES // num_bytes(self.fields, 1)))
        waiting: dict[str, list[Example]] = {split: [] for split in self.splits}
        empty = set(self.splits)
        for split, example in self.examples():
            if self.together is not None:  # it waits: a view would hold what was read with it
                example = {name: np.array(value) for name, value in example.items()}
            waiting[split].append(example)
            if len(waiting[split]) == n:
                empty.discard(split)
                yield split, waiting.pop(split)
                waiting[split] = []
        yield from ((split, examples) for split, examples in waiting.items() if examples)
        if empty := sorted(split for split in empty if not waiting[split]):
            raise ValueError(f"{self.name}: expected examples in every split, got none in {', '.join(empty)}")
