"""Where hydrogens and deuterium atoms go: exchanged pairs, amides, carriers."""

from collections import defaultdict

import numpy as np

from jax_occupancy.groups._grouping import GroupSet
from jax_occupancy.groups._linking import compatible
from jax_occupancy.groups._neighbours import close_pairs
from jax_occupancy.groups._table import AtomTable, Position

CARRIER_BOND = 1.45  # Å; the longest bond to hydrogen (S-H) is 1.34 Å, and atoms further on begin at 2 Å
LIKE_CARRIER = 0.02
SAME_PLACE = 0.1  # Å


def exchanged_pairs(table: AtomTable, active: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of H in one letter and D in another on one site, such as H:A and D:B on a backbone nitrogen.

    The names agree after the first character. Where both letters have heavy atoms of their own the two hydrogens are
    those of two conformers, unless they are in the same place. Without letters they are a pair if they are in the same
    place and both partly there.
    """
    heavy = set(table.conformer[active & ~table.hydrogen].tolist())
    sites = defaultdict(list)
    for atom in np.flatnonzero(active & table.hydrogen & (table.lettered | table.partial)):
        sites[table.residue[atom], table.name[atom][1:], bool(table.lettered[atom])].append(int(atom))
    pairs = []
    for atoms in sites.values():
        free = list(atoms)
        while free:
            first = free.pop(0)
            partner = next((other for other in free if _exchange(table, first, other, heavy)), None)
            if partner is not None:
                free.remove(partner)
                pairs.append((first, partner))
    return pairs


def is_exchange(table: AtomTable, group_set: GroupSet) -> bool:
    """Whether a set is one hydrogen and one deuterium on one site."""
    atoms = np.concatenate([group.atoms for group in group_set.groups])
    return len(group_set.groups) == 2 and sorted(table.element[atoms]) == ["D", "H"]


def _exchange(table: AtomTable, first: Position, other: Position, heavy: set[int]) -> bool:
    """Whether two hydrogens of one site differ in element and letter, and not as those of two conformers do."""
    if table.element[first] == table.element[other]:
        return False
    same_place = bool(np.linalg.norm(table.xyz[first] - table.xyz[other]) < SAME_PLACE)
    if not table.lettered[first]:
        return same_place
    conformers = table.conformer[first] in heavy and table.conformer[other] in heavy
    return bool(table.altloc[first] != table.altloc[other]) and (same_place or not conformers)


def amide_homes(table: AtomTable, active: np.ndarray, bonds: tuple[np.ndarray, np.ndarray]) -> dict[int, int]:
    """The position of the carbonyl carbon that each lettered amide hydrogen follows, by position of the hydrogen.

    The place of an amide hydrogen depends on the peptide plane, which ends at the carbonyl of the residue before;
    so an atom named H or D follows the conformer of that carbonyl with the same letter, if there is one.
    """
    amides = np.flatnonzero(active & table.hydrogen & table.lettered & np.isin(table.name, ("H", "D")))
    carbon, nitrogen = bonds
    usable = compatible(table, carbon, nitrogen) & active[carbon] & table.lettered[carbon] & (table.name[carbon] == "C")
    by_place = {
        (int(table.residue[n]), table.altloc[c]): int(c) for c, n in zip(carbon[usable], nitrogen[usable], strict=True)
    }
    places = {int(atom): (int(table.residue[atom]), table.altloc[atom]) for atom in amides}
    return {atom: by_place[place] for atom, place in places.items() if place in by_place}


def carriers(table: AtomTable, hydrogens: np.ndarray, heavy: np.ndarray) -> dict[int, int]:
    """The heavy atom each hydrogen sits on, if it is one of ``heavy``, of the same residue and alike in occupancy."""
    i, j = close_pairs(table.xyz[hydrogens], table.xyz[heavy], CARRIER_BOND)
    first, second = hydrogens[i], heavy[j]
    alike = np.abs(table.occupancy[first] - table.occupancy[second]) <= LIKE_CARRIER + 1e-9
    keep = alike & (table.residue[first] == table.residue[second])
    first, second = first[keep], second[keep]
    distance = np.linalg.norm(table.xyz[first] - table.xyz[second], axis=1)
    # Written in order of falling distance, so that the nearest atom is the one that stays.
    order = np.argsort(-distance, kind="stable")
    return dict(zip(first[order].tolist(), second[order].tolist(), strict=True))
