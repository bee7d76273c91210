"""Trainings on one and on eight fake devices: run by test_devices.py in a process of its own.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.train.devices
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaejax import distributions, models, nets, objectives
from vaejax.train import fit, gradient_update
from vaejax.types import Split

STEPS, B = 6, 16
CASES = [
    "a batch over 8 devices",
    "slices of 8 examples over 4 devices",
    "seed 0 of 4 over 2 devices",
    "seed 3 of 4 over 2 devices",
    "the means of a codebook over 8 devices",
]
SEED = 5  # a key would start jax before the processes of a job know each other


@objectives.mixes_examples
def covariance(key, vae, draw):
    """Off-diagonal covariance of z over the batch: it couples all its examples."""
    z = draw.z - jnp.mean(draw.z, axis=0)
    s = z.T @ z / z.shape[0]
    return jnp.sum((s - jnp.diag(jnp.diag(s))) ** 2)


def of_codes(split):
    """A model with state that is means over the whole batch, which starts and restarts at its vectors."""
    model = models.vae(
        encoder=nets.MLP((8,), (2, 4), event_ndims=3),
        decoder=nets.MLP((8,), (16, 16, 1), event_ndims=2),
        posterior=models.posteriors.residual_vq(2, 4, 8, 2, dropout=True, decay=0.5, restart=1.0),
        likelihood=distributions.bernoulli(cross_entropy=True),
        prior=models.priors.codes(),
    )
    terms = {"reconstruction": objectives.reconstruction, "commitment": objectives.commitment}
    return model, split, terms


def setup(encoder, decoder):
    """A small model, images, and the terms of the flagship."""
    model = models.gaussian_vae(
        encoder=encoder,
        decoder=decoder,
        latents=4,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )
    x = np.random.default_rng(0).random((64, 16, 16, 1)).astype(np.float32)
    terms = {
        "reconstruction": objectives.reconstruction,
        "kl": objectives.kl,
        "jacobian_l1": objectives.scaled(0.1, objectives.jacobian_l1(method="columns")),
    }
    return model, Split({"x": x}, "unit_interval"), terms


def told(updates, state, params=None, *, value, **others):
    """sgd that keeps the `value` it was told, so that `compare` sees it."""
    return jax.tree.map(lambda g: -1e-4 * g, updates), jnp.asarray(value)


SGD = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), told)


def train(terms, model, split, microbatch=None, seed=None, **options):
    """A short training; sgd, since Adam would hide a gradient that is n times too large."""
    key = jax.random.key(SEED) if seed is None else jax.random.fold_in(jax.random.key(SEED), seed)
    update = gradient_update(objectives.compose(**terms), model, SGD, microbatch=microbatch)
    return fit(key, model, update, split, STEPS, batch_size=B, chunk=3, progress=False, **options)


def compare(name, one, several):
    """Metrics, gradient norms among them, and parameters agree."""
    for metric in one.metrics:
        np.testing.assert_allclose(several.metrics[metric], one.metrics[metric], rtol=2e-5, err_msg=metric)
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(several.state), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
    print(f"{name}: agrees; gradient norm {one.metrics['grad_norm'][0]:.4f}")


def main():
    assert not {"matplotlib", "orbax"} & {*sys.modules}  # what trains without a folder needs neither
    devices = jax.devices()
    assert len(devices) == 8
    model, split, terms = setup(nets.ConvEncoder(4, 0.1), nets.ConvDecoder(side=16, width=0.1))
    mixing = {**terms, "covariance": covariance}
    whole = train(mixing, model, split)
    compare(CASES[0], whole, train(mixing, model, split, devices=devices))
    model, split, terms = setup(nets.MLPEncoder(4, (8,), event_ndims=3), nets.MLP((8,), (16, 16, 1)))
    sliced = train(terms, model, split)
    on_four = train(terms, model, split, microbatch=8, devices=devices[:4])
    compare(CASES[1], sliced, on_four)
    together = train(terms, model, split, seeds=(0, 1, 2, 3), devices=devices[:2])
    for seed, case in ((0, CASES[2]), (3, CASES[3])):
        alone = train(terms, model, split, seed=seed)
        compare(case, alone, together[seed])
    model, split, terms = of_codes(split)
    compare(CASES[4], train(terms, model, split), train(terms, model, split, devices=devices))


if __name__ == "__main__":
    main()
