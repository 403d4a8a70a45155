"""The benchmarks' simulated crystals are what they say, and a tiny cell of the calibration runs."""

import json
import sys
from pathlib import Path

import gemmi
import numpy as np
import pytest
from scipy.integrate import quad

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import bench_calibration
import bench_evidence
import bench_full_matrix
import bench_halves
import simulated
from bench_truth import SIDE, cctbx
from simulated_crystal import BRICKS, build_crystal
from test_xray_structure_factors import cctbx_python

from jax_occupancy import group_model, read_model, read_reflections
from jax_occupancy.groups import parse_toml


@pytest.fixture(scope="module")
def crystal():
    return build_crystal((2, 1, 1), resolution=2.5)


@pytest.mark.parametrize("spacegroup", BRICKS)
def test_images_of_the_brick_fill_the_cell_once(spacegroup):
    points = np.random.default_rng(0).random((500, 3))
    inside = np.zeros(500, int)
    for operation in gemmi.SpaceGroup(spacegroup).operations():
        images = points @ (np.array(operation.rot).T / gemmi.Op.DEN) + np.array(operation.tran) / gemmi.Op.DEN
        inside += np.all(images % 1 < BRICKS[spacegroup], axis=1)
    assert set(inside) == {1}


@pytest.mark.parametrize("spacegroup", ["P 21 21 21", "P 43 21 2"])
def test_residues_do_not_clash(spacegroup):
    structure = build_crystal((2, 1, 1), spacegroup=spacegroup).structure
    search = gemmi.NeighborSearch(structure[0], structure.cell, 3).populate()
    contacts = gemmi.ContactSearch(2.2)
    contacts.ignore = gemmi.ContactSearch.Ignore.AdjacentResidues
    assert [str(contact.partner1) for contact in contacts.find_contacts(search)] == []


def test_the_package_finds_the_same_sets(crystal):
    grouping = group_model(simulated.as_model(crystal), crystal.user)
    found = {frozenset(frozenset(g.atoms.tolist()) for g in s.groups) for s in grouping.sets}
    assert found == {frozenset(frozenset(m.tolist()) for m in one.members) for one in crystal.sets}
    nested = [one for one in crystal.sets if one.whole is not None]
    assert len(nested) == sum(s.parent is not None for s in grouping.sets) == 1


def test_true_occupancies_fill_the_sets(crystal):
    for seed in range(20):
        q = simulated.draw_occupancies(crystal, np.random.default_rng(seed))
        for one in crystal.sets:
            values = [q[atoms[0]] for atoms in one.members]
            assert all(np.all(q[atoms] == value) for atoms, value in zip(one.members, values, strict=True))
            whole = 1.0 if one.whole is None else q[crystal.sets[one.whole[0]].members[one.whole[1]][0]]
            assert min(values) >= 0.05
            assert sum(values) == pytest.approx(whole) if one.complete else sum(values) <= whole - 0.05 + 1e-12


def test_a_model_error_is_as_large_as_asked(crystal):
    truth = simulated.draw_truth(crystal, np.random.default_rng(0), coordinates=0.08, b_factors=0.1)
    pairs = list(zip(crystal.structure[0].all(), truth.structure[0].all(), strict=True))
    # 360 atoms: the root mean square is known to 3 % (three coordinates each) and 4 %
    shifts = [ours.atom.pos.dist(theirs.atom.pos) for ours, theirs in pairs]
    assert np.sqrt(np.mean(np.square(shifts))) == pytest.approx(0.08, rel=0.12)
    ratios = [theirs.atom.b_iso / ours.atom.b_iso - 1 for ours, theirs in pairs]
    assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(0.10, rel=0.15)


def test_structure_factors_are_those_of_direct_summation(crystal, monkeypatch):
    monkeypatch.setattr(simulated, "K_SOL", 0.0)
    truth = simulated.draw_truth(crystal, np.random.default_rng(1), coordinates=0.05)
    whole = simulated.Experiment.to(crystal, 2.5)
    hkl = whole.hkl[::60]
    calculator = gemmi.StructureFactorCalculatorX(crystal.structure.cell)
    direct = np.array([calculator.calculate_sf_from_model(truth.structure[0], index) for index in hkl.tolist()])
    found = whole.structure_factors(truth)[::60] / simulated.SCALE
    assert np.linalg.norm(found - direct) < 1e-4 * np.linalg.norm(direct)


@pytest.mark.parametrize("centric", [False, True])
@pytest.mark.parametrize("intensity", [-0.8, 0.3, 9.0])
def test_french_wilson_is_the_posterior_mean(intensity, centric):
    def density(f):
        prior = np.exp(-(f**2) / 4) if centric else f * np.exp(-(f**2) / 2)
        return prior * np.exp(-((f**2 - intensity) ** 2) / 2)

    norm, first, second = (quad(lambda f, k=k: f**k * density(f), 0, 6)[0] for k in range(3))
    mean, spread = simulated.french_wilson(np.array([intensity]), np.array([1.0]), np.array([2.0]), np.array([centric]))
    assert mean[0] == pytest.approx(first / norm, rel=1e-3)
    assert spread[0] == pytest.approx(np.sqrt(second / norm - (first / norm) ** 2), rel=2e-3)


def test_files_hold_what_was_simulated(crystal, tmp_path):
    random = np.random.default_rng(0)
    truth = simulated.draw_truth(crystal, random)
    data = simulated.Experiment.to(crystal, 3.5).measure(truth, random)
    simulated.write_files(crystal, truth, data, tmp_path)
    model, reflections = read_model(tmp_path / "model.cif"), read_reflections(tmp_path / "data.mtz")
    assert model.n_atoms == len(json.loads((tmp_path / "truth.json").read_text())) == crystal.n_atoms
    assert reflections.n_free == data.n_free
    np.testing.assert_allclose(reflections.amplitude, data.amplitude, rtol=1e-6)
    assert parse_toml((tmp_path / "groups.toml").read_text()) == crystal.user


def test_a_tiny_cell_of_the_calibration(tmp_path, capsys):
    file = tmp_path / "numbers.json"
    options = {"--resolutions": ["3.0"], "--boxes": ["2", "1", "1"], "--estimates": ["40"], "--truths": ["noise"]}
    arguments = [word for option, values in options.items() for word in (option, *values)]
    bench_calibration.main([*arguments, "--json", str(file)])
    (row,) = json.loads(file.read_text())
    cell = row["cells"]["noise"]
    # 1,900 reflections have few shells, the scales are straight lines between them: 4.7e-3 if B and positions move.
    assert row["noise_free"] < 6e-3
    assert cell["n"] == 40
    # B and positions are those of the truth here. The pooled z of some 35 estimates, half of them independent, is
    # known to 17 %.
    assert 0.5 < cell["z_held"] < 1.7
    assert cell["z"] <= cell["z_held"]
    assert "3.0 Å" in capsys.readouterr().out


def test_halves_of_the_data_differ_by_what_the_uncertainties_say(example):
    model, data, _ = example
    held = {"starts": 0} | bench_halves.LEVELS["held"]
    difference, esd = bench_halves.halves(model, data, np.random.default_rng(0), held)
    assert difference.size == esd.size >= 12
    assert 0.5 < np.sqrt(np.mean((difference / esd) ** 2)) < 1.5


def test_a_third_of_the_sets_lacks_its_smallest_conformer(example):
    model, _, _ = example
    grouping = group_model(model)
    true, start = bench_evidence.draw(model, grouping, np.random.default_rng(0), waters=0)
    absent = [group for group in grouping.groups if true[group.atoms[0]] == 0]
    assert absent
    for one in grouping.sets:
        assert all(np.ptp(true[group.atoms]) == np.ptp(start[group.atoms]) == 0 for group in one.groups)
        assert sum(true[group.atoms[0]] for group in one.groups) < 1 + 1e-9


def test_evidence_is_counted_by_what_is_true():
    rows = [{"true": true, "llg_absent": absent, "llg_full": full} for true, absent, full in (
        (0.0, 1.0, 900.0), (0.0, 3.5, 900.0), (0.15, 2.0, 50.0), (0.25, 9.0, 50.0), (0.6, 99.0, 99.0), (1.0, 500.0, 0.1)
    )]  # fmt: skip
    assert bench_evidence.summary(rows) == {
        "n_absent": 2, "absent": 0.5, "n_weak": 2, "weak": 0.5, "n_weak_from_0.2": 1, "weak_from_0.2": 1.0, "n_full": 1,
        "full": 0.0,
    }  # fmt: skip


def test_a_model_for_the_full_matrix_has_conformers_apart_and_waters_at_a_half(example, tmp_path, monkeypatch):
    waters = example[0].atoms["resname"].eq("HOH").sum()
    monkeypatch.setattr(bench_full_matrix, "WATERS", waters)
    example[0].structure.make_mmcif_document().write_file(str(tmp_path / "model.cif"))
    bench_full_matrix.partial(tmp_path / "model.cif", tmp_path / "partial.pdb", np.random.default_rng(0))
    structure = gemmi.read_pdb(str(tmp_path / "partial.pdb"))
    sites = list(structure[0].all())
    assert sum(site.residue.is_water() and site.atom.occ == 0.5 for site in sites) == waters
    for one in sites:
        same = [other.atom for other in sites if (other.residue, other.atom.name) == (one.residue, one.atom.name)]
        assert len(same) != 2 or same[0].pos.dist(same[1].pos) > bench_full_matrix.APART
        assert len(same) > 1 or one.residue.is_water() or one.atom.altloc == "\0"


def test_cctbx_finds_the_truth_of_its_own_data(tmp_path):
    """Six atoms, one of them partly there: full-matrix least squares, and all of them refined from wrong places."""
    if cctbx_python() != SIDE[0]:
        pytest.skip("Debian's python3-cctbx is not there")
    structure = gemmi.Structure()
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(9, 10, 11, 90, 90, 90), "P 21 21 21"
    structure.add_model(gemmi.Model(1))
    chain = structure[0].add_chain("A")
    places = ((1, 1, 1), (3.5, 2, 1.5), (2, 4, 4), (6, 6, 2), (4, 8, 6), (7.5, 3, 8))
    for number, (place, occupancy) in enumerate(zip(places, (0.6, 1, 1, 1, 1, 1), strict=True)):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "HOH", gemmi.SeqId(number + 1, " ")
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = "O", gemmi.Element("O"), gemmi.Position(*place)
        atom.occ, atom.b_iso = occupancy, 8 + number
        residue.add_atom(atom)
        chain.add_residue(residue)
    truth, wrong, data, found = (tmp_path / name for name in ("truth.pdb", "wrong.pdb", "data.mtz", "found.pdb"))
    truth.write_text(structure.make_pdb_string())
    cctbx("simulate", truth, data, 0.9, 0, "dry")
    (tmp_path / "sets.json").write_text("[[[0]]]")
    cctbx("full_matrix", truth, data, tmp_path / "sets.json", found)
    (q,), (esd,), misfit = json.loads(found.with_suffix(".json").read_text())
    assert 0 < esd < 0.05
    assert abs(q - 0.6) < 4 * esd
    assert 0.7 < misfit < 1.3
    for site in structure[0].all():
        site.atom.pos += gemmi.Position(0.05, -0.05, 0.05)
        site.atom.b_iso += (-1) ** site.residue.seqid.num  # a common shift is the scale
    wrong.write_text(structure.make_pdb_string())
    cctbx("refine_all", wrong, data, found)
    refined, right = gemmi.read_pdb(str(found)), gemmi.read_pdb(str(truth))
    for one, other in zip(refined[0].all(), right[0].all(), strict=True):
        assert one.atom.pos.dist(other.atom.pos) < 0.03
        assert abs(one.atom.b_iso - other.atom.b_iso) < 0.5
