"""What every penalty on the decoder's derivatives shares: where, of what, for whom, how many at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_choice, check_positive_int
from vaejax.keys import example_index, example_keys, named_key
from vaejax.objectives.compose import Term
from vaejax.ops.chunks import map_examples
from vaejax.ops.jacobian import spread_columns
from vaejax.types import VAE, Array, Batch, Distribution, Draw

# (decode, z [d], *drawn) -> a number, for one example, with decode: one latent [d] -> one array
Penalty = Callable[..., Array]
# (key, batch, z [B, d]) -> arrays [B, ...] that the penalty draws; of z only shape and dtype are seen
Draws = Callable[[Array, Batch, Array], tuple[Array, ...]]


def nothing(key: Array, batch: Batch, z: Array) -> tuple[Array, ...]:
    """The draws of a penalty that is not random."""
    del key, batch, z
    return ()


def decoder_term(
    penalty: Penalty,
    draws: Draws = nothing,
    *,
    of: Callable[[Distribution], Array],
    at: str,
    stop_gradient: bool,
    chunk: int | None,
) -> Term:
    """A penalty on z -> of(p(x|z, c)) as a term, [B]; the options are explained at `jacobian_l1`."""
    if not callable(of):
        raise TypeError(f"of: expected a function of p(x|z) to an array, got {of!r}")
    check_choice(at, ("sample", "mean"), "at")
    check_chunk(chunk)

    def term(key: Array, vae: VAE, draw: Draw) -> Array:
        z = codes(draw, at)
        drawn = draws(key, draw.batch, z)
        if stop_gradient:
            # z itself is detached, and the decoder is linearised anew there: a tangent map shared with
            # the reconstruction would still depend on z and leak into the encoder
            z = jax.lax.stop_gradient(z)

        def per_example(z_i: Array, c_i: Array | None, *drawn_i: Array) -> Array:
            def decode(latent: Array) -> Array:
                return of(vae.decode(latent, c_i))

            return penalty(decode, z_i, *drawn_i)

        return map_examples(per_example, z, draw.batch.get("c"), *drawn, chunk=chunk)

    return term


def spread(columns: int) -> Draws:
    """m columns an example, spread evenly over the batch by one offset: [B, m]."""

    def draws(key: Array, batch: Batch, z: Array) -> tuple[Array, ...]:
        d = z.shape[-1]
        check_columns(columns, d)
        offset = jax.random.randint(named_key(key, "columns"), (), 0, d)
        return (spread_columns(offset, example_index(batch), d, columns),)

    return draws


def subsets(columns: int) -> Draws:
    """A subset of m columns an example, all subsets equally likely: [B, m]."""

    def draws(key: Array, batch: Batch, z: Array) -> tuple[Array, ...]:
        d = z.shape[-1]
        check_columns(columns, d)
        keys = example_keys(named_key(key, "columns"), batch)
        return (jax.vmap(lambda k: jax.random.permutation(k, d)[:columns])(keys),)

    return draws


def signs(probes: int) -> Draws:
    """k probes of random signs an example: [B, k, d]."""

    def draws(key: Array, batch: Batch, z: Array) -> tuple[Array, ...]:
        keys = example_keys(named_key(key, "probes"), batch)
        return (jax.vmap(lambda k: jax.random.rademacher(k, (probes, z.shape[-1]), z.dtype))(keys),)

    return draws


def one_latent_array(draw: Draw) -> Array:
    """z: [B, d] of a draw with one level of vector latents."""
    if not isinstance(draw.z, jax.Array | np.ndarray) or draw.z.ndim != 2:
        got = jax.tree.map(jnp.shape, draw.z)
        raise TypeError(f"z: expected one array of latents [B, d]; got shape(s) {got}")
    return jnp.asarray(draw.z)


def posterior_mean(draw: Draw) -> Array:
    """E_q[z|x]: [B, d], of a posterior over one level of vector latents."""
    return mean_of(draw.q, one_latent_array(draw))


def mean_of(q: Distribution, z: Array) -> Array:
    """E_q[z|x] of one posterior, of the shape of its draw z [B, *event].

    Raises:
      TypeError: q is several levels, knows no mean, or one of another shape.
    """
    got = f"{len(q)} levels" if isinstance(q, tuple) else type(q).__name__
    expected = f"q: expected one posterior that knows its mean, got {got}"
    known: Any = getattr(q, "mean", None)
    if known is None:
        raise TypeError(expected)
    try:
        mean = known()
    except NotImplementedError as error:  # distrax, of a flow
        raise TypeError(expected) from error
    if mean.shape != z.shape:
        raise TypeError(f"q: expected a posterior mean of the shape of z, {z.shape}; got {mean.shape}")
    return mean


def codes(draw: Draw, at: str) -> Array:
    """z at the drawn "sample" or at the posterior "mean": [B, d]."""
    return one_latent_array(draw) if at == "sample" else posterior_mean(draw)


def check_chunk(chunk: int | None) -> None:
    """Raise unless `chunk` is None or an int of at least 1."""
    if chunk is not None:
        check_positive_int(chunk, "chunk")


def check_columns(columns: int, d: int) -> None:
    """Raise unless there are as many latents as columns."""
    if columns > d:
        raise ValueError(f"columns: expected at most the number of latents, {d}; got {columns}")


def check_size(value: int, name: str, *, method: str, of_method: str, default: int, least: int = 1) -> None:
    """Raise unless `value` is an int of at least `least`, and the default where another method is chosen."""
    check_positive_int(value, name)
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")
    if value != default and method != of_method:
        raise ValueError(f'{name}: only method="{of_method}" has them; got {name}={value}, method={method!r}')
