"""The notebooks run from top to bottom at tiny sizes, and are committed with outputs that carry no paths."""

import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient

from vaejax.plots.style import PALETTE

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KERNEL = {
    "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "this interpreter",
    "language": "python",
}


def _outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def _pictures(notebook):
    return [output for output in _outputs(notebook) if "image/png" in output.get("data", {})]


# for a notebook in a kernel that has run others: no names, figures, programs or settings are left of them
FRESH = """
import gc, os, jax, matplotlib.pyplot
os.chdir({folder!r})
os.environ["VAEJAX_DATA"] = {data!r}
jax.config.update("jax_enable_x64", False)
matplotlib.pyplot.close("all")
matplotlib.rcdefaults()
jax.clear_caches()
gc.collect()
%reset -f
""".strip()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all notebooks: the interpreter that runs the tests, whatever kernels are registered."""
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "kernels/python3").mkdir(parents=True)
    (folder / "kernels/python3/kernel.json").write_text(json.dumps(KERNEL))
    specs = KernelSpecManager(kernel_dirs=[str(folder / "kernels")], ensure_native_kernel=False)
    manager = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=specs, connection_file=str(folder / "connection.json")
    )
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


def test_there_are_notebooks():
    expected = [
        "00_derivation", "01_compose_a_loss", "02_jacobian_penalties", "03_how_good_is_the_bound",
        "04_objectives_side_by_side", "05_posteriors_and_priors", "06_decoders",
        "07_structure",
    ]  # fmt: skip
    assert [path.stem for path in NOTEBOOKS] == expected


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_at_tiny_size(path, tmp_path, kernel):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = re.sub(r'"dpi": \d+', '"dpi": 20', cell.source)  # nobody looks at these
    environment = {
        **os.environ,
        "VAEJAX_NOTEBOOK_FAST": "1",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    fresh = FRESH.format(folder=str(tmp_path), data=str(tmp_path / "data"))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(fresh))
    client = NotebookClient(notebook, km=kernel, timeout=None, startup_timeout=600, iopub_timeout=600)
    client.execute(env=environment, cleanup_kc=False)  # an error in a cell raises CellExecutionError
    client.kc.stop_channels()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert _pictures(notebook)
    assert not [output.text for output in _outputs(notebook) if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_is_committed_executed_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len(_pictures(notebook)) >= 4
    assert not [output for output in _outputs(notebook) if output.output_type == "error"]
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size < 1_500_000
    assert {output.get("name", "stdout") for output in _outputs(notebook)} == {"stdout"}
    texts = [o.get("text", o.get("data", {}).get("text/plain", "")) for o in _outputs(notebook)]
    machine = re.compile(r"(^|[\s'\"=(])(/[\w.-]+){2,}|[A-Z]:\\|site-packages")  # an absolute path
    assert not [text for text in texts if machine.search(text)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_figures_have_the_colours_of_the_house(path):
    source = "".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    if "matplotlib.pyplot" in source:
        assert "axes.prop_cycle" in source
    assert set(re.findall(r"#[0-9A-Fa-f]{6}\b", source)) <= set(PALETTE)
