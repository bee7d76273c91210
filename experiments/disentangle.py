"""Seven ways to disentangle, with equal budgets, on data sets whose factors are known.

    python -m experiments.disentangle --preset fast

Trains beta-VAE, AnnealedVAE, beta-TCVAE, FactorVAE, DIP-VAE-I, DIP-VAE-II and JL1-VAE with the same networks,
steps, images and order, and takes every score of disentanglement, reconstruction and KL.

`fast` is 7 minutes of one core's time. It has one seed, 3000 steps, and DCI on 1000 codes where 10 000 are
usual: its numbers show what the methods do, and rank nothing. On mini-sprites, seed 0:

    |                                 | beta | Annealed | beta-TC | Factor | DIP-I | DIP-II | JL1  |
    | MIG, histogram                  | .02  | .25      | .18     | .10    | .03   | .06    | .03  |
    | SAP, correlation                | .11  | .35      | .21     | .23    | .14   | .14    | .02  |
    | DCI disentanglement, 1000 codes | .09  | .21      | .19     | .14    | .05   | .08    | .05  |
    | FactorVAE score                 | .50  | .71      | .57     | .73    | .51   | .52    | .39  |
    | local MIG                       | .12  | .22      | .13     | .14    | .13   | .13    | .14  |
    | reconstruction                  | 48.2 | 44.0     | 46.4    | 35.7   | 33.9  | 30.1   | 49.3 |
    | KL                              | 7.0  | 10.1     | 7.6     | 13.6   | 16.1  | 14.6   | 7.4  |

On seed 100, where weights were looked at, MIG was .12 for the beta-VAE, .13 for the beta-TCVAE and .01 for
the AnnealedVAE: seeds differ as much as methods. DIP-VAE does what it says, the codes' Gaussian total
correlation is .05 and .15 where the others have .5 to 2, and MIG does not follow. The AnnealedVAE holds its
10 nats, 8.5 of them in three latents. The JL1-VAE is no better here than the beta-VAE whose KL has the same
weight. Dots of `three_dots` may be exchanged, so no code can tell its factors everywhere: the local scores
are the ones to read.

`medium`, 113 minutes of one core's time, has three seeds, 8000 steps and three-dots beside. On mini-sprites
MIG is .26 +- .37 for the AnnealedVAE, .16 +- .29 for the beta-TCVAE, .09 +- .16 for the beta-VAE (half-widths
of 95 % intervals); on three-dots local MIG is .084 +- .014 for the JL1-VAE and .057 +- .029 for the beta-VAE.
The README has all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Literal

import jax
import numpy as np
import optax

from vaejax import (
    VAE,
    Model,
    compose,
    data,
    disentanglement,
    distributions,
    evaluation,
    lab,
    models,
    nets,
    objectives,
    plots,
    scaled,
    train,
)
from vaejax.keys import named_key

METHODS = {
    "beta_vae": "beta-VAE",
    "annealed_vae": "AnnealedVAE",
    "beta_tcvae": "beta-TCVAE",
    "factor_vae": "FactorVAE",
    "dip_vae_i": "DIP-VAE-I",
    "dip_vae_ii": "DIP-VAE-II",
    "jl1_vae": "JL1-VAE",
}
SETS = {  # side (None: the config's), channels, support
    "mini_sprites": (None, 1, "binary"),
    "three_dots": (None, 1, "unit_interval"),
    "dsprites": (64, 1, "binary"),
    "shapes3d": (64, 3, "unit_interval"),
}
FLAGS = {"degenerate": "nothing to measure", "infinite": "infinite", "missing": "could not be taken"}
SHOWN = {
    "MIG, histogram": "mig",
    "MIG, Chen, {draws} draws": "mig_chen",
    "SAP, correlation": "sap",
    "DCI disentanglement, {codes} codes": "dci_disentanglement_trees",
    "DCI completeness, {codes} codes": "dci_completeness_trees",
    "DCI informativeness, {codes} codes": "dci_informativeness_trees",
    "FactorVAE score": "factor_vae",
    "beta-VAE score": "beta_vae",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "IRS": "irs",
    "local MIG": "local_mig",
    "local modularity": "local_modularity",
    "reconstruction": "reconstruction",
    "KL": "kl",
}
TABLED = {
    **SHOWN,
    "MIG, histogram, active codes": "active_mig",
    "modularity, active codes": "active_modularity",
    "SAP, support vectors": "sap_svm",
    "DCI by the lasso, disentanglement": "dci_disentanglement_lasso",
    "DCI by the lasso, completeness": "dci_completeness_lasso",
    "DCI by the lasso, informativeness (R^2)": "dci_informativeness_lasso",
    "local MIG over its ceiling": "local_mig_over_ceiling",
    "Gaussian total correlation": "gaussian_total_correlation",
    "Wasserstein correlation": "wasserstein_correlation",
    "information between codes": "pairwise_information",
    "active codes": "active_units",
    "seconds of training": "train_seconds",
}


@dataclass(frozen=True)
class Config(lab.BetaVAE):
    """Seven methods and the weight of each."""

    dataset: tuple[Literal[tuple(SETS)], ...] = ("mini_sprites",)  # one or several
    side: lab.Positive[int] = 32  # pixels on a side of mini_sprites and three_dots, a power of two from 16
    ramp: lab.NonNegative[int] = 1000  # steps over which all weights but annealed_gamma rise linearly from 0
    microbatch: int | None = (
        None  # images per slice, for speed on CPU; terms that mix the batch take it whole
    )
    beta: lab.NonNegative[float] = 4.0  # of the beta-VAE's KL (Higgins et al. 2017: 4 on dSprites)
    annealed_gamma: lab.NonNegative[float] = 1000.0  # of |KL - C| (Burgess et al. 2018, 1804.03599)
    annealed_nats: lab.NonNegative[float] = 25.0  # C, where its rise from 0 ends (Burgess et al. 2018)
    annealed_steps: lab.Positive[int] = 100_000  # steps over which C rises (Burgess et al. 2018)
    tc_beta: lab.NonNegative[float] = 6.0  # of beta-TCVAE's total correlation (Chen et al. 2018, 1802.04942)
    factor_gamma: lab.NonNegative[float] = 35.0  # of FactorVAE's (Kim & Mnih 2018, 1802.05983: 35)
    critic: tuple[lab.Positive[int], ...] = (1000,) * 6  # widths of its critic (Kim & Mnih 2018)
    critic_rate: lab.Positive[float] = 1e-4  # the critic's, with Adam(.5, .9) (Kim & Mnih 2018)
    dip_i: lab.NonNegative[float] = 10.0  # lam_od of DIP-VAE-I; lam_d is 10 times it (Kumar, 1711.00848)
    dip_ii: lab.NonNegative[float] = 10.0  # lam_od and lam_d of DIP-VAE-II (Kumar et al. 2018)
    jl1_beta: lab.NonNegative[float] = 4.0  # of the JL1-VAE's KL (Rhodes & Lee 2021, 2106.02923)
    jl1_gamma: lab.NonNegative[float] = 0.1  # of the JL1-VAE's penalty (Rhodes & Lee 2021)
    columns: lab.Positive[int] = 1  # Jacobian columns per image and step, a sample of all
    scored: lab.Positive[int] = 10_000  # codes of scores that fit nothing (Locatello et al. 2019, 1811.12359)
    sampled: lab.Positive[int] = 10_000  # draws for each entropy of MIG in Chen's form (Chen et al. 2018)
    fitted: lab.Positive[int] = 10_000  # codes that classifiers learn from; half as many judge (Locatello)
    dci_fitted: lab.Positive[int] = 10_000  # codes that DCI's trees learn from (Locatello); minutes a model

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dataset or len(set(self.dataset)) < len(self.dataset):
            raise ValueError(f"dataset: expected one or several, each once; got {self.dataset!r}")


# 32x32 images and few steps: weights from the papers' grids, fewer draws of the two scores that take longest
_SMALL = Config(
    width=0.5, steps=3000, learning_rate=2e-3, annealed_gamma=100.0, annealed_nats=10.0,
    annealed_steps=2000, tc_beta=4.0, factor_gamma=10.0, critic=(256,) * 4, critic_rate=1e-3, dip_i=5.0,
    dip_ii=5.0, sampled=2000, dci_fitted=1000,
)  # fmt: skip
PRESETS = {
    "fast": _SMALL,
    "medium": replace(
        _SMALL, preset="medium", dataset=("mini_sprites", "three_dots"), seeds=3, steps=8000,
        annealed_steps=5000, dci_fitted=2000,
    ),
    "paper": Config(
        preset="paper", dataset=("dsprites",), images=600_000, seeds=5, steps=300_000, learning_rate=1e-4,
        ramp=100_000,
    ),
}  # fmt: skip


def load(config: Config, name: str) -> Any:
    """The images of a set, and what is scored: the whole grid of its factors, else its training split."""
    if name in ("mini_sprites", "three_dots"):
        more = {} if name == "mini_sprites" else {"num_train": config.images}
        images = known = getattr(data, name)(config.side, **more)
    else:
        images = data.from_tfds(name, pixels=SETS[name][2])
        known = images.train
    few, test = data.first(images.train, config.images), data.first(images.test, 2000)
    return SimpleNamespace(train=few, test=test, known=known)


@cache  # one object for all methods: what scores a second one finds the programs of the first
def vae_model(config: Config, name: str) -> Model:
    """The model of Rhodes & Lee at the config's width."""
    side, channels, support = SETS[name]
    return models.gaussian_vae(
        encoder=nets.ConvEncoder(latents=config.latents, width=config.width),
        decoder=nets.ConvDecoder(side=side or config.side, channels=channels, width=config.width),
        latents=config.latents,
        likelihood=distributions.bernoulli(cross_entropy=support != "binary"),
    )


def terms(config: Config, method: str, size: int) -> dict[str, Any]:
    """What a method adds to the reconstruction, with its weight; `size`: of the training set."""
    rise = partial(objectives.ramp_schedule, transition_steps=config.ramp)
    C = optax.linear_schedule(0.0, config.annealed_nats, config.annealed_steps)
    i, ii = config.dip_i, config.dip_ii
    kl = {"kl": scaled(rise(1.0), objectives.kl)}
    own = {
        "beta_vae": {"kl": (config.beta, objectives.kl)},
        "beta_tcvae": {"beta_tc": (1.0, objectives.beta_tc(dataset_size=size, beta=config.tc_beta))},
        "factor_vae": {"total_correlation": (config.factor_gamma, objectives.total_correlation())},
        "dip_vae_i": {"dip": (1.0, objectives.dip(lam_od=i, lam_d=10 * i, form="i"))},
        "dip_vae_ii": {"dip": (1.0, objectives.dip(lam_od=ii, lam_d=ii, form="ii"))},
        "jl1_vae": {
            "kl": (config.jl1_beta, objectives.kl),
            "jacobian_l1": (
                config.jl1_gamma,
                objectives.jacobian_l1(method="columns", columns=config.columns),
            ),
        },
    }
    if method == "annealed_vae":
        return {"capacity": scaled(config.annealed_gamma, objectives.capacity(C))}
    weighted = {name: scaled(rise(weight), term) for name, (weight, term) in own[method].items()}
    return weighted if method in ("beta_vae", "beta_tcvae", "jl1_vae") else kl | weighted


def training(config: Config, name: str) -> lab.Training:
    """Adam on the objective; FactorVAE's critic has its own, on the same batch."""
    dataset, method = name.split("-")
    loaded, model = load(config, dataset), vae_model(config, dataset)
    if method == "factor_vae":
        model = models.with_heads(model, critic=nets.Critic(config.critic))
    loss = compose(reconstruction=objectives.reconstruction, **terms(config, method, loaded.train.size))
    step = partial(
        train.gradient_update, loss, model, optax.adam(config.learning_rate),
        microbatch=None if loss.mixes_examples else config.slices,  # type: ignore[attr-defined]
    )  # fmt: skip
    if method != "factor_vae":
        return lab.Training(model, step(), loaded, work=2.0 if method == "jl1_vae" else 1.0)
    critic = compose(cross_entropy=objectives.total_correlation_critic())
    adam = optax.adam(config.critic_rate, b1=0.5, b2=0.9)
    update = train.sequence(
        vae=step(wrt=("encoder", "decoder")),
        critic=train.gradient_update(critic, model, adam, wrt=("critic",)),
    )
    return lab.Training(model, update, loaded, work=1.5)


def score(config: Config, name: str, vae: VAE, loaded: Any) -> dict[str, Any]:
    """Every score of disentanglement, reconstruction and KL; the draws are the same for all models."""
    key = jax.random.key(1811)  # the settings were chosen on other seeds of the trainings
    parts = evaluation.elbo_parts(named_key(key, "elbo"), vae, loaded.test)
    half = max(1, config.fitted // 2)
    values = evaluation.disentanglement_scores(
        named_key(key, "scores"), vae, loaded.known, num_samples=config.scored, train=config.fitted,
        test=half, num_samples_chen=config.sampled, skip=("dci",),
    ).values  # fmt: skip
    codes = evaluation.factor_codes(named_key(key, "codes"), vae, loaded.known)
    fit = {"key": named_key(key, "fit"), "codes": codes.loc, "factors": codes.factors, "test": half}
    forms = {"lasso": disentanglement.dci_linear(**fit, train=config.fitted)}
    if not name.startswith("three_dots"):  # a tree for each of 6 x 64 values, 100 times, would take too long
        forms["trees"] = disentanglement.dci(**fit, train=config.dci_fitted)
    made = {
        f"dci_{name}_{form}": getattr(result, name)
        for form, result in forms.items()
        for name in ("disentanglement", "completeness", "informativeness")
    }
    flagged = [name for name, score in made.items() if score.degenerate]
    names = ("reconstruction", "kl", "neg_elbo", "mutual_information", "marginal_kl", "kl_per_dimension")
    return {
        **values,
        **{name: score.value for name, score in made.items()},
        "degenerate": values["degenerate"] + flagged,
        **{name: parts[name] for name in names},
    }


def rows(config: Config) -> dict[str, str]:
    """Every method on every set."""
    return {f"{d}-{method}": label for d in config.dataset for method, label in METHODS.items()}


def titled(shown: dict[str, str], config: Config, known: set[str]) -> dict[str, str]:
    """The scores that were taken, their titles with the numbers that may be less than the published ones."""
    numbers = {"codes": config.dci_fitted, "draws": config.sampled}
    return {title.format(**numbers): key for title, key in shown.items() if key in known}


def notes(run: lab.Run, names: list[str]) -> list[str]:
    """What stands under the table: the library of the classifiers, and scores that are flagged."""
    reports = [(run.rows[name].label, report) for name in names for report in run.reports[name]]
    libraries = sorted({report["library"] for _, report in reports if report.get("library")})
    lines = [f"classifiers by {', '.join(libraries)}"] if libraries else []
    for flag, meaning in FLAGS.items():
        each: dict[str, list[str]] = {}
        for label, report in reports:
            each.setdefault(label, []).extend(report.get(flag, ()))
        lines += [
            f"{meaning} in some seed of {k}: {', '.join(dict.fromkeys(v))}" for k, v in each.items() if v
        ]
    return lines


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, rows, training, score)
    for dataset in run.config.dataset if run.cells else ():
        names = [f"{dataset}-{method}" for method in METHODS]
        known = {key for name in names for report in run.reports[name] for key in report}
        print(dataset)
        run.side_by_side(titled(TABLED, run.config, known), names=names)
        print("\n".join(notes(run, names)))
        shown = titled(SHOWN, run.config, known)
        run.figure(f"scores_{dataset}", partial(lab.scores, columns=shown, names=names))
        run.figure(f"traversals_{dataset}", partial(traversals, dataset=dataset))
    return run.report


def traversals(run: lab.Run, dataset: str) -> Any:
    """A panel per method, a row per latent, those of the largest KL; its nats stand at the left."""
    test, values = load(run.config, dataset).test, np.linspace(-2, 2, 7)
    x = np.asarray(test.transform(jax.random.key(0), {"x": test.arrays["x"][:1]})["x"])[0]
    names = {name: label for name, label in run.labels.items() if name.startswith(dataset)}
    images = {label: evaluation.traverse(run.vae(name), x, values) for name, label in names.items()}
    kl = {label: run.reports[name][0]["kl_per_dimension"] for name, label in names.items()}
    return plots.traversal_panels(images, kl, rows=6)


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
