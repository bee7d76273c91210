"""A run folder: config, manifest, report, means and intervals, tables; and loading a finished run.

    folder/config.json     the experiment's dataclass (`create`), else how `train.fit` was called
    folder/model.json      the model's spec, from `create` or `train.fit`
    folder/transform.json  mean and scale of standardised data, from `train.fit`
    folder/manifest.json   versions, device, commit, parameters, wall time, peak memory
    folder/report.json     results
    folder/metrics.jsonl, folder/checkpoints/   from `train.fit`
    folder/figures/        pictures, rebuilt from the report and the checkpoints

Everything is JSON or plain arrays: loading a folder runs no code of whoever made it. JSON has no nan and no
infinity: in these files they are null and named under "not_finite", and `read_json` gives them back.
"""

from vaejax.files import read_json, write_json
from vaejax.runs.folders import Run, create, created, load, load_encoder, manifest
from vaejax.runs.programs import programs_kept
from vaejax.runs.tables import UnitScore, entry, mean_ci95, means, shown, table, welch_ci95, write_csv

__all__ = [
    "Run",
    "UnitScore",
    "create",
    "created",
    "entry",
    "load",
    "load_encoder",
    "manifest",
    "mean_ci95",
    "means",
    "programs_kept",
    "read_json",
    "shown",
    "table",
    "welch_ci95",
    "write_csv",
    "write_json",
]
