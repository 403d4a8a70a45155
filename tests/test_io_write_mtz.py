"""Writing MTZ files: read back by gemmi, refused when they cannot be right."""

import gemmi
import numpy as np
import pytest

from jax_occupancy.io import read_reflections, write_mtz

CELL = gemmi.UnitCell(20, 30, 40, 90, 100, 90)
HKL = np.array([[3, 1, 2], [-1, 2, 3], [0, 2, 0]])
COLUMNS = {"FWT": ("F", [10.5, np.nan, 3.0]), "PHWT": ("P", np.array([-90.0, 0, 180])), "FLAG": ("I", [0, 1, 1])}


def write(path, **changes):
    options = {"hkl": HKL, "cell": CELL, "spacegroup": gemmi.SpaceGroup("P 1 21 1"), "columns": COLUMNS}
    write_mtz(path, **{**options, **changes})


def test_read_back(tmp_path):
    path = tmp_path / "maps.mtz"
    write(path, title="maps of a test", wavelength=1.25)
    mtz = gemmi.read_mtz_file(str(path))
    assert [(c.label, c.type) for c in mtz.columns[3:]] == [("FWT", "F"), ("PHWT", "P"), ("FLAG", "I")]
    np.testing.assert_array_equal(mtz.make_miller_array(), HKL)
    np.testing.assert_array_equal(mtz.column_with_label("FWT").array, np.array([10.5, np.nan, 3], np.float32))
    np.testing.assert_array_equal(mtz.column_with_label("PHWT").array, [-90, 0, 180])
    assert mtz.title == "maps of a test"
    assert mtz.spacegroup.hm == "P 1 21 1"
    assert mtz.get_cell(mtz.columns[3].dataset_id).parameters == CELL.parameters
    assert mtz.dataset(mtz.columns[3].dataset_id).wavelength == pytest.approx(1.25)
    assert mtz.resolution_high() == pytest.approx(CELL.calculate_d_array(HKL).min())
    assert [file.name for file in tmp_path.iterdir()] == ["maps.mtz"]
    # a map can be made of it
    assert np.isfinite(mtz.transform_f_phi_to_map("FWT", "PHWT").array).all()


def test_data_come_back(tmp_path):
    columns = {"FP": ("F", [1, 2, 3]), "SIGFP": ("Q", [1, 1, 1]), "FREE": ("I", [1, 0, 1])}
    write(tmp_path / "data.mtz", columns=columns)
    data = read_reflections(tmp_path / "data.mtz")
    assert (data.amplitude.tolist(), data.free.tolist(), data.wavelength) == ([1, 2, 3], [False, True, False], None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {}}, "no columns: give at least one"),
        ({"columns": {"F": ("F", [1.0, 2.0])}}, r"column F has shape \(2,\); wanted \(3,\)"),
        ({"columns": {"F": ("X", [1.0] * 3)}}, "column F has type 'X'; wanted one letter of"),
        ({"columns": {"F": ("FF", [1.0] * 3)}}, "column F has type 'FF'"),
        ({"columns": {"F": ("F", [1.0, np.inf, 1e39])}}, r"column F is infinite in 2 rows, first \[1 2\]"),
        ({"columns": {"a b": ("F", [1.0] * 3)}}, "column 'a b': a label has 1 to 30"),
        ({"columns": {"H": ("H", [1.0] * 3)}}, "is not H, K or L"),
        ({"columns": {"F" * 31: ("F", [1.0] * 3)}}, "a label has 1 to 30"),
        ({"hkl": np.zeros((0, 3), int), "columns": {"F": ("F", [])}}, "at least one reflection"),
    ],
)
def test_what_cannot_be_written(tmp_path, changes, message):
    path = tmp_path / "maps.mtz"
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        write(path, **changes)
    assert path.read_text() == "old"


def test_folders_that_cannot_be_written_to(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder of .* does not exist"):
        write(tmp_path / "none" / "maps.mtz")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write(tmp_path)
