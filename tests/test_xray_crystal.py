import gemmi
import pytest

from jax_occupancy.xray import Crystal

CELL = gemmi.UnitCell(30, 30, 30, 90, 90, 90)


@pytest.mark.parametrize(
    ("name", "operations", "centrings", "centric"),
    [
        ("P 1", 1, 1, False),
        ("P -1", 1, 1, True),
        ("C 1 2 1", 2, 2, False),
        ("P 2 21 21", 4, 1, False),
        ("R 3:H", 3, 3, False),
        ("I 2 3", 12, 2, False),
        ("F 4 3 2", 24, 4, False),
        ("F d -3 m:2", 24, 4, True),
    ],
)
def test_operations_are_reduced(name, operations, centrings, centric):
    crystal = Crystal.from_gemmi(CELL, gemmi.SpaceGroup(name))
    assert len(crystal.rotations) == operations
    assert len(crystal.centring) == centrings
    assert (crystal.inversion is not None) == centric
    assert operations * centrings * (1 + centric) == len(list(gemmi.SpaceGroup(name).operations()))


def test_no_space_group():
    with pytest.raises(ValueError, match="CRYST1"):
        Crystal.from_gemmi(CELL, None)


def test_no_cell():
    with pytest.raises(ValueError, match="CRYST1"):
        Crystal.from_gemmi(gemmi.UnitCell(), gemmi.SpaceGroup("P 1"))
