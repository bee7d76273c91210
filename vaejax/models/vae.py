"""A VAE of any posterior, prior, likelihood and condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.checks import check_positive_int, plain
from vaejax.distributions import Likelihood
from vaejax.fixed import Fixed
from vaejax.keys import check_key, named_key, threefry_key
from vaejax.models import latents as parts_of
from vaejax.models.apply import apply, initialised
from vaejax.models.decoding import decoding, init_decoder
from vaejax.models.holes import first_example, seen, seen_whole
from vaejax.models.inputs import check_bytes, check_input, check_kinds, check_params, condition
from vaejax.models.posteriors import Posterior, gaussian
from vaejax.models.posteriors.family import as_they_are, check_batch, check_encoder, zeros_of
from vaejax.models.priors import Around, Prior, standard
from vaejax.models.priors.family import no_parameters
from vaejax.models.spec import spec_of
from vaejax.precision import float_dtype
from vaejax.types import VAE, Array, Batch, Distribution, Draw, Model, Params, PyTree

__all__ = ["gaussian_vae", "vae"]


class _Parts(NamedTuple):
    """What the functions of a model share; equal for models of equal parts."""

    encoder: nn.Module
    posterior: Posterior
    prior: Prior
    decode: Callable[..., Distribution]
    support: Any
    conditional: bool


def vae(
    *, encoder: nn.Module, decoder: nn.Module, posterior: Posterior, likelihood: Likelihood,
    prior: Prior | None = None, conditional: bool = False,
) -> Model:  # fmt: skip
    """Build a VAE of q(z|x), p(z) and p(x|z), each a net and a family; or of q(z|x,c), p(z|c) and p(x|z,c).

    The encoder gives the parameters of the posterior, the decoder those of the likelihood; the prior and the
    posterior may have parameters of their own.

    Nets may compute in half precision: what they give becomes float32 before any noise or density.

    Args:
      encoder: a Flax module, x [..., *event] -> what the posterior needs, `posterior.parameters`; or
        (x, c) -> the same. Where a batch has a mask "observed" it sees 0 in the holes of x, and the mask too,
        (x, observed) or (x, observed, c), if it has `sees_observed`, as `nets.Masked` around a net does.
        Of several modalities, x a mapping, `batch["observed"]` comes behind these where a batch has one:
        `nets.Modalities`.
      decoder: a Flax module, z [..., *event] -> the likelihood's parameters: [..., *event], but for as many
        channels as `likelihood.channels` says, or a mapping of such for a joint one; or (z, c) -> the same.
        Or an autoregressive one that sees x too, such as `nets.GatedPixelCNN`, whose p(x|z) is a product of
        such likelihoods of x_i given x_<i.
      posterior: a factory's result, such as `posteriors.gaussian(latents)`.
      likelihood: a factory's result, such as `distributions.bernoulli()`.
      prior: a factory's result, such as `priors.standard()`, which None is.
      conditional: whether batches have a condition c [B, ...], which encoder, decoder and prior see. A batch
        that lacks it, or has one that the model does not expect, is an error.

    Returns:
      A Model with parameter groups "encoder" and "decoder", "posterior" and "prior" where these have
      parameters, and the posterior's state as its variables. Models of equal parts have equal functions: what
      was compiled for one serves the other.

    Raises:
      TypeError, ValueError: for arguments of another kind; when initialised, if the encoder's output is not
        of the shapes that the posterior needs or the decoder's not of the shape that the likelihood needs, if
        the prior does not fit the latents, or if a net has variables beside its parameters (BatchNorm) or
        asks for a random key (Dropout).

    Source: Kingma & Welling 2013, arXiv 1312.6114; conditions: Sohn, Lee & Yan 2015 (CVAE).
    """
    prior = standard() if prior is None else prior
    check_kinds(
        encoder=encoder, decoder=decoder, posterior=posterior, prior=prior, likelihood=likelihood,
        conditional=conditional,
    )  # fmt: skip
    shared, in_training = (decoding(decoder, likelihood, training) for training in (False, True))
    parts = _Parts(encoder, posterior, prior, shared, likelihood.support, conditional)
    functions = (_encode, _decode, _sample_prior, _represent, _family)
    own, state = jax.eval_shape(lambda: posterior.init(jax.random.key(0), zeros_of(posterior)))
    groups = {"posterior": bool(own), "prior": prior.init != no_parameters}
    return Model(
        init=partial(_init, parts, decoder, likelihood),
        bind=partial(
            _bind,
            state is not None,
            Fixed(_decode, parts._replace(decode=in_training)),
            *(Fixed(function, parts) for function in functions),
        ),
        support=likelihood.support,
        spec={
            "builder": "vae",
            "encoder": spec_of(encoder),
            "decoder": spec_of(decoder),
            "posterior": spec_of(posterior),
            "likelihood": spec_of(likelihood),
            "prior": spec_of(prior),
            "conditional": conditional,
        },
        groups=("encoder", "decoder", *(group for group, learns in groups.items() if learns)),
    )


def gaussian_vae(*, encoder: nn.Module, decoder: nn.Module, latents: int, likelihood: Likelihood) -> Model:
    """Build a VAE with q(z|x) = N(loc(x), diag(exp(logvar(x)))), p(z) = N(0, I) and a chosen p(x|z).

    `vae` with `posteriors.gaussian(latents)` and `priors.standard()`.

    Args:
      encoder: a Flax module, x [..., *event] -> (loc, logvar), each [..., d].
      decoder: as for `vae`, of z [..., d].
      latents: d, >= 1.
      likelihood: a factory's result, such as `distributions.bernoulli()`.

    Returns:
      A Model with parameter groups "encoder" and "decoder" and no variables.

    Raises:
      TypeError, ValueError: as `vae`.

    Source: Kingma & Welling 2013, arXiv 1312.6114.
    """
    check_positive_int(latents, "latents")
    latents = plain(latents)
    model = vae(encoder=encoder, decoder=decoder, posterior=gaussian(latents), likelihood=likelihood)
    parts = {name: model.spec[name] for name in ("encoder", "decoder", "likelihood")}
    spec = {"builder": "gaussian_vae", **parts, "latents": latents}  # as run folders have it
    return model._replace(spec=spec)


def _bind(
    stateful: bool, in_training: Callable, encode: Callable, decode: Callable, sample_prior: Callable,
    represent: Callable, family: Callable,
    params: Params, variables: PyTree = None, *, step: Any = None,
) -> VAE:  # fmt: skip
    check_params(params)
    if stateful and variables is None:
        raise ValueError("variables: expected the posterior's state, as init makes it; got None")
    of_latents = {name: params[name] for name in ("encoder", "posterior", "prior") if name in params}
    return VAE(
        encode=Partial(encode, of_latents, variables, step),
        decode=Partial(decode if step is None else in_training, params["decoder"]),
        sample_prior=Partial(sample_prior, of_latents, variables),
        heads={},
        represent=Partial(represent, of_latents, variables),
        family=Partial(family, of_latents, variables),
    )


def _encode(parts: _Parts, params: Params, variables: PyTree, step: Any, key: Array, batch: Batch) -> Draw:
    check_key(key)
    parameters, p = _of_batch(parts, params, variables, batch)
    posterior, own = parts.posterior, params.get("posterior", {})
    drawn = posterior.draw(posterior, own, variables, parameters, key, batch, step)
    p = parts_of.along(p, drawn.z)
    parts_of.check_prior(drawn.q, p)
    log_p = parts_of.log_prob(p, drawn.z if drawn.point is None else drawn.point)
    return Draw(
        z=drawn.z, log_q=drawn.log_q, log_p=log_p, q=drawn.q, p=p, batch=batch,
        variables=drawn.state, extra=drawn.extra, point=drawn.point,
    )  # fmt: skip


def _represent(parts: _Parts, params: Params, variables: PyTree, batch: Batch) -> PyTree:
    parameters, _ = _of_batch(parts, params, variables, batch)
    return parts.posterior.code(parts.posterior.build(params.get("posterior", {}), variables, parameters))


def _family(
    parts: _Parts, params: Params, variables: PyTree, batch: Batch
) -> tuple[PyTree, Callable[[PyTree], Distribution]]:
    """What the encoder gives for a batch, and the function that makes q of such."""
    parameters, _ = _of_batch(parts, params, variables, batch)
    return parameters, Partial(parts.posterior.build, params.get("posterior", {}), variables)


def _of_batch(parts: _Parts, params: Params, variables: PyTree, batch: Batch) -> tuple[PyTree, Distribution]:
    """The parameters of q for a batch, and the prior."""
    check_input(batch, parts.support)
    c = condition(parts.conditional, batch.get("c"))
    inputs = (*seen(parts.encoder, batch), *c, *_who_has_which(batch))
    parameters = apply(parts.encoder, params["encoder"], *inputs)
    check_batch(parts.posterior, parameters, batch["x"])
    p = _prior(parts, params, variables, batch.get("c"), jnp.result_type(*jax.tree.leaves(parameters)))
    return parts.posterior.relative(parameters, p), p


def _who_has_which(batch: Batch) -> tuple[Any, ...]:
    """The encoder's last input, where x is of several modalities and not every example has all."""
    if not isinstance(batch["x"], Mapping) or batch.get("observed") is None:
        return ()
    return (batch["observed"],)


def _prior(
    parts: _Parts, params: Params, variables: PyTree, c: Array | None, dtype: Any, x: Any = None
) -> Distribution:
    return parts.prior.build(params.get("prior", {}), _around(parts, params, variables, c, dtype, x))


def _around(
    parts: _Parts, params: Params, variables: PyTree, c: Array | None, dtype: Any, x: Any = None
) -> Around:
    posterior, own = parts.posterior, params.get("posterior", {})

    def parameters(x: Any, c: Array | None) -> PyTree:
        if posterior.relative != as_they_are and not parts_of.in_parts(posterior.event):
            raise ValueError(
                f"prior: pseudo-inputs want a q without a prior; {posterior.name} is relative to it"
            )
        inputs = (*seen_whole(parts.encoder, x), *condition(parts.conditional, c))
        return apply(parts.encoder, params["encoder"], *inputs)

    build = Partial(posterior.build, own, variables)
    shared = posterior.shared(own, variables)
    return Around(posterior.event, dtype, parts.support, x, c, parameters, build, shared)


def _decode(parts: _Parts, params: PyTree, z: PyTree, c: Array | None = None) -> Distribution:
    inputs = condition(parts.conditional, c)
    lead = parts_of.check_latents(z, parts.posterior.event)
    return parts.decode(params, parts.posterior.inputs(z), lead, *inputs)


def _sample_prior(
    parts: _Parts, params: Params, variables: PyTree, key: Array, n: int, c: Array | None = None
) -> PyTree:
    check_key(key)
    check_positive_int(n, "n")
    condition(parts.conditional, c)
    dtype = float_dtype(params)  # as the heads: float32, also where float64 is enabled and they are not in it
    return parts_of.sampled(threefry_key(key), _prior(parts, params, variables, c, dtype), n)


def _init(
    parts: _Parts, decoder: nn.Module, likelihood: Likelihood, key: Array, batch: Batch
) -> tuple[dict[str, PyTree], PyTree]:
    """Parameters of all groups, and the posterior's state, from one example of the batch."""
    check_key(key)
    posterior, prior = parts.posterior, parts.prior
    one = first_example(batch)
    (x, *mask), c = seen(parts.encoder, one), one.get("c")
    check_bytes(parts.encoder, one, parts.support)
    inputs = condition(parts.conditional, c)
    output, of_encoder = initialised("encoder", parts.encoder, named_key(key, "encoder"), x, *mask, *inputs)
    check_encoder(posterior, output, parts.encoder, x)
    z = posterior.inputs(parts_of.zeros(posterior.event, (1,)))
    of_decoder = init_decoder(named_key(key, "decoder"), decoder, likelihood, z, x, *inputs)
    own, state = posterior.init(named_key(key, "posterior"), zeros_of(posterior))
    params = {"encoder": of_encoder, "decoder": of_decoder} | ({"posterior": own} if own else {})
    if prior.init != no_parameters:
        around = _around(parts, params, state, c, jnp.float32, x)
        params["prior"] = prior.init(named_key(key, "prior"), around)
    jax.eval_shape(
        lambda: parts_of.check_draw(posterior.event, _encode(parts, params, state, None, key, one))
    )
    return params, state
