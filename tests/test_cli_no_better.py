"""A refinement whose model is no better than the start."""

import dataclasses

from command_line import command
from plotting_solutions import StartEnd

from jax_occupancy import write_example


def test_a_model_that_is_no_better_than_the_start_is_no_success(solution, tmp_path, monkeypatch, x64):
    """Though it is written, as one that did not come to rest."""
    files = write_example(tmp_path)
    worse = dataclasses.replace(solution, target=StartEnd(1.0, 2.0))
    monkeypatch.setattr("jax_occupancy.refinement.refine", lambda *given, **options: worse)
    ended = command("refine", files.model.name, files.reflections.name, "-o", "o.pdb", cwd=tmp_path)
    assert ended.code == 3
    assert ended.errors.startswith("no better than the start: ")
    assert (tmp_path / "o.pdb").exists()
