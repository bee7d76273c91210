#!/bin/sh
# distrax 0.1.9: samples of a mixture pass a gradient of exactly 0 to its logits.
#
# MixtureSameFamily calls itself reparameterised by its components, and a sample is differentiable in their
# parameters; which component it comes from is drawn, so the logits get 0: not an error, not nan, and not the
# gradient. E[x] = sum_k w_k m_k moves with the logits by w_k (m_k - E[x]).
#
# Seen, for weights (1/2, 1/2) and means (-2, 2): 0 and 0 where -1 and 1 are right; for the means .50 and .50.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q distrax==0.1.9 jax==0.10.2 tfp-nightly==0.26.0.dev20261027
cd "$place"
JAX_PLATFORMS=cpu "$place/venv/bin/python" -W ignore - <<'END'
import distrax
import jax
import jax.numpy as jnp
import numpy as np


def mean_of_samples(logits, means):
    mixture = distrax.MixtureSameFamily(distrax.Categorical(logits), distrax.Normal(means, jnp.ones(2)))
    return mixture.sample(seed=jax.random.key(0), sample_shape=100_000).mean()


logits, means = jnp.zeros(2), jnp.array([-2.0, 2.0])
by_logits, by_means = jax.grad(mean_of_samples, (0, 1))(logits, means)
weights = jax.nn.softmax(logits)
right = np.asarray(weights * (means - weights @ means))
print(f"distrax {distrax.__version__}: d mean / d logits {by_logits}, right {right}; d mean / d means {by_means}")
np.testing.assert_allclose(by_means, weights, atol=0.01)
np.testing.assert_allclose(right, [-1, 1])
assert not np.any(by_logits), "changed: the logits get a gradient"
END
