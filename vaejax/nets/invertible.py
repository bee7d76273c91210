"""Invertible nets between x and u, conditioned on z: decoders whose p(x|z) is a normal u carried to x."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from vaejax.checks import check_positive_int
from vaejax.nets.around import check_net
from vaejax.nets.dense import activation_of, beside, check_floating, dtype_name
from vaejax.ops.flows.transforms import Transform, transform
from vaejax.precision import at_least_float32
from vaejax.types import Array


class Invertible(nn.Module):
    """What `FlatFlow` and `ImageFlow` share: an affine map given z, around the steps that each has.

    v = (x - loc(z)) exp(-log_scale(z)),  u = steps(v; z); with `alpha` the logit of alpha + (1 - 2 alpha) x
    takes the place of x. A subclass has `_steps(h, v, back) -> (u, log|det|)` and its own fields.
    """

    start: nn.Module
    shape: tuple[int, ...]
    steps: int = 4
    kind: str = "affine"
    bins: int | None = None
    bound: float | None = None
    activation: str = "relu"
    alpha: float | None = None
    noise: nn.Module | None = None
    min_log_scale: float = -6.0
    dtype: Any = dataclasses.field(default=None, kw_only=True)

    decodes: ClassVar[str] = "flow"  # what a builder asks a decoder

    def __post_init__(self) -> None:
        self.dtype = dtype_name(self.dtype)
        check_net(self.start, "start")
        for n, size in enumerate(self.shape):
            check_positive_int(size, f"shape[{n}]")
        check_count(self.steps, "steps")
        transform(self.kind, self.bins, self.bound)
        activation_of(self.activation)
        if self.alpha is not None and not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha: expected a number between 0 and .5, or None; got {self.alpha!r}")
        if self.noise is not None:
            check_net(self.noise, "noise")
        super().__post_init__()

    def __call__(self, z: Array, *others: Array) -> tuple[Array, Array]:
        *c, x = others
        if x.shape[x.ndim - len(self.shape) :] != tuple(self.shape):
            raise ValueError(f"x: expected [..., {', '.join(map(str, self.shape))}], got {x.shape}")
        if self.noise is not None and self.is_initializing():
            self.noise(x)  # that its parameters are there
        return self._carried(z, tuple(c), at_least_float32(x), back=False)

    def generate(self, z: Array, *others: Array) -> tuple[Array, Array]:
        """(z, *c, u [..., D]) -> x [..., *shape] and log|det dx/du| [...]."""
        *c, u = others
        return self._carried(z, tuple(c), at_least_float32(u), back=True)

    def dequantise(self, z: Array, *others: Array) -> tuple[Array, Array]:
        """(z, *c, eps, x) -> u in (0, 1) and log q(u|x) for eps ~ N(0, I); both [..., *shape], and [...]."""
        *_, eps, x = others
        assert self.noise is not None
        loc, log_scale = jnp.split(at_least_float32(self.noise(at_least_float32(x) / 127.5 - 1)), 2, -1)
        if loc.shape != x.shape:
            raise ValueError(f"noise: expected twice the channels of x, {x.shape}; got {loc.shape} of them")
        a = loc + jnp.exp(log_scale) * eps
        log_slope = -jax.nn.softplus(a) - jax.nn.softplus(-a)  # of the sigmoid
        log_normal = -0.5 * (eps**2 + math.log(2 * math.pi))
        return jax.nn.sigmoid(a), _over(log_normal - log_scale - log_slope, len(self.shape))

    @nn.compact
    def _carried(self, z: Array, c: tuple[Array, ...], value: Array, back: bool) -> tuple[Array, Array]:
        check_floating(z, "z")
        n, h = len(self.shape), beside(z, c)
        parameters = at_least_float32(self.start(z, *c))
        expected = (*z.shape[:-1], *self.shape[:-1], 2 * self.shape[-1])
        if parameters.shape != expected:
            raise ValueError(
                f"start: expected loc and log-scale as channels, {expected}; got {parameters.shape}"
            )
        loc, raw = jnp.split(parameters, 2, -1)
        log_scale = self.min_log_scale + jax.nn.softplus(raw - self.min_log_scale)
        if back:
            v, log_det = self._steps(h, value, True)
            x = v.reshape(*v.shape[:-1], *self.shape) * jnp.exp(log_scale) + loc
            x, log_slope = _from_logit(x, self.alpha)
            return x, log_det + _over(log_slope + log_scale, n)
        x, log_slope = _to_logit(value, self.alpha)
        v = (x - loc) * jnp.exp(-log_scale)
        u, log_det = self._steps(h, v.reshape(*v.shape[: v.ndim - n], -1), False)
        return u, log_det + _over(log_slope - log_scale, n)

    def _steps(self, h: Array, v: Array, back: bool) -> tuple[Array, Array]:
        raise NotImplementedError


class FlatFlow(Invertible):
    """A flow of vectors for `distributions.flow`: couplings, in which half of v says how the rest moves.

    `(z, *c, x) -> (u, log|det du/dx|)`, and by the method `generate` `(z, *c, u) -> (x, log|det dx/du|)`; z
    [..., d], c flattened beside it, x [..., *shape], u [..., D]. A net for each step, of the first half of v
    and of z; between two steps v is reversed; all steps are one scan. Its last layer starts at 0, so that
    p(x|z) starts as the Gaussian of `start`, and stays it with `steps=0`.

    Args:
      start: a net z -> [..., *shape[:-1], 2 C], C the last size, that gives the loc and the log-scale of an
        affine map as it would give those of `distributions.gaussian_learned_scale`.
      shape: of x for one example; flattened, D >= 2 values where there are steps.
      steps: how many couplings, 0 for none.
      kind, bins, bound: of the maps, as of `priors.flow`: "affine" or "spline", rational-quadratic.
      activation: one of `ACTIVATIONS`.
      alpha: for x in [0, 1]: the flow is of logit(alpha + (1 - 2 alpha) x), and gives x in about [0, 1].
      noise: for `distributions.flow("variational")`, a net of x in [-1, 1] -> [..., 2 C], the loc and
        log-scale of the logit of the noise.
      min_log_scale: the soft floor of the affine map's log-scale.
      features: widths of the hidden layers of each step's net.
      dtype: what the layers before the last of each step's net compute in, such as "bfloat16"; None for what
        input and parameters have. Parameters, maps and output stay float32.

    Raises:
      TypeError, ValueError: for sizes that are not such ints, an unknown kind or activation, an alpha outside
        of (0, .5); when called, for x, or an output of `start`, of another shape.

    Source: Dinh, Sohl-Dickstein & Bengio 2016, arXiv 1605.08803 (couplings, alpha); Durkan et al. 2019, arXiv
    1906.04032 (splines); Ho et al. 2019, arXiv 1902.00275 (noise; theirs is a flow, here a logit-normal).
    """

    features: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        for n, width in enumerate(self.features):
            check_positive_int(width, f"features[{n}]")
        if self.steps and math.prod(self.shape) < 2:
            raise ValueError(
                f"shape: expected at least 2 values, which a coupling takes apart; got {self.shape}"
            )
        super().__post_init__()

    def _steps(self, h: Array, v: Array, back: bool) -> tuple[Array, Array]:
        if not self.steps:
            return v, jnp.zeros(v.shape[:-1], v.dtype)
        moves = transform(self.kind, self.bins, self.bound)
        fixed = v.shape[-1] // 2
        shape = (v.shape[-1] - fixed, moves.numbers)
        net = _Dense(self.features, shape, self.activation, self.dtype, parent=None)
        params = self.param("steps", stacked(net, self.steps), jnp.zeros(fixed), jnp.zeros(h.shape[-1]))

        def step(params: Any, v: Array) -> tuple[Array, Array]:
            a, b = jnp.split(v[..., ::-1] if back else v, [fixed], -1)
            b, log_det = moved(moves, back)(net.apply({"params": params}, a, h), b)
            v = jnp.concatenate([a, b], -1)
            return v if back else v[..., ::-1], log_det

        return scanned(step, params, v, back)


class _Dense(nn.Module):
    """The numbers of a coupling from what stays and from z: dense layers, z added before each activation."""

    features: tuple[int, ...]
    shape: tuple[int, ...]
    activation: str
    dtype: Any = None

    @nn.compact
    def __call__(self, a: Array, h: Array) -> Array:
        for n, width in enumerate(self.features):
            of_z = nn.Dense(width, use_bias=False, dtype=self.dtype, name=f"z_{n}")(h)
            of_a = nn.Dense(width, dtype=self.dtype, name=f"dense_{n}")(a)
            a = activation_of(self.activation)(of_a + of_z)
        raw = nn.Dense(math.prod(self.shape), name="out")(at_least_float32(a))
        return raw.reshape(*raw.shape[:-1], *self.shape)


def check_count(count: Any, name: str) -> None:
    """Raise unless `count` is an int of at least 0."""
    if count != 0 or isinstance(count, bool):
        check_positive_int(count, name)


def moved(moves: Transform, back: bool) -> Any:
    """The map of v by the numbers of a net, or its inverse."""
    return moves.inverse if back else moves.forward


def stacked(net: nn.Module, steps: int) -> Any:
    """The function (key, *inputs) -> the parameters of so many nets, [steps, ...], the last layers at 0."""

    def init(key: Array, *inputs: Array) -> Any:
        params = jax.lax.map(lambda k: net.init(k, *inputs)["params"], jax.random.split(key, steps))
        return {**params, "out": jax.tree.map(jnp.zeros_like, params["out"])}

    return init


def scanned(step: Any, parameters: Any, v: Array, back: bool, event_ndims: int = 1) -> tuple[Array, Array]:
    """All steps, (parameters of one, v) -> (v, log|det|), from the last one if `back`: v and the sum."""

    def one(carry: tuple[Array, Array], parameters: Any) -> tuple[tuple[Array, Array], None]:
        v, total = carry
        v, log_det = step(parameters, v)
        return (v, total + log_det), None

    v = v.astype(jnp.result_type(v, *jax.tree.leaves(parameters)))  # a carry keeps its dtype
    start = (v, jnp.zeros(v.shape[: v.ndim - event_ndims], v.dtype))
    return jax.lax.scan(one, start, parameters, reverse=back)[0]


def _over(values: Array, event_ndims: int) -> Array:
    """The sum over the axes of an event."""
    return jnp.sum(values, tuple(range(-event_ndims, 0)))


def _to_logit(x: Array, alpha: float | None) -> tuple[Array, Array]:
    """logit(p), p = alpha + (1 - 2 alpha) x, and the logarithm of its slope at every value."""
    if alpha is None:
        return x, jnp.zeros_like(x)
    p = alpha + (1 - 2 * alpha) * x
    log_p, log_rest = jnp.log(p), jnp.log1p(-p)
    return log_p - log_rest, math.log(1 - 2 * alpha) - log_p - log_rest


def _from_logit(y: Array, alpha: float | None) -> tuple[Array, Array]:
    """The x of y = logit(alpha + (1 - 2 alpha) x), and the logarithm of its slope at every value."""
    if alpha is None:
        return y, jnp.zeros_like(y)
    log_slope = -jax.nn.softplus(y) - jax.nn.softplus(-y) - math.log(1 - 2 * alpha)
    return (jax.nn.sigmoid(y) - alpha) / (1 - 2 * alpha), log_slope
