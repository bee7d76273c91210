"""What the machine at hand is said to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vaejax import machine


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert machine.cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


@pytest.mark.parametrize(
    ("text", "wide"), [("flags : avx2 avx512f fma", True), ("flags : avx2 fma", False), (None, False)]
)
def test_wide_products_are_read_from_what_linux_says_of_the_cores(monkeypatch, text, wide):
    monkeypatch.setattr(Path, "exists", lambda self: text is not None)
    monkeypatch.setattr(Path, "read_text", lambda self, **options: text)
    machine.wide_products.cache_clear()
    try:
        assert machine.wide_products() is wide
    finally:
        machine.wide_products.cache_clear()
