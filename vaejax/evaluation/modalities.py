"""Several modalities: log p(x_a|x_b), and whether what is made of one agrees with another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.checks import check_positive_int
from vaejax.distributions import score
from vaejax.evaluation.batches import even_size, mean_and_error, per_example, transformed
from vaejax.evaluation.entry import check_weights, enter, program, traced
from vaejax.evaluation.weights import Weights, samples_at_once, weigh
from vaejax.keys import named_key
from vaejax.objectives import log_weight, sample
from vaejax.objectives.draw import prior_codes
from vaejax.types import VAE, Array, Batch, Progress, PyTree, Split

__all__ = ["coherence", "conditional_log_likelihood"]


def conditional_log_likelihood(
    key: Array,
    vae: VAE,
    split: Split,
    given: Iterable[str],
    *,
    num_samples: int = 1000,
    batch_size: int = 64,
    chunk: int | None = None,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Estimate log p(x_a|x_b) of every example, b the modalities that are given and a all others.

        log (1/K) sum_k p(x_a, x_b, z_k) / q(z_k|x_b) - log (1/K) sum_k p(x_b, z_k) / q(z_k|x_b)

    with the same z_k ~ q(.|x_b): the encoder sees x_b alone. Of q(z|x_b) = p(z|x_b) it is the log of the mean
    of p(x_a|z_k). It is the difference of two lower bounds, each from below in expectation, and so no bound
    itself: a small effective sample size says that the first, of which x_a asks for z that x_b alone does not
    tell, is loose.

    log p(x) of all modalities, and of some with `data.only`, is `marginal_log_likelihood`'s. Of an example
    that lacks a modality the factor is left out: without x_a the value is 0, without x_b it is log p(x_a).

    Args:
      key: typed PRNG key.
      vae: a bound model of several modalities.
      split: the examples; its transform runs first.
      given: names of the modalities b, some of those of the split but not all.
      num_samples: K.
      batch_size: the most examples at a time.
      chunk: the most samples of each example together; None: as `marginal_log_likelihood`.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`, `num_samples`; means over the split and their standard errors over examples, in nats: `nll`,
      `nll_se` of -log p(x_a|x_b), `nll_given`, `nll_given_se` of -log p(x_b); `ess`, `ess_se`, of the weights
      with x_a, in samples; `per_example`: `log_likelihood`, `log_given` and `ess`, [N] each.

    Raises:
      TypeError, ValueError: an argument is of another kind, log p(x|z) is itself a bound, q a point, the
        likelihood cannot score the split, or its x is one array.

    Source: Wu & Goodman 2018, arXiv 1802.05335; Shi et al. 2019, arXiv 1911.03393.
    """
    key = enter(key, vae, split, progress=progress, num_samples=num_samples, batch_size=batch_size)
    names = _given(given, split, least=1)
    if len(names) == len(split.arrays["x"]):
        raise ValueError(f"given: expected some of the modalities, not all; got {list(names)}")
    if chunk is not None:
        check_positive_int(chunk, "chunk")
    size, K = even_size(split, batch_size), int(num_samples)
    draw, largest = traced(key, vae, split, size)
    check_weights(draw, "conditional_log_likelihood")
    c = samples_at_once(draw, K, (), chunk, largest)
    estimate = program(_jitted_conditional, split.transform, names, K, c, key, vae)
    found: dict[str, np.ndarray] = per_example(estimate, split, size, progress)
    joint, log_given = (found[name].astype(np.float64) for name in ("log_joint", "log_given"))
    return {
        "n": split.size,
        "num_samples": K,
        **mean_and_error("nll", log_given - joint),
        **mean_and_error("nll_given", -log_given),
        **mean_and_error("ess", found["ess"]),
        "per_example": {"log_likelihood": joint - log_given, "log_given": log_given, "ess": found["ess"]},
    }


def _given(given: Any, split: Split, least: int) -> tuple[str, ...]:
    """The names in order; raise unless they are of modalities of the split."""
    x = split.arrays["x"]
    if not isinstance(x, Mapping):
        raise TypeError(
            "split: expected several modalities, x a mapping as data.joined makes it; got one array"
        )
    several: Any = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (None,)
    if not all(isinstance(name, str) for name in several):
        raise TypeError(f"given: expected names, as ('text',); got {given!r}")
    names = tuple(sorted(set(several)))
    if not set(names) <= set(x) or len(names) < least:
        raise ValueError(f"given: expected names among {', '.join(sorted(x))}; got {list(names)}")
    return names


def _only(batch: Batch, names: tuple[str, ...]) -> dict[str, Any]:
    """A batch of which the encoder sees these modalities."""
    return {**batch, "x": {name: batch["x"][name] for name in names}}


def _conditional(
    transform: Callable[[Array, Batch], Batch], given: tuple[str, ...], K: int, c: int,
    key: Array, vae: VAE, batch: Batch,
) -> dict[str, Array]:  # fmt: skip
    batch = transformed(transform, key, batch)
    rest = {name: x for name, x in batch["x"].items() if name not in given}
    of_samples = named_key(key, "samples")

    def both(key: Array) -> Array:
        draw = sample(key, vae, _only(batch, given))
        log_w = log_weight(draw)
        log_rest = score(named_key(key, "rest"), draw.px, rest, batch.get("observed"))
        return jnp.concatenate([log_w + log_rest, log_w])

    def log_weights(place: Array) -> Array:
        return jax.vmap(both)(jax.vmap(partial(jax.random.fold_in, of_samples))(place))

    weights: Weights = weigh(log_weights, K, c, ())
    log_joint, log_given = weights.log_likelihood.reshape(2, -1)
    return {"log_joint": log_joint, "log_given": log_given, "ess": weights.ess.reshape(2, -1)[0]}


def coherence(
    key: Array,
    vae: VAE,
    split: Split,
    classifiers: Mapping[str, Callable[[np.ndarray], Any]],
    given: Iterable[str] = (),
    *,
    batch_size: int = 256,
    progress: Progress = iter,
) -> dict[str, Any]:
    """How often what a model makes of one modality has the labels of another.

    From z ~ q(z|x_b), one for every example, the model makes the mean of p(x_m|z) for each modality that has
    a classifier, and the classifier reads its labels: the share that are those of the example. With nothing
    given z is drawn from the prior, where no label is right: then it is the share in which all classifiers
    agree. A model cannot do better than its classifiers do on data; their accuracy belongs beside it.

    Args:
      key: typed PRNG key; an example's z is of its place in the split.
      vae: a bound model of several modalities.
      split: the examples, with labels y, [N] or [N, F] of F factors.
      classifiers: {name of a modality: x [N, *event] -> labels of the shape of y}, functions of arrays on the
        host. What they get is a mean: probabilities where the data are binary or one-hot.
      given: names of the modalities b; none for the prior.
      batch_size: examples at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      `n`; for every classifier's `name`: the share of right labels, over examples and factors, and `name_se`,
      its standard error over examples; from the prior `agreement` and `agreement_se` instead; `per_factor`:
      {name: [F]}, where y has factors.

    Raises:
      TypeError, ValueError: an argument is of another kind, the split has one array x or no labels, a
        classifier is for no modality of the model or gives labels of another shape, or p(x_m|z) has no mean.

    Source: Shi et al. 2019, arXiv 1911.03393.
    """
    key = enter(key, vae, split, progress=progress, batch_size=batch_size)
    names, y = _given(given, split, least=0), split.arrays.get("y")
    if y is None:
        raise ValueError("split: expected labels y, got none")
    _check_classifiers(classifiers, 1 if names else 2)
    size = even_size(split, batch_size)
    draw, _ = traced(key, vae, split, size)
    unknown = sorted(set(classifiers) - set(getattr(draw.px, "parts", {})))
    if unknown:
        raise ValueError(f"classifiers: expected those of modalities of the model; got {', '.join(unknown)}")
    made = per_example(
        program(_jitted_made, split.transform, names, tuple(classifiers), key, vae), split, size, progress
    )
    labels = {name: _labels(name, of(made[name]), np.asarray(y)) for name, of in classifiers.items()}
    if names:
        right = {name: (found == y).reshape(len(y), -1) for name, found in labels.items()}
    else:
        first, *others = labels.values()
        right = {"agreement": np.all([first == other for other in others], axis=0).reshape(len(y), -1)}
    result: dict[str, Any] = {"n": split.size}
    for name, hits in right.items():
        result |= mean_and_error(name, hits.mean(axis=1))
    return result | (
        {"per_factor": {k: hits.mean(axis=0) for k, hits in right.items()}} if y.ndim > 1 else {}
    )


def _check_classifiers(classifiers: Any, least: int) -> None:
    """Raise unless these are functions of modalities, two where nothing is given: they agree or not."""
    fine = isinstance(classifiers, Mapping) and classifiers and all(map(callable, classifiers.values()))
    if not fine:
        raise TypeError(f"classifiers: expected {{name of a modality: function}}, got {classifiers!r}")
    if len(classifiers) < least:
        raise ValueError("classifiers: expected two at least with nothing given, to agree or not; got one")


def _labels(name: str, found: Any, y: np.ndarray) -> np.ndarray:
    found = np.asarray(found)
    if found.shape != y.shape:
        raise ValueError(
            f"classifiers[{name!r}]: expected labels of the shape of y, {y.shape}; got {found.shape}"
        )
    return found


def _made(
    transform: Callable[[Array, Batch], Batch], given: tuple[str, ...], names: tuple[str, ...],
    key: Array, vae: VAE, batch: Batch,
) -> dict[str, Array]:  # fmt: skip
    batch = transformed(transform, key, batch)
    z: PyTree = (
        vae.encode(named_key(key, "sample"), _only(batch, given)).z if given else prior_codes(key, vae, batch)
    )
    px = vae.decode(z, batch.get("c"))
    return {name: px.parts[name].mean() for name in names}


_jitted_conditional = jax.jit(_conditional, static_argnums=(0, 1, 2, 3))  # the boundaries
_jitted_made = jax.jit(_made, static_argnums=(0, 1, 2))
