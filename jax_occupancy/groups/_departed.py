"""What becomes of conformers whose siblings are removed or taken by the user."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from jax_occupancy.groups._building import group_name, make_group, set_kind
from jax_occupancy.groups._grouping import Group, GroupSet
from jax_occupancy.groups._naming import listing, residues_label, unique_names
from jax_occupancy.groups._table import AtomTable

NO_SIBLING = "; nothing to sum with, so free from 0 to 1"


def with_departed(
    table: AtomTable, sets: Sequence[GroupSet], removed: np.ndarray, claims: Mapping[str, np.ndarray]
) -> tuple[tuple[GroupSet, ...], tuple[str, ...]]:
    """Keep removed conformers as fixed members of their sets, and warn of those that went to a group of the user."""
    names = [group.name for group_set in sets for group in group_set.groups]
    result, gone = [], []
    for group_set in sets:
        kept = _absent(table, group_set, removed)
        if kept:
            group_set = _with_fixed(table, group_set, kept, names)
        for label, atoms in claims.items():
            left = _absent(table, group_set, atoms)
            if left:
                told = listing(f"{residues_label(table, own)}:{letter}" for letter, own in left.items())
                group_set = _with_reason(group_set, f"{told} left for {label}")
                gone.append(f"{' + '.join(g.name for g in group_set.groups)} ({told} is in {label})")
        result.append(group_set)
    message = f"conformers that no longer sum with a sibling which is in a group asked for: {listing(gone)}"
    return tuple(result), (message,) if gone else ()


def _absent(table: AtomTable, group_set: GroupSet, atoms: np.ndarray) -> dict[str, np.ndarray]:
    """Those of some atoms that are in the residues of a set, by letter, where the set has not that letter."""
    own = np.concatenate([group.atoms for group in group_set.groups])
    own = own[table.lettered[own]]
    heavy = own[~table.hydrogen[own]]
    # Hydrogens that follow the residue before bring no residue of their own.
    here = np.isin(table.residue[atoms], table.residue[heavy if heavy.size else own])
    near = atoms[here & table.lettered[atoms] & ~np.isin(table.altloc[atoms], list(set(table.altloc[own])))]
    return {letter: near[table.altloc[near] == letter] for letter in dict.fromkeys(table.altloc[near])}


def _with_fixed(table: AtomTable, group_set: GroupSet, kept: Mapping[str, np.ndarray], names: list[str]) -> GroupSet:
    """A set with removed conformers as fixed members; ``names`` grows by theirs."""
    held = []
    for letter, atoms in kept.items():
        names.append(unique_names([*names, group_name(table, atoms, letter)])[-1])
        group = make_group(table, atoms, name=names[-1], letter=letter, reason="", refinable=False)
        held.append(replace(group, reason=f"removed: conformer {letter} keeps its {group.start:.2f}"))
    told = listing(f"{group.altloc} keeps its {group.start:.2f}" for group in held)
    groups = (*_with_reason(group_set, f"{told}, as removed").groups, *held)
    return GroupSet(set_kind(table, groups), groups)


def _with_reason(group_set: GroupSet, note: str) -> GroupSet:
    """A set whose reasons speak of a conformer that is not refined with it."""
    return replace(group_set, groups=tuple(_noted(group, note) for group in group_set.groups))


def _noted(group: Group, note: str) -> Group:
    """A group with a note in place of the claim that it never had a sibling."""
    return replace(group, reason=f"{group.reason.replace(NO_SIBLING, '')}; {note}") if group.refinable else group
