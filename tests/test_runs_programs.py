"""Compiled programs that outlive a process: kept beside a run, unless jax keeps them elsewhere already."""

import os

import jax
import pytest

from vaejax.runs import programs, programs_kept


@pytest.fixture
def without(monkeypatch):
    """No cache, as where nobody has set one."""
    was = jax.config.jax_compilation_cache_dir
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    programs._use(None)
    yield
    programs._use(was)


def compiled(factor):
    jax.jit(lambda x: factor * x).lower(1.0).compile()


@pytest.mark.usefixtures("without")
def test_what_is_compiled_within_is_kept_beside_the_run_and_nothing_else(tmp_path):
    place = tmp_path / "runs" / ".jax_cache"
    with programs_kept(tmp_path / "runs" / "one"):
        assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(place)  # for processes that start within
        compiled(3.25)
    kept = sorted(place.iterdir())
    assert kept
    assert jax.config.jax_compilation_cache_dir is None
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    compiled(5.25)
    assert sorted(place.iterdir()) == kept
    with programs_kept(tmp_path / "runs" / "two"):
        jax.clear_caches()
        compiled(3.25)
    assert {path.name for path in place.iterdir() if path.name.endswith("-cache")} == {
        path.name for path in kept if path.name.endswith("-cache")
    }
    assert not (tmp_path / "runs" / "one").exists()


def test_a_cache_that_is_set_stays_the_one(tmp_path):
    was = jax.config.jax_compilation_cache_dir
    assert was
    with programs_kept(tmp_path / "run"):
        assert jax.config.jax_compilation_cache_dir == was
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without")
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the system has no owners of files")
def test_programs_of_another_user_are_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with programs_kept(tmp_path / "run"):
        assert jax.config.jax_compilation_cache_dir is None
