"""Every public function of `vaejax.ops` as a function of float arrays, for the laws of test_modes.py."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.ops import (
    aggregate,
    bounds,
    chunks,
    codes,
    experts,
    flows,
    hierarchy,
    interpolation,
    jacobian,
    kl,
    metric,
    mixtures,
    mmd,
    pairs,
    probes,
    sliced,
    slopes,
    spike_and_slab,
)

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
TRIL = np.eye(3) + np.tril(RNG.normal(size=(2, 3, 3)), -1) / 2
V, W = RNG.normal(size=(2, 2, 3))
POSITIVE = np.exp(RNG.normal(size=(2, 3)))
JACOBIANS = RNG.normal(size=(2, 4, 3))
RAW = RNG.normal(size=(2, 3, 11))
TRIU = np.eye(2) / 2 + np.triu(RNG.normal(size=(2, 2, 2)), 1)
COLUMNS = np.eye(3, 2)
INNER, OUTER = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 5))


def decoder(inner, outer):
    return lambda z: outer @ jnp.tanh(inner @ z)


def of_decoder(fn, *rest):
    """fn(decode, z, *rest) as a function of z and the decoder's weights."""
    return lambda z, inner, outer: fn(decoder(inner, outer), z, *rest), (V, INNER, OUTER)


def signs(z):
    return jnp.ones((2, 2, 3), z.dtype).at[:, 1, 0].set(-1)


OPS = {  # "file.function": (a function of arrays, the arrays)
    "aggregate.dip_penalty": (lambda m, s: aggregate.dip_penalty(m, s, 2.0, 1.0, "ii"), (V, POSITIVE)),
    "aggregate.log_density": (lambda *a: aggregate.log_density(*a, 9, "mss"), (W, V, POSITIVE)),
    "aggregate.permute_columns": (lambda z: aggregate.permute_columns(KEY, z), (V,)),
    "aggregate.streamed_log_density": (aggregate.streamed_log_density, (W, V, POSITIVE)),
    "bounds.importance_bound": (bounds.importance_bound, (V,)),
    "bounds.log_mean_exp": (bounds.log_mean_exp, (V,)),
    "bounds.renyi_bound": (lambda a: [bounds.renyi_bound(a, b) for b in (0.5, 0.995, 1, -np.inf)], (V,)),
    "bounds.siwae": (lambda w, p: bounds.siwae(w[None], p), (V, W)),
    "bounds.stratified_elbo": (lambda w, p: bounds.stratified_elbo(w[None], p), (V, W)),
    "chunks.map_examples": (lambda z: chunks.map_examples(lambda z: jnp.sum(z**2), z, chunk=1), (V,)),
    "codes.ema_update": (lambda n, m, z: codes.ema_update(n, m, z, np.array([0, 1, 1]), 0.9, 1e-5),
                         (POSITIVE[:, 0], V, JACOBIANS[0, :3])),
    "codes.fsq": (lambda z: codes.fsq(z, (3, 4, 2)), (V,)),
    "codes.kmeans": (lambda z, e: codes.kmeans(z, e, 2), (V, W)),
    "codes.residual": (lambda z, e: codes.residual(z, e)[::2], (V, JACOBIANS)),
    "codes.rotation": (codes.rotation, (V, W)),
    "codes.straight_through": (codes.straight_through, (V, W)),
    "experts.product": (
        lambda m, v, p: [
            experts.product(m, -jnp.abs(v), p[:, 0] > 1, of=of) for of in ("likelihoods", "posteriors")
        ],
        (V, W, POSITIVE),
    ),
    "flows.affine": (flows.affine, (V, W, POSITIVE)),
    "flows.affine_inverse": (flows.affine_inverse, (V, W, POSITIVE)),
    "flows.gated": (flows.gated, (V, W, POSITIVE)),
    "flows.gated_inverse": (flows.gated_inverse, (V, W, POSITIVE)),
    "flows.orthonormal_columns": (flows.orthonormal_columns, (RAW[..., :3],)),
    "flows.planar": (flows.planar, (V, W, POSITIVE, V[:, 0])),
    "flows.planar_inverse": (flows.planar_inverse, (V, W, POSITIVE, V[:, 0])),
    "flows.radial": (flows.radial, (V, W, V[:, 0], V[:, 1])),
    "flows.radial_inverse": (flows.radial_inverse, (V, W, V[:, 0], V[:, 1])),
    "flows.spline": (lambda x, raw: flows.spline(x, raw, 2.0), (V, RAW)),
    "flows.spline_inverse": (lambda y, raw: flows.spline_inverse(y, raw, 2.0), (V, RAW)),
    "flows.sylvester": (flows.sylvester, (V, COLUMNS, TRIU, TRIU[::-1], W[:, :2])),
    "flows.sylvester_inverse": (flows.sylvester_inverse, (V, COLUMNS, TRIU, TRIU[::-1], W[:, :2])),
    "hierarchy.precision_weighted": (hierarchy.precision_weighted, (V, W, W, V)),
    "hierarchy.residual": (hierarchy.residual, (V, W, W, V)),
    "interpolation.lerp": (lambda a, b, t: interpolation.lerp(a[0], b[0], t[0]), (V, W, POSITIVE)),
    "interpolation.slerp": (lambda a, b, t: interpolation.slerp(a[0], b[0], t[0]), (V, W, POSITIVE)),
    "jacobian.column_group_l1": (jacobian.column_group_l1, (JACOBIANS,)),
    "jacobian.decoder_columns": of_decoder(jacobian.decoder_columns, np.array([[0, 2], [1, 2]])),
    "jacobian.decoder_jacobian": of_decoder(jacobian.decoder_jacobian),
    "jacobian.decoder_products": (
        lambda z, inner, outer: jacobian.decoder_products(decoder(inner, outer), z, signs(z)),
        (V, INNER, OUTER),
    ),
    "jacobian.finite_difference_jacobian": of_decoder(jacobian.finite_difference_jacobian),
    "jacobian.jacobian_l1": (jacobian.jacobian_l1, (JACOBIANS,)),
    "jacobian.jacobian_l2": (jacobian.jacobian_l2, (JACOBIANS,)),
    "jacobian.orthogonality": (jacobian.orthogonality, (JACOBIANS,)),
    "jacobian.row_group_l1": (jacobian.row_group_l1, (JACOBIANS,)),
    "jacobian.spectral_norm": (jacobian.spectral_norm, (JACOBIANS,)),
    "kl.bernoulli": (kl.bernoulli, (V, W)),
    "kl.categorical": (kl.categorical, (V, W)),
    "kl.diagonal_gaussian": (kl.diagonal_gaussian, (V, POSITIVE, W, POSITIVE[::-1])),
    "kl.full_gaussian": (kl.full_gaussian, (V, TRIL, W, TRIL[::-1])),
    "kl.full_to_diagonal_gaussian": (kl.full_to_diagonal_gaussian, (V, TRIL, W, POSITIVE)),
    "kl.standard_gaussian": (kl.standard_gaussian, (V, W)),
    "metric.condition_number": (metric.condition_number, (JACOBIANS,)),
    "metric.log_det_diagonal": (lambda j, h: metric.log_det_diagonal(j, h[:, :1] + 0 * j[..., 0], 2.0),
                                (JACOBIANS, POSITIVE)),
    "metric.log_det_full": (lambda j, h: metric.log_det_full(j, h[:, :1] + 0 * j[..., 0], 2.0),
                            (JACOBIANS, POSITIVE)),
    "metric.log_volume": (metric.log_volume, (JACOBIANS,)),
    "metric.singular_values": (metric.singular_values, (JACOBIANS,)),
    "mixtures.conditional_cdf": (lambda z, *a: mixtures.conditional_cdf(z[0], *a), (V, V[:, 0], W, POSITIVE)),
    "mixtures.log_components": (
        lambda z, m, s: (
            mixtures.log_components(z, m, s),
            mixtures.log_components(z, jnp.tile(m, (20, 1)), jnp.tile(s, (20, 1))),  # by a scan
        ),
        (V, W, POSITIVE),
    ),
    "mixtures.reparameterised": (lambda z, *a: mixtures.reparameterised(z[0], *a), (V, V[:, 0], W, POSITIVE)),
    "mmd.imq": (lambda x, y: mmd.imq(1.5)(x, y), (V, W)),
    "mmd.in_blocks": (lambda x: mmd.in_blocks(x, x[::-1], mmd.rbf(2.0), 2), (np.concatenate([V, W]),)),
    "mmd.median_length": (mmd.median_length, (V, W)),
    "mmd.mmd": (lambda x, y: mmd.mmd(x, y, mmd.rbf(2.0)), (V, W)),
    "mmd.rbf": (lambda x, y: mmd.rbf(mmd.median_length(x, y))(x, y), (V, W)),
    "pairs.mean_average": (pairs.mean_average, (V, POSITIVE, W, POSITIVE[::-1])),
    "pairs.precision_average": (pairs.precision_average, (V, POSITIVE, W, POSITIVE[::-1])),
    "probes.decoder_hessian": of_decoder(probes.decoder_hessian),
    "probes.encoder_jacobian": of_decoder(probes.encoder_jacobian),
    "probes.off_diagonal": (probes.off_diagonal, (V,)),
    "probes.quadratic_forms": (
        lambda z, inner, outer: probes.quadratic_forms(decoder(inner, outer), z, signs(z)), (V, INNER, OUTER)
    ),
    "probes.spectral_norm": of_decoder(probes.spectral_norm, 3),
    "sliced.random_directions": (lambda z: z @ sliced.random_directions(KEY, 2, 3, z.dtype).T, (V,)),
    "sliced.sliced_wasserstein": (sliced.sliced_wasserstein, (V, W, np.eye(3))),
    "slopes.absolute": (slopes.absolute, (V,)),
    "slopes.safe_norm": (lambda v: slopes.safe_norm(v, 0), (V,)),
    "spike_and_slab.eta_mode": (lambda p: spike_and_slab.eta_mode(p / 9, 1.5, 4.0), (POSITIVE,)),
    "spike_and_slab.log_prob": (lambda w, e: spike_and_slab.log_prob(w, e[0] / 9, 10.0, 0.5), (V, POSITIVE)),
    "spike_and_slab.slab_probability": (
        lambda w, e: spike_and_slab.slab_probability(w, e[0] / 9, 10.0, 0.5), (V, POSITIVE)
    ),
    "spike_and_slab.variance_mode": (lambda r: spike_and_slab.variance_mode(r, 9, 3.0, 0.5), (POSITIVE,)),
}  # fmt: skip
NOT_OF_FLOATS = {  # names, choices and integers
    "aggregate.ACTIVE_VARIANCE", "aggregate.FORMS", "aggregate.METHODS", "chunks.automatic_chunk",
    "chunks.largest_array", "codes.fsq_codes", "codes.fsq_indices", "codes.nearest", "codes.perplexity",
    "codes.used_share", "pairs.shared_latents", "jacobian.spread_columns", "mixtures.AT_ONCE",
    "tokens.counted",
}  # fmt: skip
