"""The benchmark of preparing a set: its file has the format that it measures, and what it says is so."""

import json

import numpy as np

from benchmarks.data import main, write_sprites
from vaejax import data
from vaejax.data.factor_files import DSPRITES


def test_a_small_part_of_the_grid_is_prepared_and_measured(tmp_path, capsys):
    assert main(["--images", "2048", "--folder", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["arrays_mib"]) == (2048, 8.0)
    assert 0 < said["file_mib"] < 1
    assert said["imports_mib"] < said["peak_mib"]
    assert list(tmp_path.iterdir()) == []


def test_every_image_has_one_rectangle_at_its_place(tmp_path):
    write_sprites(tmp_path / DSPRITES, 2048)
    sprites = data.published("dsprites", file=tmp_path, folder=tmp_path / "sets")
    assert sprites.num_values == (1, 1, 2, 32, 32)
    image = sprites.sample_images(np.array([[0, 0, 1, 3, 20]]))[0, ..., 0]
    rows, columns = np.nonzero(image)
    assert (rows.min(), columns.min(), rows.max() - 19, columns.max() - 2) == (20, 3, 9, 9)
    assert image.sum() == 81
