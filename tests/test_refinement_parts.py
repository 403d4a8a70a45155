import numpy as np
import pandas as pd

from jax_occupancy.refinement._parts import parts_of


def atoms(*rows):
    return pd.DataFrame(rows, columns=["chainid", "resseq", "icode", "resname"])


TABLE = atoms(
    ("A", 1, "", "SER"), ("A", 1, "", "SER"), ("A", 1, "A", "GLY"), ("A", 2, "", "ARG"), ("B", 1, "", "SER"),
    ("A", 2, "", "LYS"), ("A", 2, "", "LYS"),
)  # fmt: skip


def test_a_group_is_cut_by_chain_number_and_insertion_code():
    parts = parts_of(TABLE, [np.array([0, 2, 4, 1])])
    assert [part.tolist() for part in parts.atoms] == [[0, 1], [2], [4]]
    assert parts.group.tolist() == [0, 0, 0]
    assert parts.residue == ("A/1/SER", "A/1A/GLY", "B/1/SER")


def test_several_residue_names_in_one_place_are_one_residue():
    parts = parts_of(TABLE, [np.array([3]), np.array([5, 6])])
    assert parts.residue == ("A/2/ARG", "A/2/ARG")
    assert parts.group.tolist() == [0, 1]


def test_groups_without_atoms_have_no_parts():
    parts = parts_of(TABLE, [np.zeros(0, int), np.array([4]), np.zeros(0, int)])
    assert parts.group.tolist() == [1]
    assert [part.tolist() for part in parts.atoms] == [[4]]
    assert parts_of(TABLE, []).group.shape == (0,)


def test_every_atom_of_every_group_is_in_one_part():
    groups = [np.array([6, 0, 3]), np.array([1, 2, 4, 5])]
    parts = parts_of(TABLE, groups)
    for number, members in enumerate(groups):
        own = [part for part, group in zip(parts.atoms, parts.group, strict=True) if group == number]
        assert sorted(np.concatenate(own)) == sorted(members)
