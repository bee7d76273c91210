"""The trainings of an experiment: their folders, and doing what is not done yet."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax

from experiments import parallel, sweep
from vaejax import runs, train
from vaejax.checks import check_positive_int
from vaejax.types import Model, Split, Update

LOGGED = 10_000  # steps of a training whose metrics are kept, about; of a longer one, every so-manieth
# fields that do not change the results
SHOWN_ONLY = ("folder", "workers", "report_only", "dry_run", "tensorboard")

Config = TypeVar("Config", bound="Settings")
Name = TypeVar("Name")


@dataclass(frozen=True)
class Settings:
    """Settings of every experiment; the values are those of its presets."""

    preset: str = "fast"
    """Named settings; read first, the other flags change them."""
    folder: Path | None = None
    """Where the run goes; by default runs/EXPERIMENT-PRESET, with a digest if flags change the preset."""
    chunk: int = 100
    """Steps per program on the device."""
    workers: int = 0
    """Trainings side by side; 0 means one per CPU core, or one on an accelerator."""
    tensorboard: bool = False
    """Also write TensorBoard events."""
    report_only: bool = False
    """Rebuild report and figures of a finished run; train nothing."""
    dry_run: bool = False
    """Print steps, sizes, memory and an estimated time from a few measured steps; train nothing."""

    def __post_init__(self) -> None:
        check_positive_int(self.chunk, "chunk")
        check_finite(self, ("workers",))


def check_finite(settings: Settings, names: Sequence[str], *, positive: bool = False) -> None:
    """Refuse fields that are not finite numbers of at least 0, or above 0.

    Raises:
      ValueError: which field, what was expected, what came.
    """
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value >= 0) or (positive and value == 0):
            expected = "a positive finite number" if positive else "a finite number of at least 0"
            raise ValueError(f"{name}: expected {expected}, got {value}")


class Job(NamedTuple):
    """A training: one model, one seed, a folder of its own."""

    config: Any
    folder: Path
    name: str
    seed: int


def open_folder(title: str, config: Config, presets: Mapping[str, Config]) -> tuple[Config, Path]:
    """The config and the run's folder.

    The folder is `config.folder`, else runs/TITLE-PRESET, with a digest of the config where flags changed
    the preset, and "-sweep" for any grid. With `report_only` the config is the one that the folder holds.
    """
    plain = {k: v for k, v in dataclasses.asdict(config).items() if k not in (*SHOWN_ONLY, "sweep")}
    changed = any(getattr(presets[config.preset], k) != v for k, v in plain.items())
    name = f"{title}-{config.preset}" + (f"-{sweep.digest(plain)}" if changed else "")
    folder = config.folder or Path("runs") / (name + ("-sweep" if getattr(config, "sweep", ()) else ""))
    if not config.report_only:
        return config, folder
    saved = {k: v for k, v in runs.read_json(folder / "config.json").items() if k not in SHOWN_ONLY}
    as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}  # JSON has no tuples
    return dataclasses.replace(config, **as_tuples), folder


@contextlib.contextmanager
def created(
    folder: Path, config: Any, model: Model | None = None, ignore: Sequence[str] = ()
) -> Iterator[None]:
    """`runs.create`, taken back where what follows fails before any training: a corrected config may come."""
    new = not (folder / "config.json").exists()
    runs.create(folder, config, model, ignore)
    try:
        yield
    except BaseException:
        if new and next(folder.rglob("metrics.jsonl"), None) is None:
            for name in ("config.json", "model.json"):
                (folder / name).unlink(missing_ok=True)
        raise


def run(
    train_one: Callable[[Any], None], jobs: Sequence[Job], amounts: Sequence[float], config: Settings,
    folder: Path, *, prepare: Callable[[], Any] | None = None, free: Sequence[str] = (),
) -> None:  # fmt: skip
    """Call `train_one`, a module-level function, on every training that is not finished yet.

    Args:
      train_one: trains and scores one job in its folder, as `train_job` does.
      jobs: the trainings.
      amounts: the work of each, in the unit that they report.
      config: of the run.
      folder: of the run.
      prepare: makes what trainings share, such as a data set; called once, if there is something to train.
      free: fields of the config that may differ from the folder's, beside SHOWN_ONLY.

    Raises:
      ValueError: the folder holds a run of another config.
    """
    start = time.perf_counter()
    with created(folder, config, ignore=(*SHOWN_ONLY, *free)):
        if all((job.folder / "report.json").exists() for job in jobs):
            return
        if prepare is not None:
            prepare()
        workers = min(config.workers or parallel.default_workers(), len(jobs))
        parallel.run_all(train_one, jobs, amounts, workers, f"{len(jobs)} trainings")
    path = folder / "manifest.json"
    before = runs.read_json(path)["wall_seconds"] if path.exists() else 0.0
    seconds = before + time.perf_counter() - start
    sizes = {runs.read_json(job.folder / "manifest.json")["parameters"] for job in jobs}
    params = runs.load(jobs[0].folder).params if len(sizes) == 1 else None
    runs.write_json(path, runs.manifest(seconds=seconds, params=params))


def train_job(
    job: Job, model: Model, update: Update, load: Callable[[], Any], score: Callable[[Any, Any], dict],
    *, steps: int, work: float, amount: float, chunk_done: Callable[[int], Any] | None = None, **options: Any,
) -> None:  # fmt: skip
    """Train and score one model with one seed, in a folder of its own; a finished one is left as it is.

    Its report.json has `train_seconds` beside the scores: what all steps took, over all processes that did
    them; None where that is not known.

    Args:
      job: the training; its config has `batch_size`, `chunk` and `tensorboard`.
      model, update: what is trained, and how.
      load: the data set, with a Split `train`.
      score: `score(vae, data) -> {name: value}`, plain numbers or arrays, for the folder's report.json; it
        reports its own work to the bar.
      steps: the number of steps.
      work: of a step.
      amount: the work of the whole job.
      chunk_done: called with the number of steps when a chunk is done.
      **options: of `train.fit`.
    """
    config, folder, name, seed = job
    if (folder / "report.json").exists():
        parallel.report(amount)
        return
    start = time.perf_counter()
    data = load()
    own = {**dataclasses.asdict(config), "model": name, "seed": seed}
    done, clock = [], Clock(folder / "seconds.jsonl", start)

    def progress(n: int, record: dict[str, Any]) -> None:
        if chunk_done is not None:
            chunk_done(n)
        done.append(n)
        clock.tick(record["step"], record["step"] - sum(done))
        parallel.report(n * work)

    with created(folder, own, model, SHOWN_ONLY):
        fitted = train.fit(
            jax.random.key(seed), model, update, data.train, steps, batch_size=config.batch_size,
            chunk=min(config.chunk, steps), folder=folder, resume=True, tensorboard=config.tensorboard,
            progress=progress, **{"log_every": math.ceil(steps / LOGGED), **options},
        )  # fmt: skip
    parallel.report((steps - sum(done)) * work)  # what an earlier process did
    trained = time.perf_counter()
    if done:  # what is done after the last chunk too
        clock.tick(int(fitted.state.step), int(fitted.state.step) - sum(done))
    train_seconds = clock.seconds.get(int(fitted.state.step))
    scores = score(model.bind(fitted.state.params, fitted.state.variables), data)
    scored = time.perf_counter()
    manifest = runs.manifest(
        seconds=scored - start, params=fitted.state.params, score_seconds=round(scored - trained, 1)
    )
    runs.write_json(folder / "manifest.json", manifest)
    runs.write_json(folder / "report.json", {**scores, "train_seconds": train_seconds})


class Clock:
    """The seconds that a training took up to each end of a chunk, over all processes that did its steps.

    Kept in a file of JSON lines [step, seconds]; steps whose seconds it lacks have none.
    """

    def __init__(self, path: Path, start: float):
        self._path, self._start = path, start
        self.seconds: dict[int, float] = {0: 0.0}
        for line in path.read_text().splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError):  # cut by a kill
                step, seconds = json.loads(line)
                self.seconds[step] = seconds

    def tick(self, step: int, resumed: int) -> None:
        """Keep the seconds until `step`, in a process that began at step `resumed`."""
        if resumed in self.seconds:
            self.seconds[step] = self.seconds[resumed] + time.perf_counter() - self._start
            with self._path.open("a") as file:
                file.write(json.dumps([step, self.seconds[step]]) + "\n")
        else:
            self.seconds.pop(step, None)


def shown_seconds(seconds: float | None) -> str:
    """Seconds in a table; those that are not known are a dash."""
    return "-" if seconds is None else f"{seconds:.0f}"


def means(reports: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Means and intervals over the reports of what is a number in all of them."""
    kept = [name for name in names if all(isinstance(r.get(name), int | float) for r in reports)]
    return {name: runs.mean_ci95([r[name] for r in reports]) for name in kept}


def read_reports(folders: Mapping[Name, Path]) -> dict[Name, dict[str, Any]]:
    """What every training reports, by name.

    Raises:
      FileNotFoundError: a training is not finished.
    """
    missing = [str(f) for f in folders.values() if not (f / "report.json").exists()]
    if missing:
        raise FileNotFoundError(
            f"folder: expected finished trainings, but {', '.join(missing)} has no report.json"
        )
    return {name: runs.read_json(f / "report.json") for name, f in folders.items()}


def first(split: Split, n: int) -> Split:
    """The first n examples, or all of fewer."""
    return Split({name: a[:n] for name, a in split.arrays.items()}, split.support, split.transform)
