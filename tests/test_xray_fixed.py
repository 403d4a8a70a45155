import gemmi
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from test_xray_structure_factors import group_structure_factors

from jax_occupancy.xray import Crystal, fixed_structure_factors, group_scatterers


def make_structure(n=40, spacegroup="P 21 21 21", seed=2):
    """Random atoms with shuffled serials, as in a file whose residues are split."""
    rng = np.random.default_rng(seed)
    structure = gemmi.Structure()
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(25, 31, 38, 90, 90, 90), spacegroup
    chain, residue, model = gemmi.Chain("A"), gemmi.Residue(), gemmi.Model(1)
    for serial in rng.permutation(n) + 1:
        atom = gemmi.Atom()
        atom.pos = gemmi.Position(*rng.uniform(1, 24, 3))
        atom.element, atom.serial = gemmi.Element(["C", "N", "S"][serial % 3]), int(serial)
        atom.b_iso, atom.occ = rng.uniform(8, 40), round(rng.uniform(0.3, 1), 2)
        if serial % 2:
            atom.aniso = gemmi.SMat33f(*rng.uniform(0.1, 0.4, 3), *rng.uniform(-0.05, 0.05, 3))
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_cell_images()
    return structure


def make_table(structure):
    rows = {}
    for site in structure[0].all():
        atom, u = site.atom, site.atom.aniso
        rows[atom.serial - 1] = [*atom.pos.tolist(), atom.occ, atom.b_iso, atom.element.name] + (
            u.elements_pdb() if u.nonzero() else [np.nan] * 6
        )
    columns = ["x", "y", "z", "occupancy", "tempfactor", "element", "u11", "u22", "u33", "u12", "u13", "u23"]
    return pd.DataFrame([rows[i] for i in range(len(rows))], columns=columns)


def make_hkl(cell, d_min=1.6):
    spacegroup = gemmi.SpaceGroup("P 21 21 21")
    return gemmi.make_miller_array(cell, spacegroup, d_min)


def occupancies_of(structure):
    found = np.zeros(structure[0].count_atom_sites())
    for site in structure[0].all():
        found[site.atom.serial - 1] = site.atom.occ
    return found


def fixed(structure, hkl, *, refinable=(), **arguments):
    """With the occupancies of the structure."""
    occupancies = occupancies_of(structure)
    return fixed_structure_factors(structure, hkl, refinable=refinable, **{"occupancies": occupancies} | arguments)


def relative_error(got, wanted):
    return np.linalg.norm(np.asarray(got) - wanted) / np.linalg.norm(wanted)


def direct(structure, hkl):
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    return np.array([calculator.calculate_sf_from_model(structure[0], h) for h in hkl.tolist()])


def test_fft_against_direct_summation():
    structure = make_structure()
    hkl = make_hkl(structure.cell)
    wanted = direct(structure, hkl)
    fft = fixed(structure, hkl, rate=1.5)
    assert relative_error(fft, wanted) < 3e-4
    high = np.argsort([structure.cell.calculate_d(h) for h in hkl.tolist()])[: len(hkl) // 10]
    assert relative_error(fft[high], wanted[high]) < 1e-3
    finer = fixed(structure, hkl)
    assert relative_error(finer, wanted) < relative_error(fft, wanted)


@pytest.mark.parametrize("radiation", ["electron", "neutron"])
def test_other_radiations_agree_with_the_groups(radiation):
    structure = make_structure()
    hkl, table = make_hkl(structure.cell, 2.5), make_table(structure)
    with jax.enable_x64(True):
        scatterers = group_scatterers(table, [range(len(table))], structure.cell, radiation=radiation)
        crystal = Crystal.from_gemmi(structure.cell, structure.find_spacegroup())
        G = np.asarray(group_structure_factors(jnp.asarray(hkl), scatterers, crystal, n_groups=1))[0]
    fft = fixed(structure, hkl, occupancies=np.ones(len(table)), radiation=radiation)
    assert relative_error(fft, G) < 1e-3


def test_groups_and_fixed_sum_to_the_whole_structure():
    structure = make_structure()
    hkl, table = make_hkl(structure.cell, 2.0), make_table(structure)
    groups = [[0, 5, 6], [39, 12], [20]]
    q = np.array([table["occupancy"][members[0]] for members in groups])
    weights = np.ones(len(table))
    for members, occupancy in zip(groups, q, strict=True):
        weights[members] = table["occupancy"][members] / occupancy
    with jax.enable_x64(True):
        scatterers = group_scatterers(table, groups, structure.cell, weights=weights)
        crystal = Crystal.from_gemmi(structure.cell, structure.find_spacegroup())
        G = np.asarray(group_structure_factors(jnp.asarray(hkl), scatterers, crystal, n_groups=3))
    rest = fixed(structure, hkl, refinable=np.concatenate(groups))
    assert relative_error(rest + q @ G, direct(structure, hkl)) < 3e-4
    assert relative_error(rest, direct(structure, hkl)) > 0.1


def test_groups_and_fixed_of_a_deposited_structure(data_dir):
    structure = gemmi.read_structure(str(data_dir / "4xof.pdb"))
    for serial, site in enumerate(structure[0].all(), start=1):
        site.atom.serial = serial
    table = make_table(structure)
    moving = np.flatnonzero(table["occupancy"] < 1)
    weights = table["occupancy"].to_numpy()
    hkl = gemmi.make_miller_array(structure.cell, structure.find_spacegroup(), 1.15)[::20]
    with jax.enable_x64(True):
        scatterers = group_scatterers(table, [moving[:150], moving[150:]], structure.cell, weights=weights)
        crystal = Crystal.from_gemmi(structure.cell, structure.find_spacegroup())
        G = np.asarray(group_structure_factors(jnp.asarray(hkl), scatterers, crystal, n_groups=2))
    rest = fixed(structure, hkl, refinable=moving)
    assert relative_error(rest + G.sum(axis=0), direct(structure, hkl)) < 1e-4


def test_occupancies_are_by_position_and_the_structure_stays_as_it_was():
    structure = make_structure()
    hkl = make_hkl(structure.cell, 3.0)
    occupancies = np.zeros(40)
    occupancies[7] = 0.5
    before = structure.make_pdb_string()
    one = fixed(structure, hkl, occupancies=occupancies)
    assert structure.make_pdb_string() == before
    for site in structure[0].all():
        site.atom.occ = 0.5 if site.atom.serial == 8 else 0.0
    assert relative_error(one, direct(structure, hkl)) < 1e-3


def test_nothing_fixed_and_no_reflections():
    structure = make_structure(3)
    hkl = make_hkl(structure.cell, 5.0)
    assert not fixed(structure, hkl, refinable=[0, 1, 2]).any()
    assert fixed(structure, hkl[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"refinable": [3]}, r"refinable: 1 positions lie outside the file, first \[3\]"),
        ({"occupancies": np.ones(2)}, r"occupancies: got shape \(2,\)"),
        ({"occupancies": np.array([1, np.nan, 1])}, r"occupancies: 1 values are not finite, first at positions \[1\]"),
        ({"hkl": np.ones((2, 3))}, "hkl: got float64"),
    ],
)
def test_arguments_that_do_not_match(change, message):
    structure = make_structure(3)
    arguments = {"hkl": make_hkl(structure.cell, 5.0), "refinable": [0]} | change
    with pytest.raises(ValueError, match=message):
        fixed(structure, **arguments)


def test_two_models_and_strict_ncs_are_refused():
    structure = make_structure(3)
    hkl = make_hkl(structure.cell, 5.0)
    structure.ncs.append(gemmi.NcsOp(gemmi.Transform(), "1", given=False))
    with pytest.raises(ValueError, match="strict NCS"):
        fixed(structure, hkl)
    structure = make_structure(3)
    structure.add_model(structure[0])
    with pytest.raises(ValueError, match="got 2 models"):
        fixed(structure, hkl)


def test_unknown_element():
    structure = make_structure(3)
    structure[0][0][0][0].element = gemmi.Element("X")
    with pytest.raises(ValueError, match="no xray form factor"):
        fixed(structure, make_hkl(structure.cell, 5.0))


def group_sum(structure, table, hkl, **beam):
    """All atoms of the table, at occupancy 1, by direct summation in double precision."""
    with jax.enable_x64(True):
        scatterers = group_scatterers(table, [range(len(table))], structure.cell, **beam)
        crystal = Crystal.from_gemmi(structure.cell, structure.find_spacegroup())
        return np.asarray(group_structure_factors(jnp.asarray(hkl), scatterers, crystal, n_groups=1))[0]


def with_elements(structure, symbols):
    for site in structure[0].all():
        site.atom.element = gemmi.Element(symbols[site.atom.serial % len(symbols)])
    return structure


def test_dispersion_of_fixed_atoms_and_of_groups():
    structure = with_elements(make_structure(), ["C", "Zn", "Se", "N"])
    hkl, table = make_hkl(structure.cell), make_table(structure)
    beam = {"wavelength": 1.2836}  # just at the edge of zinc, f′ is −7
    fft = fixed(structure, hkl, occupancies=np.ones(40), **beam)
    assert relative_error(fft, group_sum(structure, table, hkl, **beam)) < 5e-4
    assert relative_error(fft, group_sum(structure, table, hkl)) > 0.05
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    for element in ("C", "Zn", "Se", "N"):
        calculator.addends.set(
            gemmi.Element(element), gemmi.cromer_liberman(gemmi.Element(element).atomic_number, gemmi.hc / 1.2836)[0]
        )
    for site in structure[0].all():
        site.atom.occ = 1.0
    direct_sum = np.array([calculator.calculate_sf_from_model(structure[0], h) for h in hkl[::9].tolist()])
    assert relative_error(group_sum(structure, table, hkl[::9], **beam), direct_sum) < 1e-5


def test_hydrogen_and_deuterium_scatter_neutrons_with_opposite_signs():
    structure = with_elements(make_structure(), ["C", "H", "D", "O"])
    hkl, table = make_hkl(structure.cell, 2.0), make_table(structure)
    fft = fixed(structure, hkl, occupancies=np.ones(40), radiation="neutron")
    assert relative_error(fft, group_sum(structure, table, hkl, radiation="neutron")) < 1e-3
    table["element"] = table["element"].replace("D", "H")
    assert relative_error(fft, group_sum(structure, table, hkl, radiation="neutron")) > 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atom: setattr(atom, "b_iso", -3.0), r"1 atoms have a negative B .* at positions \[3\] with \[-3.0\]"),
        (lambda atom: setattr(atom, "b_iso", np.nan), r"1 atoms have a negative B .* at positions \[3\] with \[nan\]"),
        (
            lambda atom: setattr(atom, "aniso", gemmi.SMat33f(0.2, 0.2, -0.02, 0, 0, 0)),
            r"1 atoms have a negative B .* at positions \[3\] with \[-1.58\]",
        ),
        (
            lambda atom: setattr(atom, "pos", gemmi.Position(1, np.nan, 2)),
            "1 atoms have a coordinate that is not finite",
        ),
    ],
)
def test_impossible_atoms_are_refused_in_fixed_and_groups(change, message):
    structure = make_structure(8)
    for site in structure[0].all():
        if site.atom.serial == 4:
            site.atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
            change(site.atom)
    hkl = make_hkl(structure.cell, 5.0)
    with pytest.raises(ValueError, match=message):
        fixed(structure, hkl, refinable=[0, 1])
    # left out, it does no harm
    assert np.isfinite(fixed(structure, hkl, refinable=[3])).all()
    with pytest.raises(ValueError, match=r"not finite, first at .*\[3\]"):
        group_scatterers(make_table(structure), [[0, 1], [5, 3]], structure.cell)


def test_a_tensor_a_little_off_positive_definite_and_a_b_of_zero_are_computed():
    structure = make_structure(8)
    for site in structure[0].all():
        if site.atom.serial == 4:
            site.atom.aniso = gemmi.SMat33f(0.2, 0.2, -0.01, 0, 0, 0)
        elif not site.atom.aniso.nonzero():
            site.atom.b_iso = 0.0
    hkl = make_hkl(structure.cell, 2.5)
    found = fixed(structure, hkl, occupancies=np.ones(8))
    assert relative_error(found, group_sum(structure, make_table(structure), hkl)) < 2e-3
