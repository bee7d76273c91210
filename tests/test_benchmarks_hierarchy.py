"""The benchmark of deep hierarchies at a tiny size; no speed is asserted."""

import json

import jax
import pytest

from benchmarks import hierarchy


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(hierarchy, "SIZES", {2: ("1x1,32m1", "32d32,1x1")})
    monkeypatch.setattr(hierarchy, "use_cores", lambda threads: None)  # the other tests keep their cores
    cached = jax.config.jax_enable_compilation_cache
    yield
    jax.config.update("jax_enable_compilation_cache", cached)


def test_a_run_has_the_documented_figures_and_judges_them(tiny, tmp_path, capsys):
    output = tmp_path / "hierarchy.json"
    result = hierarchy.main(hierarchy.Config(width=4, batch_size=2, levels=(2,), output=output))
    assert result["passed"] == {"2": True}
    (row,) = json.loads(output.read_text())["rows"]
    assert row["levels"] == 2
    assert row["trace + compile, s"] == pytest.approx(row["trace, s"] + row["compile, s"])
    assert "load before" in capsys.readouterr().out


def test_the_sizes_are_those_of_their_names():
    for count in hierarchy.SIZES:
        assert len(hierarchy.build(count, 4).spec["levels"]) == count
