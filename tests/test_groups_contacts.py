"""Conformers joined where they touch."""

import numpy as np
import pytest
from groups_models import described, molecule, residue, table

from jax_occupancy.groups import UserGroups, choose_groups

AB = {"A": 0.6, "B": 0.4}


def choose(atoms, *pairs, **options):
    """Groups with contacts between the first atoms of chain/number:letter pairs."""

    def first(place):
        chain, number, letter = place
        found = (atoms["chainid"] == chain) & (atoms["resseq"] == int(number)) & (atoms["altloc"] == letter)
        return int(np.flatnonzero(found)[0])

    contacts = np.array([(first(a), first(b)) for a, b in pairs], np.int64).reshape(-1, 2)
    return choose_groups(atoms, contacts=contacts, **options)


def binding_site():
    """A side chain, a ligand of its letter B, a water of its letter A."""
    return table(
        residue(("A", 5), letters=AB), molecule(("L", 1), "LIG", {"B": 0.4}), molecule(("W", 1), "HOH", {"A": 0.55})
    )


def test_ligand_side_chain_and_water_are_one_set():
    grouping = choose(binding_site(), ("A5A", "W1A"), ("A5B", "L1B"))
    assert described(grouping) == [("complete", ["A/5, W/1:A", "A/5, L/1:B"])]
    assert grouping.groups[0].atoms.tolist() == [0, 1, 2, 3, 4, 13]
    assert "joined by contact" in grouping.groups[0].reason
    assert "excludes B" in grouping.groups[0].reason


def test_no_contacts_are_no_change():
    atoms = binding_site()
    assert described(choose(atoms)) == described(choose_groups(atoms))


def test_one_letter_does_not_touch_another():
    assert len(choose(binding_site(), ("A5A", "L1B"))) == 3


def test_letters_that_differ_stay_apart():
    atoms = table(residue(("A", 5), letters=AB), residue(("B", 7), letters={"B": 0.4, "C": 0.6}))
    grouping = choose(atoms, ("A5B", "B7B"))
    assert len(grouping) == 2
    assert "in contact with B/7 but kept apart: the letters are A, B and B, C" in grouping.groups[0].reason


def test_a_side_chain_is_never_made_partly_absent():
    atoms = table(residue(("A", 5), letters=AB), residue(("B", 7), letters={"A": 0.6, "B": 0.3, "C": 0.1}))
    assert len(choose(atoms, ("A5A", "B7A"))) == 2


def test_a_water_goes_with_one_of_two_that_contradict_each_other():
    atoms = table(
        residue(("A", 5), letters=AB),
        residue(("B", 7), letters={"A": 0.6, "C": 0.4}),
        molecule(("W", 1), "HOH", {"A": 0.6}),
    )
    assert described(choose(atoms, ("A5A", "W1A"), ("B7A", "W1A"))) == [
        ("complete", ["A/5, W/1:A", "A/5/ALA:B"]),
        ("complete", ["B/7/ALA:A", "B/7/ALA:C"]),
    ]


def test_starts_that_differ_keep_apart_unless_forced():
    atoms = table(residue(("A", 5), letters=AB), residue(("B", 7), letters={"A": 0.3, "B": 0.7}))
    apart = choose(atoms, ("A5A", "B7A"))
    assert "conformer A starts at 0.60 and 0.30" in apart.groups[0].reason
    assert described(choose(atoms, ("A5A", "B7A"), force_links=True)) == [("complete", ["A/5, B/7:A", "A/5, B/7:B"])]


@pytest.mark.parametrize("options", [{"user": UserGroups(separate=("W",))}, {"waters": "omit"}])
def test_what_is_separate_or_left_out_is_not_joined(options):
    atoms = binding_site()
    select = lambda text: np.flatnonzero(atoms["chainid"] == text)  # noqa: E731
    grouping = choose(atoms, ("A5A", "W1A"), select=select, **options)
    assert described(grouping)[0] == ("complete", ["A/5/ALA:A", "A/5/ALA:B"])
