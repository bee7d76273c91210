"""The VAE of Kingma & Welling: a diagonal Gaussian posterior, a standard normal prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.tree_util import Partial

from vaejax.checks import check_positive_int, plain
from vaejax.distributions import Likelihood, diagonal_gaussian
from vaejax.fixed import Fixed
from vaejax.keys import check_key, example_keys, named_key, threefry_key
from vaejax.models.apply import apply, initialised
from vaejax.models.decoding import decoding, init_decoder
from vaejax.models.spec import likelihood_spec, net_spec
from vaejax.types import VAE, Array, Batch, Distribution, Draw, Model, PyTree

__all__ = ["gaussian_vae"]


def gaussian_vae(*, encoder: nn.Module, decoder: nn.Module, latents: int, likelihood: Likelihood) -> Model:
    """Build a VAE with q(z|x) = N(loc(x), diag(exp(logvar(x)))), p(z) = N(0, I) and a chosen p(x|z).

    z = loc + exp(logvar / 2) eps, eps ~ N(0, I) from the key and the example's place in the batch.

    Nets may compute in half precision: what they give becomes float32 before any noise or density.

    Args:
      encoder: a Flax module, x [..., *event] -> (loc, logvar), each [..., d].
      decoder: a Flax module, z [..., d] -> the likelihood's parameters: [..., *event], but for as many
        channels as `likelihood.channels` says; or an autoregressive one that sees x too, such as
        `nets.GatedPixelCNN`, whose p(x|z) is a product of such likelihoods of x_i given x_<i.
      latents: d, >= 1.
      likelihood: a factory's result, such as `distributions.bernoulli()`.

    Returns:
      A Model with parameter groups "encoder" and "decoder" and no variables. Models of equal parts have
      equal functions: what was compiled for one serves the other.

    Raises:
      TypeError, ValueError: for arguments of another kind; when initialised, if the encoder's output is
        not (loc, logvar) of d latents or the decoder's not of the shape that the likelihood needs, or if
        a net has variables beside its parameters (BatchNorm) or asks for a random key (Dropout).

    Source: Kingma & Welling 2013, arXiv 1312.6114.
    """
    check_positive_int(latents, "latents")
    latents = plain(latents)
    for name, value, kind in (
        ("encoder", encoder, nn.Module),
        ("decoder", decoder, nn.Module),
        ("likelihood", likelihood, Likelihood),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: expected a {kind.__module__}.{kind.__name__}, got {value!r}")

    functions = (
        Fixed(_encode, encoder, latents),
        Fixed(_decode, decoding(decoder, likelihood), latents),
        Fixed(_sample_prior, latents),
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
    dtype = jnp.result_type(loc, scale)
    eps = jax.vmap(lambda k: jax.random.normal(k, (latents,), dtype))(example_keys(key, batch))
    if loc.shape != eps.shape:  # nets take any leading axes
        got = [jnp.shape(a) for a in jax.tree.leaves(batch["x"])]
        raise ValueError(f"x: expected [B, *event], of which codes are {list(eps.shape)}; got shapes {got}")
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
    # float32 as the heads, also where float64 is enabled
    return jax.random.normal(threefry_key(key), (n, latents), jnp.float32)


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
    output, of_encoder = initialised("encoder", encoder, named_key(key, "encoder"), x)
    shapes = jax.tree.map(lambda a: a.shape, output)
    if shapes != ((1, latents), (1, latents)):
        raise ValueError(
            f"encoder: expected (loc, logvar) of {latents} latents for one example, got shapes {shapes}"
        )
    of_decoder = init_decoder(named_key(key, "decoder"), decoder, likelihood, latents, x)
    return {"encoder": of_encoder, "decoder": of_decoder}, None
