"""Three autoencoders: what each minimises, the rates it moves at, what its scores are of."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import wae as experiment
from vaejax import evaluation
from vaejax.keys import named_key
from vaejax.objectives.draw import prior_codes
from vaejax.types import TrainState

TINY = experiment.Config(
    dataset="digits", steps=2, latents=2, hidden=(6, 5), critic=(4,), lam=3.0, scale=0.3, batch_size=10,
    judged=40, critic_rate=2e-4,
)  # fmt: skip
DIMS = 64


def squared_error(vae, z, x):
    return np.sum(np.square(np.asarray(vae.decode(z).mean()) - x), axis=(1, 2, 3))


def squared_mmd(a, b):
    """The U-statistic under the kernel of the paper, C / (C + |x - y|^2) with C = 2 d s of seven scales s."""

    def k(x, y):
        r2 = np.square(x[:, None] - y[None]).sum(-1)
        return sum(4 * s / (4 * s + r2) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))  # d = 2

    n = len(a)
    return sum((k(x, x).sum() - 7 * n) / (n * (n - 1)) for x in (a, b)) - 2 * k(a, b).mean()


class Stepped:
    """A training after its first step on ten images: one program for the step, and one for what it saw."""

    def __init__(self, name):
        self.made = made = experiment.training(TINY, name)
        split = made.data.train
        self.batch = split.transform(jax.random.key(0), {"x": split.arrays["x"][:10]})
        self.key = jax.random.key(2)

        def step(key):
            params, variables = made.model.init(jax.random.key(1), self.batch)
            state = TrainState(params, variables, made.update.init(params), jnp.int32(0))
            return params, made.update.apply(state, key, self.batch, None)

        self.params, (after, metrics) = jax.device_get(jax.jit(step)(self.key))
        self.metrics = {k.removeprefix("vae/"): v for k, v in metrics.items()}
        self.moved = jax.tree.map(lambda a, b: np.abs(a - b), after.params, self.params)
        self.vae = made.model.bind(self.params)
        self.q = jax.jit(lambda vae: vae.encode(jax.random.key(3), self.batch).q)(self.vae)


@pytest.fixture(scope="module", params=experiment.ROWS)
def stepped(request):
    return request.param, Stepped(request.param)


def test_each_loss_is_what_it_says(stepped):
    name, of = stepped
    metrics, m, x = of.metrics, np.asarray(of.q.mean()), np.asarray(of.batch["x"])
    of_logvar = max(a.max() for a in jax.tree.leaves(of.moved["encoder"]["head"]["logvar"]))
    if name == "vae":
        constant = 0.5 * DIMS * np.log(2 * np.pi * TINY.scale**2)
        s = np.asarray(of.q.stddev())
        kl = 0.5 * np.sum(m**2 + s**2 - 1 - 2 * np.log(s), axis=1).mean()
        error = (metrics["reconstruction"] - constant) * 2 * TINY.scale**2
        assert metrics["kl"] == pytest.approx(kl, rel=1e-4)
        # 2 scale^2 times the loss, as the flag says
        assert 2 * TINY.scale**2 * (metrics["loss"] - constant) == pytest.approx(
            error + 2 * TINY.scale**2 * kl, rel=1e-4
        )
        assert of_logvar > 0
        return
    error = squared_error(of.vae, m, x).mean()
    assert metrics["reconstruction"] == pytest.approx(error + 0.5 * DIMS * np.log(np.pi), rel=1e-5)
    assert metrics["loss"] == pytest.approx(metrics["reconstruction"] + 3 * metrics["divergence"], rel=1e-5)
    assert of_logvar == 0  # no noise: the codes are the encoder's means
    if name == "wae_gan":
        verdict = np.asarray(of.vae.heads["critic"](m))
        assert metrics["divergence"] == pytest.approx(np.log1p(np.exp(-verdict)).mean(), rel=1e-5)


def test_the_divergence_of_wae_mmd_is_from_prior_draws():
    """The sum of the U-statistic over keys of the term, as `compose` names them."""
    made = experiment.training(TINY, "wae_mmd")
    split = made.data.train
    batch = split.transform(jax.random.key(0), {"x": split.arrays["x"][:10]})
    vae = made.model.bind(jax.jit(made.model.init)(jax.random.key(1), batch)[0])
    key = jax.random.key(7)
    draw = experiment.objectives.sample(key, vae, batch)
    value = experiment.objectives.mmd(at="mean")(named_key(key, "divergence"), vae, draw)
    p = np.asarray(prior_codes(named_key(key, "divergence"), vae, batch))
    assert float(value) == pytest.approx(squared_mmd(np.asarray(draw.q.mean()), p), abs=1e-5)


def test_each_group_moves_at_its_own_rate(stepped):
    """Adam's first step is the rate in each coordinate, whatever the gradient, and 0 where there is none."""
    name, of = stepped
    rates = {"encoder": 1e-3, "decoder": 1e-3} | ({"critic": 2e-4} if name == "wae_gan" else {})
    assert of.moved.keys() == rates.keys()
    for group, rate in rates.items():
        assert max(a.max() for a in jax.tree.leaves(of.moved[group])) == pytest.approx(rate, rel=1e-2)


def test_scores_are_of_codes_and_samples_against_the_same_draws(stepped):
    name, of = stepped
    scores = experiment.score(TINY, name, of.vae, of.made.data)
    x = of.made.data.test.arrays["x"] / np.float32(255)
    codes, key = np.asarray(scores["arrays"]["codes"]), jax.random.key(1711)
    q = jax.jit(lambda vae: vae.encode(key, {"x": x}).q)(of.vae)
    m, s = np.asarray(q.mean()), np.asarray(q.stddev())
    if name == "vae":  # draws
        assert ((codes - m) / s).std() == pytest.approx(1, abs=0.15)
    else:
        np.testing.assert_allclose(codes, m, atol=1e-5)
    assert scores["mse"] == pytest.approx(squared_error(of.vae, m[:40], x[:40]).mean() / DIMS, rel=1e-4)
    here, there = (np.asarray(of.vae.sample_prior(named_key(key, k), len(x))) for k in ("here", "there"))
    for value, z in (("mmd_codes", codes), ("mmd_prior", there)):
        parts = zip(np.split(z, 10), np.split(here, 10), strict=True)
        assert scores[value]["per_seed"] == pytest.approx([squared_mmd(a, b) for a, b in parts], abs=1e-4)
    drawn = np.asarray(evaluation.prior_samples(key, of.vae, 40))
    sharp = evaluation.sharpness(drawn) / evaluation.sharpness(x[:40])
    assert scores["gradient_samples"] == pytest.approx(sharp, rel=1e-3)
    assert scores["mmd_images"]["mean"] < scores["mmd_samples"]["mean"]
    assert experiment.COLUMNS["RMSE"](scores) == pytest.approx(np.sqrt(scores["mse"]))


def test_the_table_ends_with_what_prior_and_data_score():
    scores = {"mmd_prior": {"mean": -0.0004}, "mmd_images": {"mean": 0.001}}
    (row,) = experiment.themselves(SimpleNamespace(reports={"vae": [scores]}))["rows"].values()
    assert row == [{"mmd_codes": scores["mmd_prior"], "mmd_samples": scores["mmd_images"]}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": 0}, "latents: expected at least 1, got 0"),
        ({"batch_size": 1}, "batch_size: expected at least 2, got 1"),
        ({"judged": 19}, "judged: expected at least 20, got 19"),
        ({"scale": 0.0}, "scale: expected a positive finite number, got 0.0"),
        ({"lam": -1.0}, "lam: expected a finite number of at least 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.training(replace(TINY, **change), "vae")
