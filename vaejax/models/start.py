"""A model that starts from given parameters."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from vaejax.types import Array, Batch, Model, Params, PyTree

__all__ = ["starting_from"]


def starting_from(model: Model, params: Params) -> Model:
    """Have a model start from given groups of parameters; the groups not given start afresh.

    With the encoder alone it is a pre-trained encoder under a decoder that is reset.

    Args:
      model: the model.
      params: group=parameters, as `Fit.state.params` of another run holds them.

    Returns:
      The Model with another `init`; its spec is the model's.

    Raises:
      TypeError: for anything but a Model.
      ValueError: when initialised, for a group that the model does not have, or of other shapes or dtypes.

    Source: Li et al. 2019, arXiv 1909.00868 (for pre-trained encoders).
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    # copies on the host: training donates its state
    given = jax.device_get(dict(params))
    return model._replace(init=partial(_init_from, model, given))


def _init_from(model: Model, given: dict, key: Array, batch: Batch) -> tuple[dict[str, PyTree], PyTree]:
    params, variables = model.init(key, batch)
    for group, values in given.items():
        if group not in params:
            raise ValueError(f"params: expected groups among {sorted(params)}, got {group!r}")
        expected, got = (
            jax.tree.map(lambda a: (jnp.shape(a), jnp.asarray(a).dtype.name), tree)
            for tree in (params[group], values)
        )
        if expected != got:
            raise ValueError(f"params[{group!r}]: expected shapes {expected}, got {got}")
    return {**params, **jax.tree.map(jnp.asarray, given)}, variables
