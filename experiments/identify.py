"""Which penalty recovers the factors? Seven features of two factors with a known mask (Moran et al. 2021).

    python -m experiments.identify --preset fast

Todo:
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from scipy.optimize import linear_sum_assignment

from vaejax import (
    VAE,
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
    runs,
    scaled,
    train,
)

ROWS = {
    "vae": "VAE", "jl1": "JL1-VAE", "orojar": "OroJaR", "ima": "IMA",
    "sparse": "Sparse VAE", "anchors": "Sparse VAE, anchors known",
}  # fmt: skip
MASKED = ("sparse", "anchors")


@dataclass(frozen=True)
class Config(lab.Settings):
    """A VAE, three penalties on its decoder's Jacobian, and two sparse decoders, on the same data."""

    rho: lab.NonNegative[float] = 0.0  # correlation of the two factors
    noise: lab.Positive[float] = 0.5  # standard deviation of every feature given the factors; the authors'
    examples: lab.Positive[int] = 500  # N, training rows, and as many to score on; the authors'
    data_seed: lab.NonNegative[int] = 0  # of the data; all seeds of a training have the same
    latents: lab.Positive[int] = 5  # d, more than there are factors; the authors'
    hidden: tuple[lab.Positive[int], ...] = (50, 50)  # widths of encoder and decoder; the authors'
    steps: lab.Positive[int] = 4000  # training steps
    batch_size: lab.Positive[int] = 100  # rows per step; the authors'
    learning_rate: lab.Positive[float] = 3e-3  # Adam's
    beta: lab.NonNegative[float] = 1.0  # weight of the KL
    jl1: lab.NonNegative[float] = 0.03  # weight of ||J||_1,1
    orojar: lab.NonNegative[float] = 0.001  # weight of the squared products of columns of J
    ima: lab.NonNegative[float] = 1.0  # weight of the gap between columns of J and orthogonal ones, nats
    ridge: lab.Positive[float] = 0.25  # of that gap, the variance of the noise
    lam0: lab.Positive[float] = 10.0  # of the spike; the authors'
    lam1: lab.Positive[float] = 1.0  # of the slab; the authors', for these data
    prior: lab.NonNegative[float] = 1.0  # weight of -log p(W) / N; 1 is Bayes' rule


PRESETS = {"fast": Config(seeds=5), "long": Config(preset="long", seeds=20, steps=20_000)}
COLUMNS = {
    "MCC": "mcc",
    "MCC of ranks": "mcc_spearman",
    "MCC after a linear map": "mcc_linear",
    "DCI disentanglement": "dci",
    "share of |J| on the true mask": "on_mask",
    "-ELBO": "neg_elbo",
    "active latents": "active_units",
}


def training(config: Config, name: str) -> lab.Training:
    """-ELBO with a scale for every feature, and what each row adds; masks in two of them."""
    rows = data.anchored(
        config.rho, noise=config.noise, num_train=config.examples, num_test=config.examples,
        seed=config.data_seed,
    )  # fmt: skip
    D, d, N = len(rows.support), config.latents, config.examples
    mask = nets.SparseDecoder(config.hidden, D, anchors=rows.anchors if name == "anchors" else ())
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(d, config.hidden),
        decoder=mask if name in MASKED else nets.MLP(config.hidden, (D,)),
        latents=d,
        likelihood=distributions.gaussian(),
    )
    if name in MASKED:
        model = models.spike_and_slab(model, examples=N, lam0=config.lam0, lam1=config.lam1)
    model = models.feature_scales(model, examples=N)
    penalty = {
        "vae": {},
        "jl1": {"jl1": scaled(config.jl1, objectives.jacobian_l1())},
        "orojar": {"orojar": scaled(config.orojar, objectives.orthogonality())},
        "ima": {"ima": scaled(config.ima, objectives.ima(ridge=config.ridge))},
    }.get(name, {"prior": scaled(config.prior, objectives.spike_and_slab)})
    kl = scaled(config.beta, objectives.kl)
    loss = compose(reconstruction=objectives.reconstruction, kl=kl, **penalty)
    update = train.gradient_update(loss, model, optax.adam(config.learning_rate))
    return lab.Training(model, update, rows, work=1 + 2 * (name != "vae"))


def score(config: Config, name: str, vae: VAE, rows: data.Anchored) -> dict[str, Any]:
    """How well codes of test rows tell the factors, and where the decoder's Jacobian lies."""
    key, (x, v) = jax.random.key(2110), (rows.test.arrays[a] for a in "xy")
    z = np.asarray(jax.jit(evaluation.posterior_mean)(vae, {"x": x}))
    jac = np.abs(evaluation.jacobian_images(vae, x)).mean(axis=0).T  # [D, d]
    jac = jac * z.std(axis=0) / x.std(axis=0)[:, None]  # a standard deviation of z, in those of x
    correlation = np.abs(np.corrcoef(z.T, v.T)[: z.shape[1], z.shape[1] :])
    code, factor = linear_sum_assignment(np.nan_to_num(correlation), maximize=True)
    first = code[np.argsort(factor)]  # the code of each factor
    order = [*first, *np.setdiff1d(np.arange(z.shape[1]), first)]
    jac = jac[:, order]
    mask = {"mask": np.abs(vae.heads["W"]())[:, order]} if name in MASKED else {}
    parts = evaluation.elbo_parts(key, vae, rows.test, aggregate=False)
    half = len(z) // 2
    fitted = {"train": np.arange(half), "test": np.arange(half, len(z))}
    return {
        "mcc": disentanglement.mcc(z, v).value,
        "mcc_spearman": disentanglement.mcc(z, v, correlation="spearman").value,
        "mcc_linear": disentanglement.mcc_linear(key, z, v, **fitted).value,
        "dci": disentanglement.dci_real(key, z, v, **fitted).disentanglement.value,
        "on_mask": float((jac[:, : v.shape[1]] * rows.support).sum() / jac.sum()),
        "neg_elbo": parts["neg_elbo"],
        "active_units": parts["active_units"],
        "arrays": {"jacobian": jac, **mask},
    }


def masks(run: lab.Run) -> Any:
    """The true mask, then of each row |J| at codes and |W|; the codes of the factors stand first."""
    d = run.config.latents
    true = np.pad(data.anchored().support, ((0, 0), (0, d - 2)))
    shown = {"true mask": true} | {label: run.array(n, "jacobian") for n, label in run.labels.items()}
    shown |= {f"{label}: |W|": run.array(n, "mask") for n, label in run.labels.items() if n in MASKED}
    images = np.stack([1 - a / a.max() for a in shown.values()])[..., None]
    return plots.image_grid(images, columns=len(images), titles=[*shown])


def main(config: Config) -> dict[str, Any]:
    """Train, score, report and draw."""
    run = lab.run(config, PRESETS, ROWS, training, score)
    run.table(COLUMNS)
    run.figure("masks", masks)
    each = {title: column for title, column in COLUMNS.items() if column in ("mcc", "mcc_spearman", "dci")}
    scores = lambda r: {
        t: {r.labels[n]: runs.entry(r.reports[n], c) for n in r.labels} for t, c in each.items()
    }
    run.figure("scores", lambda r: plots.score_comparison(scores(r)))
    return run.report


if __name__ == "__main__":
    main(lab.parse(PRESETS, __doc__))
