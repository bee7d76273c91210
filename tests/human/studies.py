"""Studies of pictures that tell which system's which item they are, by their one grey value."""

from __future__ import annotations

import base64
import io

import jax
import numpy as np
from PIL import Image

from vaejax import human

KEY = jax.random.key(21)
SYSTEMS = ("first-of-all", "second-best", "third-party")
EACH = 30  # items
QUALITY = {name: float(q) for name, q in zip(SYSTEMS, (1.0, 0.0, -1.0), strict=True)}
CALLED = {"real": 0.2, **dict.fromkeys(SYSTEMS, 0.7)}


def grey(values, shape=(2, 3, 1)):
    """Pictures [n, 2, 3, 1] of one value each."""
    return np.broadcast_to(np.asarray(values, np.uint8)[:, None, None, None], (len(values), *shape))


def systems(names=SYSTEMS, each=EACH):
    """{name: pictures}: item i of system s has the value s * each + i + 2."""
    return {name: grey(np.arange(each) + s * each + 2) for s, name in enumerate(names)}


REAL = grey(np.arange(EACH) + 3 * EACH + 2)
REFERENCES = grey(np.arange(EACH) + 4 * EACH + 2)


def study(key=KEY, names=SYSTEMS, **options):
    """A sheet of all tasks."""
    options = {
        "real": REAL,
        "tasks": ("ab", "likert", "turing", "diversity"),
        "pairs": 6,
        "items": 4,
    } | options
    return human.sheet(key, systems(names), **options)


def value_of(part):
    """The grey value of a part of a page, the same in each of its pixels."""
    with Image.open(io.BytesIO(base64.b64decode(part["png"]))) as image:
        values = set(np.asarray(image).ravel().tolist())
    return values.pop() if len(values) == 1 else None  # None: noise
