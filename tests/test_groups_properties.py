"""What holds for every structure."""

import numpy as np
import pandas as pd
from groups_models import molecule, residue, table
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_occupancy.groups import automatic_groups

OCCUPANCY = st.sampled_from([0.0, 0.17, 0.33, 0.5, 0.52, 0.67, 0.98, 1.0])
LETTERS = st.dictionaries(st.sampled_from("ABCD"), OCCUPANCY, min_size=1, max_size=4)
POLYMERS = st.tuples(st.sampled_from(["ALA", "SER", "SEP", "DA", "DG"]), st.one_of(OCCUPANCY, LETTERS))
MOLECULES = st.tuples(st.sampled_from(["HOH", "LIG", "ACY"]), st.one_of(OCCUPANCY, LETTERS))


@st.composite
def pieces(draw):
    """Chains of residues, some with letters, and molecules around them; some atoms with occupancies of their own."""
    chains = [
        [residue((chain, number), resname, letters) for number, (resname, letters) in enumerate(residues, 1)]
        for chain, residues in zip("ABC", draw(st.lists(st.lists(POLYMERS, max_size=5), max_size=3)), strict=False)
    ]
    rest = [molecule(("X", n), *one) for n, one in enumerate(draw(st.lists(MOLECULES, max_size=5)), 1)]
    made = [piece for chain in chains for piece in chain] + rest
    for piece in made:
        if piece and draw(st.integers(0, 4)) == 0:
            piece[draw(st.integers(0, len(piece) - 1))]["occupancy"] = draw(OCCUPANCY)
    return made


def as_sets(grouping, original=None):
    """Each set as kind and members, each member as its atoms (their original positions)."""
    place = np.arange(grouping.n_atoms) if original is None else original
    return {
        (s.kind, frozenset((frozenset(place[g.atoms].tolist()), g.altloc, round(g.start, 9)) for g in s.groups))
        for s in grouping
    }


@given(pieces())
@settings(max_examples=60, deadline=None)
def test_every_atom_is_in_one_group_or_fixed(made):
    atoms = table(*made)
    grouping = automatic_groups(atoms)
    owned = np.concatenate([np.empty(0, int), *(group.atoms for group in grouping.groups)])
    assert np.unique(owned).size == owned.size
    free = np.setdiff1d(np.arange(len(atoms)), owned)
    assert set(atoms["occupancy"].iloc[free]) <= {0.0, 1.0}
    assert (atoms["altloc"].iloc[free] == "").all()
    names = [group.name for group in grouping.groups]
    assert len(set(names)) == len(names)
    assert all(group.reason and group.residues for group in grouping.groups)


@given(pieces())
@settings(max_examples=60, deadline=None)
def test_starts_are_means_of_the_file(made):
    atoms = table(*made)
    q = atoms["occupancy"].to_numpy(float)
    grouping = automatic_groups(atoms)
    for group in grouping.groups:
        assert abs(group.start - q[group.atoms].mean()) < 1e-9
    total = sum(group.start * group.atoms.size for group in grouping.groups)
    owned = [position for group in grouping.groups for position in group.atoms]
    assert abs(total - q[owned].sum()) < 1e-6


@given(pieces())
@settings(max_examples=60, deadline=None)
def test_conformers_of_a_set_have_different_letters_and_never_cross_chains(made):
    atoms = table(*made)
    for group_set in automatic_groups(atoms):
        letters = [group.altloc for group in group_set.groups]
        assert len(set(letters)) == len(letters)
        positions = np.concatenate([group.atoms for group in group_set.groups])
        assert len(set(atoms["chainid"].iloc[positions])) == 1


@given(pieces(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_residues_and_chains_does_not_matter(made, random):
    numbered = []
    for piece in made:
        numbered.append([row | {"tempfactor": float(i + sum(map(len, numbered)))} for i, row in enumerate(piece)])
    straight = automatic_groups(table(*numbered))
    random.shuffle(numbered)
    shuffled = table(*numbered)
    original = shuffled["tempfactor"].to_numpy(int) if len(shuffled) else np.empty(0, int)
    assert as_sets(automatic_groups(shuffled), original) == as_sets(straight)


@given(pieces())
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_does_not_matter(made):
    atoms = table(*made)
    order = np.random.default_rng(len(atoms)).permutation(len(atoms))
    shuffled = atoms.iloc[order].reset_index(drop=True)
    assert as_sets(automatic_groups(shuffled), order) == as_sets(automatic_groups(atoms))


@given(pieces())
@settings(max_examples=30, deadline=None)
def test_linking_only_merges_sets(made):
    atoms = table(*made)
    linked = [set(group.atoms.tolist()) for group in automatic_groups(atoms, force_links=True).groups]
    for group in automatic_groups(atoms, link=False).groups:
        assert sum(set(group.atoms.tolist()) <= other for other in linked) == 1


def test_the_index_of_the_table_does_not_matter():
    atoms = table(residue(("A", 1), letters={"A": 0.5, "B": 0.5}), molecule(("A", 2), "HOH", 0.4))
    other = atoms.set_index(pd.Index(range(100, 100 + len(atoms))))
    assert as_sets(automatic_groups(other)) == as_sets(automatic_groups(atoms))
