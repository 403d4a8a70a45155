"""Conformers linked along the chain, and when not."""

import numpy as np
import pytest
from groups_models import described, residue, table

from jax_occupancy.groups import automatic_groups

AB = {"A": 0.6, "B": 0.4}


def names(atoms, **options):
    return [names for _, names in described(automatic_groups(atoms, **options))]


def test_bonded_neighbours_are_linked_letter_by_letter():
    atoms = table(residue(("A", 53)), *[residue(("A", n), letters=AB) for n in (54, 55, 56)], residue(("A", 57)))
    grouping = automatic_groups(atoms)
    assert described(grouping) == [("complete", ["A/54-56:A", "A/54-56:B"])]
    assert grouping.groups[1].atoms.tolist() == [*range(10, 15), *range(20, 25), *range(30, 35)]
    assert grouping.groups[0].reason == "conformer A of residues A/54-56, linked letter by letter; excludes B"
    assert grouping.groups[0].residues == "A/54-56"


def test_residue_by_residue_on_request():
    atoms = table(residue(("A", 54), letters=AB), residue(("A", 55), letters=AB))
    assert names(atoms, link=False) == [["A/54/ALA:A", "A/54/ALA:B"], ["A/55/ALA:A", "A/55/ALA:B"]]


def test_nucleotides_are_linked_over_the_phosphate_also_after_a_protein_chain():
    atoms = table(residue(("A", 1)), residue(("B", 1), "DA", AB), residue(("B", 2), "DG", AB))
    assert names(atoms) == [["B/1-2:A", "B/1-2:B"]]


def test_neighbours_with_different_letters_are_two_sets():
    atoms = table(residue(("A", 1), letters=AB), residue(("A", 2), letters={"C": 0.5, "D": 0.5}))
    grouping = automatic_groups(atoms)
    assert described(grouping) == [
        ("complete", ["A/1/ALA:A", "A/1/ALA:B"]),
        ("complete", ["A/2/ALA:C", "A/2/ALA:D"]),
    ]
    assert grouping.groups[0].reason.endswith("kept apart from A/2: its letters are A, B and C, D")
    assert [s.start for s in grouping] == [1.0, 1.0]


def test_a_gap_in_the_chain_is_not_linked():
    atoms = table(residue(("A", 1), letters=AB), residue(("A", 20), letters=AB))
    assert names(atoms) == [["A/1/ALA:A", "A/1/ALA:B"], ["A/20/ALA:A", "A/20/ALA:B"]]


def test_a_gap_in_the_numbers_of_bonded_residues_is_linked():
    atoms = table(residue(("A", 1), letters=AB, at=0.0), residue(("A", 20), letters=AB, at=3.8))
    assert names(atoms) == [["A/1-20:A", "A/1-20:B"]]


def test_every_conformer_must_be_bonded():
    atoms = table(residue(("A", 1), letters=AB), residue(("A", 2), letters=AB))
    atoms.loc[(atoms["resseq"] == 2) & (atoms["altloc"] == "B"), "y"] += 3.0
    grouping = automatic_groups(atoms)
    assert len(grouping) == 2
    assert "no bond in conformer B" in grouping.groups[0].reason


@pytest.mark.parametrize(("shift", "n_sets"), [(0.66, 1), (0.68, 2)])
def test_the_peptide_bond_ends_at_two_angstrom(shift, n_sets):
    atoms = table(residue(("A", 1), letters=AB), residue(("A", 2), letters=AB))
    atoms.loc[atoms["resseq"] == 2, "x"] += shift  # from 1.33 Å
    assert len(names(atoms)) == n_sets


def test_unequal_numbers_of_conformers_do_not_break_the_rest_of_the_run():
    three = {"A": 0.6, "B": 0.2, "C": 0.2}
    atoms = table(*[residue(("A", n), letters=AB if n < 3 else three) for n in (1, 2, 3, 4)])
    assert names(atoms) == [["A/1-2:A", "A/1-2:B"], ["A/3-4:A", "A/3-4:B", "A/3-4:C"]]


def test_a_residue_with_blank_atoms_ends_a_run():
    mixed = residue(("A", 2), names=["N"]) + residue(("A", 2), letters=AB, names=["CA", "C", "O"])
    atoms = table(residue(("A", 1), letters=AB), mixed, residue(("A", 3), letters=AB))
    assert len(names(atoms)) == 3


def test_unusual_residue_names_end_a_run_and_selenomethionine_is_usual():
    atoms = table(residue(("A", 1), letters=AB), residue(("A", 2), "SEP", AB), residue(("A", 3), letters=AB))
    assert len(names(atoms)) == 3
    atoms["resname"] = atoms["resname"].replace("SEP", "MSE")
    assert len(names(atoms)) == 1


def test_chains_are_never_linked():
    first, second = residue(("A", 1), letters=AB), residue(("A", 2), letters=AB)
    assert len(names(table(first, [row | {"chainid": "B"} for row in second]))) == 2


def test_waters_and_ligands_are_never_linked():
    atoms = table(residue(("A", 1), "LIG", AB), residue(("A", 2), "LIG", AB))
    assert len(names(atoms)) == 2


@pytest.mark.parametrize(("start", "n_sets"), [(0.50, 1), (0.49, 2), (0.70, 1), (0.72, 2)])
def test_starts_more_than_a_tenth_apart_are_not_linked(start, n_sets):
    atoms = table(residue(("A", 1), letters=AB), residue(("A", 2), letters={"A": start, "B": 1 - start}))
    grouping = automatic_groups(atoms)
    assert len(grouping) == n_sets
    assert len(automatic_groups(atoms, force_links=True)) == 1
    if n_sets == 2:
        text = f"kept apart from A/2: conformer A starts at 0.60 and {start:.2f}"
        assert text in grouping.groups[0].reason


def test_starts_along_a_run_are_compared_between_neighbours_only():
    atoms = table(*[residue(("A", n), letters={"A": 0.6 + 0.08 * n, "B": 0.4 - 0.08 * n}) for n in range(4)])
    grouping = automatic_groups(atoms)
    assert [len(s.groups) for s in grouping] == [2]
    assert grouping.groups[0].start == pytest.approx(0.72)
    assert any("A/0-3:A (0.60 to 0.84)" in warning for warning in grouping.warnings)


def test_microheterogeneity_takes_part_in_a_run():
    atoms = table(
        residue(("A", 1), letters=AB),
        residue(("A", 2), "SER", {"A": 0.6}),
        [row | {"y": row["y"] + 0.3} for row in residue(("A", 2), "THR", {"B": 0.4})],
    )
    assert names(atoms) == [["A/1-2:A", "A/1-2:B"]]


def test_a_lone_letter_is_linked_too():
    atoms = table(residue(("A", 1), letters={"A": 0.5}), residue(("A", 2), letters={"A": 0.5}))
    assert described(automatic_groups(atoms)) == [("free", ["A/1-2:A"])]


def test_the_order_of_chains_does_not_matter():
    protein = residue(("A", 1), letters=AB) + residue(("A", 2), letters=AB)
    bases = residue(("B", 1), "DA", AB) + residue(("B", 2), "DG", AB)
    assert sorted(names(table(protein, bases))) == sorted(names(table(bases, protein)))


def test_a_left_out_hydrogen_without_letter_does_not_end_a_run():
    rows = [residue(("A", n), letters=AB) for n in (1, 2)]
    hydrogen = [residue(("A", 2), names=["O"])[0] | {"name": "H", "element": "H", "y": 1.0}]
    atoms = table(*rows, hydrogen)
    assert len(names(atoms)) == 2
    assert len(names(atoms, hydrogens="omit")) == 1


def test_coordinates_that_are_missing_link_nothing():
    atoms = table(residue(("A", 1), letters=AB), residue(("A", 2), letters=AB))
    atoms["x"] = np.nan
    assert len(names(atoms)) == 2
