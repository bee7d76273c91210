"""Sentences under each remedy at a tiny size: what each training minimises, and what its report holds."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import text as experiment
from tests.experiments.tiny import CONFIGS
from vaejax import evaluation, sample
from vaejax.keys import named_key
from vaejax.runs.sentences import written
from vaejax.types import END

TINY = replace(CONFIGS[experiment], chunk=1, validate_every=1)
KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def bound(tmp_path_factory):
    """A training, its parameters and six sentences."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEJAX_DATA", str(tmp_path_factory.mktemp("data")))
        made = experiment.training(TINY, "plain")
        batch = {"x": made.data.train.arrays["x"][:6]}
        params, _ = jax.jit(made.model.init)(KEY, batch)
        yield made, params, batch


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
        return {n: (loss, m["kl"]) for n, (loss, (m, _)) in found.items()}, draw

    found, draw = values(jax.tree.map(lambda a: 3 * a, params))
    loc, scale = np.asarray(draw.q.mean(), np.float64), np.asarray(draw.q.stddev(), np.float64)
    per_latent = (loc**2 + scale**2 - 1 - 2 * np.log(scale)) / 2
    nll, kl = -float(draw.log_px.mean()), per_latent.sum(axis=1).mean()
    clamped = np.maximum(config.free_nats, per_latent.mean(axis=0)).sum()
    expected = {
        "autoencoder": [nll] * 3,
        **{name: [nll + kl] * 3 for name in ("plain", "aggressive", "word_dropout")},
        "linear": [nll, nll + 0.3 * kl, nll + kl],
        "cyclical": [nll, nll + 3 / 5 * kl, nll],  # 4 cycles of 10 steps, 5 of them a ramp; 20 begins one
        "free_bits": [nll + clamped] * 3,
        "pretrained": [nll + w * max(config.target, kl) for w in (0, 0.3, 1)],
    }
    assert set(expected) == set(found)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name][0], value, rtol=2e-5, err_msg=name)
        np.testing.assert_allclose(found[name][1], kl, rtol=1e-5)


def test_every_training_is_that_of_its_row(bound, monkeypatch):
    asked, objective = [], experiment.objective
    monkeypatch.setattr(experiment, "objective", lambda c, name: asked.append(name) or objective(c, name))
    config = replace(TINY, steps=10, pretraining=0.3)
    for name in experiment.PRESETS["fast"].remedies:
        made = experiment.training(config, name)
        assert asked.pop(0) == name
        assert asked == (["autoencoder"] if made.before else [])
        asked.clear()
        assert sum(steps for _, steps in made.parts(config).values()) == 10
        rate = made.model.spec["likelihood"]["options"]["word_dropout"]
        assert rate == (config.word_dropout if name == "word_dropout" else 0)
        assert (made.update.groups is not None and set(made.update.groups) == {"encoder", "decoder"}) == (
            name == "aggressive"
        )
    folder, first, groups = experiment.training(config, "pretrained").before
    assert (folder, first.steps, groups) == ("autoencoder", 3, ("encoder",))


def test_the_report_is_of_all_test_sentences_and_the_lines_are_theirs(bound):
    made, params, _ = bound
    vae, test = made.model.bind(params), made.data.test
    report = experiment.score(TINY, "plain", vae, made.data)
    assert report["nll"] == pytest.approx(-report["arrays"]["log_likelihood"].astype(float).mean())
    assert (len(report["arrays"]["log_likelihood"]), report["n"]) == (5, test.size)
    key = jax.random.key(1511)
    assert report["perplexity"] == pytest.approx(evaluation.perplexity(key, vae, test)["perplexity"])
    assert report["kl"] == pytest.approx(evaluation.collapse(key, vae, test)["kl"], rel=1e-5)
    tokens = report["tokens"] / report["n"]
    assert report["perplexity"] == pytest.approx(np.exp(report["neg_elbo"] / tokens), rel=1e-2)
    lines = written({"plain": vae}, made.data, 2).split("\n")
    assert (lines[0], lines[-1]) == ("== plain", "")
    assert [line for line in lines if line in made.data.text(test.arrays["x"][:2])]
    at = lines.index("the likeliest words at their codes")
    codes = evaluation.posterior_mean(vae, {"x": test.arrays["x"][:2]})
    cold = evaluation.token_samples(KEY, vae, codes, temperature=0)
    assert lines[at + 1 : at + 3] == made.data.text(cold)
    between = lines[-4:-1]
    assert [between[0], between[-1]] == made.data.text(cold)
    assert END not in (test.arrays["x"][:, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"remedies": ("plain", "prayer")}, "remedies: expected one of 'plain', 'linear'"),
        ({"remedies": ("linear",)}, "remedies: expected 'plain' among them"),
        ({"pretraining": 1.0}, "pretraining: expected a share that leaves both a step, got 1.0"),
        ({"validate_every": 150}, "validate_every: expected a multiple of 100, got 150"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**change)
