"""Every command that runs a benchmark, to its end at a tiny size; no speed is asserted.

What stands beside PyTorch has a stand-in for it that does nothing, so that it runs without it too: that the
peers compute what vaejax does is in the file of each benchmark. Of commands that differ in values, or whose
flags another one has too, one is run; each part of `benchmarks.device` counts as a flag.
"""

from __future__ import annotations

import functools
import importlib
import re
import shlex
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import jax
import pytest
import tyro

from benchmarks import device, growth, jacobian, latents, steps, sweep
from tests.commands import ROOT, run_by
from vaejax import runs

MEASURE = sweep.measure
TYPED = run_by("tests/test_commands_benchmarks.py")
PEERS = ["torch", *(f"benchmarks.{path.stem}" for path in (ROOT / "benchmarks").glob("torch_*peer.py"))]
FEW = ("--rounds=1", "--steps=1")
MLP = {"PIXELS": 6, "FEATURES": (4, 4), "LATENTS": 2}
FLAGS = {  # what is added to a command
    "before": (*FEW, "--compilations=1"),
    "codes": FEW,
    "device": (*FEW, "--side=16", "--width=0.1", "--batch-size=4"),
    "diffusion": (*FEW, "--sampling=2", "--batch-size=2", "--no-compiled"),
    "evidence": (*FEW, "--images=8", "--k-eval=4", "--parts=2"),
    "growth": FEW,
    "hierarchy": ("--width=4", "--batch-size=2", "--levels=2"),
    "imports": ("--rounds=1",),
    "jacobian": (*FEW, "--batch-size=2", "--no-naive"),
    "latents": FEW,
    "scoring": ("--rounds=1", "--codes=40"),
    "stream": (
        "--rounds=1", "--chunk=2", "--batch-size=4", "--width=0.1", "--file-mib=1", "--small-mib=2",
        "--large-gib=0.01", "--steps=4",
    ),
    "text": (*FEW, "--no-compiled"),
    "vdvae": (*FEW, "--width=4", "--batch-size=2"),
}  # fmt: skip
SIZES = {  # and what no flag makes smaller
    "codes": {
        "VECTORS": (2, 3, 3, 4), "CODES": 8, "SIDE": 8, "FEATURES": 4, "DIM": 4, "BATCH": 3, "NUMBERS": (4,),
    },
    "device": {"PENALTIES": {"beta_vae": device.PENALTIES["beta_vae"]}},
    "diffusion": {"SIDE": 4, "LATENTS": 2, "HIDDEN": (4,), "FEATURES": (8,), "EMBED": 4},
    "evidence": {"STEPS": {"step_B20_K1": (4, 1)}, "CHUNKS": ((4, 2), (2, 4)), **MLP},
    "growth": {
        "LINES": {"B": [growth.Setting(16, 2, B, 0.1) for B in (2, 4)]}, "SIZES": (10, 20),
        "STEPS": {"beta-VAE": None},
    },
    "hierarchy": {"SIZES": {2: ("1x1,32m1", "32d32,1x1")}},
    "imports": {"modules": lambda: ["jax", "vaejax"]},
    "jacobian": {
        "compile_step": lambda *of: steps.compile_step(*of, side=16, latents=2),
        "PENALTIES": {
            "jacobian_l1": {k: v for k, v in jacobian.PENALTIES["jacobian_l1"].items() if k != "columns2"}
        },
    },
    "latents": {
        **MLP, "MODELS": {"iaf_4": latents.MODELS["iaf_4"]}, "BATCH": 3, "CONTEXT": 4, "WIDTH": 4, "STEPS": 2,
    },
    "sweep": {"METHODS": {"columns1": "JL1, 1 column"}, "measure": lambda *of: all_as_one(*of)},
    "text": {"VOCABULARY": 7, "LENGTH": 3, "LATENTS": 2, "FEATURES": 4, "EMBEDDING": 3, "BATCH": 3},
    "vdvae": {"LEVELS": {1: 1, 32: 2}, "BLOCKS": {1: 1, 32: 1}, "COMPONENTS": 1},
}  # fmt: skip


@functools.cache
def one_setting():
    """What the smallest setting of the sweep takes."""
    return MEASURE(sweep.Setting(16, 2, 4), 1)


def all_as_one(setting, rounds):
    """Every setting is measured as the smallest, so that all have their places in the figures."""
    return [{**row, **setting._asdict()} for row in one_setting()]


def named(command):
    """The program, and the names of its flags."""
    return command.split()[2], set(re.findall(r" (--part \w+|--[\w-]+)", command))


def needless(command):
    """Whether another command of the program has its flags and more, or the same and stands before it."""
    program, flags = named(command)
    others = [other for other in TYPED if named(other)[0] == program and other != command]
    return any(flags < named(o)[1] or (flags == named(o)[1] and o < command) for o in others)


ONCE = [command for command in TYPED if not needless(command)]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder, beside which an earlier checkout lies: this one, whose programs processes find too."""
    (tmp_path / "before").symlink_to(ROOT)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("VAEJAX_DATA", str(tmp_path / "data"))
    for name in PEERS:
        monkeypatch.setitem(sys.modules, name, MagicMock())
    ways = [SimpleNamespace(compiled=compiled, label=f"{compiled=}") for compiled in (False, True)]
    sys.modules["benchmarks.torch_peer"].variants.return_value = ways  # type: ignore[attr-defined]
    cached = jax.config.jax_enable_compilation_cache
    yield tmp_path / "here"
    jax.config.update("jax_enable_compilation_cache", cached)


@pytest.mark.parametrize("command", ONCE)
def test_a_benchmark_runs_to_its_end_and_leaves_what_it_says(command, empty, monkeypatch, capsys):
    _, _, program, *words = shlex.split(command)
    name, module = program.split(".")[1], importlib.import_module(program)
    for of in (name, "sweep"):
        for constant, size in SIZES.get(of, {}).items():
            monkeypatch.setattr(f"benchmarks.{of}.{constant}", size)
    if hasattr(module, "use_cores"):
        monkeypatch.setattr(module, "use_cores", lambda *of, **more: None)  # the other tests keep their cores
    if name == "latents":
        monkeypatch.setattr("benchmarks.evidence.PIXELS", MLP["PIXELS"])
    config = tyro.cli(module.Config, args=[*words, *FLAGS[name]])
    result = module.main(config)
    printed = capsys.readouterr().out
    if "--part collect" in command:
        assert printed.startswith(f"{result['device']}: 0 of 4 parts, without ")
    else:
        assert "| " in printed
        assert result[{"device": "ms", "stream": "memory"}.get(name, "rows")]
    assert name != "hierarchy" or result["passed"] == {"2": True}
    left = {path.name for path in empty.iterdir()}
    if config.output is None:
        assert not left
        return
    assert config.output.name in left
    assert runs.read_json(config.output).keys() == result.keys()
    if "--figures" in words:
        assert {path.suffix for path in config.figures.iterdir()} == {".png"}


def test_one_command_of_each_benchmark_is_run():
    assert {named(command)[0] for command in ONCE} == {named(command)[0] for command in TYPED}
    assert {named(command)[0].split(".")[1] for command in TYPED} == set(FLAGS)
    again = ["device", "jacobian", "stream"]  # two parts, the sweep, memory alone
    assert sorted(named(command)[0].split(".")[1] for command in ONCE) == sorted([*FLAGS, *again])
