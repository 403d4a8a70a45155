"""From positions of atoms to named groups and sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jax_occupancy.groups._grouping import Group, GroupSet, SetKind
from jax_occupancy.groups._naming import atom_name, letter_suffix, residue_name, residues_label, unique_names
from jax_occupancy.groups._table import AtomTable

PRESENT = 0.98  # a ligand or water whose alternates sum to less may be partly absent


@dataclass(frozen=True, eq=False)
class Draft:
    """A set before it has names: atoms, reason and letter of each member, and the guests no member is named after."""

    members: tuple[np.ndarray, ...]
    reasons: tuple[str, ...]
    letters: tuple[str, ...]
    guests: tuple[int, ...] = ()


def finish_drafts(table: AtomTable, drafts: Sequence[Draft]) -> tuple[GroupSet, ...]:
    """Turn drafts into sets in the order of their first atoms, with unique names."""
    ordered = sorted((_in_file_order(draft) for draft in drafts), key=lambda members: members[0][0][0])
    guests = [atom for draft in drafts for atom in draft.guests]
    name = iter(
        unique_names(
            group_name(table, _without(atoms, guests), letter) for members in ordered for atoms, letter, _ in members
        )
    )
    sets = []
    for members in ordered:
        groups = tuple(
            make_group(table, atoms, letter=letter, reason=reason, name=next(name)) for atoms, letter, reason in members
        )
        sets.append(GroupSet(set_kind(table, groups), groups))
    return tuple(sets)


def single_draft(table: AtomTable, atom: int) -> Draft:
    """One atom that the user wants refined by itself."""
    return Draft((np.array([atom]),), (f"atom {atom_name(table, atom)} is refined by itself, as asked",), ("",))


def _in_file_order(draft: Draft) -> list[tuple[np.ndarray, str, str]]:
    """Atoms, letter and reason of each member; atoms sorted, members by their first atoms."""
    members = zip((np.sort(atoms) for atoms in draft.members), draft.letters, draft.reasons, strict=True)
    return sorted(members, key=lambda member: member[0][0])


def _without(atoms: np.ndarray, guests: list[int]) -> np.ndarray:
    """The atoms that are no guests, or all where there are guests only."""
    own = atoms[~np.isin(atoms, guests)] if guests else atoms
    return own if own.size else atoms


def make_group(
    table: AtomTable, atoms: np.ndarray, *, name: str, reason: str, letter: str = "", refinable: bool = True
) -> Group:
    """A group that starts at the mean of its atoms."""
    counted = counted_atoms(table, atoms)
    return Group(
        name=name,
        atoms=atoms,
        start=float(np.round(table.occupancy[counted].mean(), 12)) if counted.size else 0.0,
        refinable=refinable,
        reason=reason,
        altloc=letter,
        residues=residues_label(table, atoms),
        counted=counted,
    )


def counted_atoms(table: AtomTable, atoms: np.ndarray) -> np.ndarray:
    """The atoms whose mean is the start: hydrogens kept at zero beside other atoms that are there don't count."""
    silent = table.hydrogen[atoms] & (table.occupancy[atoms] == 0)
    heavy = atoms[~table.hydrogen[atoms]]
    return atoms[~silent] if heavy.size and table.occupancy[heavy].max() > 0 else atoms


def group_name(table: AtomTable, atoms: np.ndarray, letter: str) -> str:
    """Name a residue "A/54/ARG:A", several "A/54-57:A", one atom of many "A/54/ARG/NZ"."""
    first = int(atoms[0])
    if np.unique(table.residue[atoms]).size > 1:
        return residues_label(table, atoms) + letter_suffix(letter)
    if (len(atoms) == 1 or not letter) and table.conformer_size[first] > len(atoms):
        heavy = atoms[~table.hydrogen[atoms]]
        return atom_name(table, int(heavy[0]) if heavy.size else first)
    return residue_name(table, first) + letter_suffix(letter)


def set_kind(table: AtomTable, groups: Sequence[Group], *, whole: float = 1.0) -> SetKind:
    """One group is free; several sum to the whole, unless a ligand or water starts below that."""
    if len(groups) == 1:
        return "free"
    atoms = np.concatenate([group.atoms for group in groups])
    may_be_absent = np.isin(table.kind[atoms], ("other", "water")).all()
    start = sum(group.start for group in groups)
    return "incomplete" if may_be_absent and start < PRESENT * whole - 1e-9 else "complete"
