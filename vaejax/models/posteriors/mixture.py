"""Mixtures of Gaussians as posteriors."""

from __future__ import annotations

import jax.numpy as jnp

from vaejax.checks import check_positive_int, plain
from vaejax.distributions import GaussianMixture
from vaejax.fixed import Fixed
from vaejax.models.posteriors.family import Posterior
from vaejax.types import Array, PyTree

__all__ = ["mixture"]


def mixture(latents: int, components: int) -> Posterior:
    """q(z|x) = sum_r pi_r(x) N(loc_r(x), diag(exp(logvar_r(x)))).

    The encoder gives (loc [R d], logvar [R d], logits [R]), as `nets.MLPEncoder(R * d, features, context=R)`
    does. Samples carry the gradient to the weights, means and variances by implicit reparameterisation, so
    that every sampled term is right; `objectives.stratified` and `objectives.siwae` take samples of each
    component instead. The KL is by Monte Carlo.

    Between components that hardly overlap, one implicit gradient of the weights has a standard deviation of
    hundreds of nats, and the weights freeze: there `stratified` is the one to take
    (notebooks/05_posteriors_and_priors.ipynb shows it).

    Args:
      latents: d.
      components: R.

    Returns:
      A Posterior without parameters of its own; its code is the mean, which may lie between components.

    Raises:
      TypeError, ValueError: for sizes that are not ints of at least 1.

    Source: Morningstar et al. 2021, arXiv 2003.01687; Figurnov, Mohamed & Mnih 2018, arXiv 1805.08498.
    """
    check_positive_int(latents, "latents")
    check_positive_int(components, "components")
    d, R = plain(latents), plain(components)
    return Posterior(
        "mixture",
        (d,),
        ((R * d,), (R * d,), (R,)),
        Fixed(_mixture, d),
        options={"latents": d, "components": R},
    )


def _mixture(d: int, own: PyTree, state: PyTree, parameters: tuple[Array, Array, Array]) -> GaussianMixture:
    del own, state
    loc, logvar, logits = parameters
    loc, logvar = (a.reshape(*logits.shape, d) for a in (loc, logvar))
    return GaussianMixture(logits, loc, jnp.exp(logvar / 2))
