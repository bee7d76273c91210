"""Shared by all tests: a compilation cache inside the run, and float64 where a test asks for it."""

import os
from pathlib import Path

import jax
import pytest

_CACHE = Path(__file__).parent.parent / ".jax_cache"
# in the environment for the processes that tests start, in the config for this one
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # small programs are most of them
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture
def x64():
    """Run the test in float64."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
