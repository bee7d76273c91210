"""The records that vaejax is made of: plain containers, no logic.

Axes: B examples, D data, d latents, K samples, L levels. Units: nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array
AnyArray = jax.Array | np.ndarray
PyTree = Any
Distribution = Any  # a distrax distribution: a pytree whose log_prob sums event dims, in nats
# {"x": [B, ...], "c"?, "y"?, "observed"?: where x was observed, "index"?: place in the whole batch, [B]}. Of
# several modalities x is a mapping {name: [B, ...]}, and "observed" one of {name: [B]}, who has which.
Batch = Mapping[str, Any]
Device = Any  # a jax.Device
Params = Mapping[str, PyTree]  # named groups: "encoder", "decoder", ...
Metrics = Mapping[str, Any]
Progress = Callable[[Iterable[int]], Iterable[int]]  # wraps a range of batches, as a progress bar does

# Data of which supports a likelihood of the given support may score. Binary data under a density
# on (0, 1) is not among them: its likelihood is unbounded; a cross-entropy of them is not.
SUPPORTS: Mapping[str, tuple[str, ...]] = {
    "binary": ("binary",),
    "unit_interval": ("unit_interval",),
    "binary_or_unit_interval": ("unit_interval", "binary"),
    "bytes": ("bytes",),
    "real": ("real", "unit_interval", "binary"),
    "one_hot": ("one_hot",),
    "counts": ("counts", "bytes", "binary"),
    "mixed": ("mixed",),
    "tokens": ("tokens",),
}
DATA_SUPPORTS = ("binary", "unit_interval", "bytes", "real", "one_hot", "counts", "mixed", "tokens")

# Tokens, integers 0..V-1, are sentences of at most T words, [T]. The first END ends a sentence, and what
# follows it is padding, of any value; a sentence of T words has none. UNKNOWN stands for any word outside of
# the vocabulary. BEGIN comes before a sentence, where a decoder is asked for its first word.
END, UNKNOWN, BEGIN = 0, 1, -1


def shown(tree: PyTree) -> str:
    """Arrays in words: of one its dtype and shape, of a mapping each entry's, of what is deeper its size."""
    if isinstance(tree, Mapping):
        return f"{{{', '.join(f'{name}: {_shown(part)}' for name, part in tree.items())}}}"
    return _shown(tree)


def _shown(tree: PyTree) -> str:
    if tree is None:
        return "None"
    if hasattr(tree, "shape") and hasattr(tree, "dtype"):
        return f"{tree.dtype} {list(tree.shape)}"
    return f"{sum(math.prod(np.shape(a)) for a in jax.tree.leaves(tree)):,} numbers"


class Draw(NamedTuple):
    """One latent draw per example of a batch, and the log-densities that go with it.

    Every array leads with [B]. Where latents come in parts `z`, `log_q`, `log_p`, `q` and `p` are tuples: of
    independent parts, or of the levels of a hierarchy, the top level first. What scores q or p does so at
    `point`: a relaxed one-hot, which the decoder eats, is no point at which a categorical has a mass.
    """

    z: PyTree  # what the decoder eats
    log_q: PyTree  # log q(z|x), [B] per level
    log_p: PyTree  # log p(z) along the same path, [B] per level
    q: PyTree  # posterior distribution(s)
    p: PyTree  # prior distribution(s); batch shape [] where one serves all examples
    batch: Batch
    px: Distribution = None  # p(x|z); None until the draw is scored
    log_px: Any = None  # log p(x|z), [B]; None until the draw is scored
    variables: PyTree = None  # new state that no gradient moves; None when stateless
    extra: Mapping[str, Any] | None = None  # documented by the builder that fills it
    point: PyTree = None  # where log_q and log_p were taken; None: at z itself

    def __repr__(self) -> str:
        there = {name: value for name, value in self._asdict().items() if value is not None}
        return f"Draw({', '.join(f'{name}={shown(value)}' for name, value in there.items())})"


class VAE(NamedTuple):
    """A model with its parameters bound: pure functions, each a `jax.tree_util.Partial`."""

    encode: Callable[..., Draw]  # (key, batch) -> Draw without its likelihood part
    decode: Callable[..., Distribution]  # (z, c=None) -> p(x|z, c); takes one z or a batch
    sample_prior: Callable[..., PyTree]  # (key, n, c=None) -> z
    heads: Mapping[str, Callable[..., Any]]  # auxiliary networks
    represent: Callable[..., PyTree] | None = None  # batch -> z without noise, the code; None: the mean of q
    # batch -> (parameters [B, ...], build): what the encoder gives, and the function of such to q(z|x)
    family: Callable[..., tuple[PyTree, Callable[[PyTree], Distribution]]] | None = None

    def __repr__(self) -> str:
        return f"VAE(heads={list(self.heads)}, of {shown((self.encode, self.decode, self.heads))})"


class Model(NamedTuple):
    """The recipe of a VAE.

    `init(key, batch) -> (params, variables)`; `bind(params, variables=None, *, step=None) -> VAE`, where
    step is that of training, on which temperatures depend, and None in evaluation: samples are then exact and
    `encode` returns no new variables.
    `support` names the values that the likelihood scores (a key of `SUPPORTS`; of several modalities {name:
    key}); `spec` is plain
    data from which `vaejax.models.from_spec` builds the model again. `groups` names the parameter groups, as
    for `wrt` of an update; () where the builder does not know them.
    """

    init: Callable[..., tuple[dict[str, PyTree], PyTree]]
    bind: Callable[..., VAE]
    support: Any
    spec: Mapping[str, Any]
    groups: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Model({self.spec.get('builder')!r}, groups={self.groups}, support={self.support!r})"


class TrainState(NamedTuple):
    """All that a training run carries from step to step."""

    params: dict[str, PyTree]
    variables: PyTree
    opt_state: PyTree
    step: Array  # int32 scalar: steps done

    def __repr__(self) -> str:
        return (
            f"TrainState(step={self.step}, params={shown(self.params)}, variables={shown(self.variables)}, "
            f"opt_state={shown((self.opt_state,))})"
        )


class Update(NamedTuple):
    """A way to move a TrainState.

    `init(params) -> opt_state`; `apply(state, key, batch, take) -> (state, metrics)`, pure, where
    `take(key) -> batch` draws a further batch. `groups` names the parameter groups it moves, None
    for all of them. `mixes_examples` names the terms that couple the examples of a batch.
    """

    init: Callable[[Params], PyTree]
    apply: Callable[..., tuple[TrainState, dict[str, Any]]]
    groups: tuple[str, ...] | None = None
    mixes_examples: tuple[str, ...] = ()


def identity_transform(key: Array, batch: Batch) -> Batch:
    """Return the batch as it is."""
    del key
    return batch


@dataclass(frozen=True)
class Split:
    """Arrays of one split of a data set, on the host.

    `arrays`: {"x": [N, ...], "c"?: [N, ...], "y"?: [N, ...]}, uint8, integer or float, N >= 1; what takes a
    split checks them. The name "index" is taken, by the place of an example; "observed", booleans of the
    shape of x, says where x has no hole (`data.with_holes`). Of several modalities x is a mapping
    {name: [N, ...]}, and "observed" {name: [N] booleans}, who has which (`data.joined`).
    `support`: what the values of x are after `transform`: "binary", "unit_interval", "bytes", "real",
    "one_hot", "counts" (whole numbers >= 0), "mixed", of columns of several kinds, or "tokens"; of several
    modalities {name: support}.
    `transform(key, batch) -> batch`: pure, runs first in the step and in evaluation.
    """

    arrays: Mapping[str, Any]
    support: Any
    transform: Callable[[Array, Batch], Batch] = identity_transform

    def __repr__(self) -> str:
        arrays = ", ".join(f"{name}: {shown(array)}" for name, array in self.arrays.items())
        transform = getattr(self.transform, "__name__", type(self.transform).__name__)
        return f"Split({{{arrays}}}, support={self.support!r}, transform={transform})"

    @property
    def size(self) -> int:
        """N, the number of examples."""
        return len(jax.tree.leaves(self.arrays["x"])[0])
