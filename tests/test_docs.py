"""docs/index.md cannot go stale: it is read against the public surface and the tests."""

import re
from pathlib import Path
from types import FunctionType

import jax
import numpy as np
import pytest
from scipy import stats

from tests.data import published_files
from tests.test_catalogue import COMBINATORS
from vaejax import data, disentanglement, distributions, evaluation, human, models, nets, objectives, train
from vaejax.checks import check_support
from vaejax.types import DATA_SUPPORTS

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in (ROOT / "docs" / "index.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| technique")
]
READS = {"read_metrics", "read_seconds", "read_validations"}
MACHINERY = READS | {
    "averaged", "fit", "gradient_update", "measure_fit", "measure_step", "repeat", "sequence",
}  # fmt: skip
LISTED = {re.search(r"`(.+?)`", row[1])[1] for row in ROWS}


def _functions(module):
    return {name for name in module.__all__ if isinstance(getattr(module, name), FunctionType)}


def test_every_public_technique_has_a_row():
    likelihoods = {
        name
        for name in _functions(distributions)
        if getattr(distributions, name).__annotations__.get("return") == "Likelihood"
    }
    expected = {f"objectives.{name}" for name in _functions(objectives) - (COMBINATORS - {"scaled"})}
    expected |= {f"distributions.{name}" for name in likelihoods}
    expected |= {f"models.{name}" for name in _functions(models)}
    expected |= {f"posteriors.{name}" for name in _functions(models.posteriors)}
    expected |= {f"priors.{name}" for name in _functions(models.priors)}
    expected |= {f"train.{name}" for name in _functions(train) - MACHINERY}
    expected |= {f"disentanglement.{name}" for name in _functions(disentanglement)}
    expected |= {f"evaluation.{name}" for name in _functions(evaluation)}
    expected |= {f"human.{name}" for name in _functions(human)}
    assert expected == LISTED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_row_names_exists(row):
    path, test = re.fullmatch(r"`(.+?)::(.+?)`", row[2]).groups()
    assert f"def {test}(" in (ROOT / path).read_text()
    if row[4]:
        assert (ROOT / row[4].strip("`")).exists()


def test_what_the_errata_name_exists():
    names = re.findall(r"`((?:tests|notebooks)/[^`]+)`", (ROOT / "docs" / "errata.md").read_text())
    assert len(names) > 40
    for name in names:
        path, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / path).read_text() if test else (ROOT / path).exists(), name


# the code of the pages, as it is written; only what takes long is smaller: trainings, three-dots and its nets


STEPS = 6


@pytest.fixture
def short(tmp_path, monkeypatch):
    """An empty folder to stand in, where `fit` does STEPS of 2000 steps."""
    fit = train.fit

    def few_steps(key, model, update, data, steps=None, *, epochs=None, **options):
        options = {"progress": False, **options, "chunk": 1}
        return fit(key, model, update, data, epochs or max(1, steps * STEPS // 2000), **options)

    monkeypatch.setattr(train, "fit", few_steps)
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path / "data"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.fixture
def narrow(short, monkeypatch):
    """And convolutions are narrow."""
    for net in (nets.ConvEncoder, nets.ConvDecoder):
        monkeypatch.setattr(net, "__init__", _with_sizes(net.__init__, {"width": 0.1}))


@pytest.fixture
def small(narrow, monkeypatch):
    """And images are few and small."""
    three_dots = data.three_dots

    def few_images(side, **options):
        return three_dots(16, **{"num_train": 128, "num_validation": 64, "num_test": 64, **options})

    monkeypatch.setattr(data, "three_dots", few_images)
    monkeypatch.setattr(nets.ConvDecoder, "__init__", _with_sizes(nets.ConvDecoder.__init__, {"side": 16}))


@pytest.fixture
def dense(small, monkeypatch):
    """Convolutions are built as the page says, and dense nets stand in for them: they compile sooner."""
    encoder, decoder = nets.ConvEncoder, nets.ConvDecoder

    def dense_encoder(**sizes):
        return nets.MLPEncoder(encoder(**sizes).latents, (4,), event_ndims=3)

    def dense_decoder(**sizes):
        side = decoder(**sizes).side
        return nets.MLP((4,), (side, side, 1))

    monkeypatch.setattr(nets, "ConvEncoder", dense_encoder)
    monkeypatch.setattr(nets, "ConvDecoder", dense_decoder)


def _with_sizes(init, sizes):
    return lambda self, *args, **options: init(self, *args, **{**options, **sizes})


def run_page(page, after=None):
    """Run every Python block of a page, one after the other, in one namespace."""
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
        if after is not None:
            after(names)
    return names


def test_every_page_with_code_is_run():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]  # those in api are made of docstrings
    assert {str(p.relative_to(ROOT)) for p in pages if "```python" in p.read_text()} == {
        "README.md", "docs/training.md", "docs/collapse.md", "docs/latents.md", "docs/holes.md",
        "docs/data.md", "docs/human.md", "docs/own_data_and_nets.md", "docs/saving.md", "docs/streaming.md",
        "docs/experiment.md",  # in tests/lab/test_example.py
    }  # fmt: skip


def test_the_code_of_the_readme_runs(small):
    names = run_page("README.md")
    assert len(names["fitted"].metrics["loss"]) == STEPS
    x = names["dots"].sample_images(names["dots"].test.arrays["y"][:4])
    loss, (metrics, _) = names["objective"](names["jax"].random.key(0), names["vae"], {"x": x}, 0)
    assert loss == metrics["loss"] > 0
    jax.tree.map(np.testing.assert_array_equal, names["run"].params, dict(names["fitted"].state.params))
    assert names["run"].config["steps"] == STEPS
    assert names["encode"](x).shape == (4, 10)


def test_the_code_of_the_training_page_runs(dense):  # the README has the same convolutions
    names = run_page("docs/training.md")
    assert len(names["fitted"].metrics["loss"]) == STEPS
    for start, ends in ((0, False), (1000, True)):  # what rises while the ramp does says nothing
        rising = [{"step": start + n, "validation": {"neg_elbo": float(n)}} for n in range(1, 9)]
        assert names["stop"](rising) == ends
    scores = [r["validation"]["neg_elbo"] for r in names["stopped"].validation]
    assert len(scores) == 3
    assert int(names["stopped"].best.step) == 2 * (scores.index(min(scores)) + 1)
    steps = [step for step, values in names["logged"] if "loss" in values]
    assert steps == list(range(1, STEPS + 1))
    assert [step for step, values in names["logged"] if "validation/neg_elbo" in values][-1] == STEPS
    assert len(names["few"].metrics["loss"]) == 1
    assert {a.dtype.name for a in jax.tree.leaves(names["in_float64"].state.params)} == {"float64"}
    assert set(names["fits"]) == {0, 1, 2}
    assert int(names["fits"][2].state.step) == STEPS
    differ = jax.tree.map(lambda a, b: bool((a != b).any()), names["last"], names["smooth"])
    assert any(jax.tree.leaves(differ))


def test_the_code_of_the_collapse_page_runs(small):
    def after(names):
        if "fitted" in names:
            assert "kl" in names["fitted"].metrics  # the true one, whatever the loss makes of it

    Path("sentences.txt").write_text((ROOT / "README.md").read_text(), encoding="utf-8")
    names = run_page("docs/collapse.md", after)
    assert "tokens" in names["text"].train.support
    assert names["signs"]["summary"]
    assert names["five_to_one"].groups == ("encoder", "decoder")
    assert {"classifier/accuracy", "information"} <= set(names["fitted"].metrics)


def test_the_code_of_the_page_of_data_runs(small):
    published_files.write_dsprites(Path.cwd())
    names = run_page("docs/data.md")
    assert names["x"].shape == (2, 4, 4, 1)
    np.testing.assert_array_equal(names["x"][..., 0], names["sprites"].test.arrays["x"][..., 0])
    assert names["again"].num_values == names["sprites"].num_values == published_files.DSPRITES_VALUES


def test_the_code_of_the_page_of_holes_runs(small):
    names = run_page("docs/holes.md")
    x, seen, filled = names["x"][250:], names["table"].test.arrays["observed"], names["filled"]
    assert (~seen).any()
    for whole in (filled.mean, *filled.draws):
        np.testing.assert_array_equal(whole[seen], x[seen])
    assert 150 < filled.mean[:, 0].mean() < 210  # in its own units
    drawn = filled.draws[:, ~seen[:, 2], 2]
    assert set(np.unique(drawn)) <= {0, 1}
    assert (filled.draws[..., 3] == np.round(filled.draws[..., 3])).all()
    assert names["run"].transform == names["table"].train.transform.inner


def test_the_code_of_the_streaming_page_runs(small):
    pytest.importorskip("grain", reason="of the extra stream, which is not installed")
    names = run_page("docs/streaming.md")
    assert np.shares_memory(names["images"].train.arrays["x"], names["mapped"])
    assert names["from_records"].size == 256
    np.testing.assert_array_equal(
        names["from_records"].arrays["x"][np.array([7, 3])], names["mapped"][[7, 3]]
    )
    assert len(names["again"].metrics["loss"]) == STEPS


def test_the_code_of_the_latents_page_runs(small):
    names = run_page("docs/latents.md")
    assert len(names["fitted"].metrics["kl"]) == STEPS
    assert names["code"].shape == (4, 8)
    assert names["images"].shape == (6, 8, 8, 1)
    assert {"kl_0", "kl_1", "information_1"} <= set(names["joint_fit"].metrics)
    assert names["swapped"].shape == (1, 4, 8, 8, 1)
    assert "classifier/accuracy" in names["m2_fit"].metrics
    assert 0 <= names["error"] <= 1
    assert names["from_the_top"].shape == (3, 4, 8, 8, 1)
    np.testing.assert_allclose(names["from_the_top"][0], names["coarse"], rtol=1e-5)
    assert names["variants"].shape == (4, 8, 8, 1)
    first, again = names["first"].state.params, names["only_prior_fit"].state.params
    jax.tree.map(np.testing.assert_array_equal, first["encoder"], again["encoder"])
    jax.tree.map(np.testing.assert_array_equal, names["frozen"].variables, names["of_codes"].variables)
    assert names["drawn"].shape == (16, 8, 8, 1)
    assert names["free"].shape == (7, 5)
    assert names["completed"].shape == (4, 4, 8, 1)
    assert 0 < names["known"]["nll"] < 32
    assert names["conditional"].groups == names["somewhere"].groups == ("encoder", "decoder", "prior")
    assert all(np.abs(a).max() > 0 for a in names["fitted"].state.params["prior"].values())


def test_the_code_of_the_page_of_own_data_and_nets_runs(narrow):
    names = run_page("docs/own_data_and_nets.md")
    jnp, key = names["jnp"], names["key"]
    assert names["again"].shape == (8, 20, 24, 3)
    assert names["of_class_2"].shape == (6, 20, 24, 3)
    assert names["bits"] > 7.9  # the bytes are uniform: on average no model needs less than 8
    whole = names["mirrored"](key, {"x": names["images"][:12]})["x"]
    plain = names["images"][:12].astype(np.float32) / 255
    turned = [not np.allclose(a, b) for a, b in zip(whole, plain, strict=True)]
    assert 0 < sum(turned) < 12
    for i, one in enumerate(whole):
        np.testing.assert_allclose(one, plain[i][:, ::-1] if turned[i] else plain[i], rtol=1e-6)
    some = {"x": names["images"][4:8], "index": jnp.arange(4, 8)}
    np.testing.assert_array_equal(names["mirrored"](key, some)["x"], whole[4:8])
    rows, scale = names["table"].train.arrays["x"], names["table"].train.transform.scale
    np.testing.assert_allclose(scale, rows.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        names["in_their_units"], names["drawn"] * rows.std(axis=0) + rows.mean(axis=0), rtol=1e-3, atol=1e-3
    )
    _has_the_evidence_of_its_formula(names)


def _has_the_evidence_of_its_formula(names):
    """The model by hand: x = W z + b + s eps has log p(x) = log N(b, W W^T + s^2 I)."""
    table, own = names["table"], names["of_hand"].state.params["decoder"]
    x = table.test.transform(names["key"], table.test.arrays)["x"]
    w, b, s = (np.asarray(own[name], np.float64) for name in ("w", "b", "log_scale"))
    exact = stats.multivariate_normal(b, w @ w.T + np.exp(2 * s) * np.eye(6)).logpdf(x)
    found = evaluation.marginal_log_likelihood(names["key"], names["vae"], table.test, num_samples=4000)
    np.testing.assert_allclose(found["per_example"]["log_likelihood"], exact, atol=0.05)
    assert w.any()
    draw, part = (
        names["vae"].encode(names["key"], {"x": x[i], "index": np.arange(50)[i]})
        for i in (slice(None), slice(20, 30))
    )
    np.testing.assert_allclose(draw.z[20:30], part.z, rtol=1e-6)


def test_likelihoods_score_the_data_that_the_page_says():
    page = (ROOT / "docs" / "own_data_and_nets.md").read_text()
    rows = re.findall(r'^\| [^|]+ \| `"(\w+)"`[^|]* \| ([^|]+) \| ([^|]+) \|$', page, re.M)
    assert {support for support, *_ in rows} == set(DATA_SUPPORTS)
    for support, likelihoods, _ in rows:
        for name in re.findall(r"`(\w+)`", likelihoods):
            needs = ({0: distributions.bernoulli()},) if name == "by_columns" else ()
            check_support(getattr(distributions, name)(*needs).support, support)


def test_the_code_of_the_page_of_saving_runs(short):
    names = run_page("docs/saving.md")
    page = (ROOT / "docs" / "saving.md").read_text()
    told = re.findall(r"^  (\S+?),? .*$", page.split("```text\nruns/digits/\n")[1].split("```")[0], re.M)
    assert len(told) == 8
    optional = {"transform.json", "tensorboard/", "seed-0/"}
    for folder, best in (("runs/digits", set()), ("runs/own", {"checkpoints/best/"})):
        there = {name for name in told if Path(folder, name).is_file() or any(Path(folder, name).glob("*"))}
        assert set(told) - there == optional | best
    assert list(names["curves"]["step"]) == list(range(1, 1 + STEPS * 3 // 2))
    scores = {record["step"]: record["validation"]["neg_elbo"] for record in names["validations"]}
    assert min(scores, key=scores.get) == names["fitted"].best.step
    jax.tree.map(np.testing.assert_array_equal, names["best"].params, dict(names["fitted"].best.params))
    with np.load("digits.npz") as saved:
        np.testing.assert_array_equal(
            saved["encoder.head.loc.kernel"], names["fitted"].state.params["encoder"]["head"]["loc"]["kernel"]
        )
        assert len(saved.files) == 10
    x = names["digits"].test.arrays["x"][:32] / 255
    np.testing.assert_allclose(
        names["codes"], evaluation.posterior_mean(names["best"].vae, {"x": x}), rtol=1e-6
    )
    np.testing.assert_allclose(jax.jit(names["encode"])(x), names["codes"], rtol=1e-5, atol=1e-6)
    assert names["run"].params["decoder"].keys() == {"Dense_0", "Dense_1"}
    with pytest.raises(
        ValueError, match=r"model: expected model=, since .*model\.json builds none by itself"
    ):
        names["runs"].load("runs/own")
    with pytest.raises(ValueError, match="holds a run of another model"):
        names["runs"].load("runs/own", model=names["model"])


def test_the_code_of_the_human_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_page("docs/human.md")
    assert names["page"].name == "rate.html"
    assert len(names["answers"].raters) == 10
    assert "Bradley-Terry" in capsys.readouterr().out
    assert (tmp_path / "ratings.png").exists()
    assert names["sheet"].key.questions["ab"] == {"sharp": "Which of the two is sharper?"}


def test_the_widths_of_studies_are_those_that_the_code_gives():
    text = (ROOT / "docs" / "human.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.M)
    assert len(rows) == 12
    for raters, pairs, *widths in (map(int, row) for row in rows):
        found = [human.expected_width(raters, pairs, correlation=rho) for rho in (0.0, 0.05, 0.2)]
        assert widths == [round(100 * width) for width in found]
