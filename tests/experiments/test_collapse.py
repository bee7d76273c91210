"""Remedies against collapse at a tiny size: what each training minimises, and what its report holds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import collapse as experiment
from tests.experiments.tiny import CONFIGS
from vaejax import data, evaluation, sample
from vaejax.keys import named_key
from vaejax.runs.tables import paired

TINY = replace(CONFIGS[experiment], chunk=1, validate_every=1)
KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def bound():
    """The model that has what every objective looks at, its parameters, and six images."""
    made = experiment.training(TINY, "labels")
    split = made.data.train
    batch = split.transform(KEY, {name: a[:6] for name, a in split.arrays.items()})
    params, _ = jax.jit(made.model.init)(KEY, batch)
    return made, params, batch


def test_every_objective_is_what_it_says(bound):
    config = replace(TINY, steps=40, free_nats=0.2, target=0.7)
    made, params, batch = bound
    names = ("autoencoder", *experiment.PRESETS["fast"].remedies)

    @jax.jit
    def values(params):
        vae, steps = made.model.bind(params), jnp.array([0, 3, 20])
        each = {name: experiment.objective(config, name) for name in names}
        found = {n: jax.vmap(lambda s, f=f: f(KEY, vae, batch, s)[:2])(steps) for n, f in each.items()}
        draw = sample(named_key(KEY, "/draw"), vae, batch)
        return (
            {n: (loss, m["kl"]) for n, (loss, (m, _)) in found.items()},
            draw,
            vae.heads["classifier"](draw.z),
        )

    found, draw, logits = values(params)
    loc, scale = np.asarray(draw.q.mean(), np.float64), np.asarray(draw.q.stddev(), np.float64)
    per_latent = (loc**2 + scale**2 - 1 - 2 * np.log(scale)) / 2
    nll, kl = -float(draw.log_px.mean()), per_latent.sum(axis=1).mean()
    clamped = np.maximum(config.free_nats, per_latent.mean(axis=0)).sum()
    assert per_latent.mean(axis=0).min() < config.free_nats < clamped - 2 * config.free_nats  # of both kinds
    log_r = np.asarray(jax.nn.log_softmax(logits))[np.arange(6), batch["y"]].mean()
    z = np.asarray(draw.z, np.float64)[:, None]
    log_q = -(np.square((z - loc) / scale) / 2 + np.log(scale) + np.log(2 * np.pi) / 2).sum(-1)
    information = (np.diag(log_q) - np.log(np.exp(log_q).mean(axis=1))).mean()
    expected = {
        "autoencoder": [nll] * 3,
        **{name: [nll + kl] * 3 for name in ("plain", "weak", "aggressive")},
        "linear": [nll, nll + 0.3 * kl, nll + kl],
        "cyclical": [nll, nll + 3 / 5 * kl, nll],  # 4 cycles of 10 steps, 5 of them a ramp; 20 begins one
        "free_bits": [nll + clamped] * 3,
        "pretrained": [nll + w * max(config.target, kl) for w in (0, 0.3, 1)],
        "labels": [nll + kl - config.label_weight * log_r] * 3,
        "information": [nll + kl - config.information_weight * information] * 3,
    }
    assert set(expected) == set(found)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name][0], value, rtol=2e-5, err_msg=name)
        np.testing.assert_allclose(found[name][1], kl, rtol=1e-5)


def test_every_training_minimises_its_own_objective(monkeypatch):
    asked, objective = [], experiment.objective
    monkeypatch.setattr(experiment, "objective", lambda c, name: asked.append(name) or objective(c, name))
    for name in experiment.PRESETS["fast"].remedies:
        made = experiment.training(TINY, name)
        assert asked.pop(0) == name
        assert asked == (["autoencoder"] if made.before else [])
        asked.clear()
        assert (made.before is None) == (name != "pretrained")
        assert sum(steps for _, steps in made.parts(TINY).values()) == TINY.steps


def test_the_pre_trained_encoder_is_an_autoencoders():
    made = experiment.training(replace(TINY, steps=10, pretraining=0.3), "pretrained")
    folder, first, groups = made.before
    assert (folder, first.steps, made.steps, groups) == ("autoencoder", 3, 7, ("encoder",))
    assert first.model is made.model


def test_aggressive_training_ends_by_the_information_and_logs_every_step():
    made = experiment.training(replace(TINY, chunk=2, steps=20, validate_every=6), "aggressive")
    assert (made.options["save_every"], made.options["log_every"]) == (3, 1)
    assert set(made.update.groups) == {"encoder", "decoder"}
    end = made.options["after_validation"]
    state = SimpleNamespace(
        opt_state={"aggressive": jnp.ones((), bool)}, _replace=lambda opt_state: opt_state
    )
    falling = [{"validation": {"mutual_information": v}} for v in (3.0, 2.0, 1.0, 0.5)]
    assert not end(falling, state)["aggressive"]  # three times below the best
    assert end(falling[:3], state) is state


def test_decoders_differ_in_their_reach_alone():
    plain, weak = (experiment.training(TINY, name).model.spec for name in ("plain", "weak"))
    a, b = plain["decoder"]["options"], weak["decoder"]["options"]
    assert {name: (a[name], b[name]) for name in a if a[name] != b[name]} == {"kernels": ((5,), (3,))}
    assert plain["encoder"] == weak["encoder"]


def test_the_report_is_of_the_model(bound):
    made, params, _ = bound
    vae = made.model.bind(params)
    report = experiment.score(TINY, "labels", vae, made.data)
    log_p = report["arrays"]["log_likelihood"].astype(float)
    assert report["nll"] == pytest.approx(-log_p.mean())
    assert (len(log_p), report["n"], report["num_samples"]) == (5, 5, 4)
    assert (report["judged"], report["latents"]) == (20, 3)
    signs = evaluation.collapse(jax.random.key(1901), vae, data.first(made.data.test, 20))
    for name in ("kl", "mutual_information", "active_units", "decoder_sensitivity"):
        assert report[name] == pytest.approx(signs[name], rel=1e-5)
    verdict = experiment.COLUMNS["verdict"](report)
    assert signs["summary"].startswith(f"{verdict}:" if ":" in signs["summary"] else verdict)
    assert experiment.COLUMNS["active units"](report) == f"{signs['active_units']} of 3"


def test_differences_are_of_the_same_images_under_the_same_seed():
    log_p = {
        "plain": {0: np.array([-3.0, -5.0, -1.0])},
        "weak": {0: np.array([-4.0, -5.0, -3.0]), 1: np.zeros(3)},
    }
    counts = {"inner_steps": np.array([2.0, 3.0]), "aggressive": np.array([1.0, 0.0])}
    run = SimpleNamespace(
        paired=partial(paired, log_p),
        read=lambda name, function: [(counts if name == "weak" else {}, [])] * len(log_p[name]),
    )  # fmt: skip
    rows = experiment.minus_plain(run)["rows"]  # pyright: ignore
    assert rows["plain"] == [{"minus_plain": 0.0, "minus_plain_se": 0.0}]
    here, other = rows["weak"]
    assert here["minus_plain"] == pytest.approx(1.0)  # 1, 0 and 2 nats worse
    assert here["minus_plain_se"] == pytest.approx(1 / np.sqrt(3))
    assert (here["inner_steps"], here["aggressive"]) == (5, 1)
    assert (other["minus_plain"], other["minus_plain_se"]) == (None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"remedies": ("plain", "prayer")}, "remedies: expected one of 'plain', 'weak'"),
        ({"remedies": ("weak",)}, "remedies: expected 'plain' among them"),
        ({"pixels": "bytes"}, "pixels: expected one of 'threshold', 'dynamic'"),
        ({"pretraining": 1.0}, "pretraining: expected a share that leaves both a step, got 1.0"),
        ({"pretraining": float("nan")}, "pretraining: expected"),
        ({"validate_every": 150}, "validate_every: expected a multiple of 100, got 150"),
        ({"free_nats": -1.0}, "free_nats: expected a finite number of at least 0, got -1.0"),
        ({"pool": 0}, "pool: expected at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)
