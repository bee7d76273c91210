"""Shared by all tests: a cache of compiled programs, memory given back, float64 where a test asks for it."""

import ctypes
import gc
import os
from pathlib import Path

# What a test compiles runs for a moment: the compiler is told to be quick, not thorough, which saves half
# of the suite's time. Every program is kept, small ones too: the next file and the other worker find them.
# All by the environment, for the processes that tests start; what is set already stands, so that
# `JAX_DISABLE_MOST_OPTIMIZATIONS=0 XLA_FLAGS= make test` tests what users compile.
_QUICK = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_opt_preset=FAST_COMPILE "
    "--xla_cpu_parallel_codegen_split_count=1"
)
_CONFIG = {
    "jax_compilation_cache_dir": str(Path(__file__).parent.parent / ".jax_cache"),
    "jax_disable_most_optimizations": True,
    "jax_include_full_tracebacks_in_locations": False,
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
for _name, _value in _CONFIG.items():
    os.environ.setdefault(_name.upper(), str(_value))
os.environ.setdefault("XLA_FLAGS", _QUICK)

import jax  # noqa: E402 - reads the environment
import pytest  # noqa: E402

# Files that take long go first, so that no worker is left with one at the end.
_FIRST = ("test_notebooks.py", "test_docs.py", "test_catalogue.py", "test_scripts.py", "test_kill.py")
# What trains whole experiments, starts processes or kernels, runs pages, downloads, or compiles much: not in
# `make quick`.
SLOW = (
    "data/test_disk.py",
    "data/test_download.py",
    "data/test_fashion_mnist.py",
    "data/test_mini_sprites.py",
    "data/test_mnists.py",
    "distributions/test_autoregressive.py",
    "distributions/test_diffusion.py::test_in_a_model",
    "distributions/test_flow_likelihood.py::test_in_a_model",
    "distributions/test_in_models.py",
    "evaluation/test_ais.py",
    "evaluation/test_disentanglement_scores.py",
    "evaluation/test_every_function.py",
    "evaluation/test_every_latents.py",
    "evaluation/test_evidence.py",
    "evaluation/test_gaps.py",
    "evaluation/test_levels.py",
    "evaluation/test_modalities.py",
    "experiments/",
    "human/test_browser.py",
    "human/test_command.py",
    "lab/test_example.py",
    "lab/test_run.py",
    "lab/test_settings.py::test_a_microbatch",
    "models/test_chain.py",
    "models/test_code_priors.py",
    "models/test_codes.py",
    "models/test_equal.py",
    "models/test_flows.py",
    "models/test_half_precision.py",
    "models/test_hierarchy.py::test_equal_levels",
    "models/test_laws.py::test_a_draw",
    "models/test_laws.py::test_a_run_folder",
    "models/test_laws.py::test_gradients",
    "models/test_levels.py",
    "models/test_mixtures.py",
    "models/test_modalities.py",
    "models/test_optimal_scale.py",
    "models/test_refined.py",
    "models/test_spectral.py",
    "models/test_stages.py",
    "models/test_start.py",
    "models/test_vae.py::test_a_conditional_run",
    "models/test_vdvae.py",
    "nets/test_blocks.py",
    "nets/test_codes.py",
    "nets/test_dtype.py::test_inner_layers",
    "nets/test_invertible.py::test_it_starts",
    "nets/test_sides.py",
    "objectives/test_mixture.py::test_value_and_gradient",
    "objectives/test_on_levels.py",
    "test_benchmarks.py",
    "test_benchmarks_before.py",
    "test_benchmarks_codes.py",
    "test_benchmarks_data.py",
    "test_benchmarks_device.py",
    "test_benchmarks_diffusion.py",
    "test_benchmarks_evidence.py",
    "test_benchmarks_hierarchy.py",
    "test_benchmarks_latents.py",
    "test_benchmarks_scoring.py",
    "test_benchmarks_text.py",
    "test_benchmarks_vdvae.py",
    "test_catalogue.py::test_terms_outside_jit",
    "test_commands",
    "test_conditional.py",
    "test_docs.py::test_the_code",
    "test_generators.py",
    "test_modes.py",
    "test_notebooks.py::test_runs",
    "test_numbers.py",
    "test_plots.py",
    "test_progress.py",
    "test_runs.py",
    "test_runs_processes.py",
    "train/test_aggressive.py",
    "train/test_averaged.py",
    "train/test_damage.py",
    "train/test_devices.py",
    "train/test_fit.py",
    "train/test_folder.py",
    "train/test_full_disk.py",
    "train/test_interrupt.py",
    "train/test_kill.py",
    "train/test_modes.py",
    "train/test_optimizer.py",
    "train/test_processes.py",
    "train/test_resume.py",
    "train/test_seeds.py",
    "train/test_step.py",
    "train/test_stream.py",
)
# of the others what takes longest to trace, and runs lines that tests of their own run too
UNTRACED = (
    "models/test_laws.py::test_a_model_is_plain",
    "test_catalogue.py::test_laws_of_likelihoods",
    "test_catalogue.py::test_laws_of_terms",
)


def pytest_collection_finish():
    """Spare the garbage collector what was imported: it would walk through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_collection_modifyitems(items):
    """Mark what `SLOW` names, and put the longest files first.

    Coverage is of the other tests: to trace every line that jax runs takes a third of a test's time.
    """
    slow, untraced = (tuple(f"tests/{name}" for name in names) for names in (SLOW, UNTRACED))
    for item in items:
        if item.nodeid.startswith(slow):
            item.add_marker(pytest.mark.slow)
        if item.nodeid.startswith(slow + untraced):
            item.add_marker(pytest.mark.no_cover)
    items.sort(key=lambda item: item.path.name not in _FIRST)


@pytest.fixture(autouse=True)
def _programs_that_fit():
    """Drop what was compiled once it takes much memory: a program of one operation holds 1.4 MB.

    Only once it has grown since the last time: where much stays, every test would compile all of it anew.
    """
    yield
    if _resident() > max(_MOST, _left[0] + _MORE):
        _give_back()


_MOST, _MORE = 1.1e9, 0.15e9  # bytes
_left = [0.0]  # what the process held after it gave back


def _resident():
    """Bytes of this process in memory; 0 where the system does not say it so."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else 0


def _give_back():
    jax.clear_caches()
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # without it the freed memory stays this process's
    _left[0] = _resident()


@pytest.fixture
def x64():
    """Run the test in float64."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
