"""Names of residues, atoms and groups."""

import numpy as np
import pytest
from groups_models import residue, table

from jax_occupancy.groups._building import group_name
from jax_occupancy.groups._naming import listing, residues_label, unique_names
from jax_occupancy.groups._table import read_table

CHAIN = read_table(
    table(
        *[residue(("A", n), names=["N", "CA"]) for n in (-1, 1, 2)],
        residue(("A", 2), icode="A", names=["N"]),
        residue(("B", 9), letters={"A": 0.5, "B": 0.5}, names=["N", "CA"]),
    )
)


@pytest.mark.parametrize(
    ("atoms", "label"),
    [([0], "A/-1"), ([0, 1, 2], "A/-1-1"), ([2, 6], "A/1, A/2A"), ([4, 6, 8], "A/2-2A, B/9"), ([8, 0], "A/-1, B/9")],
)
def test_residues(atoms, label):
    assert residues_label(CHAIN, np.array(atoms)) == label


@pytest.mark.parametrize(
    ("atoms", "letter", "name"),
    [
        ([0, 1], "", "A/-1/ALA"),
        ([1], "", "A/-1/ALA/CA"),
        ([6], "", "A/2A/ALA"),
        ([7, 8], "A", "B/9/ALA:A"),
        ([8], "A", "B/9/ALA/CA:A"),
        ([2, 3, 4, 5], "", "A/1-2"),
    ],
)
def test_groups(atoms, letter, name):
    assert group_name(CHAIN, np.array(atoms), letter) == name


def test_repeated_names_are_numbered():
    assert unique_names(["a", "b", "a", "a#2", "a"]) == ["a", "b", "a#2", "a#2#2", "a#3"]


def test_listing():
    assert listing(["a", "b"]) == "a, b"
    assert listing("abcd", at_most=2) == "a, b and 2 more"
