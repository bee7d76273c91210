"""All scores of a model in one call: encoded once, whole, in any batches, and never nan."""

from __future__ import annotations

import json
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn
from jax.tree_util import Partial

from vaejax import disentanglement, evaluation, runs
from vaejax.distributions import diagonal_gaussian
from vaejax.evaluation import disentanglement_scores, factor_codes
from vaejax.keys import named_key
from vaejax.types import VAE, Draw, Split

KEY = jax.random.key(0)
V = (2, 10, 11)
GRID = np.stack(np.unravel_index(np.arange(220), V), axis=1)
CHEAP = {"train": 140, "test": 80, "num_samples_chen": 500, "num_samples": 400}
CENTRE = np.array([0.5, 4.5, 5.0])
NAMES = [
    "mig", "active_mig", "mig_chen", "modularity", "active_modularity", "explicitness", "sap", "sap_svm",
    "mcc", "mcc_spearman", "mcc_linear",
    "dci_disentanglement", "dci_completeness", "dci_informativeness", "dci_linear_disentanglement",
    "dci_linear_completeness", "dci_linear_informativeness", "factor_vae", "beta_vae", "irs",
    "gaussian_total_correlation", "wasserstein_correlation", "pairwise_information",
    "local_mig", "local_mig_over_ceiling", "local_modularity",
]  # fmt: skip


class Pictures:
    """A set whose images are its factors, centred, and a pixel of 1; it counts what it renders."""

    num_values = V

    def __init__(self):
        self.rendered = []

    def sample_images(self, factors):
        self.rendered.append(len(factors))
        x = factors - CENTRE
        return np.column_stack([x, np.ones(len(x))]).astype(np.float32)


def _encode(params, key, batch):
    loc = batch["x"] @ params["A"]
    q = diagonal_gaussian(loc, jnp.full_like(loc, params.get("scale", 0.1)))
    return Draw(z=loc, log_q=q.log_prob(loc), log_p=q.log_prob(loc), q=q, p=q, batch=batch)


def _vae(A):
    return VAE(Partial(_encode, {"A": jnp.asarray(A, jnp.float32)}), None, None, {})  # pyright: ignore


PERFECT = np.vstack([np.eye(3), np.zeros((1, 3))])
MIXED = PERFECT @ np.array([[1.0, 0.3, 0, 0], [-0.4, 1, 0.2, 0], [0.1, 0, 1, 0]])  # and a constant code


@pytest.fixture(scope="module")
def perfect():
    pictures = Pictures()
    return pictures, disentanglement_scores(KEY, _vae(PERFECT), pictures, batch_size=110, **CHEAP)


def test_perfect_codes_score_high_everywhere(perfect):
    _, made = perfect
    assert list(made.scores) == NAMES
    value = made.values
    ones = {"mig", "active_mig", "modularity", "active_modularity", "sap", "factor_vae", "beta_vae", "irs"}
    ones |= {"mcc", "mcc_spearman", "mcc_linear"}
    for name in ones | {"dci_disentanglement", "dci_completeness", "dci_informativeness"}:
        assert value[name] == pytest.approx(1, abs=0.02), name
    # a third of the codes is of the factor that clusters freeze, and the mean is over all codes
    assert value["local_modularity"] == pytest.approx(2 / 3, abs=0.01)
    assert value["explicitness"] > 0.9  # 140 rows for 11 values
    assert value["mig_chen"] > 0.85  # the posteriors have a scale of their own
    assert value["gaussian_total_correlation"] == pytest.approx(0, abs=1e-9)
    assert (made.n, made.active_units, value["degenerate"], value["missing"]) == (220, 3, [], {})


def test_the_grid_is_encoded_once(perfect):
    pictures, _ = perfect
    assert pictures.rendered == [1, 110, 110]  # one for the shapes


def test_the_table_names_every_score_and_the_version_of_the_library(perfect):
    _, made = perfect
    lines = runs.table(made.rows).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == NAMES
    version = f"scikit-learn {sklearn.__version__}"
    fitted = [name for name, line in zip(NAMES, lines[2:], strict=True) if version in line]
    assert fitted == [
        n for n in NAMES if n.split("_")[0] in ("explicitness", "dci", "beta") or n == "sap_svm"
    ]
    assert made.values["library"] == version
    assert runs.table([{"a": 1.0}]) in runs.table([{"a": made.values["irs"]}])


def test_batches_do_not_matter_and_a_skipped_score_leaves_the_others(perfect):
    _, made = perfect
    skip = ("dci", "dci_linear", "mig_chen", "local", "explicitness")
    other = disentanglement_scores(KEY, _vae(PERFECT), Pictures(), batch_size=7, skip=skip, **CHEAP)
    assert [
        n for n in NAMES if n.split("_")[0] not in ("dci", "local", "explicitness") and n != "mig_chen"
    ] == list(other.scores)
    for name, score in other.scores.items():
        assert score.value == pytest.approx(made.scores[name].value, abs=1e-6), name


def test_a_split_scores_as_the_set_that_it_holds():
    skip = ("dci", "mig_chen", "local", "explicitness", "sap_svm")
    pictures = Pictures()
    split = Split(
        {"x": pictures.sample_images(GRID) / 2, "y": GRID.astype(np.uint8)},
        "real",
        lambda key, batch: {**batch, "x": 2 * batch["x"]},
    )
    sets, of_split = (
        disentanglement_scores(KEY, _vae(MIXED), data, skip=skip, batch_size=50, **CHEAP)
        for data in (pictures, split)
    )
    assert list(of_split.scores) == list(sets.scores)
    for name, score in sets.scores.items():
        assert of_split.scores[name].value == pytest.approx(score.value, abs=1e-6), name
    assert 0.1 < of_split.values["mig"] < 0.9
    assert "local_mig" not in disentanglement_scores(KEY, _vae(MIXED), split, skip=skip[:2], **CHEAP).scores
    some = factor_codes(KEY, _vae(PERFECT), split, limit=30)
    np.testing.assert_allclose(some.loc, some.factors - CENTRE, atol=1e-5)
    assert len(np.unique(some.factors, axis=0)) == 30


def test_both_forms_of_dci_are_those_of_the_codes_on_rows_of_their_own(monkeypatch):
    monkeypatch.setattr(evaluation.scores, "dci", partial(disentanglement.dci, trees=2))
    skip = [name for name in evaluation.scores.GROUPS if not name.startswith("dci")]
    made = disentanglement_scores(KEY, _vae(MIXED), Pictures(), skip=skip, **CHEAP, train_dci=60)
    codes = factor_codes(KEY, _vae(MIXED), Pictures())
    expected = {}
    for name, rows, fit in (
        ("dci", 60, evaluation.scores.dci),
        ("dci_linear", 140, disentanglement.dci_linear),
    ):
        found = fit(named_key(KEY, name), codes.loc, codes.factors, train=rows, test=80)
        expected |= {f"{name}_{part}": value for part, value in found.values.items()}
    assert {name: score.value for name, score in made.scores.items()} == pytest.approx(expected, abs=1e-6)
    assert len(set(expected.values())) == 6
    with pytest.raises(ValueError, match="train_dci: expected at least 1, got 0"):
        disentanglement_scores(KEY, _vae(MIXED), Pictures(), skip=skip, train_dci=0)


def test_a_set_above_the_limit_is_sampled():
    codes = factor_codes(KEY, _vae(PERFECT), Pictures(), limit=219, batch_size=50)
    assert (codes.whole, len(codes.loc)) == (False, 219)
    np.testing.assert_allclose(codes.loc, codes.factors - CENTRE, atol=1e-5)
    np.testing.assert_allclose(codes.of(GRID[None]), (GRID - CENTRE)[None], atol=1e-5)
    skip = [name for name in evaluation.scores.GROUPS if name not in ("local", "mig")]
    made = disentanglement_scores(KEY, _vae(PERFECT), Pictures(), limit=219, skip=skip, num_samples=400)
    assert (made.n, list(made.scores)[:2]) == (219, ["mig", "active_mig"])
    assert made.values["local_modularity"] == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("limit", [7, 219, 220])
def test_local_clusters_have_all_their_points_above_the_limit_too(limit, monkeypatch):
    asked = []

    def spy(*args, **settings):
        asked.append(settings)
        return disentanglement.local_clusters(*args, **settings)

    monkeypatch.setattr(evaluation.scores, "local_clusters", spy)
    skip = [name for name in evaluation.scores.GROUPS if name != "local"]
    made = disentanglement_scores(KEY, _vae(MIXED), Pictures(), limit=limit, skip=skip, num_samples=400)
    assert (made.n, asked) == (limit, [{"clusters": 20, "num_samples": 400}])
    whole = disentanglement_scores(KEY, _vae(MIXED), Pictures(), skip=skip, num_samples=400)
    for name in ("local_mig", "local_modularity"):
        assert made.values[name] == pytest.approx(whole.values[name], abs=1e-6), name


def test_one_factor_with_a_neighbourhood_has_no_local_modularity():
    class Narrow(Pictures):
        num_values = (2, 9, 11)

    skip = [name for name in evaluation.scores.GROUPS if name != "local"]
    made = disentanglement_scores(KEY, _vae(PERFECT), Narrow(), skip=skip, num_samples=200)
    assert made.values["local_mig_over_ceiling"] > 0.9
    assert made.values["degenerate"] == ["local_modularity"]


@pytest.mark.parametrize("A", [np.zeros((4, 2)), MIXED, PERFECT[:, :1], PERFECT[:, [0, 0, 1]] * 1e-4])
@pytest.mark.parametrize("frozen", [False, True])
def test_never_nan(A, frozen):
    y = GRID[GRID[:, 1] == 2] if frozen else GRID
    split = Split({"x": Pictures().sample_images(y), "y": y}, "real")
    skip = () if A is MIXED else ("mig_chen", "dci") if A.any() else ("dci",)
    made = disentanglement_scores(
        KEY, _vae(A), split, skip=skip, **CHEAP | {"train": 25, "num_samples_chen": 50}
    )
    assert not any(np.isnan(score.value) for score in made.scores.values())
    if not A.any():
        assert made.active_units == 0
        assert "nothing to measure" in runs.table(made.rows)
        assert "local_mig" not in made.scores
        measured = {"gaussian_total_correlation", "wasserstein_correlation", "pairwise_information"}
        assert set(made.values["degenerate"]) == set(made.scores) - measured


def test_an_infinite_score_is_kept_and_its_value_is_plain_data():
    skip = [name for name in evaluation.scores.GROUPS if name != "unsupervised"]
    twice = disentanglement_scores(KEY, _vae(PERFECT[:, [0, 1, 0]]), Pictures(), skip=skip, **CHEAP)
    assert twice.scores["gaussian_total_correlation"].value == np.inf
    plain = json.loads(json.dumps(twice.values, allow_nan=False))
    assert plain["gaussian_total_correlation"] is None
    assert (plain["infinite"], plain["degenerate"]) == (["gaussian_total_correlation"], [])
    assert plain["wasserstein_correlation"] > 0.2
    assert "inf" in runs.table(twice.rows)


def test_a_score_that_fails_leaves_the_others_and_says_why(perfect, monkeypatch):
    """One score by its library, one of a group of three by another; a posterior of scale 0 has no density."""

    def fails(*args, **settings):
        raise FloatingPointError("a long\n   story " + "without end " * 99)

    monkeypatch.setattr(evaluation.scores, "dci", fails)
    monkeypatch.setattr(evaluation.scores, "wasserstein_correlation", fails)
    skip = ("explicitness", "sap_svm", "local")
    point = _vae(PERFECT)
    made = disentanglement_scores(
        KEY, point._replace(encode=Partial(_encode, {**point.encode.args[0], "scale": 0.0})), Pictures(),
        skip=skip, **CHEAP,
    )  # fmt: skip
    gone = {"dci_disentanglement", "dci_completeness", "dci_informativeness", "wasserstein_correlation"}
    assert set(made.values["missing"]) == gone | {"mig_chen"}
    assert set(made.scores) == {n for n in NAMES if n not in skip and not n.startswith("local")}
    for name, score in made.scores.items():
        if score.missing:
            assert np.isnan(score.value)
            assert made.values[name] is None
        else:
            assert score.value == pytest.approx(perfect[1].scores[name].value, abs=1e-6), name
    assert made.values["missing"]["mig_chen"].startswith("ValueError: scale: expected positive")
    reason = made.scores["dci_completeness"].missing
    assert reason.startswith("FloatingPointError: a long story without end")
    assert len(reason) < 210
    assert made.values["infinite"] == made.values["degenerate"] == []
    json.dumps(made.values, allow_nan=False)
    (row,) = [line for line in runs.table(made.rows).splitlines() if "mig_chen" in line]
    assert "missing: ValueError: scale: expected positive" in row
    assert "nan" not in row


def test_a_value_with_one_row_leaves_the_other_scores():
    class Line(Pictures):
        num_values = (12,)

        def sample_images(self, factors):
            return np.column_stack([factors - 5.5, np.ones((len(factors), 3))]).astype(np.float32)

    skip = ("dci", "explicitness", "sap_svm")  # they would fit on eight rows
    line = disentanglement_scores(KEY, _vae(PERFECT), Line(), skip=skip, **CHEAP).values
    y = GRID[(GRID[:, 1] != 3) | (np.arange(220) == 33)]  # of value 3 one row is left
    assert np.bincount(y[:, 1])[3] == 1
    split = Split({"x": Pictures().sample_images(y), "y": y}, "real")
    rare = disentanglement_scores(KEY, _vae(PERFECT), split, skip=skip, **CHEAP).values
    for value in (line, rare):
        assert value["factor_vae"] == value["beta_vae"] == 0.0
        assert {"factor_vae", "beta_vae"} <= set(value["degenerate"])
        assert value["mig"] > 0.9
        assert value["irs"] > 0.9


def test_bad_arguments_are_named_before_anything_is_encoded(monkeypatch):
    pictures, vae = Pictures(), _vae(PERFECT)
    for arguments, error, message in (
        ({"skip": ("dic",)}, ValueError, "skip: expected names among mig, mig_chen, .*; got"),
        ({"skip": "dci"}, ValueError, "skip: expected names among"),
        ({"limit": 0}, ValueError, "limit: expected at least 1, got 0"),
        ({"train": 0.5}, TypeError, "train: expected an int"),
    ):
        with pytest.raises(error, match=message):
            disentanglement_scores(KEY, vae, pictures, **arguments)
    with pytest.raises(TypeError, match="data: expected a Split or a set with `num_values`"):
        disentanglement_scores(KEY, vae, 3)
    for y in ({}, {"y": np.zeros(5, int)}, {"y": np.zeros((5, 2))}):
        with pytest.raises(ValueError, match=r"data: expected a split with factors y, integers \[N, F\]"):
            disentanglement_scores(KEY, vae, Split({"x": np.zeros((5, 4)), **y}, "real"))
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match="expected scikit-learn"):
        disentanglement_scores(KEY, vae, pictures)
    assert pictures.rendered == []
    without = ("explicitness", "sap_svm", "dci", "dci_linear", "beta_vae", "mig_chen")
    assert disentanglement_scores(KEY, vae, pictures, skip=without, **CHEAP).values["library"] == ""
