"""The VAE of Kingma & Welling: a diagonal Gaussian posterior, a standard normal prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.checks import check_positive_int
from vaejax.distributions import Likelihood, diagonal_gaussian
from vaejax.keys import check_key, example_keys, named_key, threefry_key
from vaejax.models.apply import apply
from vaejax.models.decoding import decoding, init_decoder
from vaejax.models.spec import likelihood_spec, net_spec
from vaejax.types import VAE, Array, Batch, Distribution, Draw, Model, PyTree

__all__ = ["gaussian_vae"]


def gaussian_vae(*, encoder: nn.Module, decoder: nn.Module, latents: int, likelihood: Likelihood) -> Model:
    """Build a VAE with q(z|x) = N(loc(x), diag(exp(logvar(x)))), p(z) = N(0, I) and a chosen p(x|z).

    z = loc + exp(logvar / 2) eps, eps ~ N(0, I) from the key and the example's place in the batch.

    Args:
      encoder: a Flax module, x [..., *event] -> (loc, logvar), each [..., d].
      decoder: a Flax module, z [..., d] -> the likelihood's parameters: [..., *event], but for as many
        channels as `likelihood.channels` says; or an autoregressive one that sees x too, such as
        `nets.GatedPixelCNN`, whose p(x|z) is a product of such likelihoods of x_i given x_<i.
      latents: d, >= 1.
      likelihood: a factory's result, such as `distributions.bernoulli()`.

    Returns:
      A Model with parameter groups "encoder" and "decoder" and no variables.

    Raises:
      TypeError, ValueError: for arguments of another kind; when initialised, if the encoder's output is
        not (loc, logvar) of d latents or the decoder's not of the shape that the likelihood needs.

    Source: Kingma & Welling 2013, arXiv 1312.6114.
    """
    check_positive_int(latents, "latents")
    for name, value, kind in (
        ("encoder", encoder, nn.Module),
        ("decoder", decoder, nn.Module),
        ("likelihood", likelihood, Likelihood),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: expected a {kind.__module__}.{kind.__name__}, got {value!r}")

    # made once: a jitted function of a bound model knows its functions by identity
    functions = (
        partial(_encode, encoder, latents),
        partial(_decode, decoding(decoder, likelihood), latents),
        partial(_sample_prior, latents),
    )
    return Model(
        init=partial(_init, encoder, decoder, likelihood, latents),
        bind=partial(_bind, *functions),
        support=likelihood.support,
        spec={
            "builder": "gaussian_vae",
            "encoder": net_spec(encoder),
            "decoder": net_spec(decoder),
            "latents": latents,
            "likelihood": likelihood_spec(likelihood),
        },
    )


def _bind(
    encode: Callable, decode: Callable, sample_prior: Callable,
    params: Mapping[str, PyTree], variables: PyTree = None, *, train: bool = False,
) -> VAE:  # fmt: skip
    del variables, train  # this model has no state and does the same in training
    return VAE(
        Partial(encode, params["encoder"]), Partial(decode, params["decoder"]), Partial(sample_prior), {}
    )


def _encode(encoder: nn.Module, latents: int, params: PyTree, key: Array, batch: Batch) -> Draw:
    check_key(key)
    loc, logvar = apply(encoder, params, batch["x"])
    scale = jnp.exp(logvar / 2)
    q = diagonal_gaussian(loc, scale)
    p = diagonal_gaussian(jnp.zeros_like(loc), jnp.ones_like(loc))
    eps = jax.vmap(lambda k: jax.random.normal(k, (latents,), loc.dtype))(example_keys(key, batch))
    z = loc + scale * eps
    return Draw(z=z, log_q=q.log_prob(z), log_p=p.log_prob(z), q=q, p=p, batch=batch)


def _decode(
    decoded: Callable, latents: int, params: PyTree, z: Array, c: Array | None = None
) -> Distribution:
    _check_no_condition(c)
    if z.shape[-1:] != (latents,):
        raise ValueError(f"z: expected [..., {latents}], got {z.shape}")
    return decoded(params, z)


def _sample_prior(latents: int, key: Array, n: int, c: Array | None = None) -> Array:
    check_key(key)
    _check_no_condition(c)
    return jax.random.normal(threefry_key(key), (n, latents))


def _check_no_condition(c: Array | None) -> None:
    if c is not None:
        raise ValueError(
            "c: expected None, this model has no condition; got an array (leave c out of the batch)"
        )


def _init(
    encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood, latents: int, key: Array, batch: Batch
):
    """Parameters of both groups from one example of the batch; the second result: no variables."""
    check_key(key)
    x = batch["x"][:1]
    output, encoder_variables = encoder.init_with_output(named_key(key, "encoder"), x)
    shapes = jax.tree.map(jnp.shape, output)
    if shapes != ((1, latents), (1, latents)):
        raise ValueError(
            f"encoder: expected (loc, logvar) of {latents} latents for one example, got shapes {shapes}"
        )
    of_decoder = init_decoder(named_key(key, "decoder"), decoder, likelihood, latents, x)
    return {"encoder": encoder_variables.get("params", {}), "decoder": of_decoder}, None
