"""Every notebook runs from top to bottom, offline, and is stored with its outputs and pictures."""

import re
import shutil
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# Jupyter's own packages warn about each other; what the notebook's code does runs in another process.
@pytest.mark.filterwarnings("default")
def test_notebook_runs(path, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    stored = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in stored), "stored without outputs"
    assert "assert" in stored[-1].source
    for cell in stored:
        if re.search(r"^(plt\.show\(\)|figure|series\.plot\(.*)$", cell.source, flags=re.M):
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
    for numbers in path.parent.glob("*.json"):
        shutil.copy(numbers, tmp_path)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
