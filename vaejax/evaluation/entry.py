"""The door of the evaluation: what every function checks before it computes, and its compiled programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from vaejax import hints
from vaejax.checks import check_array, check_positive_int, check_progress, check_split, check_vae
from vaejax.distributions import Point
from vaejax.evaluation.batches import batch_at, check_likelihood, transformed
from vaejax.keys import check_key, threefry_key
from vaejax.objectives import sample
from vaejax.ops.chunks import largest_array
from vaejax.types import VAE, AnyArray, Array, Batch, Draw, PyTree, Split


def enter(key: Array, vae: VAE, split: Split, *, progress: Any, least: int = 1, **counts: Any) -> Array:
    """The key, as one program takes it for all generators.

    Raises:
      TypeError, ValueError: unless these are a key, a bound model, a split of `least` examples or more, and
        positive ints.
    """
    check_key(key)
    check_model(vae)
    check_split(split)
    if split.size < least:
        raise ValueError(f"split: expected at least {least} examples, got {split.size}")
    check_counts(**counts)
    check_progress(progress)
    return threefry_key(key)


def check_counts(**counts: Any) -> None:
    """Raise TypeError or ValueError unless each is an int of at least 1."""
    for name, count in counts.items():
        check_positive_int(count, name)


def check_model(vae: VAE, *parts: str) -> None:
    """Raise TypeError unless `vae` is a bound model with the functions named; None: `encode` and `decode`."""
    check_vae(vae)
    for part in parts or ("encode", "decode"):
        function = getattr(vae, part)
        if not callable(function):
            raise TypeError(f"vae: expected a function `{part}`, got {type(function).__name__}")


def check_batch(batch: Any) -> None:
    """Raise unless `batch` maps names to arrays, and x to one example or more."""
    hints.check_batch(batch)
    for name, array in batch.items():
        if not isinstance(array, Mapping):
            check_array(array, f"batch: {name}")
    checked_data(batch["x"], "batch: x", "[B, *event]")


def checked(value: Any, name: str, shape: str) -> AnyArray:
    """`value` as an array; raise unless it holds numbers, one at least, in the axes that `shape` names.

    Args:
      value: an array, or lists of numbers.
      name: of the argument.
      shape: such as "[n, *event]"; the last axis stands for one or more where it has a star.
    """
    array = np.asarray(value) if isinstance(value, list | tuple) else value
    check_array(array, name)
    axes = shape.count(",") + 1
    if array.ndim < axes or (array.ndim > axes and "*" not in shape) or array.size == 0:
        raise ValueError(f"{name}: expected {shape} with one number at least, got {list(array.shape)}")
    return array


def checked_data(x: Any, name: str, shape: str) -> Any:
    """`checked` of x; of several modalities of each, {name: array}, as many examples of one as of another."""
    if not isinstance(x, Mapping):
        return checked(x, name, shape)
    parts = {part: checked(array, f"{name}.{part}", shape) for part, array in x.items()}
    if len({len(array) for array in parts.values()}) != 1:
        got = {part: list(array.shape) for part, array in parts.items()}
        raise ValueError(
            f"{name}: expected as many examples of each modality, one modality at least; got {got}"
        )
    return parts


def checked_latents(z: Any) -> PyTree:
    """z as arrays of one length: one, or a tuple of one for each part."""
    if not (isinstance(z, tuple) and z and all(isinstance(a, jax.Array | np.ndarray) for a in z)):
        return checked(z, "z", "[n, *d]")
    parts = tuple(checked(a, f"z[{i}]", "[n, *d]") for i, a in enumerate(z))
    if len({len(a) for a in parts}) > 1:
        raise ValueError(f"z: expected as many of each part, got shapes {[a.shape for a in parts]}")
    return parts


def checked_condition(c: Any, n: int) -> AnyArray | None:
    """The conditions of n examples, [n, ...], or None; raise for another number of them."""
    if c is None:
        return None
    c = checked(c, "c", "[*n]")
    if len(c) != n:
        raise ValueError(f"c: expected one for each of {n} examples, [n, ...], got {list(c.shape)}")
    return c


def traced(key: Array, vae: VAE, split: Split, batch_size: int) -> tuple[Draw, int]:
    """A scored draw in shapes only, traced and not compiled, and the elements of the largest array in it.

    Raises:
      TypeError, ValueError: p(x|z) cannot score the split, or its x is nothing for the model's nets.
    """

    def scored(vae: VAE, key: Array, batch: Batch) -> Draw:
        return sample(key, vae, transformed(split.transform, key, batch))

    function, arrays = of_arrays(scored, vae)
    batch = batch_at(split, 0, batch_size)
    try:
        jaxpr, draw = jax.make_jaxpr(function, return_shape=True)(arrays, key, batch)
    except AttributeError as error:  # a mapping where a net takes an array, or the other way round
        got = jax.tree.map(lambda a: f"{a.dtype} {list(a.shape)}", split.arrays["x"])
        raise TypeError(f"split: expected x as the nets of the model take it, got {got}: {error}") from error
    check_likelihood(draw.px, split)
    return draw, largest_array(jaxpr.jaxpr)


def check_weights(draw: Draw, name: str) -> None:
    """Raise TypeError where log w = log p(x, z) - log q(z|x) is not the log of a weight whose mean is p(x).

    That is where log p(x|z) is itself a bound, since the mean of exp(bound) exponentiates its noise, and
    where q is a point.

    Args:
      draw: with q or p(x|z) or both, in shapes or not.
      name: of the function that needs weights.
    """
    if getattr(draw.px, "is_bound", False):
        raise TypeError(
            f"{name}: expected an exact log p(x|z), got a bound ({draw.px.name}): weights of a noisy bound "
            "average to more than p(x), and what they give is no bound on log p(x); elbo_parts takes it"
        )
    if has_point(draw):
        raise TypeError(
            f"{name}: expected q(z|x) with a density, got a point: "
            "a deterministic encoder has no bound on log p(x)"
        )


def has_point(draw: Draw) -> bool:
    """Whether q, or one of several, has all its mass at one point."""
    return any(isinstance(q, Point) for q in (draw.q if isinstance(draw.q, tuple) else (draw.q,)))


def looked_at(function: Callable[[Draw], Any], draw: Draw) -> Any:
    """The Python value of `function(draw)` for a draw that is known in shapes alone."""
    seen = []
    jax.eval_shape(lambda draw: seen.append(function(draw)), draw)
    return seen[0]


def can_score(draw: Draw) -> bool:
    """Whether q has a density at z that it did not draw, every q of several; a flow by its inverse."""
    all_q = draw.q if isinstance(draw.q, tuple) else (draw.q,)
    return all(getattr(q, "has_inverse", True) for q in all_q) and not has_point(draw)


def program(jitted: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """A jitted function with its first arguments given, the bound model their last.

    A model that is a pytree of arrays finds the program of an equal one. One with plain functions is compiled
    in each call of the evaluation: a program that was kept would not see that what such a function reads, its
    parameters say, is another by now.
    """
    *given, vae = arguments
    if all(map(_is_array, jax.tree.leaves(vae))):
        return partial(jitted, *given, _Once(vae))
    function, arrays = of_arrays(lambda vae, *rest: jitted.__wrapped__(*given, vae, *rest), vae)
    return partial(jax.jit(function), arrays)


@jax.tree_util.register_pytree_node_class
class _Once:
    """A bound model on its way into a program: an array that several of its functions hold enters once.

    Inside it is the model again. XLA can then see that `encode` and `represent` run one network.
    """

    def __init__(self, vae: VAE):
        self.vae = vae

    def tree_flatten(self) -> tuple[list[Any], tuple]:
        leaves, tree = jax.tree.flatten(self.vae)
        first = {id(leaf): leaf for leaf in leaves}
        place = {each: i for i, each in enumerate(first)}
        return list(first.values()), (tree, tuple(place[id(leaf)] for leaf in leaves))

    @classmethod
    def tree_unflatten(cls, of: tuple, arrays: Sequence[Any]) -> VAE:
        tree, places = of
        return tree.unflatten([arrays[i] for i in places])


def of_arrays(function: Callable[..., Any], vae: VAE) -> tuple[Callable[..., Any], list[Any]]:
    """`function(vae, *rest)` as a function of the model's arrays, and these.

    It closes over what else a model may hold: plain functions, and ints, which may be sizes.
    """
    leaves, tree = jax.tree.flatten(vae)

    def of(arrays: list[Any], *rest: Any) -> Any:
        both = zip(arrays, leaves, strict=True)
        return function(tree.unflatten([leaf if a is None else a for a, leaf in both]), *rest)

    return of, [leaf if _is_array(leaf) else None for leaf in leaves]


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.floating | float)
