"""Every script at a tiny size, with nets that compile in a moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from experiments import (
    codes,
    collapse,
    decoders,
    deep_hierarchy,
    disentangle,
    expressiveness,
    groups,
    holes,
    human_eval,
    identify,
    iwae,
    jl1_cost,
    jl1_natural_patches,
    jl1_sprites_multi,
    jl1_three_dots,
    labels,
    ladder,
    likelihoods,
    modalities,
    text,
    two_stage,
    wae,
)
from vaejax import nets

_DOTS: dict[str, Any] = {
    "side": 16, "images": 64, "latents": 2, "batch_size": 4, "ramp": 0, "microbatch": None, "clusters": 2,
    "samples": 300,
}  # fmt: skip
CONFIGS: dict[ModuleType, Any] = {
    jl1_three_dots: replace(jl1_three_dots.PRESETS["fast"], seeds=1, **_DOTS),
    jl1_sprites_multi: replace(jl1_sprites_multi.PRESETS["fast"], seeds=1, **_DOTS),
    jl1_natural_patches: replace(
        jl1_natural_patches.PRESETS["fast"], seeds=1, images=100, latents=2, batch_size=4, microbatch=None
    ),
    jl1_cost: replace(jl1_cost.PRESETS["fast"], seeds=1, steps=3, every=3, chunk=1, **_DOTS),
    iwae: iwae.Config(
        dataset="digits", bound=("iwae",), k=(2,), latents=2, hidden=(4,), samples=6, test_images=5
    ),
    likelihoods: likelihoods.Config(
        dataset="digits", latents=2, hidden=(4,), components=2, samples=4, test_images=5, judged=20,
    ),
    wae: wae.Config(dataset="digits", latents=2, hidden=(4,), critic=(4,), batch_size=10, judged=40),
    codes: codes.Config(
        dataset="digits", codes=4, stages=2, levels=(2, 2), latents=2, features=2, prior_steps=2,
        batch_size=10,
    ),
    collapse: collapse.Config(
        dataset="digits", remedies=("plain", "aggressive"), steps=2, chunk=2, pool=4,
        latents=3, hidden=(4,), features=2, kernels=(5,), weak_kernels=(3,), batch_size=6, ramp=10, window=1,
        most=3, validate_every=2, samples=4, at_once=2, test_images=5, judged=20,
    ),
    disentangle: replace(
        disentangle.PRESETS["fast"], side=16, latents=3, batch_size=8, critic=(4,), scored=200, sampled=20,
        fitted=60, dci_fitted=60,
    ),
    expressiveness: expressiveness.Config(
        dataset="digits", pairs=("diagonal-vamp",), components=4, latents=2, hidden=(4,), ramp=1,
        batch_size=10, samples=6, test_images=5, gap_images=3,
    ),
    decoders: decoders.Config(
        dataset="digits", pool=1, latents=2, hidden=(4,), features=8, batch_size=6, samples=2, sampling=2
    ),
    identify: identify.Config(examples=24, latents=3, hidden=(4,), batch_size=10, ramp=0),
    deep_hierarchy: deep_hierarchy.Config(
        dataset="digits", levels="1x1,8m1", encoder="8x1,8d8,1x1", width=4, channels=1, components=2,
        batch_size=6, warmup=1, judged=8,
    ),
    labels: labels.Config(datasets=("digits",), labels=20, latents=2, hidden=(4,), batch_size=10),
    groups: replace(
        groups.PRESETS["fast"], methods=("ml",), side=16, images=300, latents=3, batch_size=8, ramp=1,
        scored=200, fitted=60,
    ),
    modalities: modalities.Config(
        dataset=("sprites", "digits"), side=16, latents=2, hidden=(4,), batch_size=10, samples=4,
        test_images=20, missing=0.2,
    ),
    human_eval: human_eval.Config(
        dataset="digits", latents=2, hidden=(4,), batch_size=10, samples=4, pairs=1, items=1, raters=2
    ),
    ladder: ladder.Config(
        dataset="digits", rules=("ladder",), levels=(2,), units=(3, 2), hidden=(5, 4), ramp=1,
        batch_size=10, samples=6, test_images=5,
    ),
    holes: holes.Config(
        tables=("wine",), images="digits", side=4, latents=2, hidden=(4,), k=2, samples=6,
        batch_size=10, judged=12,
    ),
    text: text.Config(
        dataset=str(Path(__file__).parents[2] / "README.md"), remedies=("plain", "aggressive"), steps=2,
        chunk=2, length=5, vocabulary=20, latents=3, features=4, embedding=3, batch_size=6, ramp=10, window=1,
        most=3, validate_every=2, samples=4, test_sentences=5,
    ),
    two_stage: two_stage.Config(
        dataset="digits", latents=2, hidden=(4,), batch_size=10, second_steps=2, judged=40
    ),
}  # fmt: skip
TINY = {
    script: replace(config, workers=1, **({} if script is jl1_cost else {"steps": 2, "chunk": 2}))
    for script, config in CONFIGS.items()
}


def dense(patch: pytest.MonkeyPatch) -> None:
    """Dense nets in the place of convolutions."""

    def encoder(latents: int, width: float, **options: Any) -> nets.MLPEncoder:
        return nets.MLPEncoder(latents, (4,), event_ndims=3)

    def decoder(side: int, width: float, channels: int = 1) -> nets.MLP:
        return nets.MLP((4,), (side, side, channels), activation="softplus")

    for name in ("ConvEncoder", "PatchEncoder"):
        patch.setattr(nets, name, encoder)
    for name in ("ConvDecoder", "PatchDecoder"):
        patch.setattr(nets, name, decoder)
