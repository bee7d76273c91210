#!/bin/sh
# tensorflow-datasets 4.9.10: without TensorFlow a builder writes array_record up to 1 GiB a split, and fails beyond.
#
# `file_format="array_record"` is the format that needs no TensorFlow, and small sets are written without it. But the
# examples wait in memory until the split is complete, and the one that makes them more than 1 GiB goes, with all
# before it, to temporary files that tf.io.gfile opens: an ImportError after minutes of work, also with
# disable_shuffling=True. `tfds.core.SequentialWriter` writes the same records in order as they come, in flat memory.
#
# Seen: a split of 1025 examples of 1 MiB fails for want of TensorFlow, one of 4 does not; the sequential writer writes
# both.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q tensorflow-datasets==4.9.10 importlib_resources numpy==2.4.6
cd "$place"
"$place/venv/bin/python" -W ignore - "$place" <<'END' 2>&1 | grep -v '^$'
import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

tfds.disable_progress_bar()
X = np.zeros(2**20, np.uint8)
FEATURES = {"x": tfds.features.Tensor(shape=X.shape, dtype=np.uint8, encoding="bytes")}


def by_builder(size):
    class Sized(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = f"sized{size}"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(FEATURES), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            return ((i, {"x": X}) for i in range(size))

    with contextlib.redirect_stdout(io.StringIO()):
        try:
            Sized(data_dir=Path(sys.argv[1], "builder"), file_format="array_record").download_and_prepare()
        except ImportError as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
    return "written"


def in_order(size):
    folder = Path(sys.argv[1], f"writer{size}")
    folder.mkdir()
    identity = tfds.core.dataset_info.DatasetIdentity("mine", "1.0.0", str(folder), "")
    info = tfds.core.DatasetInfo(builder=identity, features=tfds.features.FeaturesDict(FEATURES))
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=256, file_format="array_record")
    writer.initialize_splits(["train"])
    for _ in range(size):
        writer.add_examples({"train": [{"x": X}]})
    writer.close_all()
    return len(tfds.builder_from_directory(folder).as_data_source("train"))


for size in (4, 1025):
    built, written = by_builder(size), in_order(size)
    print(f"tensorflow-datasets {tfds.__version__}: {size} MiB by a builder: {built}; in order: {written} examples")
    assert written == size
    assert (built == "written") == (size == 4), "changed: what a builder can write without TensorFlow"
END
