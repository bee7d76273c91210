"""VAE and IWAE: the published recipe, what each name maximises, the differences between rows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import iwae as experiment
from vaejax import compose, data, evaluation, runs
from vaejax.types import Split, TrainState

TINY = experiment.Config(dataset="digits", k=(1, 2), latents=2, hidden=(8,), samples=6, test_images=5)
# of the authors' code, by stage: epochs before it, and the rate, rounded as there
STAGES = {0: 1e-3, 1: 7.2e-4, 4: 5.2e-4, 13: 3.7e-4, 40: 2.7e-4, 121: 1.9e-4, 364: 1.4e-4, 1093: 1e-4}


@pytest.mark.parametrize("per_epoch", [1, 2980])
def test_the_learning_rates_are_the_papers(per_epoch):
    rate = experiment.learning_rates(1e-3, 3280 * per_epoch)
    before = 1e-3
    for i, (epoch, published) in enumerate(STAGES.items()):
        at, last = float(rate(epoch * per_epoch)), float(rate(max(0, epoch * per_epoch - 1)))
        assert at == pytest.approx(1e-3 * 10 ** (-i / 7), rel=1e-6)
        assert round(at * 1e4, 1) * 1e-4 == pytest.approx(published)
        assert last == pytest.approx(before)  # the stage begins with this step
        before = at
    assert float(rate(3280 * per_epoch)) == pytest.approx(1e-4)


def test_a_short_training_squeezes_all_stages_in_proportion():
    for total, counts in ((32_800, [10 * 3**i for i in range(8)]), (2, [0, 0, 0, 0, 0, 0, 1, 1])):
        rate = jax.jit(jax.vmap(experiment.learning_rates(2e-3, total)))(jnp.arange(total))
        expected = np.repeat([2e-3 * 10 ** (-i / 7) for i in range(8)], counts)
        np.testing.assert_allclose(rate, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def trained():
    """One training, its first parameters, and four binary images."""
    made = experiment.training(replace(TINY, batch_size=4, steps=3280), "iwae-2")
    batch = {"x": (made.data.train.arrays["x"][:4] > 127).astype(np.float32)}
    return made, jax.jit(made.model.init)(jax.random.key(0), batch)[0], batch


@pytest.mark.parametrize(
    ("name", "where"), [("omniglot", "published"), ("binarized_mnist", "published"), ("stl10", "from_tfds")]
)
def test_a_set_is_read_from_its_published_files_where_it_has_some(monkeypatch, name, where):
    asked = []

    def loader(source):
        return lambda name, pixels: asked.append((source, name)) or data.digits(pixels=pixels)

    for source in ("published", "from_tfds"):
        monkeypatch.setattr(data, source, loader(source))
    made = experiment.training(replace(TINY, dataset=name, steps=1), "iwae-2")
    assert asked == [(where, name)]
    assert made.data.train.support == "binary"


def test_a_step_is_the_papers_adam_on_the_gradient_summed_over_the_batch(trained):
    made, params, batch = trained
    start = TrainState(params, None, made.update.init(params), jnp.int32(0))
    key = jax.random.key(5)
    apply = jax.jit(lambda state: made.update.apply(state, key, batch, None))
    objective = compose(neg_bound=experiment.objectives.iwae(2))
    slope = jax.jit(jax.grad(lambda p: objective(key, made.model.bind(p), batch, 0)[0]))
    state, moment, square = start, 0.0, 0.0
    for t in (1, 2):
        total = 4 * np.asarray(slope(state.params)["encoder"]["dense_0"]["kernel"], np.float64)
        moment, square = 0.9 * moment + 0.1 * total, 0.999 * square + 0.001 * total**2
        rate = 1e-3 if t == 1 else 1e-3 * 10 ** (-1 / 7)
        before = np.asarray(state.params["encoder"]["dense_0"]["kernel"])
        state = apply(state)[0]._replace(step=jnp.int32(t))
        expected = -rate * (moment / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-4)
        moved = np.asarray(state.params["encoder"]["dense_0"]["kernel"]) - before
        np.testing.assert_allclose(moved, expected, rtol=2e-3, atol=1e-7)


def test_the_nets_mirror_each_other_and_the_output_starts_at_the_mean_image(monkeypatch):
    x = np.zeros((5, 2, 2, 1), np.uint8)
    x[:, 0, 1], x[:, 1, 0], x[:2, 1, 1] = 255, 51, 255  # means 0, 1, .2, .4
    for pixels, stored, third in (("dynamic", x, 0.2), ("binary", x // 255, 0.001)):
        images = SimpleNamespace(train=Split({"x": stored}, "binary"))
        monkeypatch.setattr(data, "digits", lambda pixels, images=images: images)
        made = experiment.training(
            replace(TINY, hidden=(30, 40), pixels=pixels, batch_size=2, epochs=3.0), "vae-1"
        )
        key, batch = jax.random.key(0), {"x": np.zeros((1, 2, 2, 1), np.float32)}
        bias = jax.jit(lambda key, batch, of=made.model: of.init(key, batch)[0]["decoder"]["out"]["bias"])
        p = 1 / (1 + np.exp(-np.asarray(bias(key, batch), np.float64)))
        np.testing.assert_allclose(p, [0.001, 0.999, third, 0.4], rtol=1e-5)
        assert made.steps == 3 * 2  # without the ragged last batch
    params = jax.eval_shape(made.model.init, key, batch)[0]
    assert params["encoder"]["dense_0"]["kernel"].shape == (4, 30)
    assert params["decoder"]["dense_0"]["kernel"].shape == (2, 40)  # the encoder's widths in reverse


def test_each_name_is_its_bound(trained):
    made, params, batch = trained
    asked = [
        ("vae", {}), ("iwae", {}), ("ciwae", {"beta": 0.25}), ("renyi", {"alpha": 0.0}),
        ("renyi", {"alpha": 1.0}), ("miwae", {"m": 1}), ("miwae", {"m": 8}),
        ("piwae", {"m": 1}), ("dreg", {}),
    ]  # fmt: skip

    @jax.jit
    def values():
        terms = [experiment.BOUNDS[name][1](replace(TINY, **change), 3) for name, change in asked]
        each = [compose(neg_bound=term) for term in terms]
        return [objective(jax.random.key(1), made.model.bind(params), batch, 0)[0] for objective in each]

    vae, iwae, ciwae, renyi_0, renyi_1, miwae_1, miwae_8, piwae, dreg = map(float, values())
    assert iwae < vae - 0.01  # Jensen, on the same three samples
    assert ciwae == pytest.approx(0.25 * vae + 0.75 * iwae, rel=1e-5)
    assert [renyi_0, miwae_1, piwae, dreg] == pytest.approx([iwae] * 4, rel=1e-5)
    assert renyi_1 == pytest.approx(vae, rel=1e-5)
    assert miwae_8 != pytest.approx(iwae, rel=1e-4)


def test_which_models_are_trained():
    rows = experiment.rows(experiment.Config(k=(1, 5), bound=tuple(experiment.BOUNDS)))
    assert len(rows) == 14
    shared = {name for name, row in rows.items() if row.same_as}
    assert shared == {"iwae-1", "ciwae-1", "renyi-1"}  # the ELBO of one sample, drawn alike
    assert {rows[name].same_as for name in shared} == {"vae-1"}
    assert [rows[name].label for name in ("renyi-1", "dreg-5")] == ["Renyi, K = 1", "DReG, K = 5"]
    for change in ({"bound": ()}, {"k": ()}):
        with pytest.raises(ValueError, match="bound, k: expected at least one of each, got none"):
            experiment.rows(experiment.Config(**change))


def test_scores_are_of_the_first_images_and_the_kl_of_all(trained):
    made, params, _ = trained
    vae = made.model.bind(params)
    scores = experiment.score(TINY, "iwae-2", vae, made.data)
    log_p = scores["arrays"]["log_likelihood"]
    assert log_p.shape == (5,)
    assert scores["nll"] == pytest.approx(-log_p.mean())
    assert (scores["n"], scores["kl_images"]) == (5, made.data.test.size)
    assert list(scores["curve_samples"]) == [1, 6]
    parts = evaluation.elbo_parts(jax.random.key(1509), vae, made.data.test, aggregate=False)
    assert scores["kl"] == parts["kl"]
    assert experiment.COLUMNS["-ELBO"](scores) == scores["curve_nll"][0]


def test_every_training_is_compared_with_those_before_it():
    log_p = {
        "vae-1": {0: [-9.0, -7.0], 1: [-9.0, -5.0]},
        "vae-2": {0: [-8.0, -7.0]},
        "iwae-2": {0: [-5.0, -6.0]},
    }
    run = SimpleNamespace(
        rows=experiment.rows(TINY),
        arrays=lambda name, array: log_p[name] if array == "log_likelihood" else None,
    )
    rows = experiment.differences(run)["rows"]
    assert {label: entry[0]["nll"] for label, entry in rows.items()} == {
        "VAE, K = 2 minus VAE, K = 1": -0.5,
        "IWAE, K = 2 minus VAE, K = 1": -2.5,
        "IWAE, K = 2 minus VAE, K = 2": -2.0,
    }
    assert runs.entry(rows["IWAE, K = 2 minus VAE, K = 1"], ("nll", "nll_se"))["error"] == pytest.approx(1.5)


def test_the_paper_preset_is_the_papers():
    paper = experiment.PRESETS["paper"]
    assert (paper.dataset, paper.pixels, paper.epochs, paper.batch_size) == ("mnist", "dynamic", 3280, 20)
    assert (paper.learning_rate, paper.latents, paper.hidden) == (1e-3, 50, (200, 200))
    assert (paper.k, paper.samples, paper.test_images) == ((1, 5, 50), 5000, 10_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bound": ("elbo",)}, "bound: expected one of 'vae', 'iwae'"),
        ({"k": (1, 0)}, "k: expected at least 1, got 0"),
        ({"pixels": "unit_interval"}, "pixels: expected one of 'dynamic', 'static', 'binary'"),
        ({"epochs": 0.0}, "epochs: expected a positive finite number, got 0.0"),
        ({"bound": ("ciwae",), "beta": 2.0}, "beta: expected"),
        ({"bound": ("renyi",), "alpha": float("nan")}, "alpha: expected"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        experiment.training(replace(TINY, **change), f"{change.get('bound', ['vae'])[0]}-2")
