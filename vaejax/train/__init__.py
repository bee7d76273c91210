"""Training: updates, the loop, checkpoints and logs."""

from vaejax.train.aggressive import aggressive, end_aggressive
from vaejax.train.checkpoint import Checkpoints
from vaejax.train.clock import Clock, read_seconds, read_validations
from vaejax.train.combine import averaged, repeat, sequence
from vaejax.train.geco import geco_optimizer
from vaejax.train.interrupt import Interrupted
from vaejax.train.log import read_metrics
from vaejax.train.loop import fit
from vaejax.train.measure import FitCost, StepCost, measure_fit, measure_step
from vaejax.train.store import Fit
from vaejax.train.updates import gradient_update

__all__ = [
    "Checkpoints",
    "Clock",
    "Fit",
    "FitCost",
    "Interrupted",
    "StepCost",
    "aggressive",
    "averaged",
    "end_aggressive",
    "fit",
    "geco_optimizer",
    "gradient_update",
    "measure_fit",
    "measure_step",
    "read_metrics",
    "read_seconds",
    "read_validations",
    "repeat",
    "sequence",
]
