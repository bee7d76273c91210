"""The commands that prepare data, and make and read rating pages, to their end in an empty folder."""

from __future__ import annotations

import hashlib
import importlib
import io
import re
import shlex
import shutil
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import optax
import pytest
from PIL import Image

from tests.commands import run_by
from tests.data import published_files, test_celeba
from tests.data.idx_files import write_set
from vaejax import compose, data, distributions, human, models, nets, objectives, runs, train
from vaejax.data import celeba, from_files, mnists
from vaejax.data.__main__ import NAMES
from vaejax.data.factor_files import SHAPES3D
from vaejax.data.folders import data_folder
from vaejax.data.published import PUBLISHED

TYPED = run_by("tests/test_commands_run.py")
SIZES = {"train": 450, "test": 80}
IMAGES = {"celeba": 5, "dsprites": 48, "fashion_mnist": 530, "shapes3d": 96}  # of all splits
# what is added: the smallest sheet, and few draws of a bootstrap
FLAGS = {
    "data": (),
    "make": ("--pairs=2", "--items=2", "--repeats=1", "--checks=1"),
    "report": ("--resamples=5",),
}


def told(command):
    """Which of `FLAGS` a command takes, the `main` of its program, and its words."""
    _, _, program, *words = shlex.split(command)
    main = importlib.import_module(f"{program}.__main__").main
    name = words[0] if program == "vaejax.human" else program.split(".")[1]
    return name, partial(main, [*words, *FLAGS[name]])


def write_faces(folder):
    """A CelebA of black pictures; returns its entry with the checksums of its files."""
    file = io.BytesIO()
    Image.new("RGB", (178, 218)).save(file, "JPEG")
    folder.mkdir(parents=True)
    signs = {name: np.zeros(40, np.uint8) for name in test_celeba.PARTS}
    paths = test_celeba.write(folder, dict.fromkeys(signs, file.getvalue()), test_celeba.lists(signs))
    sums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    return replace(PUBLISHED["celeba"], sha256=sums)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A folder with the file of dSprites alone, beside small published sets that nobody has prepared."""
    folder, home = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("empty")
    manual = folder / "downloads" / "manual"
    write_set(manual / "fashion_mnist", SIZES, zipped=True)
    published_files.write_dsprites(home / "PATH")
    published_files.write_shapes3d(manual / "shapes3d" / SHAPES3D, published_files.shapes3d_arrays())
    faces = write_faces(manual / "celeba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnists, "_SIZES", SIZES)
        patch.setattr(celeba, "_SIZE", len(test_celeba.PARTS))
        patch.setattr(from_files, "PUBLISHED", {**PUBLISHED, "celeba": faces})
        patch.setenv("VAEJAX_DATA", str(folder))
        patch.setattr("vaejax.plots.style.DPI", 20)
        patch.chdir(home)
        yield home


@pytest.fixture(scope="module")
def trained(empty):
    """The two runs that docs/human.md compares, A and B."""
    model = models.gaussian_vae(
        encoder=nets.MLPEncoder(2, (4,), event_ndims=3), decoder=nets.MLP((4,), (28, 28, 1)), latents=2,
        likelihood=distributions.bernoulli(cross_entropy=True),
    )  # fmt: skip
    loss = compose(reconstruction=objectives.reconstruction, kl=objectives.kl)
    update = train.gradient_update(loss, model, optax.adam(1e-3))
    split = data.fashion_mnist().train
    for seed, name in enumerate("AB"):
        folder = empty / "runs" / name
        runs.create(folder, {"dataset": "fashion_mnist", "seed": seed}, model)
        train.fit(jax.random.key(seed), model, update, split, 1, batch_size=4, folder=folder, progress=False)
    return empty


@pytest.mark.parametrize("command", [c for c in TYPED if told(c)[0] == "data" and c.split()[3:]])
def test_a_set_is_prepared_and_found(command, empty, capsys):
    _, main = told(command)
    assert main() == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    name = command.split()[3]
    assert f"{name} lies in" in said
    sizes = [int(n) for n in re.findall(r"^\w+: .*\bx uint8 \[(\d+), ", said, re.M)]
    assert sum(sizes) == IMAGES[name]
    assert ("x uint8 [2, 32, 32, 3]" in said) == (name == "celeba")
    assert name != "fashion_mnist" or data.fashion_mnist().test.size == SIZES["test"]


def test_all_sets_are_listed(empty, capsys):
    assert "python -m vaejax.data" in TYPED
    _, main = told("python -m vaejax.data")
    assert main() == 0
    said = capsys.readouterr().out
    assert set(NAMES) <= set(said.splitlines())
    assert f"Prepared sets lie in {data_folder(None)}" in said


@pytest.fixture
def beside(trained, tmp_path, monkeypatch):
    """A folder of its own for each command, with the two runs: all write `rating/`."""
    (tmp_path / "runs").symlink_to(trained / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [c for c in TYPED if told(c)[0] == "make"])
def test_a_page_is_made(command, beside, capsys):
    _, main = told(command)
    assert main() == 0, capsys.readouterr().err
    assert "raters get this file alone" in capsys.readouterr().out
    assert human.read_key("rating").systems == ("A", "B")
    assert (beside / "rating" / "rate.html").stat().st_size > 10_000


@pytest.fixture(scope="module")
def answered(trained, tmp_path_factory):
    """`rating/` and `answers/`, as the first command and five raters leave them."""
    place = tmp_path_factory.mktemp("answered")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        first = next(command for command in TYPED if told(command)[0] == "make" and "--samples" in command)
        _, main = told(first.replace("rating/", str(place / "rating")))
        assert main() == 0
    key = human.read_key(place / "rating")
    quality, called = dict.fromkeys("AB", 0.0), dict.fromkeys((*"AB", "real"), 0.5)
    answers = human.simulate(jax.random.key(1), key, 5, quality, called=called, ties=0.2)
    human.write_answers(key, answers, place / "answers")
    return place


@pytest.mark.parametrize("command", [c for c in TYPED if told(c)[0] == "report"])
def test_answers_become_tables_and_a_figure(command, answered, tmp_path, monkeypatch, capsys):
    shutil.copytree(answered, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    _, main = told(command)
    assert main() == 0, capsys.readouterr().err
    assert "5 raters" in capsys.readouterr().out
    found = runs.read_json("rating/report.json")
    drop = "--ties drop" in command
    (rate,) = found["ab"]["quality"]["win_rates"]
    assert rate["n"] == 5 * 2 - drop * rate["ties"]
    assert (tmp_path / "rating" / "figures" / "ratings.png").exists()


def test_every_command_has_its_test():
    assert {told(command)[0] for command in TYPED} == set(FLAGS)
