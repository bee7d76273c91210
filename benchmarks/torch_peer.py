"""The JL1-VAE as its authors describe it, in PyTorch: the peer that the benchmark measures against.

Written from the paper (Rhodes & Lee 2021, arXiv 2106.02923) and the description of its code: a one-sided
finite difference of the decoded mean over the stacked batch of (d+1)B latents, detached from the encoder.
Eager mode, the default memory layout, `zero_grad(set_to_none=True)`, no synchronisation within a step.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import itertools
from collections.abc import Callable

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


def make_step(
    x: np.ndarray, latents: int, batch_size: int, gamma: float, threads: int
) -> Callable[[], float]:
    """A function that does one training step on a random batch of x [N, 64, 64, 1] and returns the loss.

    gamma = 0 is the beta-VAE: the penalty is left out, as the authors' code does.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    model = TorchVAE(latents)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    steps = 1e-3 * torch.eye(latents)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        mean, logvar = model.encoder(batch).chunk(2, dim=1)
        z = mean + torch.exp(logvar / 2) * torch.randn_like(mean)
        logits = model.decoder(z)
        reconstruction = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
        kl = 0.5 * torch.sum(mean**2 + logvar.exp() - 1 - logvar)
        loss = (reconstruction + kl) / len(batch)
        if gamma:
            base = z.detach()
            moved = (base[None] + steps[:, None]).reshape(-1, latents)
            decoded = torch.sigmoid(model.decoder(torch.cat([base, moved])))
            g, h = decoded[: len(batch)], decoded[len(batch) :]
            difference = (h.reshape(latents, *g.shape) - g) / 1e-3
            loss = loss + gamma * difference.abs().sum() / len(batch)
        return loss

    def step() -> float:
        batch = images[torch.randint(len(images), (batch_size,))]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(batch)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
