"""From positions of atoms to named groups and sets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jax_occupancy.groups._grouping import Group, GroupSet, SetKind
from jax_occupancy.groups._naming import atom_name, letter_suffix, listing, residue_name, residues_label, unique_names
from jax_occupancy.groups._starts import LAST_DECIMAL, ROUNDING, SUM_TOLERANCE
from jax_occupancy.groups._table import AtomTable

NO_SIBLING = "; nothing to sum with, so free from 0 to 1"
NO_LETTER = "the one without a letter"


@dataclass(frozen=True, eq=False)
class Member:
    """A group before it has a name."""

    atoms: np.ndarray
    reason: str  # a sentence, or for a conformer what it is one of ("residue A/54 ARG")
    letter: str = ""
    label: str | None = None  # of a conformer: its letter, with the residue name where one letter stands for two
    notes: tuple[str, ...] = ()
    guests: tuple[int, ...] = ()  # atoms that give no name


Draft = tuple[Member, ...]  # a set before it has names


def finish_drafts(table: AtomTable, drafts: Sequence[Draft]) -> tuple[GroupSet, ...]:
    """Turn drafts into sets in the order of their first atoms, with unique names."""

    def first_atom(member: Member) -> int:
        return int(member.atoms.min())

    ordered = sorted((sorted(draft, key=first_atom) for draft in drafts), key=lambda draft: first_atom(draft[0]))
    members = [member for draft in ordered for member in draft]
    guest = np.zeros(table.n_atoms, bool)
    guest[[atom for member in members for atom in member.guests]] = True
    own = (np.sort(m.atoms[~guest[m.atoms]] if not guest[m.atoms].all() else m.atoms) for m in members)
    names = unique_names(group_name(table, atoms, m.letter) for m, atoms in zip(members, own, strict=True))
    name_of = {id(member): name for member, name in zip(members, names, strict=True)}
    sets = []
    for draft in ordered:
        groups = tuple(
            make_group(table, np.sort(m.atoms), name=name_of[id(m)], letter=m.letter, reason=reason)
            for m, reason in zip(draft, _reasons(draft, name_of), strict=True)
        )
        sets.append(GroupSet(set_kind(table, groups), groups))
    return tuple(sets)


def _reasons(draft: Sequence[Member], names: dict[int, str]) -> Iterator[str]:
    """Why each member is a group, and what it excludes."""
    # Those of other residues by name: their letters would be taken for letters of this one.
    labels, apart = {}, {}
    for reason in dict.fromkeys(member.reason for member in draft):
        letters = sorted(m.label for m in draft if m.reason == reason and m.label is not None)
        labels[reason] = [letter or NO_LETTER for letter in letters]
        apart[reason] = [names[id(m)] for m in draft if m.reason != reason]
    for member in draft:
        told = member.reason
        if member.label is not None:
            conformer = f"conformer {member.label or 'without a letter'} of {member.reason}"
            others = labels[member.reason] + apart[member.reason]
            others.remove(member.label or NO_LETTER)
            told = f"{conformer}; excludes {listing(others)}" if others else f"the only {conformer}{NO_SIBLING}"
        yield "; ".join([told, *member.notes])


def make_group(
    table: AtomTable, atoms: np.ndarray, *, name: str, reason: str, letter: str = "", refinable: bool = True
) -> Group:
    """A group that starts at the mean of its atoms; of its heavy atoms where it has any."""
    heavy = atoms[~table.hydrogen[atoms]]
    counted = heavy if heavy.size else atoms
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


def group_name(table: AtomTable, atoms: np.ndarray, letter: str) -> str:
    """Name a residue "A/54/ARG:A", several "A/54-57:A", one atom or part of a residue "A/54/ARG/NZ"."""
    first = int(atoms[0])
    if np.unique(table.residue[atoms]).size > 1:
        return residues_label(table, atoms) + letter_suffix(letter)
    heavy = atoms[~table.hydrogen[atoms]]
    if (len(atoms) == 1 or not letter) and table.conformer_size[first] > len(atoms):
        return atom_name(table, int(heavy[0]) if heavy.size else first)
    return residue_name(table, first) + letter_suffix(letter)


def set_kind(table: AtomTable, groups: Sequence[Group], *, whole: float = 1.0) -> SetKind:
    """One group is free; several sum to the whole, unless a ligand or water starts below that."""
    if len(groups) == 1:
        return "free"
    atoms = np.concatenate([group.atoms for group in groups])
    may_be_absent = np.isin(table.kind[atoms], ("other", "water")).all()
    start = sum(group.start for group in groups)
    # of a whole of 1/n less may be missing, but decimals are rounded as ever: 0.12 + 0.12 is 1/4
    least = min(whole * (1 - SUM_TOLERANCE), whole - len(groups) * LAST_DECIMAL) - ROUNDING
    return "incomplete" if may_be_absent and start < least else "complete"
