"""Selections in gemmi's syntax."""

import pytest

from jax_occupancy.io import read_model, select_atoms

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
