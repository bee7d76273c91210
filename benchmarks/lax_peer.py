"""The same model through lax's convolutions, as flax's layers lower them: what the naive penalty costs."""

from __future__ import annotations

from typing import Any

from flax import linen as nn


class LaxEncoder(nn.Module):
    """ConvEncoder through lax's convolutions."""

    latents: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for channels in (32, 32, 64, 64):
            x = nn.relu(nn.Conv(channels, (4, 4), (2, 2), "VALID")(x))
        x = nn.relu(nn.Dense(256)(x.reshape(*x.shape[:-3], -1)))
        return nn.Dense(self.latents)(x), nn.Dense(self.latents)(x)


class LaxDecoder(nn.Module):
    """ConvDecoder through lax's transposed convolutions."""

    @nn.compact
    def __call__(self, z: Any) -> Any:
        h = nn.relu(nn.Dense(1024)(nn.relu(nn.Dense(256)(z))))
        h = h.reshape(*h.shape[:-1], 4, 4, 64)
        for channels in (64, 32, 32):
            h = nn.relu(nn.ConvTranspose(channels, (4, 4), (2, 2))(h))
        return nn.ConvTranspose(1, (4, 4), (2, 2))(h)
