"""Names of residues, atoms and groups."""

from collections.abc import Iterable

import numpy as np

from jax_occupancy.groups._table import AtomTable, Position

LIST_AT_MOST = 10


def residue_label(table: AtomTable, atom: Position) -> str:
    """The place of an atom's residue, such as "A/54" or "B/-3A"."""
    return f"{table.chain[atom]}/{table.resseq[atom]}{table.icode[atom]}"


def residue_name(table: AtomTable, atom: Position) -> str:
    """The place and the name of an atom's residue, such as "A/54/ARG"."""
    return f"{residue_label(table, atom)}/{table.resname[atom]}"


def atom_name(table: AtomTable, atom: Position) -> str:
    """One atom's name, such as "A/54/ARG/NZ" or "A/54/ARG/NZ:A"."""
    return f"{residue_name(table, atom)}/{table.name[atom]}{letter_suffix(table.altloc[atom])}"


def letter_suffix(letter: str) -> str:
    """What follows a name: ":A" for the letter A, nothing for a blank."""
    return f":{letter}" if letter else ""


def residues_label(table: AtomTable, atoms: np.ndarray) -> str:
    """The residues of some atoms, neighbours drawn together, such as "A/54-57, A/60"."""
    firsts = dict(zip(table.residue[atoms][::-1].tolist(), atoms[::-1].tolist(), strict=True))
    runs: list[list[Position]] = []
    for residue, atom in sorted(firsts.items()):
        before = runs[-1][-1] if runs else atom
        if runs and table.chain[before] == table.chain[atom] and residue - table.residue[before] <= 1:
            runs[-1].append(atom)
        else:
            runs.append([atom])
    ends = (f"-{table.resseq[run[-1]]}{table.icode[run[-1]]}" if len(run) > 1 else "" for run in runs)
    return ", ".join(residue_label(table, run[0]) + end for run, end in zip(runs, ends, strict=True))


def residue_names(table: AtomTable, residues: Iterable[int]) -> str:
    """Some residues by their numbers in the table, the first five by place."""
    return listing((residue_label(table, int(table.first_atom[r])) for r in residues), at_most=5)


def atom_names(table: AtomTable, atoms: Iterable[Position]) -> str:
    """Some atoms, the first five by name."""
    return listing((atom_name(table, atom) for atom in atoms), at_most=5)


def unique_names(names: Iterable[str]) -> list[str]:
    """The names, the second and later of equal ones numbered: "A/7/HOH", "A/7/HOH#2"."""
    used: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate in used:
            number += 1
            candidate = f"{name}#{number}"
        used.add(candidate)
        result.append(candidate)
    return result


def listing(names: Iterable[str], *, at_most: int = LIST_AT_MOST) -> str:
    """Names joined by commas, the tail of a long list counted."""
    items = list(names)
    rest = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return ", ".join(items[:at_most]) + rest
