"""Atoms without letters that are partly there: whole residues, side chains and other bonded parts, single atoms."""

import numpy as np

from jax_occupancy.groups._building import Draft, Member
from jax_occupancy.groups._naming import atom_name, listing, residue_name
from jax_occupancy.groups._neighbours import close_pairs, connected
from jax_occupancy.groups._table import AtomTable, by_number, group_numbers

SAME_START = 0.02  # one occupancy, written with rounding
LIGHT = ("C", "N", "O", "F", "B", "")
# Å; between two of C, N, O, F and B, one of them and a heavier atom (C-I is 2.15 Å), and two heavier ones (Fe-S, S-S)
BONDS = (1.7, 2.4, 2.8)


def part_drafts(table: AtomTable, plain: np.ndarray, riders: dict[int, list[int]], *, every_water: bool) -> list[Draft]:
    """Groups of the ``plain`` atoms that are partly there, with the hydrogens that ride on them."""
    heavy = plain & ~table.hydrogen
    chosen = heavy & (table.kind == "water") & every_water
    partial = heavy & ~chosen & table.partial
    level = occupancy_levels(table, partial)
    whole = partial & _in_whole_residue(table, heavy, level)
    rest = partial & ~whole
    alone = plain & table.hydrogen & table.partial
    water = "water {}; every water is refined by itself"
    drafts = [_draft(table, atoms, riders, water) for atoms in by_number(table.residue, chosen)]
    residue = "the whole residue {} is partly occupied"
    drafts += [_draft(table, atoms, riders, residue) for atoms in by_number(table.residue, whole)]
    return drafts + [_part_draft(table, atoms, riders) for atoms in by_number(bonded(table, rest, level), rest | alone)]


def bonded(table: AtomTable, chosen: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The number of the bonded part that each chosen atom is in, among those of its residue and level."""
    # An atom between two of them connects them whatever its own occupancy: one exception does not split a molecule.
    around = ~table.hydrogen & ~table.lettered & np.isin(table.residue, table.residue[chosen])
    heavier = ~np.isin(table.element, LIGHT)
    own, other = [], []
    for (one, two), length in zip(((False, False), (False, True), (True, True)), BONDS, strict=True):
        left, right = np.flatnonzero(around & (heavier == one)), np.flatnonzero(around & (heavier == two))
        keys = (table.residue[left], table.residue[right])
        i, j = close_pairs(table.xyz[left], table.xyz[right], length, keys=keys)
        own += [left[i], right[j]]
        other += [right[j], left[i]]
    own, other = np.concatenate(own), np.concatenate(other)
    own, other = own[chosen[own]], other[chosen[own]]
    atoms = np.arange(table.n_atoms)
    # Each bond joins an atom with its neighbour as that atom's level sees it.
    node = group_numbers(np.concatenate([atoms, own, other]), np.concatenate([level, level[own], level[own]]))
    n = table.n_atoms
    part = connected(int(node.max(initial=-1)) + 1, node[n : n + len(own)], node[n + len(own) :])
    return part[node[:n]]


def occupancy_levels(table: AtomTable, chosen: np.ndarray) -> np.ndarray:
    """Numbers of the levels of occupancy in each residue: atoms of one level differ by rounding only."""
    level = np.zeros(table.n_atoms, np.int64)
    atoms = np.flatnonzero(chosen)
    atoms = atoms[np.lexsort((table.occupancy[atoms], table.residue[atoms]))]
    lowest, before, number = 0.0, -1, 0
    for atom, residue, q in zip(
        atoms.tolist(), table.residue[atoms].tolist(), table.occupancy[atoms].tolist(), strict=True
    ):
        if residue != before or q > lowest + SAME_START + 1e-9:
            before, lowest, number = residue, q, number + 1
        level[atom] = number
    return level


def _in_whole_residue(table: AtomTable, plain: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Where the heavy atoms of an atom's residue are several, without letters and at one level."""
    n_residues = int(table.residue.max(initial=-1)) + 1
    levels = np.unique(np.stack([table.residue, level])[:, plain], axis=1)[0]
    one_level = np.bincount(levels, minlength=n_residues) == 1
    whole = one_level & (np.bincount(table.residue[plain], minlength=n_residues) > 1)
    whole[table.residue[table.lettered & ~table.hydrogen]] = False
    return whole[table.residue]


def _part_draft(table: AtomTable, atoms: np.ndarray, riders: dict[int, list[int]]) -> Draft:
    if len(atoms) > 1:
        names = listing(str(name) for name in table.name[atoms])
        return _draft(table, atoms, riders, f"{names} of {{}} are bonded and share one partial occupancy")
    also = [str(table.name[hydrogen]) for hydrogen in riders.get(int(atoms[0]), [])]
    share = f", which its hydrogens {listing(also)} share" if also else ""
    return _draft(table, atoms, riders, f"atom {atom_name(table, atoms[0])} has a partial occupancy{share}")


def _draft(table: AtomTable, atoms: np.ndarray, riders: dict[int, list[int]], reason: str) -> Draft:
    hydrogens = [hydrogen for atom in atoms.tolist() for hydrogen in riders.get(atom, [])]
    return (Member(np.array([*atoms.tolist(), *hydrogens]), reason.format(residue_name(table, atoms[0]))),)
