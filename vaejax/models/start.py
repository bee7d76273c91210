"""A model that starts from given parameters, or from weights of another distribution."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.keys import named_key
from vaejax.models.priors.mixture import free
from vaejax.types import Array, Batch, Model, Params, PyTree

__all__ = ["glorot", "in_float64", "pseudo_inputs_from", "starting_from"]


def in_float64(model: Model) -> Model:
    """Have a model start with parameters and state of 64 bits, in which it then computes.

    All else follows from the parameters: nets, heads, noise, densities, metrics and the optimiser's state,
    whatever the precision of the data. A net that says a `dtype` computes its inner layers in that. The
    parameters are drawn in float32 and then widened. First enable float64, `jax.config.update(
    "jax_enable_x64", True)`; with that alone models stay in float32.

    Args:
      model: the model, with whatever goes around it.

    Returns:
      The Model with another `init` and spec.

    Raises:
      TypeError: for anything but a Model.
      ValueError: while float64 is not enabled, here and when a run of such a model is loaded.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    if jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        expected = 'jax_enable_x64: expected True, as jax.config.update("jax_enable_x64", True)'
        raise ValueError(f"{expected}; got False, with which jax has no float64")
    spec = {"builder": "in_float64", "model": model.spec}
    return model._replace(init=partial(_init_widened, model), spec=spec)


def _init_widened(model: Model, key: Array, batch: Batch) -> tuple[dict[str, PyTree], PyTree]:
    params, variables = model.init(key, batch)
    return jax.tree.map(_widened, (params, variables))


def _widened(a: Array) -> Array:
    return a.astype(jnp.float64) if jnp.issubdtype(jnp.result_type(a), jnp.floating) else a


def starting_from(model: Model, params: Params, variables: PyTree = None) -> Model:
    """Have a model start from given groups of parameters; the groups not given start afresh.

    With the encoder alone it is a pre-trained encoder under a decoder that is reset.

    Args:
      model: the model.
      params: group=parameters, as `Fit.state.params` of another run holds them.
      variables: all of the model's variables, as `Fit.state.variables`, with the codes of a codebook for one;
        None: they start afresh.

    Returns:
      The Model with another `init`; its spec is the model's.

    Raises:
      TypeError: for anything but a Model.
      ValueError: when initialised, for a group or variables that the model does not have, or of other shapes
        or dtypes.

    Source: Li et al. 2019, arXiv 1909.00868 (for pre-trained encoders).
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    # copies on the host: training donates its state
    given, state = jax.device_get((dict(params), variables))
    return model._replace(init=partial(_init_from, model, given, state))


def _init_from(
    model: Model, given: dict, state: PyTree, key: Array, batch: Batch
) -> tuple[dict[str, PyTree], PyTree]:
    params, variables = model.init(key, batch)
    for group, values in given.items():
        if group not in params:
            raise ValueError(f"params: expected groups among {sorted(params)}, got {group!r}")
        _check_alike(f"params[{group!r}]", params[group], values)
    if state is not None:
        _check_alike("variables", variables, state)
        variables = jax.tree.map(jnp.asarray, state)
    return {**params, **jax.tree.map(jnp.asarray, given)}, variables


def _check_alike(name: str, like: PyTree, given: PyTree) -> None:
    """Raise ValueError unless a tree has the shapes and dtypes of another."""
    expected, got = (
        jax.tree.map(lambda a: (jnp.shape(a), jnp.asarray(a).dtype.name), tree) for tree in (like, given)
    )
    if expected != got:
        raise ValueError(f"{name}: expected shapes {expected}, got {got}")


def glorot(model: Model, mean: np.ndarray) -> Model:
    """Have dense weights start as Glorot's, biases at 0, and a Bernoulli decoder at the mean of the data.

    Kernels are uniform on +- sqrt(6 / (inputs + outputs)); the bias of the decoder's output is logit(mean).
    Of encoder and decoder: what else a model has, as a flow, a prior or the scale of a norm, starts as it
    says.

    Args:
      model: its decoder, of a hierarchy the last net, is an `MLP` or `GatedMLP` of logits.
      mean: [...] in (0, 1), as many values as the decoder's output has.

    Returns:
      The Model with another `init`; its spec is the model's.

    Raises:
      TypeError: for anything but a Model.
      ValueError: for a mean outside (0, 1); when initialised, for one of another size.

    Source: Glorot & Bengio 2010; for VAEs Burda et al. 2015, arXiv 1509.00519, and their code.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    p = np.asarray(mean, np.float64)
    if not ((p > 0) & (p < 1)).all():
        raise ValueError(f"mean: expected values in (0, 1), got {p.min()} to {p.max()}")
    return model._replace(init=partial(_init_glorot, model, np.log(p / (1 - p)).ravel()))


def _init_glorot(
    model: Model, logits: np.ndarray, key: Array, batch: Batch
) -> tuple[dict[str, PyTree], PyTree]:
    params, variables = model.init(key, batch)

    def weight(path: tuple, a: Array) -> Array:
        if path[-1].key == "bias":
            return jnp.zeros_like(a)
        if path[-1].key != "kernel":
            return a
        # the kernels of equal levels of a hierarchy, [in, out] each, are stacked on a first axis
        uniform = jax.nn.initializers.glorot_uniform(batch_axis=tuple(range(a.ndim % 2)))
        return uniform(named_key(key, jax.tree_util.keystr(path)), a.shape, a.dtype)

    nets = {name: params[name] for name in ("encoder", "decoder")}
    params = {**params, **jax.tree_util.tree_map_with_path(weight, nets)}
    out = params["decoder"]["out"]
    out = out.get("out", out)  # of a hierarchy, whose "decoder" has the levels too
    if out["bias"].shape != logits.shape:
        raise ValueError(f"mean: expected {out['bias'].size} values, got {logits.size}")
    out["bias"] = jnp.asarray(logits, out["bias"].dtype)
    return params, variables


def pseudo_inputs_from(model: Model, x: np.ndarray) -> Model:
    """Have the pseudo-inputs of a model with `priors.vamp` start at rows of the data, each at another.

    Values at the ends of a bounded range start a hundredth of it away from them.

    Args:
      model: the model.
      x: [N, *shape], as the model sees them, N at least as many as pseudo-inputs. All are kept in the program
        that initialises: a few thousand rows do.

    Returns:
      The Model with another `init`, which draws other rows under another key; its spec is the model's.

    Raises:
      TypeError: for anything but a Model.
      ValueError: for values that are not finite; when initialised, for a model without pseudo-inputs, rows of
        another shape or too few.

    Source: Tomczak & Welling 2017, arXiv 1705.07120, and their code ("use_training_data_init").
    """
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a vaejax.Model, got {type(model).__name__}")
    x = np.asarray(x, np.float32)
    if not np.isfinite(x).all():
        raise ValueError("x: expected finite values, as the encoder sees them; got some that are not")
    return model._replace(init=partial(_init_at_rows, model, x))


def _init_at_rows(
    model: Model, x: np.ndarray, key: Array, batch: Batch
) -> tuple[dict[str, PyTree], PyTree]:  # fmt: skip
    params, variables = model.init(key, batch)
    inputs = params.get("prior", {}).get("inputs")
    if inputs is None:
        raise ValueError(
            f"model: expected one with priors.vamp, got groups {sorted(params)} without pseudo-inputs"
        )
    if x.shape[1:] != inputs.shape[1:] or len(x) < len(inputs):
        raise ValueError(
            f"x: expected at least {len(inputs)} rows {list(inputs.shape[1:])}, got shape {x.shape}"
        )
    rows = jax.random.choice(named_key(key, "/rows"), len(x), (len(inputs),), replace=False)
    started = free(model.support, jnp.asarray(x)[rows]).astype(inputs.dtype)
    return {**params, "prior": {**params["prior"], "inputs": started}}, variables
