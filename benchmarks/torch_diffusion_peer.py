"""A VAE with a diffusion decoder in PyTorch: the peer of `benchmarks.diffusion`.

The layers of `nets.MLPEncoder` and `nets.UNet` and the bound of `distributions.diffusion` in continuous time:
group normalisation, scale and shift from time and z, channels_last, the fused Adam, no synchronisation within
a step.
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
    raise ImportError("the peer of the diffusion decoder needs PyTorch: pip install -e '.[bench]'") from error

LOW, HIGH = -13.3, 5.0


class Block(nn.Module):
    """v + conv s film norm conv s norm v."""

    def __init__(self, inputs: int, features: int, embed: int, groups: int = 8):
        super().__init__()
        self.norm_0, self.norm_1 = nn.GroupNorm(groups, inputs), nn.GroupNorm(groups, features)
        self.conv_0 = nn.Conv2d(inputs, features, 3, padding=1)
        self.conv_1 = nn.Conv2d(features, features, 3, padding=1)
        self.film = nn.Linear(embed, 2 * features)
        self.skip = nn.Identity() if inputs == features else nn.Conv2d(inputs, features, 1)
        for zero in (self.conv_1, self.film):
            nn.init.zeros_(zero.weight)

    def forward(self, v: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        r = self.norm_1(self.conv_0(F.silu(self.norm_0(v))))
        scale, shift = self.film(h)[..., None, None].chunk(2, dim=1)
        return self.skip(v) + self.conv_1(F.silu(r * (1 + scale) + shift))


class UNet(nn.Module):
    """eps_hat of images [B, 1, H, W] from log-SNRs and z."""

    def __init__(self, features: tuple[int, ...], latents: int, embed: int):
        super().__init__()
        self.embed = embed
        self.of_z, self.of_time = nn.Linear(latents, embed), nn.Linear(embed, embed)
        self.features = nn.Linear(embed, embed)
        self.first = nn.Conv2d(1, features[0], 3, padding=1)
        pairs = list(itertools.pairwise(features))
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.down = nn.ModuleList(Block(f, f, embed) for f in features)
        self.middle = Block(features[-1], features[-1], embed)
        self.doubled = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairs)
        self.up = nn.ModuleList(Block(2 * f, f, embed) for f in features)
        self.norm, self.out = nn.GroupNorm(8, features[0]), nn.Conv2d(features[0], 1, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, u: torch.Tensor, g: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        half = self.embed // 2
        frequencies = torch.exp(torch.arange(half, device=u.device) * (-math.log(1e4) / half))
        angles = 1000 * ((g - LOW) / (HIGH - LOW))[:, None] * frequencies
        h = F.silu(self.of_time(torch.cat([angles.sin(), angles.cos()], 1)) + self.of_z(z))
        h = F.silu(self.features(h))
        v, kept = self.first(u), []
        for n, block in enumerate(self.down):
            v = block(self.halve[n - 1](v) if n else v, h)
            kept.append(v)
        v = self.middle(v, h)
        for n in reversed(range(len(self.up))):
            if n < len(self.up) - 1:
                v = F.interpolate(v, scale_factor=2, mode="nearest")
                v = self.doubled[n](v[..., : kept[n].shape[-2], : kept[n].shape[-1]])
            v = self.up[n](torch.cat([v, kept[n]], 1), h)
        return self.out(F.silu(self.norm(v)))


class TorchDiffusionVAE(nn.Module):
    """q(z|x) by dense layers, p(x|z) by the U-Net."""

    def __init__(
        self, side: int, features: tuple[int, ...], latents: int, hidden: tuple[int, ...], embed: int
    ):
        super().__init__()
        self.side, self.latents = side, latents
        sizes = (side**2, *hidden)
        layers = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        self.encoder = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(hidden[-1], 2 * latents)
        self.unet = UNet(features, latents, embed)

    def neg_elbo(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, 1, H, W], real -> [B] nats."""
        loc, logvar = self.head(self.encoder(x)).chunk(2, dim=1)
        z = loc + torch.exp(logvar / 2) * torch.randn_like(loc)
        kl = 0.5 * (loc.square() + torch.exp(logvar) - logvar - 1).sum(1)
        t, eps, D = torch.rand(len(x)), torch.randn_like(x), x[0].numel()
        g = LOW + (HIGH - LOW) * t
        a, s = torch.sigmoid(-g).sqrt()[:, None, None, None], torch.sigmoid(g).sqrt()[:, None, None, None]
        error = (eps - self.unet(a * x + s * eps, g, z)).square().flatten(1).sum(1)
        last = 1 / (1 + math.exp(-HIGH))
        prior = 0.5 * ((1 - last) * x.square().flatten(1).sum(1) + D * (last - 1 - math.log(last)))
        first = 0.5 * D * (1 + math.log(2 * math.pi) + LOW)
        return first + prior + 0.5 * (HIGH - LOW) * error + kl

    def make_step(self, x: np.ndarray, batch_size: int, compiled: bool) -> Callable[[], None]:
        """A function that does one training step on a random batch of images x [N, H, W, 1]."""
        self.to(memory_format=torch.channels_last)
        images = torch.from_numpy(x).permute(0, 3, 1, 2)
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)
        neg_elbo = torch.compile(self.neg_elbo) if compiled else self.neg_elbo

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            batch = images[torch.randint(len(images), (batch_size,))]
            neg_elbo(batch.contiguous(memory_format=torch.channels_last)).mean().backward()
            optimizer.step()

        return step

    def make_sampler(self, n: int, steps: int, compiled: bool) -> Callable[[], torch.Tensor]:
        """A function that draws n images by so many steps of DDIM, eta = 0."""
        unet = torch.compile(self.unet) if compiled else self.unet

        @torch.no_grad()
        def sample() -> torch.Tensor:
            z = torch.randn(n, self.latents)
            u = torch.randn(n, 1, self.side, self.side).contiguous(memory_format=torch.channels_last)
            for i in range(steps, 0, -1):
                g, g_next = (LOW + (HIGH - LOW) * k / steps for k in (i, i - 1))
                (a, s), (b, r) = (
                    (math.sqrt(1 / (1 + math.exp(v))), math.sqrt(1 / (1 + math.exp(-v)))) for v in (g, g_next)
                )
                eps = unet(u, torch.full((n,), g), z)
                u = b * (u - s * eps) / a + r * eps
            return u

        return sample
