"""VDVAE in PyTorch: the peer of `benchmarks.vdvae`.

Written from Child 2020 (arXiv 2011.10650) with the layers of `models.vdvae`: bottleneck blocks, an encoder
of residual blocks and means, a top-down path, a mixture of discretised logistics on bytes, the closed KL of
every level. Eager mode, channels_last, the fused Adam, no synchronisation within a step.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable

import numpy as np

try:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
except ImportError as error:
    raise ImportError("the peer of VDVAE needs PyTorch: pip install -e '.[bench]'") from error


def gelu(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


class Trunk(nn.Module):
    """1 x 1, 3 x 3, 3 x 3 to `features` channels, a GELU before each; 1 x 1 alone at sides of at most 2."""

    def __init__(self, channels: int, features: int, side: int):
        super().__init__()
        k = 3 if side > 2 else 1
        self.convs = nn.ModuleList([
            nn.Conv2d(channels, features, 1),
            nn.Conv2d(features, features, k, padding=k // 2),
            nn.Conv2d(features, features, k, padding=k // 2),
        ])  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = conv(gelu(x))
        return x


class Block(nn.Module):
    """x + 1 x 1 of the trunk."""

    def __init__(self, width: int, features: int, side: int):
        super().__init__()
        self.trunk, self.expand = Trunk(width, features, side), nn.Conv2d(features, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.expand(gelu(self.trunk(x)))


class Level(nn.Module):
    """q, p and what goes down; the top has no p of its own and a learned map for what comes from above."""

    def __init__(self, width: int, features: int, channels: int, side: int, up: int, top: bool):
        super().__init__()
        self.channels, self.up = channels, up
        self.encoder = Trunk(width if top else 2 * width, features, side)
        self.head = nn.Conv2d(features, 2 * channels, 1)
        if top:
            self.start = nn.Parameter(torch.zeros(width, side, side))
        else:
            self.prior = Trunk(width, features, side)
            self.prior_head = nn.Conv2d(features, 2 * channels + width, 1)
            nn.init.zeros_(self.prior_head.weight)
        self.project, self.block = nn.Conv2d(channels, width, 1), Block(width, features, side)
        if up > 1:
            self.below = nn.Parameter(torch.zeros(width, side * up, side * up))

    def forward(self, a: torch.Tensor, h: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(h of the level below, KL [B])."""
        d = self.channels
        if h is None:
            of_p, seen = None, a
        else:
            out = self.prior_head(gelu(self.prior(h)))
            of_p, h = out[:, : 2 * d], h + out[:, 2 * d :]
            seen = torch.cat([a, h], dim=1)
        loc, logvar = self.head(gelu(self.encoder(seen))).split(d, dim=1)
        z = loc + torch.exp(logvar / 2) * torch.randn_like(loc)
        if of_p is None:
            kl = 0.5 * (loc.square() + torch.exp(logvar) - logvar - 1)
        else:
            loc_p, logvar_p = of_p.split(d, dim=1)
            kl = 0.5 * (
                ((loc - loc_p).square() + torch.exp(logvar)) * torch.exp(-logvar_p) + logvar_p - logvar - 1
            )
        x = self.block((self.start if h is None else h) + self.project(z))
        if self.up > 1:
            x = F.interpolate(x, scale_factor=self.up, mode="nearest") + self.below
        return x, kl.flatten(1).sum(1)


class TorchVDVAE(nn.Module):
    """The model of `models.vdvae`: {side: number of levels} and {side: number of encoder blocks}."""

    def __init__(
        self, levels: dict[int, int], blocks: dict[int, int], width: int, channels: int, components: int
    ):
        super().__init__()
        sides, f = sorted(levels), width // 4
        self.levels, self.pools = levels, {}
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.encoder = nn.ModuleDict()
        for below, side in zip([None, *sides], sides, strict=False):
            stack = [Block(width, f, side) for _ in range(blocks[side] + (below is not None))]
            self.encoder[str(side)] = nn.Sequential(*stack)
            self.pools[side] = None if below is None else side // below
        self.decoder = nn.ModuleList()
        for side, below in zip(sides, [*sides[1:], sides[-1]], strict=True):
            for up in [1] * (levels[side] - 1) + [below // side]:
                self.decoder.append(Level(width, f, channels, side, up, not self.decoder))
        self.gain = nn.Parameter(torch.ones(width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))
        self.components, self.out = components, nn.Conv2d(width, 10 * components, 1)

    def activations(self, x: torch.Tensor) -> dict[int, torch.Tensor]:
        """The encoder's map of every side."""
        h, found = self.first(x), {}
        for side in sorted(self.pools, reverse=True):
            stack, pool = self.encoder[str(side)], self.pools[side]
            h = stack[: len(stack) - (pool is not None)](h)
            found[side] = h
            if pool is not None:
                h = F.avg_pool2d(stack[-1](h), pool)
        return found

    def neg_elbo(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, 3, 32, 32] of bytes in [-1, 1] -> [B] nats."""
        a, h, total = self.activations(x), None, 0.0
        sides = [side for side in sorted(self.levels) for _ in range(self.levels[side])]
        for side, level in zip(sides, self.decoder, strict=True):
            h, kl = level(a[side], h)
            total = total + kl
        return total - log_mixture(x, self.out(h * self.gain + self.bias), self.components)

    def make_step(self, x: np.ndarray, batch_size: int) -> Callable[[], None]:
        """A function that does one training step on a random batch of bytes x [N, 32, 32, 3]."""
        self.to(memory_format=torch.channels_last)
        images = torch.from_numpy(x).permute(0, 3, 1, 2)
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            batch = images[torch.randint(len(images), (batch_size,))].float() / 127.5 - 1
            batch = batch.contiguous(memory_format=torch.channels_last)
            self.neg_elbo(batch).mean().backward()
            optimizer.step()

        return step


def log_mixture(x: torch.Tensor, parameters: torch.Tensor, R: int) -> torch.Tensor:
    """log P of bytes x [B, 3, H, W] in [-1, 1], of R logistics a pixel with coupled channels: [B].

    Source: Salimans et al. 2017, arXiv 1701.05517.
    """
    logits, loc, log_scale, coupling = parameters.split([R, 3 * R, 3 * R, 3 * R], dim=1)
    loc, log_scale, k = (p.unflatten(1, (3, R)) for p in (loc, log_scale, torch.tanh(coupling)))
    log_scale = log_scale.clamp(min=-7)
    v = x[:, :, None]
    r, g = v[:, 0], v[:, 1]
    m = torch.stack([loc[:, 0], loc[:, 1] + k[:, 0] * r, loc[:, 2] + k[:, 1] * r + k[:, 2] * g], dim=1)
    centred, inverse = v - m, torch.exp(-log_scale)
    above, below = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255)
    mass = torch.sigmoid(above) - torch.sigmoid(below)
    middle = inverse * centred
    density = middle - log_scale - 2 * F.softplus(middle) - np.log(127.5)  # where the mass underflows
    log_p = torch.where(mass > 1e-5, torch.log(mass.clamp(min=1e-12)), density)
    log_p = torch.where(v < -0.999, above - F.softplus(above), log_p)
    log_p = torch.where(v > 0.999, -F.softplus(below), log_p)
    return torch.logsumexp(log_p.sum(1) + torch.log_softmax(logits, dim=1), dim=1).flatten(1).sum(1)
