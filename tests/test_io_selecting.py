"""Selections in gemmi's syntax."""

import pytest

from jax_occupancy.io import atoms_within, read_model, select_atoms

LINES = """\
ATOM      1  CA AALA A  -5      11.000  12.000  13.000  0.50 10.00           C
ATOM      2  CA AALA B   7A     11.000  12.000  13.000  0.50 10.00           C
ATOM      3  CA BALA A  -5      11.000  12.000  13.000  0.50 10.00           C
HETATM    4  O   HOH A 101      11.000  12.000  13.000  0.50 10.00           O
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "in.pdb").write_text(LINES)
    return read_model(tmp_path / "in.pdb")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("*", [0, 1, 2, 3]),
        ("//A", [0, 2, 3]),
        ("//A/-5/CA:B", [2]),
        ("//B/7.A", [1]),
        ("(HOH)", [3]),
        ("//*/*/*:", [3]),
        ("[O]", [3]),
        ("//C", []),
    ],
)
def test_positions_are_in_file_order(model, text, wanted):
    assert select_atoms(model, text).tolist() == wanted
    assert select_atoms(model.structure, text).tolist() == wanted


def test_no_selection(model):
    with pytest.raises(ValueError, match="'//A/x' is no selection in gemmi's syntax"):
        select_atoms(model, "//A/x")


@pytest.mark.parametrize(("distance", "wanted"), [(2.01, [0, 1]), (1.99, [0]), (3.61, [0, 1, 2])])
def test_symmetry_images_are_near_too(tmp_path, distance, wanted):
    # the 2-fold axis along z takes the second atom to 2 Å from the first, the cell the third to 3.6 Å
    cell = "CRYST1   20.000   30.000   40.000  90.00  90.00  90.00 P 2 2 2       4\n"
    places = ((5.0, 5.0, 1.0), (-5.0, -5.0, 3.0), (25.0, 35.0, -2.6))
    lines = [f"HETATM    1  O   HOH W   {n}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00           O\n"
             for n, (x, y, z) in enumerate(places, 1)]  # fmt: skip
    (tmp_path / "in.pdb").write_text(cell + "".join(lines))
    model = read_model(tmp_path / "in.pdb")
    assert atoms_within(model, select_atoms(model, "//W/1"), distance).tolist() == wanted
