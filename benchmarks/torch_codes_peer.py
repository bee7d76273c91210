"""Quantisers in PyTorch: the peers of `benchmarks.codes`.

The search is `VectorQuantize` of vector-quantize-pytorch, straight through, or by hand as short as it goes,
which holds one array of scores where the library holds several and a one-hot one. The VQ-VAE with running
means is written from van den Oord, Vinyals & Kavukcuoglu 2017 (arXiv 1711.00937), section 4.1 and appendix
A.1, with the layers of `nets.ConvDown` and `nets.ConvUp`. Eager mode, channels_last, the fused Adam, no
synchronisation within a step.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

try:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
    from vector_quantize_pytorch import VectorQuantize
except ImportError as error:
    raise ImportError(
        "the peer of codes needs PyTorch and vector-quantize-pytorch: pip install -e '.[bench]'"
    ) from error


def quantiser(codebook: np.ndarray, learned: bool, commitment: float) -> VectorQuantize:
    """Of these codes [V, D], whose gradient it has if they are learned; they never move by themselves."""
    V, D = codebook.shape
    options = {"learnable_codebook": learned, "freeze_codebook": not learned, "ema_update": False}
    model = VectorQuantize(D, V, rotation_trick=False, commitment_weight=commitment, **options)
    model._codebook.embed.data.copy_(torch.from_numpy(codebook)[None])
    return model.train()


class ByHand(nn.Module):
    """The same: z [..., D] -> codes straight through, their indices, and beta mean |z - q|^2."""

    def __init__(self, codebook: np.ndarray, learned: bool, commitment: float):
        super().__init__()
        self.embed = nn.Parameter(torch.from_numpy(codebook.copy()), requires_grad=learned)
        self.commitment = commitment

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        k = nearest(z.flatten(0, -2), self.embed).view(z.shape[:-1])
        q = F.embedding(k, self.embed)
        return z + (q - z).detach(), k, self.commitment * F.mse_loss(z, q)


@torch.no_grad()
def nearest(z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """The index of the code nearest to each of z [N, D], [N]."""
    half = codebook.square().sum(-1) / 2
    return torch.addmm(half, z, codebook.t(), alpha=-1).argmin(-1)


def make_quantise(
    z: np.ndarray,
    codebook: np.ndarray,
    g: np.ndarray,
    learned: bool,
    commitment: float,
    by_hand: bool = False,
) -> Callable[[], tuple[torch.Tensor, ...]]:
    """A function that quantises z [B, H, W, D] and takes back the gradient g of the codes.

    It returns the codes [B, H W, D], their indices, the gradient in z and, if learned, that in the codebook.
    """
    model = (ByHand if by_hand else quantiser)(codebook, learned, commitment)
    embed = next((p for p in model.parameters() if p.requires_grad), None)
    flat = torch.from_numpy(z).flatten(1, 2).requires_grad_()
    of_codes = torch.from_numpy(g).flatten(1, 2)

    def step() -> tuple[torch.Tensor, ...]:
        flat.grad = None
        model.zero_grad(set_to_none=True)
        q, indices, costs = model(flat)
        torch.autograd.backward((q, costs), (of_codes, torch.ones_like(costs)))
        assert flat.grad is not None
        more = () if embed is None or embed.grad is None else (embed.grad.view(codebook.shape),)
        return q.detach(), indices, flat.grad, *more

    return step


class Residual(nn.Module):
    """h + 1x1(relu(3x3(relu(h))))."""

    def __init__(self, features: int):
        super().__init__()
        self.a = nn.Conv2d(features, features, 3, padding=1)
        self.b = nn.Conv2d(features, features, 1)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.b(F.relu(self.a(F.relu(h))))


class TorchVQVAE(nn.Module):
    """Images [B, C, H, W], at each place of a grid of a quarter of the sides one of V codes of D."""

    codebook: torch.Tensor
    counts: torch.Tensor
    sums: torch.Tensor

    def __init__(
        self,
        channels: int,
        features: int,
        dim: int,
        codes: int,
        decay: float,
        scale: float,
        commitment: float,
    ):
        super().__init__()
        self.decay, self.scale, self.commitment = decay, scale, commitment
        f = features
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, f, 4, 2, 1), nn.ReLU(), nn.Conv2d(f, f, 4, 2, 1), nn.ReLU(),
            Residual(f), Residual(f), nn.ReLU(), nn.Conv2d(f, dim, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, f, 3, padding=1), Residual(f), Residual(f), nn.ReLU(),
            nn.ConvTranspose2d(f, f, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(f, channels, 4, 2, 1),
        )  # fmt: skip
        codebook = torch.randn(codes, dim)
        for name, value in {"codebook": codebook, "counts": torch.ones(codes), "sums": codebook}.items():
            self.register_buffer(name, value.clone())

    @torch.no_grad()
    def update(self, z: torch.Tensor, k: torch.Tensor, eps: float = 1e-5) -> None:
        """Running means of z [N, D] by their codes k [N]; a code that nothing chose stays."""
        now = torch.bincount(k, minlength=len(self.counts)).to(z.dtype)
        of_z = torch.zeros_like(self.sums).index_add_(0, k, z)
        self.counts.mul_(self.decay).add_(now, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(of_z, alpha=1 - self.decay)
        total = self.counts.sum()
        smooth = (self.counts + eps) / (total + len(self.counts) * eps) * total
        self.codebook.copy_(torch.where(now[:, None] > 0, self.sums / smooth[:, None], self.codebook))

    def cost(self, x: torch.Tensor) -> torch.Tensor:
        """-log p(x|z) + beta |z_e - sg(e)|^2, [B] nats; the codebook moves."""
        maps = self.encoder(x)
        z = maps.permute(0, 2, 3, 1)
        flat = z.reshape(-1, z.shape[-1])
        k = nearest(flat, self.codebook)
        e = F.embedding(k, self.codebook).view_as(z)
        commitment = (z - e).square().sum((1, 2, 3))
        through = (z + (e - z).detach()).permute(0, 3, 1, 2)  # still channels_last in memory
        mean = self.decoder(through)
        self.update(flat.detach(), k)
        squares = ((x - mean) / self.scale).square() / 2
        log_normaliser = math.log(self.scale) + math.log(2 * math.pi) / 2
        return (squares + log_normaliser).sum((1, 2, 3)) + self.commitment * commitment

    def make_step(self, x: np.ndarray, batch_size: int) -> Callable[[], None]:
        """A function that does one training step on a random batch of x [N, H, W, C]."""
        images = torch.from_numpy(x).permute(0, 3, 1, 2)  # channels_last in memory
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            batch = images[torch.randint(len(images), (batch_size,))]
            self.cost(batch.contiguous(memory_format=torch.channels_last)).mean().backward()
            optimizer.step()

        return step
