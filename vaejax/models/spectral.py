"""A model that knows the largest singular values of its kernels, for a penalty on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.keys import named_key
from vaejax.types import VAE, Array, Batch, Draw, Model, Params, PyTree

__all__ = ["spectral"]

_FIRST = 10  # iterations when a model starts


def spectral(model: Model, *, groups: tuple[str, ...] | None = None) -> Model:
    """Give a model sum_l sigma_max(W_l) over its kernels W_l, which `objectives.spectral` hands to the loss.

    Each kernel is a matrix, outputs x (inputs times places), that keeps the vectors of a power iteration:

        v <- W^T u / |W^T u|,   u <- W v / |W v|,   sigma = u^T W v,   d sigma / d W = u v^T

    one iteration a step of training, from the vectors of the step before, which have no gradient.
    A kernel that is 0, as the last of `nets.BlockPrior` at the start, has sigma and gradient 0. sigma comes
    close to sigma_max from below, and follows it while W moves slowly. Kernels are the parameters of that
    name: of dense layers [in, out], of convolutions [p, q, in, out], and with one axis more the stacked
    ones of blocks that are one scan, of which each is a matrix of its own.

    Args:
      model: the model.
      groups: the parameter groups whose kernels count, None for all.

    Returns:
      A Model whose draws have `extra["spectral"]` [B], the sum, the same for every example; with variables
      {"u": kernels' u [n, out], "v": kernels' v [n, inputs]}, and "model" if the model has some. They move
      once a step, by the update that moves the encoder, and not in evaluation.

    Raises:
      TypeError, ValueError: for anything but a Model; when initialised, for groups that the model has not,
        none with a kernel, or a kernel of other axes; when bound, for variables without the vectors.

    Source: Vahdat & Kautz 2020, arXiv 2007.03898, section 3.2; Yoshida & Miyato 2017, arXiv 1705.10941.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    if isinstance(groups, str):
        raise TypeError(f"groups: expected a tuple of group names, got the string {groups!r}")
    groups = None if groups is None else tuple(groups)
    return Model(
        init=partial(_init, model, groups),
        bind=partial(_bind, model, groups),
        support=model.support,
        spec={"builder": "spectral", "model": model.spec, "groups": groups},
        groups=model.groups,
    )


def _init(
    model: Model, groups: tuple[str, ...] | None, key: Array, batch: Batch
) -> tuple[dict[str, PyTree], PyTree]:
    params, inner = model.init(key, batch)
    kernels = _kernels(params, groups)
    if not kernels:
        raise ValueError(f"groups: expected some with a kernel, got {groups or sorted(params)}")
    leaves, tree = jax.tree.flatten(jax.tree.map(_matrices, kernels))
    keys = jax.random.split(named_key(key, "/spectral"), len(leaves))
    pairs = [_start(key, W) for key, W in zip(keys, leaves, strict=True)]
    pairs = jax.lax.fori_loop(0, _FIRST, lambda _, old: _moved(leaves, old), pairs)
    return params, _variables(_as_trees(tree, pairs), inner)


def _variables(vectors: Mapping[str, PyTree], inner: PyTree) -> dict[str, PyTree]:
    return {**vectors} | ({} if inner is None else {"model": inner})


def _bind(
    model: Model, groups: tuple[str, ...] | None,
    params: Params, variables: PyTree = None, *, step: Any = None,
) -> VAE:  # fmt: skip
    if not (isinstance(variables, Mapping) and {"u", "v"} <= set(variables)):
        got = sorted(variables) if isinstance(variables, Mapping) else variables
        raise ValueError(f"variables: expected a mapping with 'u' and 'v', as init makes it; got {got!r}")
    inner = variables.get("model")
    vae = model.bind(params, inner, step=step)
    vectors = {name: variables[name] for name in ("u", "v")}
    function = _evaluated if step is None else _trained
    return vae._replace(encode=Partial(function, vae.encode, _kernels(params, groups), vectors, inner))


def _trained(
    encode: Callable, kernels: PyTree, vectors: Mapping[str, PyTree], inner: PyTree, key: Array, batch: Batch
) -> Draw:
    """The draw with the sum after one more iteration, and the vectors of that."""
    leaves, tree = jax.tree.flatten(jax.tree.map(_matrices, kernels))
    old = zip(*(tree.flatten_up_to(vectors[name]) for name in ("u", "v")), strict=True)
    moved = _as_trees(tree, _moved(jax.lax.stop_gradient(leaves), list(old)))
    draw = _evaluated(encode, kernels, moved, inner, key, batch)
    return draw._replace(variables=_variables(moved, inner if draw.variables is None else draw.variables))


def _evaluated(
    encode: Callable, kernels: PyTree, vectors: Mapping[str, PyTree], inner: PyTree, key: Array, batch: Batch
) -> Draw:
    """The draw with the sum at these vectors."""
    del inner
    draw = encode(key, batch)
    each = jax.tree.map(lambda W, u, v: _sigma(_matrices(W), u, v).sum(), kernels, vectors["u"], vectors["v"])
    total = sum(jax.tree.leaves(each))
    B = jax.tree.leaves(batch["x"])[0].shape[0]
    return draw._replace(extra={**(draw.extra or {}), "spectral": jnp.broadcast_to(total, (B,))})


def _kernels(params: Params, groups: tuple[str, ...] | None) -> dict[str, PyTree]:
    """The parameters called "kernel", in the nested dicts where they lie."""
    unknown = sorted(set(groups or ()) - set(params))
    if unknown:
        raise ValueError(f"groups: expected some of {sorted(params)}, got {unknown}")
    return _named_kernel({name: of for name, of in params.items() if groups is None or name in groups})


def _named_kernel(tree: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            below = _named_kernel(value)
            found |= {name: below} if below else {}
        elif name == "kernel":
            found[name] = value
    return found


def _matrices(kernel: Array) -> Array:
    """[in, out] or [p, q, in, out], or a stack of such, as [n, out, inputs]."""
    if not 2 <= kernel.ndim <= 5:
        raise ValueError(f"kernel: expected 2 or 4 axes, or one more where stacked; got {kernel.shape}")
    stack = kernel if kernel.ndim % 2 else kernel[None]
    return jnp.moveaxis(stack, -1, 1).reshape(stack.shape[0], stack.shape[-1], -1)


def _start(key: Array, W: Array) -> tuple[Array, Array]:
    """Random u and v of n matrices [n, out, in]."""
    normal = jax.random.normal(key, (W.shape[0], sum(W.shape[1:])), W.dtype)
    return _unit(normal[:, : W.shape[1]]), _unit(normal[:, W.shape[1] :])


def _moved(matrices: list[Array], pairs: list[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    return [_iterated(W, *pair) for W, pair in zip(matrices, pairs, strict=True)]


def _as_trees(tree: Any, pairs: list[tuple[Array, Array]]) -> dict[str, PyTree]:
    """{"u": tree of them, "v": tree of them}."""
    return {name: tree.unflatten(of) for name, of in zip("uv", zip(*pairs, strict=True), strict=True)}


def _iterated(W: Array, u: Array, v: Array) -> tuple[Array, Array]:
    """One iteration, each of n matrices [n, out, in] by itself."""
    v = _unit(jnp.einsum("noi,no->ni", W, u), v)
    return _unit(jnp.einsum("noi,ni->no", W, v), u), v


def _unit(x: Array, other: Array | None = None) -> Array:
    """Rows of length 1; those of `other` where a row is 0."""
    top = jnp.max(jnp.abs(x), axis=-1, keepdims=True)  # first, so that squares neither overflow nor vanish
    x = x / jnp.where(top > 0, top, 1)
    unit = x / jnp.where(top > 0, jnp.linalg.norm(x, axis=-1, keepdims=True), 1)
    return unit if other is None else jnp.where(top > 0, unit, other)


def _sigma(W: Array, u: Array, v: Array) -> Array:
    """u^T W v of n matrices, [n]; 0 with slope 0 where W is 0."""
    u, v = jax.lax.stop_gradient((u, v))
    value = jnp.einsum("noi,no,ni->n", W, u, v)
    return jnp.where(jnp.any(W != 0, axis=(1, 2)), value, 0)
