import time

import pytest
from plotting_solutions import make_solution

from jax_occupancy.cli._console import make_console
from jax_occupancy.cli._outputs import Outputs
from jax_occupancy.cli._refine import Request, _write
from jax_occupancy.cli._stopwatch import Stopwatch
from jax_occupancy.io import read_model


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.pdb"
    path.write_text("ATOM      1  CA  ALA A   1       1.000   1.000   1.000  1.00 10.00           C\nEND\n")
    return read_model(path)


def test_pictures_and_report_are_written(tmp_path, model):
    outputs = Outputs(plot=tmp_path / "a.svg", report=tmp_path / "b.html")
    outputs.check([tmp_path / "model.pdb"])
    _write(make_console(quiet=True), Stopwatch(time.perf_counter()), make_solution(2), model, Request(outputs))
    assert "<svg" in outputs.plot.read_text()
    assert "Occupancies of model.pdb" in outputs.report.read_text()


def test_names_are_checked_before_any_work(tmp_path):
    for wrong, message in (
        (Outputs(plot=tmp_path / "a.gif"), r"a\.gif: .*\.png, \.svg, \.pdf"),
        (Outputs(report=tmp_path / "a.pdf"), r"a\.pdf: the name of the report must end in \.html"),
        (Outputs(plot=tmp_path / "a.svg", maps=tmp_path / "a.txt"), r"\.mtz"),
        (Outputs(plot=tmp_path / "a.svg", csv=tmp_path / "a.svg"), "written twice"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong.check([])
    with pytest.raises(FileNotFoundError, match="folder"):
        Outputs(report=tmp_path / "no" / "a.html").check([])
