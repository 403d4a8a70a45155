import gemmi
import numpy as np
import pytest

from jax_occupancy.example import write_example
from jax_occupancy.io import read_model, read_reflections

# Number of a residue and letter: the true occupancy; and χ1 in degrees of those whose side chain is a rotamer.
TRUE = {
    (2, "A"): 0.65, (2, "B"): 0.35, (3, "A"): 0.72, (3, "B"): 0.28, (5, "A"): 0.58, (5, "B"): 0.42,
    (6, "A"): 0.50, (6, "B"): 0.30, (6, "C"): 0.20, (8, "A"): 0.81, (8, "B"): 0.19,
    (11, "A"): 0.45, (11, "B"): 0.33, (11, "C"): 0.22, (201, "A"): 0.42, (201, "B"): 0.27, (301, ""): 0.55,
}  # fmt: skip
CHI1 = {(2, "A"): 62, (2, "B"): -63, (8, "A"): -63, (8, "B"): 178}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def structure(written):
    return read_model(written.model).structure


def test_side_chains_have_the_geometry_that_was_asked_for(structure):
    chain = structure[0]["A"]
    for (number, letter), chi in CHI1.items():
        residue = chain[str(number)][0]
        oxygen = residue["OG"][letter].pos
        n, ca, cb = residue["N"][0].pos, residue["CA"][0].pos, residue["CB"][letter].pos
        # Coordinates are rounded to 0.001 Å.
        assert oxygen.dist(cb) == pytest.approx(1.42, abs=2e-3)
        assert np.degrees(gemmi.calculate_angle(ca, cb, oxygen)) == pytest.approx(111, abs=0.2)
        difference = np.degrees(gemmi.calculate_dihedral(n, ca, cb, oxygen)) - chi
        assert abs((difference + 180) % 360 - 180) < 0.2


def test_the_helix_is_right_handed_with_l_amino_acids(structure):
    chain = structure[0]["A"]
    third, fourth = chain["3"][0], chain["4"][0]
    n, ca, c = (third[name][0].pos for name in ("N", "CA", "C"))
    next_n, next_ca = fourth["N"][0].pos, fourth["CA"][0].pos
    assert np.degrees(gemmi.calculate_dihedral(n, ca, c, next_n)) == pytest.approx(-42, abs=0.3)
    assert abs(np.degrees(gemmi.calculate_dihedral(ca, c, next_n, next_ca))) == pytest.approx(180, abs=0.3)
    fourth_n, fourth_ca, fourth_c = (np.array(fourth[name][0].pos.tolist()) for name in ("N", "CA", "C"))
    cb = np.array(fourth["CB"][0].pos.tolist())
    # Looking from H to CA, CO-R-N runs clockwise in an L-amino acid.
    assert np.dot(np.cross(fourth_n - fourth_ca, fourth_c - fourth_ca), cb - fourth_ca) > 0


def test_the_crystal_has_what_it_says(structure, written):
    occupancies = {}
    for site in structure[0].all():
        q = written.truth[site.atom.serial - 1]
        if q < 1:
            key = (site.residue.seqid.num, site.atom.altloc.strip("\0"))
            occupancies.setdefault(key, set()).add(round(q, 6))
    assert occupancies == {key: {q} for key, q in TRUE.items()}
    for number in {number for number, _ in TRUE} - {201, 301}:
        assert sum(q for (one, _), q in TRUE.items() if one == number) == pytest.approx(1)


def test_no_atoms_overlap_symmetry_included(structure):
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
