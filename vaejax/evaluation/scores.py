"""Every score of disentanglement of a model in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from vaejax.disentanglement.dci import DCI, dci, dci_linear
from vaejax.disentanglement.interventions import (
    FactorSampler,
    beta_vae_score,
    factor_sampler,
    factor_vae_score,
    irs,
    lone_values,
)
from vaejax.disentanglement.local import local_clusters, score_local
from vaejax.disentanglement.matrices import information_and_entropy, mig_from, modularity_from, sap
from vaejax.disentanglement.mcc import mcc, mcc_linear
from vaejax.disentanglement.posterior_mig import mig_chen
from vaejax.disentanglement.predictors import TEST, TRAIN, explicitness, sap_svm, sklearn_version
from vaejax.disentanglement.score import Score, missing
from vaejax.disentanglement.unsupervised import (
    gaussian_total_correlation,
    pairwise_information,
    wasserstein_correlation,
)
from vaejax.evaluation.entry import check_counts, check_model
from vaejax.evaluation.factor_codes import LIMIT, Codes, Condition, FactorSet, factor_codes
from vaejax.keys import check_key, named_key, numpy_generator
from vaejax.ops.aggregate import ACTIVE_VARIANCE
from vaejax.types import VAE, Array, Progress, Split

SAMPLES = 10_000
CLUSTERS = 20
NAMES = {  # of the scores of each group
    "mig": ("mig", "active_mig"),
    "mig_chen": ("mig_chen",),
    "modularity": ("modularity", "active_modularity"),
    "explicitness": ("explicitness",),
    "sap": ("sap",),
    "sap_svm": ("sap_svm",),
    "mcc": ("mcc", "mcc_spearman"),
    "mcc_linear": ("mcc_linear",),
    "dci": ("dci_disentanglement", "dci_completeness", "dci_informativeness"),
    "dci_linear": ("dci_linear_disentanglement", "dci_linear_completeness", "dci_linear_informativeness"),
    "factor_vae": ("factor_vae",),
    "beta_vae": ("beta_vae",),
    "irs": ("irs",),
    "unsupervised": ("gaussian_total_correlation", "wasserstein_correlation", "pairwise_information"),
    "local": ("local_mig", "local_mig_over_ceiling", "local_modularity"),
}
GROUPS = tuple(NAMES)
_MCC = {"mcc": "pearson", "mcc_spearman": "spearman"}
_NONE = np.zeros(0)  # no parts


class DisentanglementScores(NamedTuple):
    """Scores by name, and what they were taken on.

    `print(runs.table(scores.rows))` shows them; `scores.values` is plain data for a report. A score that
    fails does not take the others with it: its value is nan, and its `missing` says why.
    """

    scores: dict[str, Score]
    n: int  # images that were encoded
    active_units: int  # codes whose mean has variance > 0.01

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row of text and numbers for each score."""
        return [
            {
                "score": name,
                "value": "-" if score.missing else score.value,
                "codes": "" if score.active_units is None else score.active_units,
                "note": _note(score),
            }
            for name, score in self.scores.items()
        ]

    @property
    def values(self) -> dict[str, Any]:
        """Every value by name, as JSON has it: None where it is infinite or missing.

        Beside them `n`, `active_units`, the names of the `degenerate` and of the `infinite` ones, the
        `missing` ones with their reasons, and the `library` of the classifiers.
        """
        libraries = {score.library for score in self.scores.values()} - {""}
        return {
            **{name: s.value if math.isfinite(s.value) else None for name, s in self.scores.items()},
            "n": self.n,
            "active_units": self.active_units,
            "degenerate": [name for name, score in self.scores.items() if score.degenerate],
            "infinite": [name for name, score in self.scores.items() if math.isinf(score.value)],
            "missing": {name: score.missing for name, score in self.scores.items() if score.missing},
            "library": ", ".join(sorted(libraries)),
        }


def _note(score: Score) -> str:
    """What stands beside a score in a table."""
    if score.missing:
        return f"missing: {score.missing}"
    return "; ".join(filter(None, ["nothing to measure" if score.degenerate else "", score.library]))


def disentanglement_scores(
    key: Array,
    vae: VAE,
    data: FactorSet | Split,
    *,
    c: Condition | None = None,
    limit: int = LIMIT,
    factor_bins: int | None = None,
    num_samples: int = SAMPLES,
    train: int = TRAIN,
    test: int = TEST,
    train_dci: int | None = None,
    num_samples_chen: int = SAMPLES,
    skip: Sequence[str] = (),
    batch_size: int = 500,
    progress: Progress = iter,
) -> DisentanglementScores:
    """Score a model on every measure of disentanglement.

    A set with at most `limit` combinations of factors is encoded whole, once, and every score draws from
    those codes. Of a larger one, or a larger split, `limit` random images are encoded, and for the local
    scores of such a set 20 * `num_samples` images more, 200 000. The defaults are the published
    numbers (Locatello et al. 2019, 1811.12359; of mig_chen, Chen et al. 2018, 1802.04942). `dci` takes
    most of the time, minutes for factors of many values: lower `train_dci` or skip it; `dci_linear` is its
    form by the lasso. Each score has its own key: skipping one leaves the others as they are.

    Args:
      key: typed PRNG key.
      vae: a bound model whose latents are one array of real numbers; their codes are scored, the posterior
        means (`posterior_mean`).
      data: a set with `num_values` and `sample_images`, such as `data.mini_sprites()` or
        `data.published("dsprites")`; or a split with factors y, [N, F], such as those of
        `data.from_tfds("shapes3d")` (then without local scores).
      c: of a set, for a model with a condition: a function, factors [n, F] -> the conditions [n, ...] of
        their images. A split has its own.
      limit: the most images that are encoded, but for the local scores of a set that is larger.
      factor_bins: for a split whose factors are real numbers: each is cut into this many bins of equal width
        over its range in the split, and the bins are its values from there on. None expects integers.
      num_samples: rows for mig, modularity, sap, irs and the unsupervised scores; points of each of the 20
        local clusters, all encoded where the set is larger than `limit`. With fewer, local modularity is
        lower.
      train: rows, votes and features that explicitness, sap_svm, mcc_linear, both forms of dci, factor_vae
        and beta_vae fit on.
      test: those that they score on.
      train_dci: the rows that the trees of dci learn from; None: `train`.
      num_samples_chen: draws of each entropy of `mig_chen`, which needs a Gaussian posterior.
      skip: names of `GROUPS` to leave out: mig, mig_chen, modularity, explicitness, sap, sap_svm, mcc,
        mcc_linear, dci, dci_linear, factor_vae, beta_vae, irs, unsupervised, local.
      batch_size: images at a time.
      progress: wraps the range of batches, as a progress bar does.

    Returns:
      DisentanglementScores: for mig and modularity also the active-only form, of the codes with variance
      > 0.01; factor_vae and beta_vae are 0 and flagged where some value of a factor has one row only. A score
      that fails is there with its reason, and the others stand.

    Raises:
      ImportError: scikit-learn is not installed and a score that takes it is not skipped.
      TypeError, ValueError: an argument is of another kind, the latents are several parts or levels or no
        real numbers, codes are not finite, c is missing or one too many, or there are fewer than two images.
    """
    check_key(key)
    check_model(vae, "encode")
    fitted = {"train": train, "test": test, "train_dci": train if train_dci is None else train_dci}
    check_counts(**fitted, num_samples=num_samples, num_samples_chen=num_samples_chen)
    wanted = _wanted(skip)
    codes = factor_codes(
        *(named_key(key, "codes"), vae, data),
        c=c, limit=limit, factor_bins=factor_bins, batch_size=batch_size, progress=progress,
    )  # fmt: skip
    if len(codes.loc) < 2:
        raise ValueError(f"data, limit: expected two images or more, got {len(codes.loc)}")
    rows = numpy_generator(named_key(key, "rows")).permutation(len(codes.loc))[:num_samples]
    active = codes.loc.var(axis=0, ddof=1, dtype=np.float64) > ACTIVE_VARIANCE
    groups = {
        **_of_rows(codes.loc[rows], codes.factors[rows], active),
        **_by_fitting(codes, **fitted),
        "mig_chen": partial(_chen, codes, num_samples_chen),
        "local": partial(_local, codes, num_samples),
    }
    scores: dict[str, Score] = {}
    for name in wanted:
        scores |= _taken(NAMES[name], partial(groups[name], named_key(key, name)))
    return DisentanglementScores(scores, len(codes.loc), int(active.sum()))


Group = Callable[[Array], dict[str, Score]]


def _wanted(skip: Sequence[str]) -> list[str]:
    """The groups that are not skipped; raise for a name of none, or without the library that they need."""
    if isinstance(skip, str) or not set(skip) <= set(GROUPS):
        raise ValueError(f"skip: expected names among {', '.join(GROUPS)}; got {skip!r}")
    wanted = [name for name in GROUPS if name not in skip]
    if {"explicitness", "sap_svm", "dci", "dci_linear", "beta_vae"} & set(wanted):
        sklearn_version()  # before anything is encoded
    return wanted


def _taken(names: Sequence[str], scores: Callable[[], dict[str, Score]]) -> dict[str, Score]:
    """The scores, or in the place of each the reason why they failed: others do not depend on them."""
    try:
        return scores()
    except Exception as error:
        return dict.fromkeys(names, missing(error))


def _each(scores: dict[str, Callable[[], Score]]) -> dict[str, Score]:
    """Scores that do not depend on each other."""
    made: dict[str, Score] = {}
    for name, score in scores.items():
        made |= _taken([name], lambda name=name, score=score: {name: score()})
    return made


def _of_rows(z: np.ndarray, v: np.ndarray, active: np.ndarray) -> dict[str, Group]:
    """Scores of arrays; nothing in them is random."""
    information = cache(partial(information_and_entropy, z, v))  # of every code by itself

    def with_active(name: str, metric: Callable[[np.ndarray, np.ndarray], Score]) -> dict[str, Score]:
        def of(kept: np.ndarray) -> Score:
            I, H = information()
            n = int(kept.sum())
            return metric(I[kept], H)._replace(active_units=n) if n else Score(0.0, _NONE, True, 0)

        return _each({name: lambda: of(np.ones_like(active)), f"active_{name}": lambda: of(active)})

    def unsupervised(key: Array) -> dict[str, Score]:
        return _each({
            "gaussian_total_correlation": lambda: _plain(gaussian_total_correlation(z)),
            "wasserstein_correlation": lambda: _plain(wasserstein_correlation(z)),
            "pairwise_information": lambda: _plain(pairwise_information(z)),
        })  # fmt: skip

    return {
        "mig": lambda key: with_active("mig", mig_from),
        "modularity": lambda key: with_active("modularity", lambda I, H: modularity_from(I[:, H > 0])),
        "sap": lambda key: {"sap": sap(z, v)},
        "irs": lambda key: {"irs": irs(z, v)},
        "mcc": lambda key: _each({n: partial(mcc, z, v, correlation=c) for n, c in _MCC.items()}),
        "unsupervised": unsupervised,
    }


def _by_fitting(codes: Codes, train: int, test: int, train_dci: int) -> dict[str, Group]:
    """Scores that learn something on some draws and are taken on others."""
    z, v = codes.loc, codes.factors

    def parts(name: str, made: DCI) -> dict[str, Score]:
        return {f"{name}_{part}": s for part, s in made._asdict().items() if isinstance(s, Score)}

    def intervening(name: str, score: Callable[[Array, FactorSampler], Score]) -> Group:
        if lone_values(v):
            return lambda key: {name: Score(0.0, np.where(np.ptp(v, axis=0) > 0, 0.0, np.nan), True)}
        return lambda key: {name: score(key, factor_sampler(z, v))}

    return {
        "explicitness": lambda key: {"explicitness": explicitness(key, z, v, train=train, test=test)},
        "sap_svm": lambda key: {"sap_svm": sap_svm(key, z, v, train=train, test=test)},
        "mcc_linear": lambda key: {"mcc_linear": mcc_linear(key, z, v, train=train, test=test)},
        "dci": lambda key: parts("dci", dci(key, z, v, train=train_dci, test=test)),
        "dci_linear": lambda key: parts("dci_linear", dci_linear(key, z, v, train=train, test=test)),
        "factor_vae": intervening("factor_vae", partial(factor_vae_score, train=train, test=test)),
        "beta_vae": intervening("beta_vae", partial(beta_vae_score, train=train, test=test)),
    }


def _chen(codes: Codes, num_samples: int, key: Array) -> dict[str, Score]:
    if codes.scale is None:
        raise TypeError("q: expected a Gaussian posterior, whose marginals are known; got another")
    return {"mig_chen": mig_chen(key, codes.loc, codes.scale, codes.factors, num_samples=num_samples)}


def _local(codes: Codes, num_samples: int, key: Array) -> dict[str, Score]:
    if codes.of is None or codes.num_values is None:
        return {}
    factors = local_clusters(key, codes.num_values, clusters=CLUSTERS, num_samples=num_samples)
    local = score_local(codes.of(factors), factors)
    moving = np.ptp(factors, axis=1).any(axis=0).sum()  # factors that local clusters do not freeze
    return {
        "local_mig": Score(local.mig, _NONE, local.degenerate),
        "local_mig_over_ceiling": Score(local.mig_over_ceiling, _NONE, local.degenerate),
        "local_modularity": Score(local.modularity, _NONE, local.degenerate or bool(moving < 2)),
    }


def _plain(value: float) -> Score:
    return Score(value, _NONE, False)
