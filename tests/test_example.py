import gemmi
import numpy as np
import pytest

from jax_occupancy.example import write_example
from jax_occupancy.example._crystal import CONFORMERS, LIGAND, PARTIAL_WATER, build_crystal
from jax_occupancy.example._geometry import build_backbone, build_side_chain, place
from jax_occupancy.io import read_model, read_reflections


def test_place_has_the_geometry_that_was_asked_for():
    a, b, c = np.array([0.0, 1, 0.3]), np.zeros(3), np.array([1.5, 0, 0])
    d = place(a, b, c, 1.4, 110.0, 65.0)
    positions = [gemmi.Position(*p) for p in (a, b, c, d)]
    assert np.linalg.norm(d - c) == pytest.approx(1.4)
    assert np.degrees(gemmi.calculate_angle(*positions[1:])) == pytest.approx(110)
    assert np.degrees(gemmi.calculate_dihedral(*positions)) == pytest.approx(65)


def test_the_helix_is_right_handed_with_l_amino_acids():
    residues = build_backbone(6)
    positions = {name: [gemmi.Position(*r[name]) for r in residues] for name in ("N", "CA", "C")}
    torsion = gemmi.calculate_dihedral(positions["N"][1], positions["CA"][1], positions["C"][1], positions["N"][2])
    assert np.degrees(torsion) == pytest.approx(-42)
    omega = gemmi.calculate_dihedral(positions["CA"][1], positions["C"][1], positions["N"][2], positions["CA"][2])
    assert abs(np.degrees(omega)) == pytest.approx(180)
    atoms = residues[2]
    cb = build_side_chain("ALA", atoms, ())["CB"]
    # Looking from H to CA, CO-R-N runs clockwise in an L-amino acid.
    chirality = np.dot(np.cross(atoms["N"] - atoms["CA"], atoms["C"] - atoms["CA"]), cb - atoms["CA"])
    assert chirality > 0


def test_the_crystal_has_what_it_says():
    structure = build_crystal()
    occupancies = {}
    for site in structure[0].all():
        if site.atom.occ < 1:
            occupancies.setdefault((site.residue.seqid.num, site.atom.altloc.strip("\0")), set()).add(
                round(site.atom.occ, 6)
            )
    expected = {(number, letter): {q} for number, letters in CONFORMERS.items() for letter, (_, q) in letters.items()}
    expected |= {(201, letter): {q} for letter, q in LIGAND.items()} | {(301, ""): {PARTIAL_WATER}}
    assert occupancies == expected
    for letters in CONFORMERS.values():
        assert sum(q for _, q in letters.values()) == pytest.approx(1)


def test_no_atoms_overlap_symmetry_included():
    structure = build_crystal()
    search = gemmi.NeighborSearch(structure[0], structure.cell, 3).populate()
    contacts = gemmi.ContactSearch(2.2)
    contacts.ignore = gemmi.ContactSearch.Ignore.SameResidue
    clashes = [
        c
        for c in contacts.find_contacts(search)
        if abs(c.partner1.residue.seqid.num - c.partner2.residue.seqid.num) > 1 or c.image_idx != 0
    ]
    assert clashes == []


def test_files_have_even_starts_and_the_truth_in_file_order(tmp_path):
    example = write_example(tmp_path)
    model, reflections = read_model(example.model), read_reflections(example.reflections)
    assert model.n_atoms == example.truth.size
    start = model.atoms["occupancy"].to_numpy()
    assert np.array_equal(start < 1, example.truth < 1)
    assert set(start[start < 1].round(2)) == {0.5, 0.33}
    assert reflections.resolution[1] == pytest.approx(1.3, abs=0.01)
    assert 0.05 < reflections.n_free / reflections.n_reflections < 0.12
    again = write_example(tmp_path / "..", seed=0)
    assert np.array_equal(read_reflections(again.reflections).amplitude, reflections.amplitude)
    other = write_example(tmp_path, seed=1)
    assert not np.array_equal(read_reflections(other.reflections).amplitude, reflections.amplitude)
