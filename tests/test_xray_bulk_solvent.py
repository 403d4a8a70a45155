import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import (
    fixed_structure_factors,
    group_solvent_structure_factors,
    solvent_structure_factors,
)


def make_structure():
    """A row of atoms in a large cell; the last two are at occupancy zero."""
    structure = gemmi.Structure()
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(22, 24, 26, 90, 90, 90), "P 21 21 21"
    chain, residue, model = gemmi.Chain("A"), gemmi.Residue(), gemmi.Model(1)
    for serial in range(1, 9):
        atom = gemmi.Atom()
        atom.pos, atom.element, atom.serial = gemmi.Position(1.5 * serial, 6, 5), gemmi.Element("C"), serial
        atom.occ = 0.0 if serial > 6 else 0.5
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    return structure


STRUCTURE = make_structure()
HKL = gemmi.make_miller_array(STRUCTURE.cell, STRUCTURE.find_spacegroup(), 2.5)


def test_refinable_atoms_are_inside_whatever_their_occupancy():
    all_in = solvent_structure_factors(STRUCTURE, HKL, refinable=range(8))
    ignored = solvent_structure_factors(STRUCTURE, HKL, refinable=range(6))
    assert np.linalg.norm(all_in - ignored) > 0.1 * np.linalg.norm(all_in)
    occupied = solvent_structure_factors(STRUCTURE, HKL, refinable=[], occupancies=np.ones(8))
    np.testing.assert_array_equal(all_in, occupied)
    for start in (np.zeros(8), np.full(8, 0.3)):
        np.testing.assert_array_equal(
            solvent_structure_factors(STRUCTURE, HKL, refinable=range(8), occupancies=start), all_in
        )


def test_without_a_group_equals_a_structure_without_it():
    without = solvent_structure_factors(STRUCTURE, HKL, refinable=range(8), without=[6, 7])
    np.testing.assert_array_equal(without, solvent_structure_factors(STRUCTURE, HKL, refinable=range(6)))


def test_mask_is_one_in_the_solvent():
    no_atoms = solvent_structure_factors(STRUCTURE, np.array([[0, 0, 0], [2, 2, 0]]), refinable=[], without=range(8))
    np.testing.assert_allclose(no_atoms, [STRUCTURE.cell.volume, 0], atol=0.1)
    some = solvent_structure_factors(STRUCTURE, np.array([[0, 0, 0], [2, 2, 0]]), refinable=range(8))
    assert 0.5 * STRUCTURE.cell.volume < some[0].real < 0.97 * STRUCTURE.cell.volume


def test_structure_is_not_changed():
    before = STRUCTURE.make_pdb_string()
    solvent_structure_factors(STRUCTURE, HKL, refinable=range(8))
    assert STRUCTURE.make_pdb_string() == before


def test_no_reflections():
    assert solvent_structure_factors(STRUCTURE, HKL[:0], refinable=[0]).shape == (0,)


def test_positions_outside_the_file():
    with pytest.raises(ValueError, match=r"without: 1 positions lie outside the file, first \[8\]"):
        solvent_structure_factors(STRUCTURE, HKL, refinable=[], without=[8])


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
def test_coordinates_that_no_atom_has(value):
    structure = make_structure()
    structure[0][0][0][2].pos = gemmi.Position(1, value, 2)
    for call in (solvent_structure_factors, fixed_structure_factors):
        with pytest.raises(
            ValueError, match=r"1 atoms have a coordinate that is not finite or beyond .* positions \[2\]"
        ):
            call(structure, HKL, refinable=[0])
    with pytest.raises(ValueError, match=r"1 atoms have a coordinate that is not finite or beyond .* positions \[2\]"):
        group_solvent_structure_factors(structure, HKL, [[0]])
