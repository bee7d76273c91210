"""docs/index.md cannot go stale: it is read against the public surface and the tests."""

import re
from pathlib import Path

import jax
import pytest

from tests.test_catalogue import COMBINATORS
from vaejax import disentanglement, distributions, evaluation, models, objectives, train

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in (ROOT / "docs" / "index.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| technique")
]
MACHINERY = {"averaged", "fit", "gradient_update", "measure_step", "read_metrics", "repeat", "sequence"}
LISTED = {re.search(r"`(.+?)`", row[1])[1] for row in ROWS}


def _functions(module):
    return {name for name in module.__all__ if not isinstance(getattr(module, name), type)}


def test_every_public_technique_has_a_row():
    likelihoods = {
        name
        for name in _functions(distributions)
        if getattr(distributions, name).__annotations__.get("return") == "Likelihood"
    }
    expected = {f"objectives.{name}" for name in _functions(objectives) - (COMBINATORS - {"scaled"})}
    expected |= {f"distributions.{name}" for name in likelihoods}
    expected |= {f"models.{name}" for name in _functions(models)}
    expected |= {f"train.{name}" for name in _functions(train) - MACHINERY}
    expected |= {f"disentanglement.{name}" for name in _functions(disentanglement)}
    expected |= {f"evaluation.{name}" for name in _functions(evaluation)}
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


def _tiny(code):
    """The same code at a tiny size."""
    smaller = {
        "three_dots(side=32)": "three_dots(16, num_train=128, num_validation=64, num_test=64)",
        "side=32": "side=16",
        "width=0.5": "width=0.1",
        ", chunk=21": "",
        "2000, batch_size=64": "6, batch_size=64, chunk=1, progress=False",
    }
    for full, small in smaller.items():
        code = code.replace(full, small)
    return code


def _blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_the_code_of_the_readme_runs(elsewhere):
    compose_one, by_hand = _blocks("README.md")
    names: dict = {}
    exec(_tiny(compose_one), names)
    assert len(names["fitted"].metrics["loss"]) == 6
    exec(by_hand, names)
    x = names["dots"].sample_images(names["dots"].test.arrays["y"][:4])
    loss, (metrics, _) = names["objective"](names["jax"].random.key(0), names["vae"], {"x": x}, 0)
    assert loss == metrics["loss"] > 0


def test_the_code_of_the_training_page_runs(elsewhere):
    names: dict = {}
    for block in _blocks("docs/training.md"):
        exec(_tiny(block), names)
    assert len(names["fitted"].metrics["loss"]) == 6
    for start, ends in ((0, False), (1000, True)):  # what rises while the ramp does says nothing
        rising = [{"step": start + n, "validation": {"neg_elbo": float(n)}} for n in range(1, 9)]
        assert names["stop"](rising) == ends
    scores = [r["validation"]["neg_elbo"] for r in names["stopped"].validation]
    assert len(scores) == 3
    assert int(names["stopped"].best.step) == 2 * (scores.index(min(scores)) + 1)
    assert set(names["fits"]) == {0, 1, 2}
    assert int(names["fits"][2].state.step) == 6
    differ = jax.tree.map(lambda a, b: bool((a != b).any()), names["last"], names["smooth"])
    assert any(jax.tree.leaves(differ))


def test_the_code_of_the_collapse_page_runs(elsewhere):
    names: dict = {}
    for block in _blocks("docs/collapse.md"):
        exec(_tiny(block), names)
        if "fitted" in names:
            assert "kl" in names["fitted"].metrics  # the true one, whatever the loss makes of it
    assert names["signs"]["summary"]
    assert names["five_to_one"].groups == ("encoder", "decoder")
    assert {"classifier/accuracy", "information"} <= set(names["fitted"].metrics)
