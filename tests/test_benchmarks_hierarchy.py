"""The sizes of the benchmark of deep hierarchies; tests/test_commands_benchmarks.py runs it."""

from benchmarks import hierarchy


def test_the_sizes_are_those_of_their_names():
    for count in hierarchy.SIZES:
        assert len(hierarchy.build(count, 4).spec["levels"]) == count
