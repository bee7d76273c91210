"""experiments/decoders.py: what each row trains, and what its scores mean."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments import decoders
from tests.experiments.tiny import TINY

CONFIG = replace(TINY[decoders], latents=2)
KEY = jax.random.key(0)


@pytest.mark.parametrize("name", decoders.ROWS)
def test_a_row_has_its_likelihood_and_the_flags_of_its_bound(name):
    job = decoders.training(CONFIG, name)
    batch = job.data.train.transform(KEY, {"x": job.data.train.arrays["x"][:2]})
    params = jax.eval_shape(job.model.init, KEY, batch)[0]
    vae = job.model.bind(jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), params))
    px = jax.eval_shape(vae.decode, np.zeros((2, 2), np.float32))
    assert px.event_shape == batch["x"].shape[1:]
    assert getattr(px, "is_bound", False) == (name not in ("gaussian", *decoders.EXACT))
    assert job.data.train.support == ("unit_interval" if name == "gaussian" else "bytes")
    assert (job.before is not None) == (name == "two_stage")
    if name == "two_stage":
        assert job.update.groups == ("refiner",)
        assert job.before[2] == ("encoder", "decoder")
