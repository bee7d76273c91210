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

# What trains whole experiments, starts processes or kernels, runs pages, downloads: not in `make quick`.
SLOW = (
    "data/test_disk.py",
    "data/test_download.py",
    "data/test_fashion_mnist.py",
    "data/test_mnists.py",
    "experiments/",
    "lab/test_example.py",
    "lab/test_run.py",
    "lab/test_workers.py",
    "test_benchmarks.py",
    "test_benchmarks_evidence.py",
    "test_commands.py",
    "test_docs.py::test_the_code",
    "test_generators.py",
    "test_notebooks.py::test_runs",
    "train/test_aggressive.py",
    "train/test_damage.py",
    "train/test_devices.py",
    "train/test_full_disk.py",
    "train/test_kill.py",
    "train/test_processes.py",
    "train/test_resume.py",
    "train/test_seeds.py",
)


def pytest_collection_modifyitems(items):
    """Mark what `SLOW` names."""
    for item in items:
        if item.nodeid.startswith(tuple(f"tests/{name}" for name in SLOW)):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def x64():
    """Run the test in float64."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
