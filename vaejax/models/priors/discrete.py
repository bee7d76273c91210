"""Priors of one-hot latents."""

from __future__ import annotations

import jax.numpy as jnp

from vaejax.distributions import Coding, OneHot
from vaejax.models.priors.family import Around, Prior, one_event
from vaejax.types import Array, PyTree

__all__ = ["categorical", "uniform"]


def uniform() -> Prior:
    """p(z) = V^-M: all values of M one-hot latents of V values alike; it learns nothing.

    It stands over `posteriors.categorical`, to which the KL is exact: M log V less the entropy of q.

    Source: Jang, Gu & Poole 2016, arXiv 1611.01144.
    """
    return Prior("uniform", _uniform)


def _uniform(own: PyTree, around: Around) -> OneHot:
    del own
    return OneHot(jnp.zeros(_event(around, "uniform()"), around.dtype))


def categorical() -> Prior:
    """p(z) = prod_m Cat(z_m; softmax(logits_m)), with learned logits [M, V] that start at 0.

    It stands over `posteriors.categorical`, to which the KL is exact; its optimum is the mean of q(z_m|x).

    Source: Tomczak & Welling 2017, arXiv 1705.07120, eq. 5: the best prior is the aggregate posterior.
    """
    return Prior("categorical", _learned, _init)


def _init(key: Array, around: Around) -> dict[str, Array]:
    del key
    return {"logits": jnp.zeros(_event(around, "categorical()"), jnp.float32)}


def _learned(own: PyTree, around: Around) -> OneHot:
    del around
    return OneHot(own["logits"])


def _event(around: Around, name: str) -> tuple[int, ...]:
    """(M, V); ValueError for latents of another kind."""
    event = one_event(around, name)
    if isinstance(around.shared, Coding):
        raise ValueError(f"prior: {name} expected one-hot latents, got codes: priors.codes() is of those")
    if len(event) != 2:
        raise ValueError(f"prior: {name} expected one-hot latents [variables, values], got {list(event)}")
    return event
