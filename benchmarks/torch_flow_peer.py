"""VAEs with flow posteriors by zuko, or with the VampPrior, in PyTorch: the peers of `benchmarks.latents`.

Written from Kingma et al. 2016 (arXiv 1606.04934) and Durkan et al. 2019 (arXiv 1906.04032) with zuko's
`MaskedAutoregressiveTransform`, whose cheap direction draws here, and `GeneralCouplingTransform`; from
Tomczak & Welling 2017 (arXiv 1705.07120) by broadcasting. Eager mode, one matrix product for all that the
encoder gives, the fused Adam, no synchronisation within a step.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.torch_iwae_peer import layers

try:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
    from zuko.flows.autoregressive import MaskedAutoregressiveTransform
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.transforms import MonotonicRQSTransform
except ImportError as error:
    raise ImportError("the peer of flows needs PyTorch and zuko: pip install -e '.[bench]'") from error


class TorchFlowVAE(nn.Module):
    """D pixels, tanh layers both ways, d latents, a Bernoulli on every pixel, maps of a Gaussian's draws."""

    def __init__(
        self, pixels: int, features: tuple[int, ...], latents: int, context: int, maps: list[nn.Module]
    ):
        super().__init__()
        self.sizes = (latents, latents, context)
        self.encoder = layers(pixels, *features, sum(self.sizes))
        self.decoder = layers(latents, *features[::-1], pixels)
        self.maps = nn.ModuleList(maps)

    def draw(self, x: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(z, log q(z|x)), [B, d] and [B]; eps: [B, d]."""
        loc, logvar, h = self.encoder(x).split(self.sizes, dim=-1)
        z = loc + torch.exp(logvar / 2) * eps
        log_q = -0.5 * (eps.square() + logvar + np.log(2 * np.pi)).sum(-1)
        for layer in self.maps:
            z, log_det = layer(h).call_and_ladj(z)
            log_q = log_q - log_det
        return z, log_q

    def elbo(self, x: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """[B] nats."""
        z, log_q = self.draw(x, eps)
        logits = self.decoder(z)
        log_px = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
        return log_px + self.log_p(z) - log_q

    def log_p(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z), [B]."""
        return -0.5 * (z.square() + np.log(2 * np.pi)).sum(-1)

    def make_step(self, x: np.ndarray, batch_size: int) -> Callable[[], None]:
        """A function that does one training step on a random batch of x [N, D]."""
        images = torch.from_numpy(x)
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            batch = images[torch.randint(len(images), (batch_size,))]
            (-self.elbo(batch, torch.randn(batch_size, self.sizes[0])).mean()).backward()
            optimizer.step()

        return step


class TorchVampVAE(TorchFlowVAE):
    """The same without maps, under the mean of q(z|u) over R pseudo-inputs u = sigmoid(v)."""

    def __init__(self, pixels: int, features: tuple[int, ...], latents: int, pseudo_inputs: int):
        super().__init__(pixels, features, latents, 0, [])
        self.inputs = nn.Parameter(torch.randn(pseudo_inputs, pixels))

    def log_p(self, z: torch.Tensor) -> torch.Tensor:
        loc, logvar, _ = self.encoder(torch.sigmoid(self.inputs)).split(self.sizes, dim=-1)
        scaled = (z[:, None] - loc) * torch.exp(-logvar / 2)  # [B, R, d]
        log_components = -0.5 * scaled.square().sum(-1) - 0.5 * (logvar + np.log(2 * np.pi)).sum(-1)
        return torch.logsumexp(log_components, dim=1) - np.log(len(self.inputs))


def peer(
    name: str, pixels: int, features: tuple[int, ...], latents: int, context: int, width: int, steps: int,
    bins: int,
) -> TorchFlowVAE:  # fmt: skip
    """The peer of a flow's row of `benchmarks.latents`."""
    order, half = torch.arange(latents), torch.arange(latents) < latents // 2
    if name == "iaf_4":
        maps = [
            MaskedAutoregressiveTransform(
                latents, context, order=order.flip(0) if t % 2 else order, hidden_features=(width,)
            )
            for t in range(steps)
        ]
    elif name == "spline_coupling_4":
        maps = [
            GeneralCouplingTransform(
                latents, context, mask=half.flip(0) if t % 2 else half, univariate=MonotonicRQSTransform,
                shapes=[(bins,), (bins,), (bins - 1,)], hidden_features=(width,),
            )
            for t in range(steps)
        ]  # fmt: skip
    else:
        raise ValueError(f"name: expected a row of benchmarks.latents, got {name!r}")
    return TorchFlowVAE(pixels, features, latents, context, maps)
