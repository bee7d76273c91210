"""What a notebook shows of a data set, a state, a fit and a run: a few lines, whatever the arrays."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

from tests.catalogue import small_vae
from vaejax import compose, data, objectives, runs, sample, train

MODEL, X = small_vae()
SET = data.from_arrays(np.tile(X, (100, 1)), X, (np.arange(300), np.arange(3)), support="binary")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    objective = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = train.gradient_update(objective, MODEL, optax.adam(1e-3))
    options = {"batch_size": 3, "validate": lambda key, vae: {"neg_elbo": 1.0}, "folder": folder}
    fitted = train.fit(jax.random.key(0), MODEL, update, SET.train, 2, progress=False, **options)
    return folder, fitted


def test_a_data_set():
    split = "Split({x: float32 [%d, 5], y: int64 [%d]}, support='binary', transform=cast)"
    assert repr(SET).splitlines() == [
        "Dataset(",
        f"  train={split % (270, 270)},",
        f"  validation={split % (30, 30)},",
        f"  test={split % (3, 3)},",
        "  factor_names=None)",
    ]


def test_a_fit_and_its_state(folder):
    _, fitted = folder
    text = repr(fitted)
    assert len(text) < 500
    groups = "{decoder: 77 numbers, encoder: 102 numbers}"
    assert text.startswith(f"Fit(state=TrainState(step=2, params={groups}, variables=")
    assert "metrics of 2 steps, the last {" in text
    assert "validation: 1 records, best=that of step 2, error=None)" in text
    assert repr(fitted._replace(best=None, metrics={})).count("None") == 3
    traced = []
    jax.eval_shape(lambda state: traced.append(repr(state)), fitted.state)
    assert f"params={groups}" in traced[0]


def test_a_run_and_its_model(folder):
    run = runs.load(folder[0])
    assert len(repr(run)) < 600
    assert f"Run({str(run.folder)!r}, config=" in repr(run)
    assert "params={decoder: 77 numbers, encoder: 102 numbers}" in repr(run)
    assert repr(run.vae) == "VAE(heads=[], of 179 numbers)"
    assert repr(MODEL) == "Model('gaussian_vae', groups=('encoder', 'decoder'), support='binary')"
    draw = repr(sample(jax.random.key(0), run.vae, {"x": X}))
    assert draw.startswith("Draw(z=float32 [3, 3], log_q=float32 [3], log_p=float32 [3], q=18 numbers, p=")
    assert "batch={x: float32 [3, 5]}, px=15 numbers, log_px=float32 [3]" in draw
