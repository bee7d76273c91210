"""docs/index.md cannot go stale: it is read against the public surface and the tests."""

import re
from pathlib import Path

import pytest

from tests.test_catalogue import COMBINATORS
from vaejax import distributions, evaluation, models, objectives

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in (ROOT / "docs" / "index.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| technique")
]
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
    expected |= {f"evaluation.{name}" for name in _functions(evaluation)}
    assert expected == LISTED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_row_names_exists(row):
    path, test = re.fullmatch(r"`(.+?)::(.+?)`", row[2]).groups()
    assert f"def {test}(" in (ROOT / path).read_text()
    if row[4]:
        assert (ROOT / row[4].strip("`")).exists()


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text()
    compose_one, by_hand = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    tiny = {
        "three_dots(side=32)": "three_dots(16, num_train=128, num_validation=64, num_test=64)",
        "side=32": "side=16",
        "width=0.5": "width=0.1",
        "2000, batch_size=64": "2, batch_size=64, chunk=2",
    }
    for full, small in tiny.items():
        assert full in compose_one
        compose_one = compose_one.replace(full, small)
    names: dict = {}
    exec(compose_one, names)
    assert len(names["fitted"].metrics["loss"]) == 2
    exec(by_hand, names)
    x = names["dots"].sample_images(names["dots"].test.arrays["y"][:4])
    loss, (metrics, _) = names["objective"](names["jax"].random.key(0), names["vae"], {"x": x}, 0)
    assert loss == metrics["loss"] > 0
