"""What the machine at hand is said to be."""

from __future__ import annotations

import os
from pathlib import Path

import jax
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


@pytest.mark.parametrize(
    ("backend", "disabled", "flags", "options"),
    [
        ("cpu", False, "--xla_dump_to=x", {"xla_backend_optimization_level": 2}),
        ("cpu", False, "--xla_backend_optimization_level=3", None),
        ("cpu", True, "", None),
        ("gpu", False, "", None),
    ],
)
def test_long_programs_on_a_cpu_take_the_second_level_unless_told(
    monkeypatch, backend, disabled, flags, options
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setenv("XLA_FLAGS", flags)
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", disabled)
    try:
        assert machine.compiler_options() == options
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def test_jax_takes_these_options():
    double = jax.jit(lambda x: 2 * x, compiler_options={"xla_backend_optimization_level": 2})
    assert double(3.0) == 6.0
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        jax.jit(lambda x: 3 * x, compiler_options={"xla_backend_optimization_levels": 2})(3.0)
