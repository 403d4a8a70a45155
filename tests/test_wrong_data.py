"""Data that are not those of the model end in a sentence that says so, whatever became of the refinement."""

import gemmi
import numpy as np
import pytest
from command_line import command

from jax_occupancy.example import write_example


def move(example):
    """The model a quarter of a cell edge away: the origin of another setting."""
    structure = gemmi.read_structure(str(example.model))
    for site in structure[0].all():
        site.atom.pos = gemmi.Position(site.atom.pos.x + structure.cell.a / 4, site.atom.pos.y, site.atom.pos.z)
    structure.write_pdb(str(example.model))


def rename_the_space_group(example):
    """Model and data in P 21 21 2, which has the same cell."""
    text = example.model.read_text()
    example.model.write_text(text.replace("P 21 21 21", "P 21 21 2 "))
    mtz = gemmi.read_mtz_file(str(example.reflections))
    mtz.spacegroup = gemmi.SpaceGroup("P 21 21 2")
    mtz.write_to_file(str(example.reflections))


def measure_noise(example):
    """Intensities of nothing but noise."""
    mtz = gemmi.read_mtz_file(str(example.reflections))
    data, rng = np.array(mtz.array), np.random.default_rng(0)
    data[:, 3], data[:, 4] = rng.normal(0, 100, len(data)), 100
    for label, name, kind in (("FP", "I", "J"), ("SIGFP", "SIGI", "Q")):
        column = mtz.column_with_label(label)
        column.label, column.type = name, kind
    mtz.set_data(data)
    mtz.write_to_file(str(example.reflections))


@pytest.mark.parametrize(
    ("spoil", "d_min"), [(None, 2), (move, 2), (move, 3), (rename_the_space_group, 2), (measure_noise, 2)]
)
def test_a_model_of_other_data_is_pointed_out(spoil, d_min, tmp_path):
    example = write_example(tmp_path)
    if spoil is not None:
        spoil(example)
    files = example.model.name, example.reflections.name
    _, printed, *_ = command("refine", *files, "--starts", "0", "--d-min", str(d_min), cwd=tmp_path)
    assert (f"the model does not explain these data (at {d_min}.0 Å" in printed) == (spoil is not None)
