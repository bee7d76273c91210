"""The real Fashion-MNIST, from Debian's package: prepared by the command, binarised, learned."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from vaejax import compose, distributions, evaluation, models, nets, objectives, train
from vaejax.data import fashion_mnist
from vaejax.data.__main__ import main

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
BOUND = 256.0  # nats; an independent Bernoulli for every pixel, at the training mean, takes 385.0


@pytest.fixture
def optimised():
    """This one runs for thousands of steps."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.skipif(
    not DEBIAN.is_dir(), reason=f"no {DEBIAN}: apt-get install dataset-fashion-mnist (.ci/run tries)"
)
def test_a_small_vae_trains_below_256_nats(tmp_path, optimised):
    assert main(["fashion_mnist", "--folder", str(tmp_path)]) == 0
    data = fashion_mnist(pixels="dynamic", num_validation=10_000, folder=tmp_path)
    assert (data.train.size, data.validation.size, data.test.size) == (50_000, 10_000, 10_000)
    for split, each in ((data.test, 1000), (data.train, 5000), (data.validation, 1000)):
        assert abs(np.bincount(split.arrays["y"]) - each).max() <= 0.1 * each
    p = np.clip(data.train.arrays["x"].mean(0) / 255, 1e-6, 1 - 1e-6)
    x = data.test.arrays["x"] / 255
    pixels = -np.mean(np.sum(x * np.log(p) + (1 - x) * np.log1p(-p), (1, 2, 3)))
    assert pixels == pytest.approx(385.0, abs=0.5)

    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=10, features=(200,), event_ndims=3),
        decoder=nets.MLP(features=(200,), output_shape=(28, 28, 1)),
        latents=10,
        likelihood=distributions.bernoulli(),
    )
    objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    fitted = train.fit(
        jax.random.key(0), model, train.gradient_update(objective, model, optax.adam(1e-3)), data.train, 3000,
        batch_size=100, save_every=3, progress=False,
        validate=lambda key, vae: evaluation.elbo_parts(key, vae, data.validation, aggregate=False),
        stop=lambda records: records[-1]["validation"]["neg_elbo"] < BOUND,
    )  # fmt: skip
    vae = model.bind(fitted.state.params)
    parts = evaluation.elbo_parts(jax.random.key(1), vae, data.test, aggregate=False)
    assert fitted.validation[-1]["validation"]["neg_elbo"] < BOUND
    assert parts["neg_elbo"] < BOUND + 4  # other images: five standard errors
    assert parts["kl"] > 10
