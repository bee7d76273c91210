"""Quantised latents: q(z|x) is one code at each place of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.checks import check_choice, check_positive, check_positive_int, check_real, plain
from vaejax.distributions import CodePoint, Coding
from vaejax.fixed import Fixed
from vaejax.models.posteriors import codebooks
from vaejax.models.posteriors.codebooks import Quantiser
from vaejax.models.posteriors.family import Drawn, Posterior, as_option, identity, shape_of
from vaejax.ops import codes as ops
from vaejax.types import Array, Batch, PyTree

__all__ = ["fsq", "residual_vq", "vq"]


def vq(
    shape: int | tuple[int, ...], dim: int, codes: int, *, groups: int = 1,
    decay: float | None = None, restart: float | None = None, gradient: str = "straight_through",
) -> Posterior:  # fmt: skip
    """Vector quantisation: z at each place is the code e_k nearest to what the encoder gives there.

    The encoder gives vectors z_e [*shape, dim], as `nets.ConvDown` does, or `nets.MLP` of that output_shape.
    z is as many, of the codebook, and the decoder's net eats it as it is. q is a point: log q = 0 at its
    codes, so under `priors.codes()` -ELBO = -log p(x|z) + P log V for P places. The gradient of the
    reconstruction reaches the encoder by `gradient`. What else there is in a loss is in `Draw.extra`:

    `indices`: k, [B, *places]; places are the shape, and with groups [*shape, groups].
    `commitment`: |z_e - sg(e)|^2, summed over places and dim, [B], for `objectives.commitment`.
    `codebook`: |sg(z_e) - e|^2 likewise, where a gradient moves the codebook, for `objectives.codebook`.
    `perplexity`, `used_share`: of the batch's codes, means over groups; [B], all the same.

    The codebook [groups, codes, dim / groups] is a parameter of the group "posterior", or with `decay` state:
    running means of the vectors assigned to each code (`ops.codes.ema_update`, eps 1e-5), which start at 10
    rounds of k-means of the first batch's vectors. They move once a step of training, by the update that
    moves the encoder, and need its whole batch; a code that no vector of a batch chose stays where it is.

    Args:
      shape: the places of one example, such as (8, 8), or their number.
      dim: of the encoder's vectors.
      codes: V, the codes of a codebook.
      groups: product codes: so many parts of a vector each have a code of a codebook of their own.
      decay: g in [0, 1), .99 in the paper: running means; None: the codebook is learned by a gradient.
      restart: with `decay`, a code that fewer than so many vectors of a batch choose, in the running mean,
        moves to a random vector of the batch; 1 is usual. None: no code does.
      gradient: "straight_through", or "rotation" (`ops.codes.rotation`).

    Returns:
      A Posterior with the parameters "codebook", or else with state. Its code is its z.

    Raises:
      TypeError, ValueError: for sizes that are not such ints, groups that do not divide dim, a decay outside
        [0, 1), a restart that is not positive or has no decay, another gradient.

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937; running means: its appendix A.1;
      restarts: Dhariwal et al. 2020, arXiv 2005.00341.
    """
    check_positive_int(groups, "groups")
    given = _checked(shape, dim, codes, decay, restart, gradient)
    if given["dim"] % groups:
        raise ValueError(f"groups: expected a divisor of dim {dim}, got {groups}")
    of = Quantiser(books=plain(groups), in_stages=False, **given)
    return _posterior("vq", of, {"groups": of.books})


def residual_vq(
    shape: int | tuple[int, ...], dim: int, codes: int, stages: int, *, dropout: bool = False,
    decay: float | None = None, restart: float | None = None, gradient: str = "straight_through",
) -> Posterior:  # fmt: skip
    """Residual quantisation: at each place a sum of S codes, each nearest to what those before have left.

    As `vq`, with places [*shape, stages] and S codebooks [stages, codes, dim]; -ELBO has P S log V. z keeps
    the stages apart, [*shape, stages, dim], and the decoder's net eats their sum, [*shape, dim]. Costs are
    sums over the stages, of z_e less the codes before; the gradient passes the sum as if it were one code.

    Args:
      shape: the places of one example, such as (8, 8), or their number.
      dim: of the encoder's vectors and the codes.
      codes: V, the codes of each codebook.
      stages: S.
      dropout: whether in training the decoder sees the first s stages of an example alone, s uniform in 1..S
        and its own, so that fewer stages serve too. The others count neither in the costs nor in the means;
        log p is of all.
      decay: as for `vq`.
      restart: likewise, at the vectors of each stage.
      gradient: likewise.

    Returns:
      A Posterior, as `vq`. Its code is its z.

    Raises:
      TypeError, ValueError: as `vq`, and for a dropout that is not a bool.

    Source: Zeghidour et al. 2021, arXiv 2107.03312 (SoundStream).
    """
    check_positive_int(stages, "stages")
    if not isinstance(dropout, bool):
        raise TypeError(f"dropout: expected a bool, got {type(dropout).__name__} ({dropout!r})")
    given = _checked(shape, dim, codes, decay, restart, gradient)
    of = Quantiser(books=plain(stages), in_stages=True, dropout=dropout, **given)
    return _posterior("residual_vq", of, {"stages": of.books, "dropout": dropout})


def _checked(
    shape: Any, dim: Any, codes: Any, decay: Any, restart: Any, gradient: Any
) -> dict[str, Any]:  # fmt: skip
    """What every family of codebooks has, as plain data."""
    shape = shape_of(shape, "shape")
    check_positive_int(dim, "dim")
    check_positive_int(codes, "codes")
    if codes < 2:
        raise ValueError(f"codes: expected at least 2, got {codes}")
    check_choice(gradient, tuple(codebooks.GRADIENTS), "gradient")
    if decay is not None:
        check_real(decay, "decay")
        if not 0 <= decay < 1:
            raise ValueError(f"decay: expected a number in [0, 1) or None, got {decay!r}")
    if restart is not None:
        check_positive(restart, "restart")
        if decay is None:
            raise ValueError(f"restart: expected None for a codebook without a decay, got {restart!r}")
    given = {"dim": dim, "codes": codes, "decay": decay, "restart": restart, "gradient": gradient}
    return {"shape": shape} | {name: plain(value) for name, value in given.items()}


def _posterior(name: str, of: Quantiser, more: dict[str, Any]) -> Posterior:
    options = {field: getattr(of, field) for field in ("dim", "codes", "decay", "restart", "gradient")}
    return Posterior(
        name,
        of.event,
        (*of.shape, of.dim),
        Fixed(codebooks.build, of),
        init=Fixed(codebooks.init, of),
        draw=Fixed(codebooks.draw, of),
        inputs=_sum if of.in_stages else identity,
        shared=Fixed(codebooks.shared, of),
        options={"shape": as_option(of.shape), **options, **more},
    )


def _sum(z: Array) -> Array:
    """What the decoder eats of stages [..., S, dim]."""
    return jnp.sum(z, axis=-2)


def fsq(shape: int | tuple[int, ...], levels: Sequence[int]) -> Posterior:
    """Finite scalar quantisation: each dimension of the encoder's vectors is rounded to one of L_i levels.

    The encoder gives vectors [*shape, d]; z is `ops.codes.fsq` of them, which the decoder's net eats as it
    is: V = prod L_i codes at each place, without a codebook, state or costs beside the bound. Levels of 2
    alone are lookup-free quantisation. `Draw.extra` has `indices` [B, *shape], `perplexity` and `used_share`
    as `vq`. The paper's levels: 2^8 codes are (8, 6, 5), 2^10 (8, 5, 5, 5), 2^12 (7, 5, 5, 5, 5),
    2^14 (8, 8, 8, 6, 5), 2^16 (8, 8, 8, 5, 5, 5).

    Args:
      shape: the places of one example, such as (8, 8), or their number.
      levels: L, d ints of at least 2.

    Returns:
      A Posterior without parameters or state. Its code is its z.

    Raises:
      TypeError, ValueError: for sizes that are not such ints, or 2^31 codes and more.

    Source: Mentzer et al. 2023, arXiv 2309.15505; two levels: Yu et al. 2023, arXiv 2310.05737 (MAGVIT-v2).
    """
    shape = shape_of(shape, "shape")
    levels = shape_of(levels, "levels")  # type: ignore[arg-type]
    if min(levels) < 2 or math.prod(levels) >= 2**31:
        raise ValueError(f"levels: expected ints of at least 2 with a product below 2^31, got {levels}")
    event = (*shape, len(levels))
    return Posterior(
        "fsq",
        event,
        event,
        Fixed(_build_fsq, shape, levels),
        draw=Fixed(_draw_fsq, shape, levels),
        shared=Fixed(_shared_fsq, shape, levels),
        options={"shape": as_option(shape), "levels": levels},
    )


Levels = tuple[int, ...]


def _shared_fsq(shape: Levels, levels: Levels, own: PyTree, state: PyTree) -> Coding:
    del own, state
    index, vector = (Partial(Fixed(function, levels)) for function in (_index_fsq, _vector_fsq))
    return Coding(shape, math.prod(levels), index, vector)


def _index_fsq(levels: Levels, z: Array) -> Array:
    return ops.fsq_indices(z, levels)


def _vector_fsq(levels: Levels, indices: Array) -> Array:
    return ops.fsq_codes(indices, levels)


def _build_fsq(shape: Levels, levels: Levels, own: PyTree, state: PyTree, parameters: Array) -> CodePoint:
    k = ops.fsq_indices(ops.fsq(parameters, levels), levels)
    return CodePoint(_shared_fsq(shape, levels, own, state), k)


def _draw_fsq(
    shape: Levels, levels: Levels, posterior: Posterior,
    own: PyTree, state: PyTree, parameters: Array, key: Array, batch: Batch, step: Any,
) -> Drawn:  # fmt: skip
    del posterior, key, batch, step
    z = ops.fsq(parameters, levels)
    q = _build_fsq(shape, levels, own, state, parameters)
    extra = {"indices": q.point, **codebooks.usage(q.point[None], math.prod(levels))}
    return Drawn(z, jnp.zeros(len(z), z.dtype), q, extra=extra, point=q.point)
