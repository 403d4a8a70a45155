"""What becomes of conformers whose siblings are removed or taken by the user."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from jax_occupancy.groups._building import NO_SIBLING, group_name, make_group, set_kind
from jax_occupancy.groups._grouping import Group, GroupSet
from jax_occupancy.groups._naming import listing, residues_label, unique_names
from jax_occupancy.groups._table import AtomTable


def with_departed(
    table: AtomTable, sets: Sequence[GroupSet], removed: np.ndarray, claims: Mapping[str, np.ndarray]
) -> tuple[tuple[GroupSet, ...], tuple[str, ...]]:
    """Keep removed conformers as fixed members of their sets, and warn of those that went to a group of the user."""
    gone_from: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for label, atoms in {"": removed, **claims}.items():
        for atom in atoms[table.lettered[atoms]].tolist():
            gone_from[int(table.residue[atom])][label].append(atom)
    names = [group.name for group_set in sets for group in group_set.groups]
    result, gone = [], []
    for group_set in sets:
        absent = _absent(table, group_set, gone_from) if gone_from else {}
        if kept := absent.pop("", {}):
            group_set = _with_fixed(table, group_set, kept, names)
        for label, left in absent.items():
            told = listing(f"{residues_label(table, own)}:{letter}" for letter, own in left.items())
            group_set = _with_reason(group_set, f"{told} left for {label}")
            gone.append(f"{' + '.join(g.name for g in group_set.groups)} ({told} is in {label})")
        result.append(group_set)
    message = f"conformers that no longer sum with a sibling which is in a group asked for: {listing(gone)}"
    return tuple(result), (message,) if gone else ()


def _absent(
    table: AtomTable, group_set: GroupSet, gone_from: Mapping[int, Mapping[str, list[int]]]
) -> dict[str, dict[str, np.ndarray]]:
    """By where they went, what has left the residues of a set, by letter, where the set has not that letter."""
    own = np.concatenate([group.atoms for group in group_set.groups])
    own = own[table.lettered[own]]
    heavy = own[~table.hydrogen[own]]
    letters = set(table.altloc[own])
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    # Hydrogens that follow the residue before bring no residue of their own.
    for residue in np.unique(table.residue[heavy if heavy.size else own]).tolist():
        for label, atoms in gone_from.get(residue, {}).items():
            for atom in atoms:
                if table.altloc[atom] not in letters:
                    found[label][table.altloc[atom]].append(atom)
    return {label: {x: np.sort(atoms) for x, atoms in by_letter.items()} for label, by_letter in found.items()}


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
