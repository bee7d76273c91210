"""The machinery of experiments: flags, dry runs, workers, sweeps, resume, reports, tables, figures.

An experiment is one file: rows, a config, presets, `training`, `score`, columns and a `main` of a few lines,
which calls `lab.run(config, presets, rows, training, score)`. docs/experiment.md has one that is whole.
"""

from vaejax.fields import NonNegative, Positive
from vaejax.lab.figures import along, curves, jacobian_norm, scores, traversals, views
from vaejax.lab.results import Run
from vaejax.lab.run import run
from vaejax.lab.settings import BetaVAE, Settings, parse
from vaejax.lab.trainings import Row, Training
from vaejax.runs.figures import columns, gallery, reconstructions
from vaejax.runs.tables import UnitScore

__all__ = [
    "BetaVAE", "NonNegative", "Positive", "Row", "Run", "Settings", "Training", "UnitScore", "along",
    "columns", "curves", "gallery", "jacobian_norm", "parse", "reconstructions", "run", "scores",
    "traversals", "views",
]  # fmt: skip
