import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import across_symmetry, fixed_structure_factors, read_sites, site_orders


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


def sites_of(structure):
    """With the occupancies of the structure, whose atoms are in the order of the file or of residues."""
    occupancies = np.zeros(structure[0].count_atom_sites())
    for site in structure[0].all():
        occupancies[site.atom.serial - 1] = site.atom.occ
    return read_sites(structure, occupancies)


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
    # Residue 4: A at 0.5 would be a full site, which B at 0.5 contradicts; so both are chemical.
    sites = sites_of(make_structure(ATOMS))
    assert np.flatnonzero(sites.crystallographic).tolist() == [1]
    assert sites.orders.tolist() == [2, 2, 1, 2, 2, 1, 1, 2, 2]


def test_alternates_share_the_site():
    """0.25 + 0.25 on a 2-fold axis can be crystallographic, 0.5 + 0.5 can't, nor 0.3 beside 0.5 off the axis."""
    for a, b, place, wanted in (
        (0.25, 0.25, 9, [True, True]),
        (0.5, 0.5, 9, [False, False]),
        (0.3, 0.4, 4, [True, False]),
        (0.3, 0.5, 4, [False, False]),
    ):
        pair = [(4, "O", "A", "O", (0, 3, 0), a), (4, "O", "B", "O", (0 if place == 9 else 1.5, place, 0), b)]
        sites = sites_of(make_structure(pair))
        assert sites.crystallographic.tolist() == wanted


def test_there_and_back():
    sites = sites_of(make_structure(ATOMS))
    np.testing.assert_allclose(sites.chemical, [1, 0.8, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.51])
    np.testing.assert_array_equal(sites.to_file(sites.chemical), sites.in_file)
    np.testing.assert_array_equal(sites.to_file(np.float32(sites.chemical)), sites.in_file)
    np.testing.assert_allclose(sites.to_file(np.full(9, 0.6)), [0.6, 0.3, *[0.6] * 7])


def test_occupancies_out_of_range_come_back_inside():
    pair = [(1, "O", "", "O", (0, 3, 0), 1.3), (2, "O", "", "O", (0, 6, 0), -0.2), (3, "O", "", "O", (5, 6, 4), 1.3)]
    sites = sites_of(make_structure(pair))
    assert sites.to_file(np.clip(sites.chemical, 0, 1)).tolist() == [1, 0, 1]


def test_orders_without_a_cell_and_with_strict_ncs():
    structure = make_structure(ATOMS)
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(), ""
    assert site_orders(structure).tolist() == [1] * 9
    structure.ncs.append(gemmi.NcsOp(gemmi.Transform(), "1", False))
    assert site_orders(structure).tolist() == [1] * 9


def test_occupancies_given_decide_the_convention():
    occupancies = np.array([0.3, 0.9, 1, 1, 0.6, 0.6, 1, 1, 0.2])
    assert np.flatnonzero(read_sites(make_structure(ATOMS), occupancies).crystallographic).tolist() == [0, 3, 8]


@pytest.mark.parametrize(("spacegroup", "order"), [("P 2 3", 12), ("P 4 3 2", 24), ("P 1", 1)])
def test_higher_orders(spacegroup, order):
    structure = make_structure([(1, "ZN", "", "ZN", (0, 0, 0), 1.0)], spacegroup, (20, 20, 20, 90, 90, 90))
    assert site_orders(structure).tolist() == [order]
    assert sites_of(structure).chemical.tolist() == [1.0]


def test_six_fold_written_with_two_decimals():
    cell = (20, 20, 30, 90, 90, 120)
    for occupancy, chemical in ((0.17, 1.0), (0.16, 0.96), (0.2, 0.2)):
        structure = make_structure([(1, "ZN", "", "ZN", (0, 0, 1.5), occupancy)], "P 6", cell)
        assert sites_of(structure).chemical.tolist() == [pytest.approx(chemical)]


@pytest.mark.parametrize(("apart", "order"), [(0.79, 2), (0.81, 1)])
def test_an_atom_and_its_image_are_one_site_up_to_0_8_angstroms(apart, order):
    structure = make_structure([(1, "O", "", "O", (apart / 2, 3, 0), 1.0)], cell=(20, 21, 22, 90, 90, 90))
    assert site_orders(structure).tolist() == [order]


def test_an_atom_a_little_off_a_site_of_several_axes():
    """In P 6 2 2 the origin has 6-fold and 2-fold axes: order 12, of which images up to 0.8 Å away show some only."""
    cell = (40, 40, 60, 90, 90, 120)
    place = gemmi.UnitCell(*cell).orthogonalize(gemmi.Fractional(0.016, 0.005, 0.003))
    structure = make_structure([(1, "ZN", "", "ZN", tuple(place.tolist()), 1.0)], "P 6 2 2", cell)
    assert site_orders(structure).tolist() == [12]


def test_full_sites_with_two_decimals():
    sites = sites_of(make_structure([(1, "ZN", "", "ZN", (0, 0, 1.5), 0.33)], "P 3", (20, 20, 30, 90, 90, 120)))
    assert sites.chemical.tolist() == [1.0]
    np.testing.assert_array_equal(sites.to_file(np.ones(1)), sites.in_file)


def test_structure_is_not_changed():
    structure = make_structure(ATOMS)
    sites_of(structure)
    assert structure.cell.images == []


def test_fixed_atom_on_the_axis_counts_once():
    hkl = np.array([[0, 0, 1], [2, 1, -3], [4, 0, 0]])
    carbon = [(1, "C", "", "C", (0, 3, 0), 1.0)]
    sites = sites_of(make_structure(carbon))
    chemical = fixed_structure_factors(
        make_structure(carbon), hkl, refinable=[], occupancies=sites.chemical / sites.orders
    )
    structure = make_structure([(1, "C", "", "C", (0, 3, 0), 0.5)])
    structure.setup_cell_images()
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    wanted = [calculator.calculate_sf_from_model(structure[0], h) for h in hkl.tolist()]
    np.testing.assert_allclose(chemical, wanted, rtol=1e-3)
    assert abs(chemical[0]) < 6.1  # one carbon in the cell, not two


def test_occupancies_of_the_wrong_length():
    with pytest.raises(ValueError, match=r"occupancies: got shape \(2,\), wanted \(9,\)"):
        read_sites(make_structure(ATOMS), np.ones(2))


def test_serials_that_are_no_positions():
    structure = make_structure(ATOMS)
    structure[0][0][0][0].serial = 77
    with pytest.raises(ValueError, match="serial numbers of the 9 atoms"):
        site_orders(structure)


def ligand(q, letter="", hydrogen=None):
    """Two atoms on the 2-fold axis and two beside it, and a hydrogen on the first."""
    atoms = [
        (9, f"C{i}", letter, "C", xyz, q) for i, xyz in enumerate([(0, 3, 0), (1.2, 3.7, 0), (0, 5, 0), (1, 6, 0)])
    ]
    return atoms if hydrogen is None else [*atoms, (9, "H1", letter, "H", (0.6, 2.2, 0), hydrogen)]


@pytest.mark.parametrize("letter", ["", "A"])
@pytest.mark.parametrize(("q", "across"), [(0.5, True), (0.4, True), (0.6, False), (1.0, False)])
def test_a_molecule_across_an_axis_has_one_occupancy_in_the_convention_of_the_file(q, across, letter):
    structure = make_structure(ligand(q, letter, hydrogen=1.0))
    sites = sites_of(structure)
    assert across_symmetry(structure).tolist() == ([2, 1, 2, 1, 2] if across else [1] * 5)
    assert sites.chemical[:4].tolist() == pytest.approx([q] * 4)
    assert sites.to_file(np.full(5, 0.3))[:4].tolist() == [0.3] * 4
    assert site_orders(structure)[:4].tolist() == ([1, 1, 1, 1] if across else [2, 1, 2, 1])


@pytest.mark.parametrize(("q", "hydrogen"), [(0.5, 1.0), (0.4, 0.4), (0.25, 0.5)])
def test_an_atom_of_a_molecule_across_an_axis_may_count_all_its_images(q, hydrogen):
    """The file has for the atoms on the axis what both orientations put there."""
    atoms = [(*one[:5], 2 * q if one[1] in ("C0", "C2") else q) for one in ligand(q)]
    structure = make_structure([*atoms, (9, "H1", "", "H", (0.6, 2.2, 0), hydrogen)])
    sites = sites_of(structure)
    assert sites.chemical.tolist() == pytest.approx([q] * 5)
    assert across_symmetry(structure).tolist() == [2, 1, 2, 1, 2]
    assert site_orders(structure).tolist() == [1] * 5
    assert sites.to_file(np.full(5, 0.3)).tolist() == pytest.approx([0.6, 0.3, 0.6, 0.3, 0.3 * hydrogen / q])
    np.testing.assert_array_equal(sites.to_file(sites.chemical), sites.in_file)


def test_an_atom_that_has_its_own_occupancy_on_the_axis_is_read_by_itself():
    full = [(9, "SG", "", "S", (0, 3, 0), 0.5), (9, "CB", "", "C", (1.5, 3.7, 0), 1.0)]
    assert sites_of(make_structure(full)).chemical.tolist() == [1.0, 1.0]
    on_the_axis = [(9, name, "", "C", (0, y, 0), 0.4) for name, y in (("C1", 3), ("C2", 4.5))]
    assert sites_of(make_structure(on_the_axis)).chemical.tolist() == pytest.approx([0.8, 0.8])
    exception = [*ligand(0.4), (9, "O9", "", "O", (0, 6.5, 0), 0.2)]
    assert sites_of(make_structure(exception)).chemical.tolist() == pytest.approx([0.4] * 5)


def test_alternates_across_an_axis_share_their_half():
    four = make_structure(ligand(0.25, "A") + ligand(0.25, "B"))
    assert sites_of(four).chemical.tolist() == [0.25] * 8
    assert (across_symmetry(four) == 2).sum() == 4
    assert (across_symmetry(make_structure(ligand(0.5, "A") + ligand(0.5, "B"))) == 1).all()
