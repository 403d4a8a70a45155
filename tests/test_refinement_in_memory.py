"""What other libraries hold in memory goes in as it is, and comes out again."""

import dataclasses

import gemmi
import numpy as np
import pandas as pd
import pytest

from jax_occupancy import load_solution, read_maps, refine, refine_series, save_solution, write_example
from jax_occupancy.example import write_map_example
from jax_occupancy.refinement._refine import model_of, reflections_of

pytestmark = pytest.mark.usefixtures("x64")

# Where the answer is not looked at.
QUICK = {"starts": 0, "b_factors": "held", "positions": "held", "throw": False}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


class DataSet(pd.DataFrame):
    """As one of reciprocalspaceship: a table that knows its crystal."""

    _metadata = ("cell", "spacegroup")


def test_structure_and_mtz_give_what_their_files_do(files, solution, tmp_path):
    structure, mtz = gemmi.read_structure(str(files.model)), gemmi.read_mtz_file(str(files.reflections))
    found = refine(structure, mtz, starts=1)
    np.testing.assert_allclose(found.occupancies, solution.occupancies, atol=1e-6)
    refined = found.structure()
    occupancies = [site.atom.occ for site in refined[0].all()]
    np.testing.assert_allclose(occupancies, found.occupancies, atol=1e-6)
    before, after = ([site.atom.pos.tolist() for site in one[0].all()] for one in (structure, refined))
    np.testing.assert_allclose(before, after, atol=1e-6)
    save_solution(tmp_path / "s.npz", found)
    loaded = load_solution(tmp_path / "s.npz")
    with pytest.raises(ValueError, match="has no model: give the one that was refined"):
        loaded.structure()
    again = [site.atom.occ for site in loaded.structure(structure)[0].all()]
    np.testing.assert_allclose(again, occupancies)


def test_reflections_in_memory_take_the_crystal_of_the_model_where_they_have_none(example, files):
    model, expected, _ = example
    mtz = gemmi.read_mtz_file(str(files.reflections))
    frame = expected.to_dataframe()
    data = DataSet(frame)
    data.cell, data.spacegroup = gemmi.UnitCell(30, 40, 50, 90, 90, 90), gemmi.SpaceGroup("P 2 2 2")
    for given, cell in ((mtz, model.cell), (frame, model.cell), (data, data.cell)):
        found = reflections_of(given, model)
        assert found.n_reflections == expected.n_reflections
        assert found.n_free == expected.n_free
        np.testing.assert_allclose(found.cell.parameters, cell.parameters, rtol=1e-6)
    found = reflections_of(frame.assign(cell=1, spacegroup=2), model)  # columns of such names are no crystal
    assert found.cell.parameters == model.cell.parameters
    bare = dataclasses.replace(model, cell=None, spacegroup=None)
    with pytest.raises(ValueError, match="cell"):
        reflections_of(frame, bare)


def test_a_structure_refined_in_a_map_keeps_its_cell(tmp_path):
    files = write_map_example(tmp_path)
    structure = gemmi.read_structure(str(files.model))
    structure.cell = gemmi.UnitCell(100, 100, 100, 90, 90, 90)
    found = refine(structure, read_maps(files.half1, files.half2, resolution=3.0), **QUICK)
    assert found.structure().cell.parameters == structure.cell.parameters


def test_a_series_of_mtz_in_memory_has_names(files):
    mtz = gemmi.read_mtz_file(str(files.reflections))
    series = refine_series(str(files.model), [mtz, files.reflections], **QUICK)
    assert list(series.solutions) == ["data 1", "example"]


def test_a_structure_of_two_models_is_told_by_its_name(files):
    structure = gemmi.read_structure(str(files.model))
    structure.add_model(structure[0].clone())
    with pytest.raises(ValueError, match="the structure 'example' has 2 models"):
        model_of(structure)


def test_a_model_is_taken_as_it_is(example):
    assert model_of(example[0]) is example[0]
