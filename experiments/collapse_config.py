"""Settings of the experiment that sets remedies against posterior collapse side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from experiments import jobs
from vaejax.checks import check_choice, check_positive_int


class Remedy(NamedTuple):
    """A training: its name in tables, and the work of a step beside the plain one's, for the bar."""

    label: str
    work: float = 1.0


REMEDIES = {
    "plain": Remedy("none"),
    "weak": Remedy("weaker decoder", 0.4),
    "linear": Remedy("linear annealing"),
    "cyclical": Remedy("cyclical annealing"),
    "free_bits": Remedy("free bits"),
    "aggressive": Remedy("aggressive encoder", 4.0),
    "pretrained": Remedy("pre-trained encoder"),
    "labels": Remedy("auxiliary labels"),
    "information": Remedy("mutual information"),
}


@dataclass(frozen=True)
class Config(jobs.Settings):
    """One VAE with an autoregressive decoder under each remedy against posterior collapse."""

    dataset: str = "fashion_mnist"
    """fashion_mnist, mnist or digits: grey images with a class."""
    pool: int = 2
    """Squares of so many pixels a side become their mean, before an image becomes binary; 1 keeps all."""
    pixels: str = "threshold"
    """How images become binary: threshold (above half of white) or dynamic (drawn anew each time)."""
    remedies: tuple[str, ...] = tuple(REMEDIES)
    """Which are trained; plain, the one without a remedy, has to be among them."""
    latents: int = 64
    """d, the number of latents."""
    hidden: tuple[int, ...] = (128,) * 5
    """Widths of the hidden layers of the encoder."""
    features: int = 24
    """Channels of the PixelCNN's stacks."""
    kernels: tuple[int, ...] = (7, 7, 5, 5)
    """Widths of its layers' kernels."""
    weak_kernels: tuple[int, ...] = (3,)
    """Those of the weaker decoder."""
    steps: int = 2500
    """Steps of every training; of the pre-trained encoder's, those of the autoencoder included."""
    batch_size: int = 32
    """Images per step."""
    learning_rate: float = 4e-3
    """Adam's."""
    ramp: int = 800
    """Steps in which the KL's weight rises from 0 to 1, under linear annealing and after pre-training."""
    cycles: int = 4
    """Cycles of cyclical annealing: each ramps from 0 to 1 in its first half."""
    free_nats: float = 0.05
    """Free bits: nats that every latent has for free."""
    target: float = 3.0
    """After pre-training: nats that the latents have for free between them."""
    pretraining: float = 0.5
    """The share of the steps in which the encoder is pre-trained as an autoencoder's."""
    label_weight: float = 3.0
    """Weight of -log r(y|z) (nats) under auxiliary labels."""
    information_weight: float = 0.9
    """Weight of the bound on I(x; z) (nats) that is maximised: what a nat of information is paid."""
    window: int = 5
    """Aggressive training: encoder steps between looks at whether its loss still falls."""
    most: int = 10
    """Aggressive training: encoder steps at most before each step of the decoder."""
    patience: int = 3
    """Aggressive training ends at so many validations below the best mutual information before them."""
    validate_every: int = 100
    """Steps between those validations, a multiple of chunk."""
    seed: int = 0
    """Of weights, order and noise; the same for all."""
    samples: int = 200
    """Samples per test image in the estimate of log p(x)."""
    at_once: int = 10
    """So many of them are decoded together: the memory of that estimate."""
    test_images: int = 500
    """The first so many test images have their log p(x) estimated."""
    judged: int = 2000
    """The first so many test images give KL, mutual information and active units."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (
            "pool", "latents", "steps", "batch_size", "ramp", "cycles", "window", "most", "patience",
            "validate_every", "samples", "at_once", "test_images", "judged",
        )  # fmt: skip
        for name in sizes:
            check_positive_int(getattr(self, name), name)
        check_choice(self.pixels, ("threshold", "dynamic"), "pixels")
        for name in self.remedies:
            check_choice(name, tuple(REMEDIES), "remedies")
        if "plain" not in self.remedies:
            raise ValueError(f"remedies: expected 'plain' among them, got {self.remedies}")
        jobs.check_finite(self, ("free_nats", "target", "label_weight", "information_weight"))
        jobs.check_finite(self, ("learning_rate",), positive=True)
        if not 1 <= self.autoencoder_steps < self.steps:
            raise ValueError(
                f"pretraining: expected a share that leaves either part at least one of the {self.steps} "
                f"steps, got {self.pretraining}"
            )
        chunk = min(self.chunk, self.steps)
        if self.validate_every % chunk:
            raise ValueError(
                f"validate_every: expected a multiple of the chunk of {chunk}, got {self.validate_every}"
            )

    @property
    def autoencoder_steps(self) -> int:
        """The steps of pre-training."""
        return round(self.pretraining * self.steps)


PRESETS = {
    "fast": Config(),
    "large": Config(
        preset="large", pool=1, latents=32, hidden=(512, 256), features=64, steps=60_000, batch_size=50,
        kernels=(7,) * 5 + (5,) * 4 + (3,) * 4, learning_rate=1e-3, ramp=12_000, free_nats=0.25, target=8.0,
        window=10, most=99, patience=5, validate_every=1200, samples=500, at_once=1, judged=10_000,
    ),
}  # fmt: skip
