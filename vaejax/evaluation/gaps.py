"""What the posterior costs: log p(x) - ELBO, split into approximation and amortisation gap.

The one file of the evaluation that optimises: a posterior for every example by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaejax.checks import check_positive, check_positive_int
from vaejax.distributions import diagonal_gaussian, is_diagonal_gaussian, score
from vaejax.evaluation.batches import even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.codes import is_real
from vaejax.evaluation.entry import check_weights, checked, enter, program, traced
from vaejax.evaluation.weights import samples_at_once, weigh
from vaejax.keys import example_keys, named_key
from vaejax.types import VAE, AnyArray, Array, Batch, Distribution, Draw, Progress, PyTree, Split


class _Plan(NamedTuple):
    """What the program is built for."""

    steps: int
    learning_rate: float
    samples_per_step: int
    num_samples: int
    chunk: int


def gaps(
    key: Array,
    vae: VAE,
    split: Split,
    *,
    steps: int = 1000,
    learning_rate: float = 0.02,
    samples_per_step: int = 4,
    num_samples: int = 5000,
    log_likelihood: AnyArray | None = None,
    batch_size: int = 256,
    chunk: int | None = None,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Split log p(x) - ELBO(q) into what the family costs and what the encoder costs.

        log p(x) - ELBO(q) = [log p(x) - ELBO(q*)] + [ELBO(q*) - ELBO(q)]
              inference    =     approximation     +     amortisation

    q* is the best member of q's own family for this x alone: Adam on what the encoder gives for it, from
    there, on fresh noise in every step with a learning rate that falls to 0 as a cosine. Nets of the family
    itself (a flow's) stay as they are. Gradients leave the score term out (Roeder et al. 2017, 1703.09194;
    unbiased, and without noise where q* is the posterior), but for flows, of which it would take the inverse.
    Of the start and the end the better is kept, so no amortisation gap is negative. Adam
    works elementwise, so a whole batch of examples is fitted at once, each with its own.

    Both ELBOs are means over the same K draws of noise. log p(x), where it is not given, is the importance
    estimate with q*, from those draws: a lower bound in expectation, loose where `ess` is near 1, and then
    the approximation gap is too small. A richer family shrinks the approximation gap, a better encoder the
    amortisation gap.

    Args:
      key: typed PRNG key.
      vae: a bound model whose q(z|x) is one diagonal Gaussian, or whose q(z|x) samples with a gradient and
        which has a `family`, as those of `models.vae` do.
      split: the examples; its transform runs first.
      steps: of Adam, in the fit of loc and log scale, or of what the encoder gives.
      learning_rate: at its start, in units of those.
      samples_per_step: draws of noise for each gradient.
      num_samples: K, for the ELBOs and log p(x).
      log_likelihood: log p(x), [N] nats, from elsewhere: exact, or the larger of this estimate and that of
        `annealed_log_likelihood` with the same key (which gives both the same transformed x).
      batch_size: the most examples at a time.
      chunk: the most samples of each example together; None aims at 32 MiB of temporaries.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`, `num_samples`; means over the split and their standard errors over examples, nats:
      `log_likelihood`, `elbo`, `elbo_optimal`, `inference_gap`, `approximation_gap`, `amortisation_gap`, each
      with `_se` (nan for one example); `ess`, `ess_se`, of the importance weights under q*; `per_example`:
      the same names, [N] each, and of q*, [N, ...] each: `loc` and `scale` of a Gaussian, the `parameters` of
      another. An example that no sample explains has a log-likelihood of -inf and gaps of nan.

    Raises:
      TypeError, ValueError: an argument is of another kind, q(z|x) is several parts or levels, discrete, or
        of a family that the model does not show, log p(x|z) is itself a bound, q a point, the likelihood
        cannot score the split, or the model wants a c that the split has not, or none.

    Source: Cremer, Li & Duvenaud 2018, arXiv 1801.03558.
    """
    counts = {"num_samples": num_samples, "steps": steps, "samples_per_step": samples_per_step}
    key = enter(key, vae, split, progress=progress, batch_size=batch_size, **counts)
    if chunk is not None:
        check_positive_int(chunk, "chunk")
    check_positive(learning_rate, "learning_rate")
    given = None if log_likelihood is None else _as_given(log_likelihood, split.size)
    size = even_size(split, batch_size)
    draw, largest = traced(key, vae, split, size)
    check_weights(draw, "gaps")
    at_once = samples_at_once(draw, num_samples, (), chunk, largest)
    plan = _Plan(int(steps), float(learning_rate), int(samples_per_step), int(num_samples), at_once)
    of_batch = program(_jitted_fit, split.transform, plan, key, vae)
    parts, optimal = per_example(of_batch, split, size, progress)
    return _summarise(parts, optimal, given, plan.num_samples)


def _as_given(log_likelihood: Any, n: int) -> np.ndarray:
    """log p(x) from elsewhere, [n]; raise for numbers of another kind or number."""
    given = np.asarray(checked(log_likelihood, "log_likelihood", "[N]"), np.float64)
    if len(given) != n:
        raise ValueError(f"log_likelihood: expected one for each of {n} examples, got {given.shape}")
    return given


def _summarise(
    parts: dict[str, np.ndarray], optimal: dict[str, Any], given: np.ndarray | None, num_samples: int
) -> dict[str, Any]:
    values = {name: array.astype(np.float64) for name, array in parts.items()}
    if given is not None:
        values["log_likelihood"] = given
    log_px, elbo, best = (values[name] for name in ("log_likelihood", "elbo", "elbo_optimal"))
    with np.errstate(invalid="ignore"):  # where all are -inf the gaps are nan
        values |= {
            "inference_gap": log_px - elbo,
            "approximation_gap": log_px - best,
            "amortisation_gap": best - elbo,
        }
    result: dict[str, Any] = {"n": len(elbo), "num_samples": num_samples}
    for name, array in values.items():
        result |= mean_and_error(name, array)
    optimal = jax.tree.map(lambda array: array.astype(np.float64), optimal)
    return {**result, "per_example": values | optimal}


def _fit(
    transform: Callable[[Array, Batch], Batch], plan: _Plan, key: Array, vae: VAE, batch: Batch
) -> tuple[dict[str, Array], dict[str, PyTree]]:
    """Fit, evaluate both ends on the same noise, keep the better: [B] each, and q* of every example."""
    batch = transformed(transform, key, batch)
    draw = vae.encode(named_key(key, "encode"), batch)
    start, sampled = _family(vae, draw)
    log_weight = partial(_log_weight, vae, draw, sampled)
    end = _optimise(plan, partial(log_weight, named_key(key, "fit")), start)

    def weights(parameters: PyTree) -> tuple[Array, Array, Array]:
        of_place = partial(log_weight, named_key(key, "evaluate"))
        out = weigh(
            lambda place: jax.vmap(lambda k: of_place(k, parameters))(place),
            *(plan.num_samples, plan.chunk, (1,) if plan.num_samples > 1 else ()),
        )
        return out.curve[:, 0], out.log_likelihood, out.ess

    at_start, at_end = weights(start), weights(end)
    better = at_end[0] > at_start[0]

    def kept(end: Array, start: Array) -> Array:
        return jnp.where(better.reshape(-1, *[1] * (end.ndim - 1)), end, start)

    elbo, log_likelihood, ess = map(kept, at_end, at_start)
    best = jax.tree.map(kept, end, start)
    optimal = {"parameters": best}
    if is_diagonal_gaussian(draw.q, of_any_shape=True):
        optimal = {"loc": best[0], "scale": jnp.exp(best[1])}
    names = {"log_likelihood": log_likelihood, "elbo": at_start[0], "elbo_optimal": elbo, "ess": ess}
    return names, optimal


_jitted_fit = jax.jit(_fit, static_argnums=(0, 1))  # the boundary

Build = Callable[[PyTree], Distribution]
Sampled = Callable[[PyTree, Array], tuple[Array, Array]]  # (parameters [B, ...], keys [B]) -> (z, log q [B])


def _family(vae: VAE, draw: Draw) -> tuple[PyTree, Sampled]:
    """The parameters of q that the encoder gives, [B, ...], and how q of such parameters is sampled."""
    if isinstance(draw.q, tuple):
        raise TypeError(
            f"q: expected one posterior, each of which is fitted to its x; got {len(draw.q)} levels or parts"
        )
    if is_diagonal_gaussian(draw.q, of_any_shape=True):
        return (draw.q.mean(), jnp.log(draw.q.stddev())), _gaussian
    if not is_real(draw.q, draw.z):
        raise TypeError(f"q: expected samples with a gradient, by which q is fitted; got {draw.q.name}")
    if vae.family is None:
        raise TypeError(
            "vae: expected a `family` that says which parameters of q(z|x) are fitted, got none for "
            f"{draw.q.name}"
        )
    parameters, build = vae.family(draw.batch)
    return parameters, partial(_drawn_by_a_flow if hasattr(draw.q, "has_inverse") else _built, build)


def _gaussian(parameters: tuple[Array, Array], keys: Array) -> tuple[Array, Array]:
    """z ~ N(loc, scale^2) and log q there, without a gradient by q's own density."""
    loc, log_scale = parameters
    eps = jax.vmap(lambda k: jax.random.normal(k, loc.shape[1:], loc.dtype))(keys)
    q = diagonal_gaussian(*jax.lax.stop_gradient((loc, jnp.exp(log_scale))), loc.ndim - 1)
    z = loc + jnp.exp(log_scale) * eps
    return z, q.log_prob(z)


def _built(build: Build, parameters: PyTree, keys: Array) -> tuple[Array, Array]:
    """z ~ q and log q there, without a gradient by q's own density."""

    def one(parameters: PyTree, key: Array) -> tuple[Array, Array]:  # distributions do not cross the map
        z = build(parameters).sample(seed=key)
        return z, build(jax.lax.stop_gradient(parameters)).log_prob(z)

    return jax.vmap(one)(parameters, keys)


def _drawn_by_a_flow(build: Build, parameters: PyTree, keys: Array) -> tuple[Array, Array]:
    """z ~ q and log q there, of one pass."""
    return jax.vmap(lambda p, k: build(p).sample_and_log_prob(seed=k))(parameters, keys)


def _optimise(plan: _Plan, log_weight: Callable[[Array, PyTree], Array], start: PyTree) -> PyTree:
    """Adam on the parameters of every example, [B, ...]."""
    adam = optax.adam(optax.cosine_decay_schedule(plan.learning_rate, plan.steps))

    def cost(parameters: PyTree, t: Array) -> Array:
        places = t * plan.samples_per_step + jnp.arange(plan.samples_per_step)
        log_w = jax.vmap(lambda k: log_weight(k, parameters))(places)
        return -jnp.sum(jnp.mean(log_w, axis=0))  # the sum keeps the examples apart

    def step(state: tuple, t: Array) -> tuple[tuple, None]:
        parameters, opt_state = state
        updates, opt_state = adam.update(jax.grad(cost)(parameters, t), opt_state)
        return (optax.apply_updates(parameters, updates), opt_state), None

    return jax.lax.scan(step, (start, adam.init(start)), jnp.arange(plan.steps))[0][0]


def _log_weight(
    vae: VAE, draw: Draw, sampled: Sampled, key: Array, place: Array, parameters: PyTree
) -> Array:
    """log w of the sample of that place under q of these parameters, [B]."""
    own = jax.random.fold_in(key, place)
    z, log_q = sampled(parameters, example_keys(named_key(own, "noise"), draw.batch))
    px = vae.decode(z, draw.batch.get("c"))
    return (
        score(named_key(own, "score"), px, draw.batch["x"], draw.batch.get("observed"))
        + draw.p.log_prob(z)
        - log_q
    )
