"""The mask of the bulk solvent, and how it changes when groups leave."""

from functools import partial
from itertools import product

import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import (
    fixed_structure_factors,
    group_solvent_structure_factors,
    solvent_structure_factors,
)

CELLS = {
    "P 1": gemmi.UnitCell(17, 19, 21, 75, 82, 97),
    "C 1 2 1": gemmi.UnitCell(24, 17, 19, 90, 107, 90),
    "P 63 2 2": gemmi.UnitCell(24, 24, 31, 90, 90, 120),
    "F 2 3": gemmi.UnitCell(33, 33, 33, 90, 90, 90),
}


def make_structure(spacegroup="P 1", n=14, seed=4):
    """Random atoms of five elements; the last one is a hydrogen."""
    rng = np.random.default_rng(seed)
    structure = gemmi.Structure()
    structure.cell, structure.spacegroup_hm = CELLS[spacegroup], spacegroup
    chain, residue, model = gemmi.Chain("A"), gemmi.Residue(), gemmi.Model(1)
    for serial in rng.permutation(n) + 1:
        atom = gemmi.Atom()
        atom.pos, atom.serial = gemmi.Position(*rng.uniform(2, 9, 3)), int(serial)
        atom.element = gemmi.Element("H" if serial == n else ["C", "N", "O", "Zn"][serial % 4])
        atom.occ = 0.5
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    return structure


def reflections(structure, d_min=2.6):
    return gemmi.make_miller_array(structure.cell, structure.find_spacegroup(), d_min)


def mask_without(structure, hkl, absent, refinable, occupancies=None):
    """The mask of a structure in which some atoms are not there."""
    occupancies = np.ones(structure[0].count_atom_sites()) if occupancies is None else occupancies.copy()
    occupancies[np.asarray(absent, int)] = 0
    present = np.setdiff1d(refinable, absent).astype(int)
    return solvent_structure_factors(structure, hkl, refinable=present, occupancies=occupancies)


def slow(structure, hkl, groups):
    """Masks of the whole cell by gemmi, one for every state of a single set."""
    refinable = np.unique(np.concatenate(groups))
    full, none = (mask_without(structure, hkl, absent, refinable) for absent in ([], refinable))
    rows = [mask_without(structure, hkl, np.setdiff1d(refinable, group), refinable) - none for group in groups]
    return none - full, np.array(rows)


@pytest.mark.parametrize("spacegroup", CELLS)
def test_equals_the_difference_of_whole_masks(spacegroup):
    structure = make_structure(spacegroup)
    hkl, groups = reflections(structure), [[2, 3, 4], [5], [6, 7, 13]]
    found = group_solvent_structure_factors(structure, hkl, groups, sets=[3, 3, 3])
    empty, rows = slow(structure, hkl, groups)
    scale = np.abs(empty).max()
    np.testing.assert_allclose(found.empty, empty, atol=1e-5 * scale)
    np.testing.assert_allclose(found.groups, rows, atol=1e-5 * scale)
    assert (np.abs(rows).max(axis=1) > 1e-2 * scale).all()


def mean_mask(structure, hkl, sets, occupancies):
    """The mean of the masks of cells in which each set is in one of its states, whatever the others are in."""
    refinable, total = np.unique(np.concatenate([group for groups in sets for group in groups])), 0
    states = [[(1 - sum(q), []), *zip(q, groups, strict=True)] for groups, q in zip(sets, occupancies, strict=True)]
    for cell in product(*states):
        there = [atom for _, group in cell for atom in group]
        often = np.prod([often for often, _ in cell])
        total = total + often * mask_without(structure, hkl, np.setdiff1d(refinable, there), refinable)
    return total


@pytest.mark.parametrize("at", [(0.3, 0.5, 0.1, 0.6), (0.02, 0.3, 0.3, 0.03), (0.9, 0.2, 0.75, 0.95)])
@pytest.mark.parametrize("spacegroup", ["P 1", "C 1 2 1"])
def test_sets_beside_each_other_are_absent_one_by_one(spacegroup, at):
    structure = make_structure(spacegroup, seed=5)
    for site in structure[0].all():  # in a row, as waters are
        if (place := site.atom.serial - 1) < 4:
            site.atom.pos, site.atom.element = gemmi.Position(12, 3 + 2.7 * place, 15), gemmi.Element("O")
    hkl, sets = reflections(structure, 3.0), [[[0]], [[1], [1, 2]], [[3]]]
    groups, labels = [[0], [1], [1, 2], [3]], [0, 1, 1, 2]
    shares = lambda q: ([q[0]], [q[1], q[2]], [q[3]])  # noqa: E731
    found = group_solvent_structure_factors(structure, hkl, groups, sets=labels, at=np.array(at))
    full = solvent_structure_factors(structure, hkl, refinable=range(4))
    wanted = mean_mask(structure, hkl, sets, shares(at))
    got = full + found.empty + np.array(at) @ found.groups
    assert np.linalg.norm(got - wanted) < 0.1 * np.linalg.norm(wanted - full)
    for group, row in enumerate(found.groups):
        absent = np.where(np.array(labels) == labels[group], 0, at)
        there = np.where(np.arange(4) == group, 1, absent)
        change = mean_mask(structure, hkl, sets, shares(there)) - mean_mask(structure, hkl, sets, shares(absent))
        assert np.linalg.norm(row - change) < 0.15 * np.linalg.norm(change)


def test_atoms_on_special_positions_and_groups_that_touch_their_images():
    structure = make_structure("P 63 2 2")
    for site in structure[0].all():
        if site.atom.serial in (1, 2):  # on the six-fold axis and beside it
            site.atom.pos = gemmi.Position(0.0 if site.atom.serial == 1 else 1.1, 0.0, 4.0)
    hkl, groups = reflections(structure), [[0], [1], [0, 1]]
    for group in groups:
        found = group_solvent_structure_factors(structure, hkl, [group])
        empty, rows = slow(structure, hkl, [group])
        # the masks are transformed in single precision, so each is good to 1e-7 of the volume
        np.testing.assert_allclose(found.groups, rows, atol=1e-7 * structure.cell.volume)
        np.testing.assert_allclose(found.empty, empty, atol=1e-7 * structure.cell.volume)
        assert np.abs(rows).max() > 1


def test_two_poses_that_are_not_always_there():
    """The caller's sum gives the mask of each state: none, one, the other."""
    structure = make_structure()
    hkl, poses = reflections(structure), [[0, 1, 2], [2, 3]]
    found = group_solvent_structure_factors(structure, hkl, poses, sets=[0, 0])
    mask = solvent_structure_factors(structure, hkl, refinable=range(4))
    for q, absent in (([0, 0], [0, 1, 2, 3]), ([1, 0], [3]), ([0, 1], [0, 1])):
        wanted = mask_without(structure, hkl, absent, range(4))
        got = mask + found.empty + np.array(q) @ found.groups
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(mask).max())
        assert np.abs(wanted - mask).max() > 1e-3 * np.abs(mask).max()


def test_no_room_for_solvent():
    structure = make_structure()
    for site in structure[0].all():
        if site.atom.serial in (1, 2):  # the same place
            site.atom.pos, site.atom.element = gemmi.Position(5, 5, 5), gemmi.Element("C")
    hkl = reflections(structure)
    found = group_solvent_structure_factors(structure, hkl, [[0], [], [13]])
    assert not found.groups.any()
    assert not found.empty.any()
    as_one = group_solvent_structure_factors(structure, hkl, [[0, 1]])
    assert as_one.groups.any()


def test_other_refinable_atoms_stay_and_atoms_at_zero_do_not():
    structure = make_structure()
    hkl, occupancies = reflections(structure), np.r_[np.ones(7), np.zeros(7)]
    rows = {}
    for name, others in (("alone", []), ("beside", [range(2, 14)])):
        found = group_solvent_structure_factors(structure, hkl, [[0, 1], *others], occupancies=occupancies)
        rows[name] = found.groups[0]
        refinable = np.concatenate([[0, 1], *others])
        wanted = [mask_without(structure, hkl, absent, refinable, occupancies) for absent in ([], [0, 1])]
        np.testing.assert_allclose(rows[name], wanted[0] - wanted[1], atol=1e-5 * np.abs(wanted).max())
    assert np.linalg.norm(rows["alone"]) > 1.01 * np.linalg.norm(rows["beside"])


def test_zero_beyond_the_limit_and_no_reflections():
    structure = make_structure()
    hkl = reflections(structure, 1.5)
    low = structure.cell.calculate_d_array(hkl) > 2.0
    found = group_solvent_structure_factors(structure, hkl, [[0], [1]])
    assert found.groups.dtype == np.complex64
    assert not found.groups[:, ~low].any()
    np.testing.assert_allclose(
        found.groups[:, low], group_solvent_structure_factors(structure, hkl[low], [[0], [1]])[1]
    )
    assert group_solvent_structure_factors(structure, hkl[:0], [[0]]).groups.shape == (1, 0)
    assert group_solvent_structure_factors(structure, hkl, []).groups.shape == (0, len(hkl))


def test_arguments_that_do_not_match():
    structure = make_structure()
    hkl = reflections(structure)
    with pytest.raises(ValueError, match=r"groups: 1 positions lie outside the file, first \[14\]"):
        group_solvent_structure_factors(structure, hkl, [[14]])
    with pytest.raises(ValueError, match=r"sets: got int64 of shape \(1,\), wanted \(2,\) integers"):
        group_solvent_structure_factors(structure, hkl, [[0], [1]], sets=[0])
    structure.cell = gemmi.UnitCell()
    with pytest.raises(ValueError, match="wanted that of a crystal"):
        group_solvent_structure_factors(structure, hkl, [[0]])


def test_radii_are_those_of_gemmi_s_masks():
    """An atom of each element, alone: it keeps out what gemmi's mask does, which has cctbx's radii but hides them."""
    elements = [gemmi.Element(number).name for number in range(119)] + ["D"]
    for element in elements:
        structure = make_structure(n=1)
        structure[0][0][0][0].element = gemmi.Element(element)
        structure.cell = gemmi.UnitCell(15, 15, 15, 90, 90, 90)
        hkl = np.array([[0, 0, 1], [1, 2, 0]])
        found = group_solvent_structure_factors(structure, hkl, [[0]])
        empty, _ = slow(structure, hkl, [[0]])
        np.testing.assert_allclose(found.empty, empty, atol=1e-3, err_msg=element)
        assert (np.abs(empty).max() > 1) == (element not in ("H", "D"))


def row_of_atoms():
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


ROW = row_of_atoms()
ROW_HKL = gemmi.make_miller_array(ROW.cell, ROW.find_spacegroup(), 2.5)


def test_refinable_atoms_are_inside_whatever_their_occupancy():
    all_in = solvent_structure_factors(ROW, ROW_HKL, refinable=range(8))
    ignored = solvent_structure_factors(ROW, ROW_HKL, refinable=range(6))
    assert np.linalg.norm(all_in - ignored) > 0.1 * np.linalg.norm(all_in)
    occupied = solvent_structure_factors(ROW, ROW_HKL, refinable=[], occupancies=np.ones(8))
    np.testing.assert_array_equal(all_in, occupied)
    for start in (np.zeros(8), np.full(8, 0.3)):
        np.testing.assert_array_equal(
            solvent_structure_factors(ROW, ROW_HKL, refinable=range(8), occupancies=start), all_in
        )


def test_mask_is_one_in_the_solvent():
    none = np.zeros(8)
    no_atoms = solvent_structure_factors(ROW, np.array([[0, 0, 0], [2, 2, 0]]), refinable=[], occupancies=none)
    np.testing.assert_allclose(no_atoms, [ROW.cell.volume, 0], atol=0.1)
    some = solvent_structure_factors(ROW, np.array([[0, 0, 0], [2, 2, 0]]), refinable=range(8))
    assert 0.5 * ROW.cell.volume < some[0].real < 0.97 * ROW.cell.volume


def test_structure_is_not_changed():
    before = ROW.make_pdb_string()
    solvent_structure_factors(ROW, ROW_HKL, refinable=range(8))
    assert ROW.make_pdb_string() == before


def test_no_reflections():
    assert solvent_structure_factors(ROW, ROW_HKL[:0], refinable=[0]).shape == (0,)


def test_positions_outside_the_file():
    with pytest.raises(ValueError, match=r"refinable: 1 positions lie outside the file, first \[8\]"):
        solvent_structure_factors(ROW, ROW_HKL, refinable=[8])


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
def test_coordinates_that_no_atom_has(value):
    structure = row_of_atoms()
    structure[0][0][0][2].pos = gemmi.Position(1, value, 2)
    for call in (solvent_structure_factors, partial(fixed_structure_factors, occupancies=np.ones(8))):
        with pytest.raises(
            ValueError, match=r"1 atoms have a coordinate that is not finite or beyond .* positions \[2\]"
        ):
            call(structure, ROW_HKL, refinable=[0])
    with pytest.raises(ValueError, match=r"1 atoms have a coordinate that is not finite or beyond .* positions \[2\]"):
        group_solvent_structure_factors(structure, ROW_HKL, [[0]])


def test_a_cell_that_no_memory_holds_is_refused_before_it_is_tried():
    """4,000 Å: 20 bytes for each point of a grid of 0.4 Å are 20,000 GB; the reflections are those of a small cell."""
    structure = make_structure()
    structure.cell = gemmi.UnitCell(4000, 4000, 4000, 90, 90, 90)
    hkl, of_large = np.array([[10, 2, 3], [1, 9, 9]]), np.array([[1000, 2, 1000]])
    masks = [
        partial(solvent_structure_factors, structure, hkl, refinable=[]),
        partial(group_solvent_structure_factors, structure, of_large // 500, [[0]]),
        partial(fixed_structure_factors, structure, of_large, refinable=[], occupancies=np.ones(14)),
    ]
    for make, gigabytes in zip(masks, (20000, 20000, 3600), strict=True):
        with pytest.raises(ValueError, match=r"over the cell 4000 4000 4000 90 90 90 takes (\d+) GB") as caught:
            make()
        assert float(str(caught.value).split(" GB")[0].split()[-1]) == pytest.approx(gigabytes, rel=0.02)
        assert str(caught.value).endswith("take a machine with more memory")


def test_fewer_data_are_advised_where_they_need_a_coarser_grid(monkeypatch):
    """140 Å: 0.9 GB for a grid of 0.4 Å, 7 GB for that of 0.2 Å which data to 0.6 Å need."""
    monkeypatch.setattr("jax_occupancy.xray._checks.memory_of_machine", lambda: 1.0)
    structure = make_structure()
    structure.cell = gemmi.UnitCell(140, 140, 140, 90, 90, 90)
    with pytest.raises(ValueError, match=r"a grid of 0\.20 Å .* or with d_min=\.\.\. fewer data"):
        solvent_structure_factors(structure, np.array([[233, 0, 0]]), refinable=[])
