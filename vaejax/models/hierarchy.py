"""A VAE of several levels of latents: ladders, NVAE and VDVAE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.checks import check_choice
from vaejax.distributions import Likelihood
from vaejax.fixed import Fixed
from vaejax.keys import check_key, named_key
from vaejax.models import latents as parts_of
from vaejax.models.apply import initialised
from vaejax.models.decoding import decoding, init_decoder
from vaejax.models.descending import Parts, around, decode, encode, filled, represent, sample_prior
from vaejax.models.holes import first_example, seen
from vaejax.models.inputs import check_bytes, check_kinds, check_params, condition
from vaejax.models.levels import Level, check_levels, init_levels, runs_of, zeros_like
from vaejax.models.posteriors.family import no_parameters as nothing_learned
from vaejax.models.priors import Prior, standard
from vaejax.models.priors.family import no_parameters
from vaejax.models.spec import spec_of
from vaejax.types import VAE, Array, Batch, Model, Params, PyTree

__all__ = ["hierarchical_vae"]

INFERENCES = ("top_down", "bottom_up")


def hierarchical_vae(
    *, encoder: nn.Module, levels: Sequence[Level], decoder: nn.Module, likelihood: Likelihood,
    prior: Prior | None = None, conditional: bool = False, inference: str = "top_down",
) -> Model:  # fmt: skip
    """Build a VAE of L levels, z_0 the top: p(z_0) prod_l p(z_l|z_<l) p(x|z), with q recorded along its path.

    From the top down every level makes p(z_l|z_<l) of what comes from above, draws z_l ~ q, and hands on what
    the next level sees; what the last hands on makes p(x|z). With the inference "top_down" q(z_l|x, z_<l)
    sees the same; with posteriors relative to that prior it is the ladder VAE (`posteriors.ladder`) or NVAE
    (`posteriors.residual`). With "bottom_up" q(z|x) = prod_l q(z_l|z_l+1), drawn from x upwards, which leaves
    upper levels unused more easily.

    Consecutive equal levels, from the second on, have stacked parameters and are one scan: twenty blocks
    compile like one. z, log q, log p, q and p of a draw are tuples, the top first; the KL below the top is
    that along the drawn path, by "bottom_up" the estimate log q - log p at its z: what is above was drawn of
    that z, and KL(q(z_l|z_l+1) || p(z_l|z_l-1)) would be that of another.

    Args:
      encoder: a Flax module, x (or x and c) -> a tuple of one activation for each level, the top first, which
        may be the same array for several; with "bottom_up" x -> what the lowest level's encoder sees.
      levels: the top first.
      decoder: a Flax module, what the last level hands on -> the likelihood's parameters, as for `vae`; with
        c beside it in a conditional model.
      likelihood: a factory's result, such as `distributions.bernoulli()`.
      prior: of the top level, as for `vae`; None: `priors.standard()`.
      conditional: whether batches have a condition c. The encoder, the top level's nets (in the place of h;
        by "bottom_up" not its encoder), the prior and the decoder see it, the levels below by what comes
        down.
      inference: "top_down" or "bottom_up".

    Returns:
      A Model with parameter groups "encoder" (phi: all that makes q), "decoder" and, of more than one level,
      "prior" (theta: what makes p(z_l|z_<l)); "posterior" where the families have parameters.

      Of the bound VAE, `decode` takes z, or the first levels of it: those below take the mean of their
      prior, so that `decode(z[:1])` shows what the top alone knows. `sample_prior(key, n, c, given=z[:k],
      temperature=t)` keeps the k levels that are given, and draws the others with their prior's scale times
      t, a number or one for each level.

    Raises:
      TypeError, ValueError: for arguments of another kind, a prior net at the top or none below, or a family
        that a level cannot have; when initialised, for nets whose outputs do not fit.

    Source: Sonderby et al. 2016, arXiv 1602.02282; Vahdat & Kautz 2020, arXiv 2007.03898; Child 2020, arXiv
    2011.10650.
    """
    prior = standard() if prior is None else prior
    check_kinds(encoder=encoder, decoder=decoder, prior=prior, likelihood=likelihood, conditional=conditional)
    check_choice(inference, INFERENCES, "inference")
    levels = check_levels(levels, inference)
    shared, in_training = (decoding(decoder, likelihood, training) for training in (False, True))
    runs = runs_of(levels, inference)
    parts = Parts(encoder, levels, runs, prior, shared, likelihood.support, conditional, inference)
    trained = parts._replace(decode=in_training)
    functions = (encode, decode, sample_prior, represent)
    groups = {
        "posterior": any(level.posterior.init != nothing_learned for level in levels),
        "prior": len(levels) > 1 or prior.init != no_parameters,
    }
    return Model(
        init=partial(_init, parts, decoder, likelihood),
        bind=partial(
            _bind,
            (Fixed(encode, trained), Fixed(decode, trained)),
            *(Fixed(function, parts) for function in functions),
        ),
        support=likelihood.support,
        spec={
            "builder": "hierarchical_vae",
            "encoder": spec_of(encoder),
            "levels": spec_of(levels),
            "decoder": spec_of(decoder),
            "likelihood": spec_of(likelihood),
            "prior": spec_of(prior),
            "conditional": conditional,
            "inference": inference,
        },
        groups=("encoder", "decoder", *(group for group, learns in groups.items() if learns)),
    )


def _bind(
    in_training: tuple[Callable, Callable], encode: Callable, decode: Callable, sample_prior: Callable,
    represent: Callable, params: Params, variables: PyTree = None, *, step: Any = None,
) -> VAE:  # fmt: skip
    del variables
    check_params(params)
    if step is not None:
        encode, decode = in_training
    generative = {name: params[name] for name in ("decoder", "prior") if name in params}
    return VAE(
        encode=Partial(encode, params, step),
        decode=Partial(decode, generative),
        sample_prior=Partial(sample_prior, params),
        heads={},
        represent=Partial(represent, params),
    )


def _init(
    parts: Parts, decoder: nn.Module, likelihood: Likelihood, key: Array, batch: Batch
) -> tuple[dict[str, PyTree], None]:
    """Parameters of all groups, from one example of the batch."""
    check_key(key)
    one = first_example(batch)
    (x, *mask), c = seen(parts.encoder, one), one.get("c")
    check_bytes(parts.encoder, one, parts.support)
    inputs = condition(parts.conditional, c)
    output, net = initialised("encoder", parts.encoder, named_key(key, "encoder"), x, *mask, *inputs)
    L, top_down = len(parts.levels), parts.inference == "top_down"
    if top_down and (not isinstance(output, tuple) or len(output) != L):
        got = f"{len(output)}" if isinstance(output, tuple) else f"a {type(output).__name__}"
        raise ValueError(f"encoder: expected a tuple of {L} activations, one for each level; got {got}")
    zeros = filled(parts, (), (1,))
    a = list(zeros_like(output)) if top_down else [*zeros[1:], zeros_like(output)]
    groups, h = init_levels(named_key(key, "levels"), parts.levels, parts.runs, a, inputs, top_down)
    params: dict[str, Any] = {"decoder": {}, **groups}
    params["encoder"]["net"] = net
    params["decoder"]["out"] = init_decoder(named_key(key, "decoder"), decoder, likelihood, h, x, *inputs)
    if parts.prior.init != no_parameters:
        of_model = around(parts, params, c, jnp.float32, x)
        params.setdefault("prior", {})["top"] = parts.prior.init(named_key(key, "prior"), of_model)
    jax.eval_shape(lambda: parts_of.check_draw(parts.events, encode(parts, params, None, key, one)))
    return params, None
