"""A VAE of sentences in PyTorch: the peer of `benchmarks.text`.

Written from Bowman et al. 2016 (arXiv 1511.06349) with the layers of `nets.LSTMEncoder` and
`nets.LSTMDecoder`: PyTorch's own LSTM, whose two biases of each gate are one in vaejax, the fused Adam, no
synchronisation within a step.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
except ImportError as error:
    raise ImportError("the peer of text needs PyTorch: pip install -e '.[bench]'") from error


class TorchText(nn.Module):
    """Tokens [B, T] of 0..V-1, each sentence ended by the first 0."""

    def __init__(self, vocabulary: int, latents: int, features: int, embedding: int):
        super().__init__()
        self.read = nn.Embedding(vocabulary, embedding)
        self.encoder = nn.LSTM(embedding, features, batch_first=True)
        self.loc = nn.Linear(features, latents)
        self.logvar = nn.Linear(features, latents)
        self.words = nn.Embedding(vocabulary + 1, embedding)  # the last stands for the beginning
        self.initial = nn.Linear(latents, 2 * features)
        self.decoder = nn.LSTM(embedding + latents, features, batch_first=True)
        self.out = nn.Linear(features, vocabulary)

    def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """loc and logvar [B, d], and which tokens count [B, T]."""
        ends = x == 0
        counted = ends.cumsum(1) - ends.long() == 0
        h, _ = self.encoder(self.read(x))
        h = h[torch.arange(len(x)), counted.sum(1) - 1]
        return self.loc(h), self.logvar(h), counted

    def nll(self, x: torch.Tensor, z: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """-log p(x|z), [B] nats."""
        T, V = x.shape[1], self.out.out_features
        before = torch.cat([torch.full_like(x[:, :1], V), x[:, :-1]], dim=1)
        inputs = torch.cat([self.words(before), z[:, None].expand(-1, T, -1)], dim=2)
        c, h = self.initial(z).chunk(2, dim=1)
        states, _ = self.decoder(inputs, (h[None].contiguous(), c[None].contiguous()))
        nats = F.cross_entropy(self.out(states).flatten(0, 1), x.flatten(), reduction="none").view_as(x)
        return (nats * counted).sum(1)

    def cost(self, x: torch.Tensor) -> torch.Tensor:
        """The negative ELBO at one z each, [B] nats."""
        loc, logvar, counted = self.posterior(x)
        z = loc + torch.exp(logvar / 2) * torch.randn_like(loc)
        kl = (loc**2 + logvar.exp() - 1 - logvar).sum(1) / 2
        return self.nll(x, z, counted) + kl

    def make_step(self, x: np.ndarray, batch_size: int, compiled: bool = False) -> Callable[[], None]:
        """A function that does one training step on a random batch of x [N, T]."""
        tokens = torch.from_numpy(x).long()
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)
        cost: Any = torch.compile(self.cost) if compiled else self.cost

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            cost(tokens[torch.randint(len(tokens), (batch_size,))]).mean().backward()
            optimizer.step()

        return step
