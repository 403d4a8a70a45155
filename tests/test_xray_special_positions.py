import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import fixed_structure_factors, site_weights


def make_structure(atoms, spacegroup="P 1 2 1", cell=(20, 21, 22, 90, 95, 90)):
    """Atoms are (residue, name, altloc, element, xyz, occupancy); one chain."""
    structure = gemmi.Structure()
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(*cell), spacegroup
    chain, residues = gemmi.Chain("A"), {}
    for serial, (number, name, altloc, element, xyz, occupancy) in enumerate(atoms, start=1):
        atom = gemmi.Atom()
        atom.name, atom.altloc, atom.element = name, altloc or "\0", gemmi.Element(element)
        atom.pos, atom.occ, atom.serial, atom.b_iso = gemmi.Position(*xyz), occupancy, serial, 15
        residues.setdefault(number, []).append(atom)
    for number, members in residues.items():
        residue = gemmi.Residue()
        residue.name, residue.seqid = "HOH", gemmi.SeqId(number, " ")
        for atom in members:
            residue.add_atom(atom)
        chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure.add_model(model)
    return structure


ATOMS = [
    (1, "O", "", "O", (0, 3, 0), 1.0),  # on the 2-fold, chemical
    (2, "O", "", "O", (0, 6, 0), 0.4),  # on the 2-fold, crystallographic
    (3, "O", "", "O", (5, 6, 4), 1.0),  # general
    (1, "H1", "", "H", (0.7, 3.6, 0.2), 1.0),  # 1.46 Å from its image: not itself special
    (4, "O", "A", "O", (0, 9, 0), 0.5),
    (4, "O", "B", "O", (1.5, 9, 0), 0.5),
    (4, "H1", "B", "H", (0.8, 9.1, 0), 0.5),  # near the axis and near A, but B's
    (4, "H1", "A", "H", (0.6, 9.7, 0), 0.5),
    (5, "O", "", "O", (0.1, 12, 0), 0.51),
]


def test_two_fold_axis():
    assert site_weights(make_structure(ATOMS)).tolist() == [0.5, 1, 1, 0.5, 1, 1, 1, 1, 0.5]


def test_occupancies_given_decide_the_convention():
    occupancies = np.array([0.3, 0.9, 1, 1, 0.6, 0.6, 1, 1, 0.2])
    assert site_weights(make_structure(ATOMS), occupancies).tolist() == [1, 0.5, 1, 1, 0.5, 1, 1, 0.5, 1]


@pytest.mark.parametrize(("spacegroup", "order"), [("P 2 3", 12), ("P 4 3 2", 24), ("P 1", 1)])
def test_higher_orders(spacegroup, order):
    structure = make_structure([(1, "ZN", "", "ZN", (0, 0, 0), 1.0)], spacegroup, (20, 20, 20, 90, 90, 90))
    assert site_weights(structure).tolist() == [1 / order]


def test_six_fold_written_with_two_decimals():
    cell = (20, 20, 30, 90, 90, 120)
    for occupancy, weight in ((0.17, 1.0), (0.2, 1 / 6)):
        structure = make_structure([(1, "ZN", "", "ZN", (0, 0, 1.5), occupancy)], "P 6", cell)
        assert site_weights(structure).tolist() == [weight]


def test_structure_is_not_changed():
    structure = make_structure(ATOMS)
    site_weights(structure)
    assert structure.cell.images == []


def test_fixed_atom_on_the_axis_counts_once():
    hkl = np.array([[0, 0, 1], [2, 1, -3], [4, 0, 0]])
    carbon = [(1, "C", "", "C", (0, 3, 0), 1.0)]
    chemical = fixed_structure_factors(make_structure(carbon), hkl, refinable=[])
    half = [(1, "C", "", "C", (0, 3, 0), 0.5)]
    crystallographic = fixed_structure_factors(make_structure(half), hkl, refinable=[])
    np.testing.assert_allclose(chemical, crystallographic, rtol=1e-6)
    structure = make_structure(half)
    structure.setup_cell_images()
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    wanted = [calculator.calculate_sf_from_model(structure[0], h) for h in hkl.tolist()]
    np.testing.assert_allclose(chemical, wanted, rtol=1e-3)
    assert abs(chemical[0]) < 6.1  # one carbon in the cell, not two


def test_occupancies_of_the_wrong_length():
    with pytest.raises(ValueError, match=r"occupancies: got shape \(2,\), wanted \(9,\)"):
        site_weights(make_structure(ATOMS), np.ones(2))


def test_serials_that_are_no_positions():
    structure = make_structure(ATOMS)
    structure[0][0][0][0].serial = 77
    with pytest.raises(ValueError, match="serial numbers of the 9 atoms"):
        site_weights(structure)
