"""The JL1-VAE as its authors describe it, in PyTorch: the peer that the benchmark measures against.

Written from the paper (Rhodes & Lee 2021, arXiv 2106.02923) and the description of its code: a one-sided
finite difference of the decoded mean over the stacked batch of (d+1)B latents, detached from the encoder;
beside it the exact penalty, by `torch.func.jacfwd`. The fused Adam, `zero_grad(set_to_none=True)`, no
synchronisation within a step. `VARIANTS` are the ways to run it, of which the benchmark takes the fastest.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

try:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
except ImportError as error:
    raise ImportError("the benchmark's peer needs PyTorch: pip install -e '.[bench]'") from error

CHANNELS = (32, 32, 64, 64)


class TorchVAE(nn.Module):
    """The paper's model for images [B, 1, 64, 64] and d latents."""

    def __init__(self, latents: int):
        super().__init__()
        sizes = (1, *CHANNELS)
        convolutions = [nn.Conv2d(a, b, 4, 2) for a, b in itertools.pairwise(sizes)]
        self.encoder = nn.Sequential(
            *(layer for c in convolutions for layer in (c, nn.ReLU())),
            nn.Flatten(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2 * latents),
        )  # fmt: skip
        sizes = (*CHANNELS[::-1], 1)
        transposed = [nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(sizes)]
        layers = [layer for t in transposed for layer in (t, nn.ReLU())][:-1]
        self.decoder = nn.Sequential(
            nn.Linear(latents, 256), nn.ReLU(), nn.Linear(256, 1024), nn.ReLU(),
            nn.Unflatten(1, (64, 4, 4)), *layers,
        )  # fmt: skip


class Variant(NamedTuple):
    """How a step is run."""

    compiled: bool = False  # by torch.compile, forwards and backwards
    channels_last: bool = False  # the memory layout of images and kernels
    exact: bool = False  # the penalty by jacfwd, else by finite differences

    @property
    def label(self) -> str:
        names = ["compiled" if self.compiled else "eager", "channels last" if self.channels_last else ""]
        return ", ".join(filter(None, [*names, "jacfwd" if self.exact else ""]))


def variants(penalty: bool) -> list[Variant]:
    """Every way to run a step without or with the penalty."""
    options = itertools.product((False, True), (False, True), (False, True) if penalty else (False,))
    return [Variant(*option) for option in options]


def penalty_of(decoder: nn.Module, z: torch.Tensor, exact: bool, delta: float = 1e-3) -> torch.Tensor:
    """sum |d sigmoid(decoder(z)) / dz| of every example together; z: [B, d], detached."""
    if exact:
        columns = torch.func.vmap(torch.func.jacfwd(lambda one: torch.sigmoid(decoder(one[None]))[0]))(z)
        return columns.abs().sum()
    B, d = z.shape
    moved = (z[None] + delta * torch.eye(d)[:, None]).reshape(-1, d)
    decoded = torch.sigmoid(decoder(torch.cat([z, moved])))
    g, h = decoded[:B], decoded[B:]
    return ((h.reshape(d, *g.shape) - g) / delta).abs().sum()


def make_step(
    x: np.ndarray, latents: int, batch_size: int, gamma: float, threads: int, variant: Variant
) -> Callable[[], None]:
    """A function that does one training step on a random batch of x [N, 64, 64, 1].

    gamma = 0 is the beta-VAE: the penalty is left out, as the authors' code does.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).to(memory_format=layout)
    model = TorchVAE(latents).to(memory_format=layout)  # pyright: ignore
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        mean, logvar = model.encoder(batch).chunk(2, dim=1)
        z = mean + torch.exp(logvar / 2) * torch.randn_like(mean)
        logits = model.decoder(z)
        reconstruction = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
        kl = 0.5 * torch.sum(mean**2 + logvar.exp() - 1 - logvar)
        loss = reconstruction + kl
        if gamma:
            loss = loss + gamma * penalty_of(model.decoder, z.detach(), variant.exact)
        return loss / len(batch)

    loss_of = torch.compile(loss_of) if variant.compiled else loss_of

    def step() -> None:
        batch = images[torch.randint(len(images), (batch_size,))]
        optimizer.zero_grad(set_to_none=True)
        loss_of(batch).backward()
        optimizer.step()

    return step
