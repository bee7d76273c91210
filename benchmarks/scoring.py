"""What the scores of a model cost in this checkout beside an earlier one, and that they are the same.

    python -m benchmarks.scoring ../before --output scoring.json

`../before` is a checkout of the earlier commit. A convolutional VAE of ten latents on three-dots 32x32: all
of `disentanglement_scores` that no library fits, on 10 000 codes; `local_scores`; `elbo_parts` with the
aggregate posterior over 10 000 images; `marginal_log_likelihood` of Burda's MLP on binary images. Each
checkout has a process of its own; they take turns. Seconds of CPU time, as they tell of themselves. One
thread.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from benchmarks.before import HERE, Checkout
from benchmarks.steps import compared, judged, reported, use_cores
from vaejax.progress import Bar

WHAT = ("disentanglement_scores", "mig_chen", "local_scores", "elbo_parts", "marginal_log_likelihood")
BAR, AIM = 0.5, 0.4
TOLERANCE = 1e-4  # of a score: sums in another order
# What both checkouts run: it takes the scores that it is told, and says them with the seconds they took.
CHILD = """
import json, sys, time
import jax, numpy as np
from vaejax import Split, data, distributions, evaluation, models, nets

n, key = int(sys.argv[1]), jax.random.key(0)
dots, rng = data.three_dots(side=32), np.random.default_rng(0)
x = dots.sample_images(rng.integers(0, 64, (n, 6)))
grey = models.gaussian_vae(
    encoder=nets.ConvEncoder(latents=10, width=0.5), decoder=nets.ConvDecoder(side=32, width=0.5),
    latents=10, likelihood=distributions.bernoulli(cross_entropy=True),
)
params = grey.init(key, {"x": x[:2]})[0]
vae = grey.bind({**params, "encoder": jax.tree.map(lambda a: 2 * a, params["encoder"])})
digits = models.gaussian_vae(
    encoder=nets.MLPEncoder(latents=50, features=(200, 200), activation="tanh"),
    decoder=nets.MLP(features=(200, 200), output_shape=(784,), activation="tanh"),
    latents=50, likelihood=distributions.bernoulli(),
)
binary = (rng.random((max(2, n // 50), 784)) < 0.13).astype(np.float32)
burda = digits.bind(digits.init(key, {"x": binary[:2]})[0])
fitted = ("explicitness", "sap_svm", "dci", "dci_linear", "beta_vae", "local")
others = [name for name in evaluation.scores.GROUPS if name != "mig_chen"]

def disentanglement(skip):
    found = evaluation.disentanglement_scores(key, vae, dots, skip=skip, limit=n, num_samples_chen=n)
    return {name: score.value for name, score in found.scores.items()}

def marginal():
    found = evaluation.marginal_log_likelihood(key, burda, Split({"x": binary}, "binary"), num_samples=500)
    return {name: found[name] for name in ("nll", "ess")}

scores = {
    "disentanglement_scores": lambda: disentanglement([*fitted, "mig_chen"]),
    "mig_chen": lambda: disentanglement(others),
    "local_scores": lambda: evaluation.local_scores(key, vae, dots, clusters=4, num_samples=n).values,
    "elbo_parts": lambda: evaluation.elbo_parts(key, vae, Split({"x": x}, "unit_interval")),
    "marginal_log_likelihood": marginal,
}
for line in sys.stdin:
    start = time.process_time()
    found = scores[line.strip()]()
    seconds = time.process_time() - start
    values = {name: v for name, v in found.items() if isinstance(v, float)}
    print(json.dumps({"seconds": seconds, "values": values}), flush=True)
"""


@dataclass(frozen=True)
class Config:
    """The cost of scores in an earlier commit and in this one."""

    before: Annotated[Path, tyro.conf.Positional]
    """The folder of the earlier checkout."""
    codes: int = 10_000
    """Codes that are scored."""
    rounds: int = 3
    """Timed rounds, after one that compiles; in each, both have a turn."""
    check: bool = False
    """Exit with 1 when a bar is missed."""
    output: Path | None = None
    """A JSON file for every figure and the ratios."""


def main(config: Config) -> dict[str, Any]:
    """Time, compare the values, print, and write."""
    use_cores(1)
    folders = {"before": config.before, "now": HERE}
    sides = {name: Checkout(folder, CHILD, str(config.codes)) for name, folder in folders.items()}
    told: dict[str, dict[str, list[Any]]] = {what: {side: [] for side in sides} for what in WHAT}
    for _ in Bar(range(config.rounds + 1), desc="rounds"):
        for what in WHAT:
            for name, side in sides.items():
                told[what][name].append(json.loads(side.answer(what)))
    for side in sides.values():
        side.process.communicate()
    return judged(report(told), config.output, config.check)


def report(told: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
    """The tables, printed, and everything as plain data."""
    rows, comparisons, seconds = [], {}, {}
    for what, of in told.items():
        seconds[what] = {side: [turn["seconds"] for turn in turns[1:]] for side, turns in of.items()}
        before, now = (of[side][0]["values"] for side in ("before", "now"))
        apart = max(abs(now[k] - v) / max(1.0, abs(v)) for k, v in before.items())
        for side, values in seconds[what].items():
            rows.append({"": what, "of": side, "median": float(np.median(values)), "min": min(values)})
        comparisons[f"{what}/before"] = compared(seconds[what]["now"], seconds[what]["before"], BAR, AIM)
        comparisons[f"{what}/before"]["held"] &= apart <= TOLERANCE
        comparisons[f"{what}/before"]["values apart"] = apart
        print(f"{what}: values apart by at most {apart:.1g}")
    return reported("seconds of CPU time", rows, comparisons, seconds=seconds)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
