"""The importance-weighted autoencoder in PyTorch: the peer that `benchmarks.evidence` measures against.

Written from Burda, Grosse & Salakhutdinov 2015 (arXiv 1509.00519), eq. 8. All K samples in one pass, one
matrix product for both parts of q(z|x), the fused Adam unless told otherwise, no synchronisation within a
step; in eager mode, or by torch.compile.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

try:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
except ImportError as error:
    raise ImportError("the benchmark's peer needs PyTorch: pip install -e '.[bench]'") from error


class TorchIWAE(nn.Module):
    """D pixels, tanh layers both ways, d latents, a Bernoulli on every pixel."""

    def __init__(self, pixels: int, features: tuple[int, ...], latents: int):
        super().__init__()
        self.latents = latents
        self.encoder = layers(pixels, *features, 2 * latents)
        self.decoder = layers(latents, *features[::-1], pixels)

    def log_weights(self, x: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """log w of z = loc + scale eps; x: [B, D], eps: [K, B, d], the result [K, B] nats."""
        loc, logvar = self.encoder(x).chunk(2, dim=-1)
        return self.weights_from(loc, logvar, x, eps)

    def weights_from(
        self, loc: torch.Tensor, logvar: torch.Tensor, x: torch.Tensor, eps: torch.Tensor
    ) -> torch.Tensor:
        """As `log_weights`, of q(z|x) = N(loc, diag(exp(logvar))), [B, d] each."""
        z = loc + torch.exp(logvar / 2) * eps
        logits = self.decoder(z)
        log_px = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        # log p(z) - log q(z|x): the normalisers cancel
        return log_px + 0.5 * (eps.square() - z.square() + logvar).sum(-1)

    def bound(self, x: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """L_K = log (1/K) sum_k w_k, [B] nats."""
        return torch.logsumexp(self.log_weights(x, eps), dim=0) - math.log(len(eps))


def layers(*sizes: int) -> nn.Sequential:
    """Linear maps with a tanh between them."""
    maps = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*(layer for linear in maps for layer in (linear, nn.Tanh())))[:-1]


def make_step(
    model: TorchIWAE,
    x: np.ndarray,
    batch_size: int,
    K: int,
    microbatch: int | None = None,
    fused: bool | None = True,
    compiled: bool = False,
) -> Callable[[], None]:
    """A function that does one training step on a random batch of x [N, D].

    `microbatch`: examples at a time, their gradients accumulated; None: all. `fused`: whether Adam is one
    kernel, which is PyTorch's fastest; None: as PyTorch has it by default. `compiled`: whether torch.compile
    makes the loss and its gradient.
    """
    images = torch.from_numpy(x)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-4, fused=fused)

    def loss(part: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        return -model.bound(part, eps).sum() / batch_size

    loss = torch.compile(loss) if compiled else loss

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        batch = images[torch.randint(len(images), (batch_size,))]
        for part in batch.split(microbatch or batch_size):
            loss(part, torch.randn(K, len(part), model.latents)).backward()
        optimizer.step()

    return step


@torch.no_grad()
def log_likelihood(
    model: TorchIWAE, x: np.ndarray, K: int, batch_size: int, chunk: int, compiled: bool = False
) -> np.ndarray:
    """log p(x) of x [N, D] by K samples each, `chunk` of them at a time for `batch_size` images: [N] nats."""
    add = torch.compile(_add) if compiled else _add
    results = []
    for batch in torch.from_numpy(x).split(batch_size):
        loc, logvar = model.encoder(batch).chunk(2, dim=-1)
        total = torch.full((len(batch),), -math.inf)
        for start in range(0, K, chunk):
            eps = torch.randn(min(chunk, K - start), *loc.shape)
            total = add(model, total, loc, logvar, batch, eps)
        results.append(total - math.log(K))
    return torch.cat(results).numpy()


def _add(
    model: TorchIWAE, total: torch.Tensor, loc: torch.Tensor, logvar: torch.Tensor, x: torch.Tensor,
    eps: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """log sum_k w_k [B] with further samples."""
    return torch.logaddexp(total, torch.logsumexp(model.weights_from(loc, logvar, x, eps), dim=0))
