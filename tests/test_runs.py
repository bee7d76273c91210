"""Run folders: what they refuse, what they give back, and that a stranger's folder runs nothing."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from tests.catalogue import BATCH, LATENTS, D, small_vae
from vaejax import distributions, models, nets, objectives, runs
from vaejax.train import fit, gradient_update
from vaejax.types import Split

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Config:
    beta: float = 1.0
    steps: int = 6
    name: str = "small"
    folder: Path = Path("here")


def train(folder, model, x, steps=6, **options):
    """Train with the best validation at step 2 of 6."""
    objective = objectives.compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    scores = iter([1.0, 2.0, 3.0])
    return fit(
        KEY, model, gradient_update(objective, model, optax.adam(0.05)), Split({"x": x}, "binary"), steps,
        batch_size=BATCH, chunk=2, save_every=1, folder=folder,
        **{"progress": False, "validate": lambda key, vae: {"neg_elbo": next(scores)}, **options},
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder, model, x, Fit) of a finished run; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    model, x = small_vae()
    runs.create(folder, Config(), model)
    return folder, model, x, train(folder, model, x)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run that a test may spoil."""
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


# the README's path: fit alone leaves what load reads


@pytest.fixture(scope="module")
def by_fit(tmp_path_factory):
    """(folder, model, x, Fit) of a finished run that `fit` alone made; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    model, x = small_vae()
    return folder, model, x, train(folder, model, x)


def test_a_folder_of_fit_alone_is_loaded(by_fit):
    folder, model, x, fitted = by_fit
    run = runs.load(folder)
    assert run.model.spec == model.spec
    before = reconstructions(model.bind(fitted.state.params), x)
    for a, b in zip(before, reconstructions(run.vae, x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert run.config == {
        "made_by": "vaejax.train.fit", "steps": 6, "batch_size": BATCH, "chunk": 2, "save_every": 1,
        "log_every": 1, "examples": len(x), "support": "binary",
        "key": np.asarray(jax.random.key_data(KEY)).tolist(),
    }  # fmt: skip
    best = runs.load(folder, checkpoint="best", model=model)
    assert best.model is model
    jax.tree.map(np.testing.assert_array_equal, best.params, dict(fitted.best.params))
    encoder = nets.MLPEncoder(latents=LATENTS, features=(8,), activation="tanh")
    loc, _ = encoder.apply({"params": fitted.state.params["encoder"]}, x)
    np.testing.assert_allclose(runs.load_encoder(folder)(x), loc, rtol=1e-6)


def test_a_config_of_ones_own_comes_before_or_after_fit_and_stays(by_fit, tmp_path):
    folder, model, x, _ = by_fit
    shutil.copytree(folder, tmp_path / "after")
    runs.create(tmp_path / "after", Config(beta=2.0), model)  # after
    assert runs.load(tmp_path / "after").config["beta"] == 2.0
    with pytest.raises(ValueError, match=r"another config \(beta: 2\.0 there, 1\.0 now\)"):
        runs.create(tmp_path / "after", Config(), model)
    runs.create(tmp_path / "before", Config(beta=3.0))  # before
    train(tmp_path / "before", model, x)
    run = runs.load(tmp_path / "before")
    assert run.config == {"beta": 3.0, "steps": 6, "name": "small", "folder": "here"}
    assert run.model.spec == model.spec


def test_each_seed_is_a_run_and_their_folder_says_so(tmp_path):
    model, x = small_vae()
    fits = train(tmp_path, model, x, seeds=(0, 3), validate=None)
    for seed, fitted in fits.items():
        run = runs.load(tmp_path / f"seed-{seed}")
        jax.tree.map(np.testing.assert_array_equal, run.params, dict(fitted.state.params))
        key = jax.random.key_data(jax.random.fold_in(KEY, seed))
        assert run.config["key"] == np.asarray(key).tolist()
    with pytest.raises(FileNotFoundError, match=r"folder: expected that of one seed, got .* seed-0, seed-3"):
        runs.load(tmp_path)


def test_a_run_that_was_stopped_is_loaded_from_its_last_checkpoint(tmp_path):
    model, x = small_vae()

    def stopped(at, folder):
        def progress(n, record):
            if record["step"] == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(folder, model, x, progress=progress)

    stopped(6, tmp_path / "late")
    train(tmp_path / "late-4", model, x, steps=4)
    late, four = runs.load(tmp_path / "late"), runs.load(tmp_path / "late-4")
    jax.tree.map(np.testing.assert_array_equal, late.params, four.params)
    stopped(2, tmp_path / "early")
    message = "checkpoint: expected a checkpoint in .*latest, found none: the run ended before its first; fit"
    with pytest.raises(ValueError, match=message):
        runs.load(tmp_path / "early")


def test_create_goes_on_with_the_same_config_and_refuses_another(tmp_path):
    folder = tmp_path / "run"
    assert runs.create(folder, Config()) == folder
    assert runs.create(str(folder), Config()) == folder
    with pytest.raises(ValueError, match=r"run holds a run of another config \(beta: 1\.0 there, 4\.0 now\)"):
        runs.create(folder, Config(beta=4.0))
    with pytest.raises(ValueError, match=r"\(name: 'small' there, 'big' now; steps: 6 there, 7 now\)"):
        runs.create(folder, Config(steps=7, name="big"))
    with pytest.raises(ValueError, match=r"\(extra: None there, 1 now; steps: 6 there, None now\)"):
        runs.create(folder, {"beta": 1.0, "name": "small", "folder": "here", "extra": 1})
    assert runs.read_json(folder / "config.json")["beta"] == 1.0


def test_create_ignores_the_named_fields_only(tmp_path):
    runs.create(tmp_path, Config())
    runs.create(tmp_path, Config(folder=Path("there")), ignore=("folder",))
    assert runs.read_json(tmp_path / "config.json")["folder"] == "there"
    with pytest.raises(ValueError, match=r"\(beta: 1\.0 there, 2\.0 now\)"):
        runs.create(tmp_path, Config(beta=2.0, folder=Path("x")), ignore=("folder",))


def test_create_stores_what_builds_the_model_again(finished):
    folder, model, _, _ = finished
    spec = runs.read_json(folder / "model.json")
    assert spec["builder"] == "gaussian_vae"
    assert spec["encoder"]["name"] == "MLPEncoder"
    assert spec["likelihood"] == {"name": "bernoulli", "options": {"cross_entropy": False}}
    assert models.from_spec(spec).spec == model.spec


def test_manifest_says_what_it_ran_on(finished, tmp_path):
    _, _, _, fitted = finished
    manifest = runs.manifest(seconds=12.34, params=fitted.state.params, score_seconds=1)
    assert set(manifest) == {
        "versions", "platform", "device", "commit", "parameters", "wall_seconds", "peak_memory_mib",
        "device_peak_memory_mib", "score_seconds",
    }  # fmt: skip
    encoder = (D * 8 + 8) + (8 * 2 * LATENTS + 2 * LATENTS)
    decoder = (LATENTS * 8 + 8) + (8 * D + D)
    assert manifest["parameters"] == encoder + decoder == 179
    assert manifest["wall_seconds"] == 12.3
    assert manifest["score_seconds"] == 1
    assert 50 < manifest["peak_memory_mib"] < 100_000
    assert manifest["versions"]["jax"] == jax.__version__
    assert set(manifest["versions"]) >= {"vaejax", "flax", "optax", "python", "scikit-learn"}
    assert manifest["device"].startswith(f"{jax.device_count()} x ")
    assert manifest["commit"] is None or len(manifest["commit"].rstrip("+")) == 40
    runs.write_json(tmp_path / "manifest.json", manifest)
    assert runs.read_json(tmp_path / "manifest.json") == manifest


# load


def reconstructions(vae, x):
    draw = jax.jit(objectives.sample)(KEY, vae, {"x": jnp.asarray(x)})
    return np.asarray(draw.px.mean()), np.asarray(draw.log_px)


def test_a_loaded_run_reconstructs_as_before(finished):
    folder, model, x, fitted = finished
    run = runs.load(folder)
    assert run.folder == folder
    assert run.config == {"beta": 1.0, "steps": 6, "name": "small", "folder": "here"}
    assert run.variables is None
    before = reconstructions(model.bind(fitted.state.params), x)
    for a, b in zip(before, reconstructions(run.vae, x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_best_is_the_lowest_validation_not_the_latest(finished):
    folder, _, _, fitted = finished
    best, latest = runs.load(folder, checkpoint="best"), runs.load(folder)
    assert fitted.best.step == 2
    for run, state in ((best, fitted.best), (latest, fitted.state)):
        jax.tree.map(np.testing.assert_array_equal, run.params, dict(state.params))
    assert not np.array_equal(jax.tree.leaves(best.params)[0], jax.tree.leaves(latest.params)[0])


def test_load_encoder_is_the_posterior_mean(finished):
    folder, _, x, fitted = finished
    encoder = nets.MLPEncoder(latents=LATENTS, features=(8,), activation="tanh")
    for checkpoint, state in (("latest", fitted.state), ("best", fitted.best)):
        loc, _ = encoder.apply({"params": state.params["encoder"]}, x)
        z = runs.load_encoder(folder, checkpoint=checkpoint)(x)
        assert z.shape == (BATCH, LATENTS)
        np.testing.assert_allclose(z, loc, rtol=1e-6)


def test_load_says_what_is_missing(copy, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"folder: expected a run folder with config\.json, got .*nowhere"
    ):
        runs.load(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(ValueError, match="checkpoint: expected one of 'latest', 'best'; got 'newest'"):
        runs.load(copy, checkpoint="newest")
    for step in (copy / "checkpoints" / "best").iterdir():
        shutil.rmtree(step)
    with pytest.raises(ValueError, match=r"expected a checkpoint in .*best, found none"):  # never validated
        runs.load(copy, checkpoint="best")
    shutil.rmtree(copy / "checkpoints" / "best")
    with pytest.raises(ValueError, match=r"checkpoint: .*run holds no 'best' checkpoint"):
        runs.load(copy, checkpoint="best")


class Shift(nn.Module):
    """A net of the user's own."""

    @nn.compact
    def __call__(self, z):
        return nn.Dense(D)(z) + 1


class MLP(Shift):
    """One that shares its name with a net of vaejax."""


@pytest.mark.parametrize("net", [Shift, MLP])
def test_a_model_with_a_part_of_ones_own_is_passed_in(finished, copy, net):
    own = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=LATENTS, features=(4,)), decoder=net(), latents=LATENTS,
        likelihood=distributions.bernoulli(),
    )  # fmt: skip
    differing = rf"decoder\.name: 'MLP' there, '{net.__name__} \(not of vaejax\)' now; encoder\.options\."
    with pytest.raises(ValueError, match=rf"model: .* holds a run of another model \({differing}"):
        runs.create(copy, Config(), own)
    folder = copy.parent / "own"
    fitted = train(folder, own, finished[2], steps=2)
    message = rf"model: expected model=, .* a public name of vaejax\.nets, got '.*{net.__name__}'; .* pass it"
    for load in (runs.load, runs.load_encoder):
        with pytest.raises(ValueError, match=message):
            load(folder)
    run = runs.load(folder, model=own)
    jax.tree.map(np.testing.assert_array_equal, run.params, dict(fitted.state.params))
    for other, message in ((finished[1], "of another model"), (run.vae, "vaejax.Model, got VAE")):
        with pytest.raises((ValueError, TypeError), match=f"model: .*{message}"):
            runs.load(folder, model=other)


@pytest.mark.parametrize(
    ("where", "name", "home"),
    [
        ("builder", "os.system", "models"),
        ("builder", "__import__", "models"),
        ("builder", "spec", "models"),
        ("encoder", "os.system", "nets"),
        ("encoder", "nn", "nets"),
        ("decoder", "dense.nn.Module", "nets"),
        ("likelihood", "os.system", "distributions"),
        ("likelihood", "eval", "distributions"),
        ("likelihood", "distrax", "distributions"),
    ],
)
def test_a_strangers_folder_runs_nothing(copy, monkeypatch, where, name, home):
    def never(*args, **kwargs):
        raise AssertionError("a name of the folder was called")

    monkeypatch.setattr(os, "system", never)
    spec = runs.read_json(copy / "model.json")
    spec[where] = name if where == "builder" else {"name": name, "options": {"command": "touch stolen"}}
    runs.write_json(copy / "model.json", spec)
    with pytest.raises(ValueError, match=rf"spec: expected a public name of vaejax\.{home}, got '{name}'"):
        runs.load(copy)
