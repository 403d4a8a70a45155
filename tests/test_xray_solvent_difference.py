import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import group_solvent_structure_factors, solvent_structure_factors
from jax_occupancy.xray._mask_grid import MaskGrid, mask_radius

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


def slow(structure, hkl, groups, sets, refinable, spacing):
    """Masks of the whole cell by gemmi, one for every state."""

    def mask(without):
        return solvent_structure_factors(structure, hkl, refinable=refinable, without=without, spacing=spacing)

    full, empty, rows = mask([]), np.zeros(len(hkl), complex), []
    for group, label in zip(groups, sets, strict=True):
        others = np.concatenate([g for g, other in zip(groups, sets, strict=True) if other == label])
        rows.append(mask(np.setdiff1d(others, group)) - mask(others))
    for label in set(sets):
        empty += mask(np.concatenate([g for g, other in zip(groups, sets, strict=True) if other == label])) - full
    return empty, np.array(rows)


@pytest.mark.parametrize("spacegroup", CELLS)
def test_equals_the_difference_of_whole_masks(spacegroup):
    structure = make_structure(spacegroup)
    hkl, groups, sets = reflections(structure), [[0, 1, 13], [2, 3, 4], [5], [6, 7]], [5, 3, 3, 3]
    found = group_solvent_structure_factors(structure, hkl, groups, sets=sets, spacing=0.55)
    empty, rows = slow(structure, hkl, groups, sets, np.concatenate(groups), 0.55)
    scale = np.abs(empty).max()
    np.testing.assert_allclose(found.empty, empty, atol=1e-5 * scale)
    np.testing.assert_allclose(found.groups, rows, atol=1e-5 * scale)
    assert (np.abs(rows).max(axis=1) > 1e-2 * scale).all()


def test_atoms_on_special_positions_and_groups_that_touch_their_images():
    structure = make_structure("P 63 2 2")
    for site in structure[0].all():
        if site.atom.serial in (1, 2):  # on the six-fold axis and beside it
            site.atom.pos = gemmi.Position(0.0 if site.atom.serial == 1 else 1.1, 0.0, 4.0)
    hkl, groups = reflections(structure), [[0], [1], [0, 1]]
    for group in groups:
        found = group_solvent_structure_factors(structure, hkl, [group])
        empty, rows = slow(structure, hkl, [group], [0], group, 0.4)
        # the masks are transformed in single precision, so each is good to 1e-7 of the volume
        np.testing.assert_allclose(found.groups, rows, atol=1e-7 * structure.cell.volume)
        np.testing.assert_allclose(found.empty, empty, atol=1e-7 * structure.cell.volume)
        assert np.abs(rows).max() > 1


def test_two_poses_that_are_not_always_there():
    """The caller's sum gives the mask of each state: none, one, the other."""
    structure = make_structure()
    hkl, poses = reflections(structure), [[0, 1, 2], [2, 3]]
    found = group_solvent_structure_factors(structure, hkl, poses, sets=[0, 0])
    mask = solvent_structure_factors(structure, hkl, refinable=range(4), spacing=0.4)
    for q, absent in (([0, 0], [0, 1, 2, 3]), ([1, 0], [3]), ([0, 1], [0, 1])):
        wanted = solvent_structure_factors(structure, hkl, refinable=range(4), without=absent, spacing=0.4)
        got = mask + found.empty + np.array(q) @ found.groups
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(mask).max())
        assert np.abs(wanted - mask).max() > 1e-3 * np.abs(mask).max()


def test_no_room_for_solvent():
    structure = make_structure()
    for site in structure[0].all():
        if site.atom.serial in (1, 2):  # the same place
            site.atom.pos, site.atom.element = gemmi.Position(5, 5, 5), gemmi.Element("C")
    hkl = reflections(structure)
    found = group_solvent_structure_factors(structure, hkl, [[0], [], [13]], refinable=[0, 1])
    assert not found.groups.any()
    assert not found.empty.any()
    as_one = group_solvent_structure_factors(structure, hkl, [[0, 1]])
    assert as_one.groups.any()


def test_other_refinable_atoms_stay_and_atoms_at_zero_do_not():
    structure = make_structure()
    hkl, occupancies = reflections(structure), np.r_[np.ones(7), np.zeros(7)]
    rows = {}
    for name, refinable in (("alone", [0, 1]), ("beside", range(14))):
        found = group_solvent_structure_factors(structure, hkl, [[0, 1]], occupancies=occupancies, refinable=refinable)
        rows[name] = found.groups
        wanted = [
            solvent_structure_factors(
                structure, hkl, refinable=refinable, without=without, occupancies=occupancies, spacing=0.4
            )
            for without in ([], [0, 1])
        ]
        np.testing.assert_allclose(found.groups[0], wanted[0] - wanted[1], atol=1e-5 * np.abs(wanted).max())
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


def test_radii_are_those_of_the_table_of_cctbx():
    wanted = {"C": 1.775, "N": 1.5, "O": 1.45, "S": 1.8, "ZN": 1.39, "MG": 1.73, "H": 0.0, "D": 0.0}
    assert {element: mask_radius(element) for element in wanted} == pytest.approx(wanted, abs=1e-12)


def test_points_around_an_atom_in_an_oblique_cell():
    structure = make_structure()
    grid = MaskGrid.from_structure(structure, 0.7)
    place = np.array([[0.03, 0.97, 0.51], [0.4, 0.2, 0.0]])
    every = grid.points(np.arange(grid.size)) / grid.shape
    for found, at in zip(grid.around(place, 2.5), place, strict=True):
        distance = [structure.cell.find_nearest_image(structure.cell.orthogonalize(gemmi.Fractional(*at)),
                    structure.cell.orthogonalize(gemmi.Fractional(*x))).dist() for x in every]  # fmt: skip
        np.testing.assert_array_equal(np.sort(found), np.flatnonzero(np.array(distance) <= 2.5))
