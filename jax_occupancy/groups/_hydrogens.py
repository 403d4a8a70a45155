"""Where hydrogens and deuterium atoms go: exchanged pairs, amides, carriers."""

from collections import defaultdict

import numpy as np
import pandas as pd

from jax_occupancy.groups._grouping import GroupSet
from jax_occupancy.groups._linking import compatible
from jax_occupancy.groups._neighbours import close_pairs
from jax_occupancy.groups._table import AtomTable, Position, group_numbers

CARRIER_BOND = 1.45  # Å; the longest bond to hydrogen (S-H) is 1.34 Å, and atoms further on begin at 2 Å
LOOSE_BOND = 2.5  # Å; for the hydrogens that nothing is nearer to
SAME_SITE = 0.1  # Å


def exchanged_pairs(table: AtomTable, active: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of H in one letter and D in another on one site, such as H:A and D:B on a backbone nitrogen."""
    # The names agree after the first character. Without letters they are a pair in the same place if both are partly
    # there.
    heavy = set(table.conformer[active & ~table.hydrogen].tolist())
    sites = defaultdict(list)
    for atom in np.flatnonzero(active & table.hydrogen & (table.lettered | table.partial)):
        sites[table.residue[atom], table.name[atom][1:], bool(table.lettered[atom])].append(int(atom))
    pairs = []
    for atoms in sites.values():
        free = list(atoms) if len(set(table.element[atoms])) > 1 else []
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
    same_place = bool(np.linalg.norm(table.xyz[first] - table.xyz[other]) < SAME_SITE)
    if not table.lettered[first]:
        return same_place
    conformers = table.conformer[first] in heavy and table.conformer[other] in heavy
    return bool(table.altloc[first] != table.altloc[other]) and (same_place or not conformers)


def amide_homes(table: AtomTable, active: np.ndarray, bonds: tuple[np.ndarray, np.ndarray]) -> dict[int, int]:
    """The carbonyl carbon that each lettered amide hydrogen follows, by position of the hydrogen."""
    # Its place depends on the peptide plane, which ends at the carbonyl of the residue before.
    amides = np.flatnonzero(active & table.hydrogen & table.lettered & np.isin(table.name, ("H", "D")))
    carbon, nitrogen = bonds
    usable = compatible(table, carbon, nitrogen) & active[carbon] & table.lettered[carbon] & (table.name[carbon] == "C")
    by_place = {
        (int(table.residue[n]), table.altloc[c]): int(c) for c, n in zip(carbon[usable], nitrogen[usable], strict=True)
    }
    places = {int(atom): (int(table.residue[atom]), table.altloc[atom]) for atom in amides}
    return {atom: by_place[place] for atom, place in places.items() if place in by_place}


def riders(table: AtomTable, hydrogens: np.ndarray, grouped: np.ndarray) -> tuple[dict[int, list[int]], np.ndarray]:
    """Hydrogens by the heavy atom whose occupancy they take, and those that stay as they are in spite of a letter."""
    # A hydrogen follows its carrier, also with a letter that no heavy atom of its residue has, unless the carrier has
    # hydrogens of several letters, which are alternates. If a carrier with one is always there, so is a hydrogen at one
    # or zero.
    carrier = carriers(table, hydrogens)
    with_heavy = np.isin(table.conformer, table.conformer[~table.hydrogen])
    letters: dict[int, set[str]] = defaultdict(set)
    for atom, heavy in zip(hydrogens.tolist(), carrier.tolist(), strict=True):
        letters[heavy].add(str(table.altloc[atom]))
    following: dict[int, list[int]] = defaultdict(list)
    silent = []
    for atom, heavy in zip(hydrogens.tolist(), carrier.tolist(), strict=True):
        lettered = table.lettered[atom]
        if heavy < 0 or (lettered and (with_heavy[atom] or len(letters[heavy] - {""}) > 1)):
            continue
        if grouped[heavy]:
            following[heavy].append(atom)
        elif lettered and not table.partial[atom]:
            silent.append(atom)
    return following, np.array(silent, np.int64)


def hydrogens_on(atoms: pd.DataFrame, chosen: np.ndarray) -> np.ndarray:
    """Positions of the hydrogens that sit on some heavy atoms, whatever group they are in.

    Example:
        >>> places = {"x": [0.0, 1.0, 3.0], "y": 0.0, "z": 0.0, "name": ["O", "H1", "O2"], "element": ["O", "H", "O"]}
        >>> water = pd.DataFrame(places | {"altloc": "", "resname": "HOH", "chainid": "W", "resseq": 1, "occupancy": 1})
        >>> hydrogens_on(water, np.array([0])).tolist()
        [1]
    """
    table = AtomTable(atoms)
    hydrogens = np.flatnonzero(table.hydrogen)
    return hydrogens[np.isin(carriers(table, hydrogens), chosen)]


def carriers(table: AtomTable, hydrogens: np.ndarray) -> np.ndarray:
    """The heavy atom of its residue that each of some hydrogens sits on, -1 where there is none."""
    heavy = np.flatnonzero(~table.hydrogen)
    keys = (table.residue[hydrogens], table.residue[heavy])
    i, j = close_pairs(table.xyz[hydrogens], table.xyz[heavy], LOOSE_BOND, keys=keys)
    atom, other = hydrogens[i], heavy[j]
    distance = np.linalg.norm(table.xyz[atom] - table.xyz[other], axis=1)
    near, lettered = distance <= CARRIER_BOND, table.lettered[other]
    own = (table.conformer[atom] == table.conformer[other]) & (table.resname[atom] == table.resname[other])
    around = np.unique(np.stack([i, group_numbers(table.altloc)[other]], axis=1)[near & lettered], axis=0)
    one_letter = np.bincount(around[:, 0], minlength=len(hydrogens))[i] == 1
    # One of its own letter comes first, then one without; for a hydrogen without one that has a letter, if all around
    # it have the same; at last what is further off.
    choices = [near & own, near & ~lettered, near & lettered & ~table.lettered[atom] & one_letter, own]
    rank = np.select(choices, range(len(choices)), -1)
    nearest = np.full(len(hydrogens), -1)
    # Written from the worst to the best, so that the best is the one that stays.
    order = np.lexsort((-distance, -rank))
    order = order[rank[order] >= 0]
    nearest[i[order]] = other[order]
    return nearest
