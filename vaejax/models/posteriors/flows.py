"""Posteriors that are a diagonal Gaussian pushed through invertible maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax.tree_util import Partial

from vaejax.checks import check_finite, check_positive_int, plain
from vaejax.distributions import Flow, diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.models import flows
from vaejax.models.posteriors.family import Posterior, no_parameters
from vaejax.types import Array, Distribution, PyTree

__all__ = ["autoregressive", "coupling", "iaf", "planar", "radial", "stack", "sylvester"]


@dataclass(frozen=True)
class FlowPosterior(Posterior):
    """A Posterior that knows what acts on its Gaussian, so that `stack` can put several in a row."""

    layer: Any = None


def planar(latents: int, steps: int) -> Posterior:
    """q(z|x): a diagonal Gaussian through planar flows, z + uh tanh(w.z + b), whose u, w and b depend on x.

    The encoder gives (loc, logvar, numbers), with steps (2 d + 1) numbers, as `nets.MLPEncoder(...,
    context=...)` does. Numbers of 0 leave the Gaussian as it is. For each step: u, then w less the unit
    vector of axis t in step t (from which it starts: at w = 0 and u = 0 nothing would move), then b.

    Args:
      latents: d.
      steps: how many maps.

    Returns:
      A Posterior without parameters of its own. Its inverse halves intervals and costs little.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1.

    Source: Rezende & Mohamed 2015, arXiv 1505.05770; see `ops.flows.planar`.
    """
    d, steps = _sizes(latents=latents, steps=steps)
    return _flow("planar", d, flows.planar(d, steps), steps=steps)


def radial(latents: int, steps: int) -> Posterior:
    """q(z|x): a diagonal Gaussian through radial flows, towards centres or away from them, that depend on x.

    The encoder gives (loc, logvar, numbers), with steps (d + 2) numbers: for each step z0, alpha and beta of
    `ops.flows.radial`. Numbers of 0 leave the Gaussian as it is.

    Args:
      latents: d.
      steps: how many maps.

    Returns:
      A Posterior without parameters of its own; its inverse is closed.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1.

    Source: Rezende & Mohamed 2015, arXiv 1505.05770.
    """
    d, steps = _sizes(latents=latents, steps=steps)
    return _flow("radial", d, flows.radial(d, steps), steps=steps)


def sylvester(latents: int, steps: int, columns: int) -> Posterior:
    """q(z|x): a diagonal Gaussian through Sylvester flows, which move z along m directions at once.

    The encoder gives (loc, logvar, numbers), with steps (m d + m (m + 1) + m) numbers: for each step m
    vectors, whose reflections make Q (each less a unit vector, from which it starts), the upper triangles of
    R and of Rt row by row, b. Diagonals are tanh(number), of Rt tanh(number + 1). Numbers of 0 leave the
    Gaussian as it is.

    Args:
      latents: d.
      steps: how many maps.
      columns: m <= d, the directions of each.

    Returns:
      A Posterior without parameters of its own. Its inverse halves m intervals, one after the other.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1, or more columns than latents.

    Source: van den Berg et al. 2018, arXiv 1803.05649 (Householder Sylvester flows).
    """
    d, steps, m = _sizes(latents=latents, steps=steps, columns=columns)
    if m > d:
        raise ValueError(f"columns: expected at most {d}, the latents, got {m}")
    return _flow("sylvester", d, flows.sylvester(d, steps, m), steps=steps, columns=m)


def iaf(
    latents: int, steps: int, features: tuple[int, ...], context: int = 0,
    *, gate: float = 1.5, activation: str = "relu",
) -> Posterior:  # fmt: skip
    """q(z|x): inverse autoregressive flow, z_j <- g_j z_j + (1 - g_j) m_j, g_j and m_j of z_1 .. z_{j-1}.

    m and the logits of g come from a masked net, `nets.MADE`, one for each step, which sees the encoder's
    context. It starts at m = 0 and g = sigmoid(gate): a Gaussian that is narrower and nearer to 0 than the
    encoder's by that factor a step. Between steps the order is reversed.

    Drawing takes one pass a step. The density at a point drawn elsewhere takes d of them: `kl_stl` and `dreg`
    cost several times what `kl_sampled` and `iwae` do.

    Args:
      latents: d.
      steps: how many maps; they compile as one.
      features: widths of the nets' hidden layers, each at least d.
      context: how many numbers the nets see of the encoder, which gives (loc, logvar, context); without any
        it gives (loc, logvar), and the flow is the same for all x.
      gate: where the logits of g start.
      activation: of the nets.

    Returns:
      A Posterior with the parameters of its nets, the group "posterior".

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1 (context: 0), or a gate that is no
        finite number.

    Source: Kingma et al. 2016, arXiv 1606.04934, algorithm 1.
    """
    d, steps = _sizes(latents=latents, steps=steps)
    check_finite(gate, "gate")
    net = _net(features, context, activation)
    layer = flows.autoregressive(d, steps, transform=flows.gate(float(gate)), **net)
    return _flow("iaf", d, layer, steps=steps, **net, gate=float(gate))


def autoregressive(
    latents: int, steps: int, features: tuple[int, ...], context: int = 0,
    *, kind: str = "spline", bins: int | None = None, bound: float | None = None, activation: str = "relu",
) -> Posterior:  # fmt: skip
    """q(z|x): as `iaf`, with a spline of each z_j, or an affine map, in place of the gate.

    It starts as the encoder's diagonal Gaussian.

    Args:
      latents: d.
      steps: how many maps; they compile as one.
      features: widths of the nets' hidden layers, each at least d.
      context: as for `iaf`.
      kind: "spline", rational-quadratic, or "affine".
      bins: of a spline; None is 8.
      bound: a spline is the identity beyond it, None is 5; or the log-scale of an affine step stays within
        it, None is 2.
      activation: of the nets.

    Returns:
      A Posterior with the parameters of its nets, the group "posterior".

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1 (context: 0), an unknown kind, bins of
        affine maps, a bound that is not positive.

    Source: Durkan et al. 2019, arXiv 1906.04032; Kingma et al. 2016, arXiv 1606.04934.
    """
    d, steps = _sizes(latents=latents, steps=steps)
    net = _net(features, context, activation)
    layer = flows.autoregressive(d, steps, transform=flows.transform(kind, bins, bound), **net)
    return _flow("autoregressive", d, layer, steps=steps, **net, kind=kind, bins=bins, bound=bound)


def coupling(
    latents: int, steps: int, features: tuple[int, ...], context: int = 0,
    *, kind: str = "affine", bins: int | None = None, bound: float | None = None, activation: str = "relu",
) -> Posterior:  # fmt: skip
    """q(z|x): RealNVP or its spline: half of z and x say how the other half is moved, then the halves change.

    The first d // 2 of z stay and go, beside the encoder's context, into a dense net that gives the maps of
    the others; between steps z is reversed. It starts as the encoder's diagonal Gaussian. Drawing and scoring
    take one pass each.

    Args:
      latents: d, at least 2.
      steps: how many maps; they compile as one. With one alone the first d // 2 latents stay Gaussian.
      features: widths of the nets' hidden layers.
      context: as for `iaf`.
      kind: "affine" (RealNVP), or "spline", rational-quadratic.
      bins: of a spline; None is 8.
      bound: a spline is the identity beyond it, None is 5; or the log-scale of an affine step stays within
        it, None is 2.
      activation: of the nets.

    Returns:
      A Posterior with the parameters of its nets, the group "posterior".

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1 (context: 0), one latent, an unknown
        kind, bins of affine maps, a bound that is not positive.

    Source: Dinh, Sohl-Dickstein & Bengio 2016, arXiv 1605.08803; Durkan et al. 2019, arXiv 1906.04032.
    """
    d, steps = _sizes(latents=latents, steps=steps)
    net = _net(features, context, activation)
    layer = flows.coupling(d, steps, transform=flows.transform(kind, bins, bound), **net)
    return _flow("coupling", d, layer, steps=steps, **net, kind=kind, bins=bins, bound=bound)


def stack(*parts: Posterior) -> Posterior:
    """q(z|x): one Gaussian through the flows of several posteriors, the first one's first.

    `stack(planar(8, 4), iaf(8, 2, (64,), context=16))`: the encoder gives (loc, logvar, numbers), with the
    numbers of all parts in their order. Between two parts z is reversed, and the order at the end is that of
    the start.

    Args:
      parts: flows of equally many latents, as the other factories of this file make them.

    Returns:
      A Posterior, with the parameters of those parts that have some.

    Raises:
      TypeError, ValueError: for parts that are no flows, none at all, or different numbers of latents.
    """
    if not parts:
        raise ValueError("parts: expected at least one posterior, got none")
    layers = []
    for n, part in enumerate(parts):
        if not isinstance(part, FlowPosterior):
            raise TypeError(
                f"parts[{n}]: expected a posterior that is a flow, such as planar(8, 4); got {part!r}"
            )
        if part.event != parts[0].event:
            raise ValueError(
                f"parts[{n}]: expected {parts[0].event[0]} latents, as parts[0]; got {part.event[0]}"
            )
        layers.append(part.layer)
    return _record("stack", parts[0].event[0], flows.chained(*layers), {"parts": parts})


def _flow(name: str, d: int, layer: flows.Layer, **options: Any) -> Posterior:
    return _record(name, d, layer, {"latents": d, **options})


def _record(name: str, d: int, layer: flows.Layer, options: dict[str, Any]) -> Posterior:
    return FlowPosterior(
        name,
        (d,),
        ((d,), (d,), (layer.numbers,))[: 3 if layer.numbers else 2],
        Fixed(_build, layer),
        init=Fixed(_init, layer.init) if layer.init else no_parameters,
        code=_centre,
        options=options,
        layer=layer,
    )


def _init(init: Callable, key: Array, parameters: PyTree) -> tuple[dict[str, Any], None]:
    _, _, *given = parameters
    return init(key, given[0][0] if given else None), None


def _build(layer: flows.Layer, own: PyTree, state: PyTree, parameters: PyTree) -> Distribution:
    del state
    loc, logvar, given = parameters if layer.numbers else (*parameters, None)
    base = diagonal_gaussian(loc, jnp.exp(logvar / 2))
    return Flow(base, Partial(layer.forward, own, given), Partial(layer.inverse, own, given))


def _centre(q: Flow) -> Array:
    return q.centre()


def _sizes(**sizes: Any) -> list[int]:
    for name, size in sizes.items():
        check_positive_int(size, name)
    return [plain(size) for size in sizes.values()]


def _net(features: Any, context: Any, activation: str) -> dict[str, Any]:
    """What the layers with nets share; the nets themselves check widths and activation."""
    if context != 0 or isinstance(context, bool):
        check_positive_int(context, "context")
    return {"features": tuple(map(plain, features)), "context": int(context), "activation": activation}
