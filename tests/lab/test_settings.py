"""Settings refuse what their annotations exclude; the command line reads the preset first."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import optax
import pytest

from tests.lab.toy import PRESETS, Config
from vaejax import compose, distributions, lab, models, nets, objectives, train
from vaejax.lab import settings
from vaejax.types import TrainState


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seeds": 0}, ValueError, "seeds: expected at least 1, got 0"),
        ({"seeds": 1.0}, TypeError, "seeds: expected an int, got float"),
        ({"first_seed": -1}, ValueError, "first_seed: expected a finite number of at least 0, got -1"),
        ({"workers": 0.5}, TypeError, "workers: expected int, got float"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate: expected a positive finite number, got 0.0"),
        ({"learning_rate": "x"}, TypeError, "learning_rate: expected a number, got str"),
        ({"pull": -1.0}, ValueError, "pull: expected a finite number of at least 0, got -1.0"),
        ({"pull": float("nan")}, ValueError, "pull: expected a finite number of at least 0, got nan"),
        ({"pull": True}, TypeError, "pull: expected float, got bool"),
        ({"kind": "c"}, ValueError, "kind: expected one of 'a', 'b'; got 'c'"),
        ({"sizes": (1, 0)}, ValueError, "sizes: expected at least 1, got 0"),
        ({"slices": -1}, ValueError, "slices: expected a finite number of at least 0, got -1"),
    ],
)
def test_bad_settings_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        Config(**change)


def test_good_settings_are_taken():
    for change in ({"pull": 1}, {"slices": None}, {"slices": 0}, {"sizes": ()}, {"seeds": np.int64(2)}):
        ((name, value),) = change.items()
        assert getattr(Config(**change), name) == value


def test_the_preset_is_read_first_wherever_it_stands():
    assert lab.parse(PRESETS, None, []) == Config()
    longer = dataclasses.replace(PRESETS["slow"], pull=0.25)
    assert lab.parse(PRESETS, None, ["--pull", "0.25", "--preset", "slow"]) == longer
    assert lab.parse(PRESETS, None, ["--preset=slow", "--pull", "0.25"]) == longer
    seed = lab.parse(PRESETS, None, ["--seed", "3", "--sweep", "pull=1,2", "slices=none", "--sizes", "4"])
    assert (seed.first_seed, seed.sweep, seed.sizes) == (3, ("pull=1,2", "slices=none"), (4,))
    assert lab.parse({"s": dataclasses.replace(seed, preset="s")}, None, ["--sweep"]).sweep == ()


def test_help_shows_the_defaults_of_the_preset_and_what_fields_mean(capsys):
    with pytest.raises(SystemExit) as stop:
        lab.parse(PRESETS, "what it does\n\nhow\n\nwhy\n\nnumbers", ["--preset", "slow", "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "what it does how why Presets: fast, slow." in shown
    assert "numbers" not in shown
    assert "training steps (default: 6)" in shown
    assert "--sweep [STR [STR ...]]" in shown


def test_unknown_presets_and_flags_are_errors(capsys):
    with pytest.raises(SystemExit, match="--preset: expected one of fast, slow; got 'quick'"):
        lab.parse(PRESETS, None, ["--preset", "quick"])
    with pytest.raises(SystemExit) as stop:
        lab.parse(PRESETS, None, ["--stepz", "3"])
    assert stop.value.code == 2
    assert "--steps" in capsys.readouterr().err  # it says what was perhaps meant


def test_a_microbatch_of_zero_is_chosen_from_loss_and_device(monkeypatch):
    asked = []
    monkeypatch.setattr(settings, "automatic_chunk", lambda loss, batch: asked.append(len(batch["x"])) or 3)
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(latents=2, features=()), decoder=nets.MLP((), (3,)), latents=2,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )  # fmt: skip
    x = np.random.default_rng(0).random((16, 3)).astype(np.float32)
    params, variables = model.init(jax.random.key(0), {"x": x})
    loss = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)

    def step(size):
        slices = lab.BetaVAE(microbatch=size).slices
        update = train.gradient_update(loss, model, optax.adam(0.1), microbatch=slices)
        state = TrainState(params, variables, update.init(params), np.int32(0))
        lowered = jax.jit(lambda state: update.apply(state, jax.random.key(1), {"x": x}, None)).lower(state)
        return lowered.as_text(), lowered.compile()(state)[1]["loss"]

    (zero, loss_0), (two, _), (whole, expected) = (step(size) for size in (0, 2, None))
    assert asked == [16]
    assert zero == two  # 2 is the largest divisor of 16 up to 3
    assert zero != whole
    np.testing.assert_allclose(loss_0, expected, rtol=1e-6)
