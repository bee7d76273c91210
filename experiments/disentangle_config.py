"""Settings of `disentangle`: the methods and their weights, the data sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from experiments import jobs, training
from vaejax.checks import check_choice, check_positive_int

METHODS = {
    "beta_vae": "beta-VAE",
    "annealed_vae": "AnnealedVAE",
    "beta_tcvae": "beta-TCVAE",
    "factor_vae": "FactorVAE",
    "dip_vae_i": "DIP-VAE-I",
    "dip_vae_ii": "DIP-VAE-II",
    "jl1_vae": "JL1-VAE",
}


class Known(NamedTuple):
    """A data set with known factors, and what its scores take on one core, for the bar and the dry run.

    Seen on mini_sprites, about 20 s in all with 1000 codes for the trees; the others' are derived from it.
    The local clusters of three_dots are 200 000 images more: 8 s, seen with nets of half the width.
    """

    side: int | None  # None: the config's
    channels: int
    support: str
    seconds: float
    tree_seconds: float | None  # of DCI's trees, for 1000 codes; None where they would take too long


SETS = {
    "mini_sprites": Known(None, 1, "binary", 8.0, 15.0),
    "three_dots": Known(None, 1, "unit_interval", 33.0, None),  # a tree for each of 6 x 64 values, 100 times
    "dsprites": Known(64, 1, "binary", 20.0, 40.0),
    "shapes3d": Known(64, 3, "unit_interval", 20.0, 20.0),
}
CHEN_SECONDS = 1.5  # of MIG in Chen's form, for 1000 draws


@dataclass(frozen=True)
class Config(training.Seeded):
    """Seven methods and the weight of each."""

    dataset: tuple[str, ...] = ("mini_sprites",)
    """mini_sprites, three_dots, and of tensorflow-datasets dsprites and shapes3d; one or several."""
    side: int = 32
    """Pixels on a side of mini_sprites and three_dots, a power of two of at least 16."""
    images: int = 50_000
    """Training images; of a smaller set, as are the 16 736 of mini_sprites, all."""
    ramp: int = 1000
    """Steps over which all weights but annealed_gamma rise linearly from 0."""
    microbatch: int | None = None
    """Images per slice of a step, for speed on CPU; 0 takes as many as are fast. Terms that mix the batch
    take it at once all the same."""
    beta: float = 4.0
    """Weight of the beta-VAE's KL (Higgins et al. 2017: 4 on dSprites)."""
    annealed_gamma: float = 1000.0
    """Weight of |KL - C| of the AnnealedVAE (Burgess et al. 2018, 1804.03599)."""
    annealed_nats: float = 25.0
    """C, where its rise from 0 ends (Burgess et al. 2018: 25 on dSprites)."""
    annealed_steps: int = 100_000
    """Steps over which C rises (Burgess et al. 2018)."""
    tc_beta: float = 6.0
    """Weight of the total correlation in the beta-TCVAE's KL (Chen et al. 2018, 1802.04942: 6)."""
    factor_gamma: float = 35.0
    """Weight of the critic's total correlation in FactorVAE (Kim & Mnih 2018, 1802.05983: 35 on dSprites)."""
    critic: tuple[int, ...] = (1000,) * 6
    """Widths of the critic's hidden layers (Kim & Mnih 2018)."""
    critic_rate: float = 1e-4
    """The critic's learning rate, with Adam(.5, .9) (Kim & Mnih 2018)."""
    dip_i: float = 10.0
    """lam_od of DIP-VAE-I; its lam_d is ten times that (Kumar et al. 2018, 1711.00848, try 1 to 50)."""
    dip_ii: float = 10.0
    """lam_od and lam_d of DIP-VAE-II (Kumar et al. 2018)."""
    jl1_beta: float = 4.0
    """Weight of the JL1-VAE's KL (Rhodes & Lee 2021, 2106.02923: 4 on three-dots)."""
    jl1_gamma: float = 0.1
    """Weight of the JL1-VAE's penalty (Rhodes & Lee 2021)."""
    columns: int = 1
    """Jacobian columns per image and step, a sample of all."""
    scored: int = 10_000
    """Codes of scores that fit nothing (Locatello et al. 2019, 1811.12359)."""
    sampled: int = 10_000
    """Draws for each entropy of MIG in Chen's form (Chen et al. 2018)."""
    fitted: int = 10_000
    """Codes, votes and features that classifiers learn from; half as many judge (Locatello et al. 2019)."""
    dci_fitted: int = 10_000
    """Codes that DCI's trees learn from (Locatello et al. 2019); minutes a model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.dataset:
            check_choice(name, tuple(SETS), "dataset")
        if not self.dataset or len(set(self.dataset)) < len(self.dataset):
            raise ValueError(f"dataset: expected one or several, each once; got {self.dataset!r}")
        for name in ("side", "columns", "annealed_steps", "scored", "sampled", "fitted", "dci_fitted"):
            check_positive_int(getattr(self, name), name)
        jobs.check_finite(
            self,
            (
                "annealed_gamma", "annealed_nats", "tc_beta", "factor_gamma", "dip_i", "dip_ii", "jl1_beta",
                "jl1_gamma",
            ),
        )  # fmt: skip
        jobs.check_finite(self, ("critic_rate",), positive=True)


def score_seconds(config: Config, name: str) -> float:
    """What the scores of a model on this data set take on one core, roughly."""
    known = SETS[name]
    trees = (known.tree_seconds or 0.0) * config.dci_fitted / 1000
    return known.seconds + trees + CHEN_SECONDS * config.sampled / 1000


# 32x32 images and few steps: weights from the papers' grids, fewer draws of the two scores that take longest
_SMALL = Config(
    seeds=1, width=0.5, steps=3000, learning_rate=2e-3, annealed_gamma=100.0, annealed_nats=10.0,
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
