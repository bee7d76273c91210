#!/bin/sh
# distrax 0.1.9: the KL divergence of two different flows is 0.
#
# Two Transformed distributions over one base: the bijectors shift by 0 and 5, and scale by 1 and 2. distrax
# takes two bijectors for equal when the text of their jaxprs is equal; constants print there as names, so that
# flows that differ in nothing but their numbers count as equal, and the KL is that of the bases.
#
# Seen: Transformed 0.0; the same two as Normals 6.886; exact 2 (log 2 + (1 + 25)/8 - 1/2) = 6.886.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q distrax==0.1.9 jax==0.10.2 tfp-nightly==0.26.0.dev20261027
cd "$place"
JAX_PLATFORMS=cpu "$place/venv/bin/python" -W ignore - <<'END'
import math

import distrax
import jax.numpy as jnp


def flow(shift, scale):
    base = distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.ones(2))
    affine = distrax.ScalarAffine(shift=jnp.full(2, shift), scale=jnp.full(2, scale))
    return distrax.Transformed(base, distrax.Block(affine, 1))


def normal(shift, scale):
    return distrax.MultivariateNormalDiag(jnp.full(2, shift), jnp.full(2, scale))


exact = 2 * (math.log(2) + (1 + 25) / 8 - 1 / 2)
flows = float(flow(0.0, 1.0).kl_divergence(flow(5.0, 2.0)))
normals = float(normal(0.0, 1.0).kl_divergence(normal(5.0, 2.0)))
print(f"distrax {distrax.__version__}: Transformed {flows}, Normals {normals:.3f}, exact {exact:.3f}")
assert abs(normals - exact) < 1e-3
assert flows == 0.0, "changed: the KL of two flows is no longer 0"
END
