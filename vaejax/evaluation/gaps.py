"""What the posterior costs: log p(x) - ELBO, split into approximation and amortisation gap.

The one file of the evaluation that optimises: a posterior for every example by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaejax.checks import check_positive, check_positive_int
from vaejax.distributions import diagonal_gaussian, is_diagonal_gaussian, score
from vaejax.evaluation.batches import even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.entry import checked, enter, program, traced
from vaejax.evaluation.weights import samples_at_once, weigh
from vaejax.keys import example_keys, named_key
from vaejax.types import VAE, AnyArray, Array, Batch, Draw, Progress, Split


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

    q* is the best diagonal Gaussian for this x alone: Adam from the encoder's own, on fresh noise in every
    step with a learning rate that falls to 0 as a cosine, by the gradient without the score term (Roeder et
    al. 2017, 1703.09194; unbiased, and without noise where q* is the posterior). Of the start and the end the
    better is kept, so no amortisation gap is negative. Adam works elementwise, so a whole batch of examples
    is fitted at once, each with its own.

    Both ELBOs are means over the same K draws of noise. log p(x), where it is not given, is the importance
    estimate with q*, from those draws: a lower bound in expectation, loose where `ess` is near 1, and then
    the approximation gap is too small. A richer family shrinks the approximation gap, a better encoder the
    amortisation gap.

    Args:
      key: typed PRNG key.
      vae: a bound model whose q(z|x) is one diagonal Gaussian.
      split: the examples; its transform runs first.
      steps: of Adam, in the fit of loc and log scale.
      learning_rate: at its start, in units of loc and log scale.
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
      with `_se` (nan for one example); `ess`, `ess_se`, of the importance weights under q*; `is_bound`,
      whether log p(x|z) is itself a lower bound; `per_example`: the same names, [N] each, and `loc` and
      `scale` of q*, [N, d]. An example that no sample explains has a log-likelihood of -inf and gaps of nan.

    Raises:
      TypeError, ValueError: an argument is of another kind, q(z|x) is not one diagonal Gaussian, or the
        likelihood cannot score the split.

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
    at_once = samples_at_once(draw, num_samples, (), chunk, largest)
    plan = _Plan(int(steps), float(learning_rate), int(samples_per_step), int(num_samples), at_once)
    of_batch = program(_jitted_fit, split.transform, plan, key, vae)
    parts = per_example(of_batch, split, size, progress)
    return _summarise(parts, given, plan.num_samples, bool(getattr(draw.px, "is_bound", False)))


def _as_given(log_likelihood: Any, n: int) -> np.ndarray:
    """log p(x) from elsewhere, [n]; raise for numbers of another kind or number."""
    given = np.asarray(checked(log_likelihood, "log_likelihood", "[N]"), np.float64)
    if len(given) != n:
        raise ValueError(f"log_likelihood: expected one for each of {n} examples, got {given.shape}")
    return given


def _summarise(
    parts: dict[str, np.ndarray], given: np.ndarray | None, num_samples: int, is_bound: bool
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
    result: dict[str, Any] = {"n": len(elbo), "num_samples": num_samples, "is_bound": is_bound}
    for name, array in values.items():
        if array.ndim == 1:
            result |= mean_and_error(name, array)
    return {**result, "per_example": values}


def _fit(
    transform: Callable[[Array, Batch], Batch], plan: _Plan, key: Array, vae: VAE, batch: Batch
) -> dict[str, Array]:
    """Fit, evaluate both ends on the same noise, keep the better: [B] each, loc and scale [B, d]."""
    batch = transformed(transform, key, batch)
    draw = vae.encode(named_key(key, "encode"), batch)
    if isinstance(draw.q, tuple) or not is_diagonal_gaussian(draw.q):
        got = f"{len(draw.q)} levels" if isinstance(draw.q, tuple) else draw.q.name
        raise TypeError(f"vae: expected one diagonal Gaussian q(z|x), got {got}")
    start = (draw.q.mean(), jnp.log(draw.q.stddev()))
    end = _optimise(plan, named_key(key, "fit"), vae, draw, start)

    def weights(parameters: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        own = named_key(key, "evaluate")
        out = weigh(
            lambda place: jax.vmap(lambda k: _log_weight(own, k, vae, draw, *parameters))(place),
            *(plan.num_samples, plan.chunk, (1,) if plan.num_samples > 1 else ()),
        )
        return out.curve[:, 0], out.log_likelihood, out.ess

    at_start, at_end = weights(start), weights(end)
    better = at_end[0] > at_start[0]
    elbo, log_likelihood, ess = (jnp.where(better, e, s) for e, s in zip(at_end, at_start, strict=True))
    loc, log_scale = (jnp.where(better[:, None], e, s) for e, s in zip(end, start, strict=True))
    return {
        "log_likelihood": log_likelihood,
        "elbo": at_start[0],
        "elbo_optimal": elbo,
        "ess": ess,
        "loc": loc,
        "scale": jnp.exp(log_scale),
    }


_jitted_fit = jax.jit(_fit, static_argnums=(0, 1))  # the boundary


def _optimise(
    plan: _Plan, key: Array, vae: VAE, draw: Draw, start: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Adam on (loc, log scale), [B, d] each, of every example."""
    adam = optax.adam(optax.cosine_decay_schedule(plan.learning_rate, plan.steps))

    def cost(parameters: tuple[Array, Array], t: Array) -> Array:
        places = t * plan.samples_per_step + jnp.arange(plan.samples_per_step)
        log_w = jax.vmap(lambda k: _log_weight(key, k, vae, draw, *parameters))(places)
        return -jnp.sum(jnp.mean(log_w, axis=0))  # the sum keeps the examples apart

    def step(state: tuple, t: Array) -> tuple[tuple, None]:
        parameters, opt_state = state
        updates, opt_state = adam.update(jax.grad(cost)(parameters, t), opt_state)
        return (optax.apply_updates(parameters, updates), opt_state), None

    return jax.lax.scan(step, (start, adam.init(start)), jnp.arange(plan.steps))[0][0]


def _log_weight(key: Array, place: Array, vae: VAE, draw: Draw, loc: Array, log_scale: Array) -> Array:
    """log w of the sample of that place under q = N(loc, scale^2), [B]; no gradient by q's own density."""
    own = jax.random.fold_in(key, place)
    keys = example_keys(named_key(own, "noise"), draw.batch)
    eps = jax.vmap(lambda k: jax.random.normal(k, loc.shape[1:], loc.dtype))(keys)
    z = loc + jnp.exp(log_scale) * eps
    q = diagonal_gaussian(*jax.lax.stop_gradient((loc, jnp.exp(log_scale))))
    px = vae.decode(z, draw.batch.get("c"))
    log_px = score(named_key(own, "score"), px, draw.batch["x"])
    return log_px + draw.p.log_prob(z) - q.log_prob(z)
