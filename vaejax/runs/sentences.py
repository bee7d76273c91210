"""What trained models, {label: VAE}, write: for sentences what `runs.figures` shows of images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vaejax import evaluation
from vaejax.data import Sentences
from vaejax.ops.interpolation import slerp
from vaejax.types import VAE, AnyArray

__all__ = ["written"]


def written(vaes: Mapping[str, VAE], text: Sentences, n: int = 4) -> str:
    """Under each label: test sentences and the likeliest at their codes, samples, and a path of codes.

    Args:
      vaes: {label: model}, whose likelihood is `distributions.token_sequence`.
      text: the sentences.
      n: how many of each; on the spherical path from the first code to the second one more.
    """
    lines = []
    for label, vae in vaes.items():
        lines.append(f"== {label}")
        for title, rows in _parts(vae, text.test.arrays["x"][:n]).items():
            lines += ["", title, *text.text(np.asarray(rows))]
        lines.append("")
    return "\n".join(lines)


def _parts(vae: VAE, x: AnyArray) -> dict[str, AnyArray]:
    """{title: tokens [n, T]}."""
    z, n = evaluation.posterior_mean(vae, {"x": x}), len(x)
    key, cold = jax.random.key(1511), partial(evaluation.token_samples, jax.random.key(0), vae, temperature=0)
    return {
        "test sentences": x,
        "the likeliest words at their codes": cold(z),
        "drawn at codes of the prior": evaluation.token_samples(key, vae, vae.sample_prior(key, n)),
        "the likeliest words from the first code to the second": cold(
            slerp(z[0], z[1], jnp.linspace(0, 1, n + 1))
        ),
    }
