"""Which residues share their conformers, letter by letter: those bonded along a chain, joined as asked, in contact."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from jax_occupancy.groups._naming import listing, residue_label, residue_names
from jax_occupancy.groups._neighbours import close_pairs
from jax_occupancy.groups._starts import ROUNDING
from jax_occupancy.groups._table import AMINO_ACIDS, NUCLEOTIDES, AtomTable

PEPTIDE_BOND = 2.0  # Å, C to N
PHOSPHATE_BOND = 2.2  # Å, O3' to P
START_DIFFERENCE = 0.1
ABSENT = ("other", "water")  # kinds of residue that may be there with some letters only


@dataclass
class Links:
    """The run every residue belongs to, and notes on links that were made or refused, by residue."""

    run: np.ndarray
    notes: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def join(self, residues: Sequence[int], note: str = "") -> None:
        """Make one run of the runs of these residues."""
        runs = self.run[list(residues)]
        self.run[np.isin(self.run, runs)] = runs.min()
        for residue in residues if note else ():
            self.notes[residue].append(note)

    def settle(self, table: AtomTable, pair: tuple[int, int], refusal: str, apart: str, note: str = "") -> None:
        """Join a pair of residues, or remember for both why they stay apart."""
        if not refusal:
            self.join(pair, note)
            return
        for one, other in (pair, pair[::-1]):
            self.notes[one].append(apart.format(residue_label(table, table.first_atom[other])) + refusal)


def polymer_bonds(table: AtomTable) -> tuple[np.ndarray, np.ndarray]:
    """Atoms that bond one residue of a chain to the next, C to N and O3' to P; their letters may differ."""
    firsts, seconds = [], []
    for before, after, length in (("C", "N", PEPTIDE_BOND), ("O3'", "P", PHOSPHATE_BOND)):
        left = np.flatnonzero(np.isin(table.name, (before, before.replace("'", "*"))))
        right = np.flatnonzero(table.name == after)
        i, j = close_pairs(table.xyz[left], table.xyz[right], length)
        firsts.append(left[i])
        seconds.append(right[j])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    same = (table.chain[first] == table.chain[second]) & (table.residue[first] != table.residue[second])
    return first[same], second[same]


def compatible(table: AtomTable, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where two atoms can be there together: the same letter, or one of them without."""
    a, b = table.altloc[first], table.altloc[second]
    return (a == b) | (a == "") | (b == "")


def find_links(
    table: AtomTable,
    active: np.ndarray,
    bonds: tuple[np.ndarray, np.ndarray],
    *,
    link: bool,
    force: bool,
    joined: Mapping[str, np.ndarray],
    separated: np.ndarray,
) -> Links:
    """Link neighbours that are bonded, both alternate in all their atoms, with the same letters and like starts."""
    links = Links(np.arange(int(table.residue.max(initial=-1)) + 1))
    starts = _mean_starts(table, _fully_alternate(table, active) & active) if link else {}
    apart = set(table.residue[separated].tolist())
    for pair, bonded in _bonded_letters(table, bonds, starts).items():
        left, right = (starts[residue] for residue in pair)
        if apart & set(pair):
            refusal = "as asked"
        elif left.keys() != right.keys():
            refusal = f"its letters are {listing(sorted(left))} and {listing(sorted(right))}"
        elif loose := sorted(left.keys() - bonded):
            refusal = f"no bond in conformer {listing(loose)}"
        else:
            refusal = "" if force else _far_starts(left, right)
        links.settle(table, pair, refusal, "kept apart from {}: ")
    for name, atoms in joined.items():
        _join(table, name, atoms[active[atoms] & table.lettered[atoms]], links)
    return links


def _fully_alternate(table: AtomTable, active: np.ndarray) -> np.ndarray:
    """Where all atoms of a residue of a polymer have letters; hydrogens that are left out say nothing about it."""
    standard = np.isin(table.resname, tuple(AMINO_ACIDS | NUCLEOTIDES))
    spoiling = (table.mixed | ~table.lettered | ~standard | ~active) & (active | ~table.hydrogen)
    return ~np.isin(table.residue, table.residue[spoiling])


def _join(table: AtomTable, name: str, atoms: np.ndarray, links: Links) -> None:
    """Link residues as asked; their letters must be those of the one with most, or some of them."""
    letters = _letters(table, table.lettered & np.isin(table.residue, table.residue[atoms]))
    cannot = f"the link {name!r} cannot be made letter by letter:"
    if len(letters) < 2:
        raise ValueError(
            f"the link {name!r} needs at least two residues with letters that are in no other group; found "
            f"{residue_names(table, letters) or 'none'}."
        )
    mixed = np.intersect1d(table.residue[table.mixed], list(letters))
    if mixed.size:
        raise ValueError(
            f"{cannot} one letter of {residue_names(table, mixed.tolist())} stands for two residue names. Make the "
            "groups by name."
        )
    most = max(letters.values(), key=len)
    odd = [r for r, own in letters.items() if not own <= most]
    if odd:
        raise ValueError(
            f"{cannot} {residue_names(table, odd)} have letters other than {', '.join(sorted(most))}. Rename the "
            "letters, or make the groups by name."
        )
    links.join(list(letters), "linked as asked")


def _letters(table: AtomTable, chosen: np.ndarray) -> dict[int, set[str]]:
    return pd.Series(table.altloc[chosen]).groupby(table.residue[chosen]).agg(set).to_dict()


def _mean_starts(table: AtomTable, chosen: np.ndarray) -> dict[int, dict[str, float]]:
    """Mean start of each letter of each residue; hydrogens at zero do not count."""
    values: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for atom in np.flatnonzero(chosen & (~table.hydrogen | (table.occupancy > 0))).tolist():
        values[int(table.residue[atom])][table.altloc[atom]].append(float(table.occupancy[atom]))
    return {residue: {x: sum(q) / len(q) for x, q in letters.items()} for residue, letters in values.items()}


def _far_starts(left: dict[str, float], right: dict[str, float]) -> str:
    """The first letter of two residues whose starts are too far apart, in words."""
    for letter in sorted(left.keys() & right.keys()):
        if abs(left[letter] - right[letter]) > START_DIFFERENCE + ROUNDING:
            return f"conformer {letter} starts at {left[letter]:.2f} and {right[letter]:.2f}"
    return ""


def _bonded_letters(
    table: AtomTable, bonds: tuple[np.ndarray, np.ndarray], starts: dict[int, dict[str, float]]
) -> dict[tuple[int, int], set[str]]:
    """Pairs of fully alternate residues with any bond between them, in order, and the letters that are bonded."""
    letters = np.where(compatible(table, *bonds), table.altloc[bonds[0]], "")
    pairs: dict[tuple[int, int], set[str]] = defaultdict(set)
    for before, after, letter in zip(*(table.residue[side].tolist() for side in bonds), letters, strict=True):
        if before in starts and after in starts:
            pairs[before, after].add(letter)
    return dict(sorted(pairs.items()))


def join_contacts(
    table: AtomTable, active: np.ndarray, contacts: np.ndarray, links: Links, *, force: bool, separated: np.ndarray
) -> None:
    """Join the runs of residues in contact whose letters and starts agree; equal letters first, waters then follow."""
    # A residue of a polymer that exists in fewer letters than its neighbours would have to be partly absent.
    starts = _mean_starts(table, active & table.lettered)
    always = set(table.residue[~np.isin(table.kind, ABSENT)].tolist())
    for pair in _residue_pairs(table, active, contacts, separated):
        runs = [np.flatnonzero(links.run == links.run[residue]).tolist() for residue in pair]
        if runs[0] == runs[1]:
            continue
        letters = [set().union(*(starts.get(residue, {}) for residue in run)) for run in runs]
        fewer = runs[0] if letters[0] <= letters[1] else runs[1]
        nested = letters[0] <= letters[1] or letters[1] <= letters[0]
        if not nested or (letters[0] != letters[1] and not always.isdisjoint(fewer)):
            refusal = f"the letters are {', '.join(sorted(letters[0]))} and {', '.join(sorted(letters[1]))}"
        else:
            refusal = "" if force else _far_starts(starts[pair[0]], starts[pair[1]])
        links.settle(table, pair, refusal, "in contact with {} but kept apart: ", "joined by contact")


def _residue_pairs(
    table: AtomTable, active: np.ndarray, contacts: np.ndarray, separated: np.ndarray
) -> list[tuple[int, int]]:
    """Different residues with letters in contact, those with equal letters first."""
    first, second = np.asarray(contacts, np.int64).reshape(-1, 2).T
    usable = active & table.lettered & ~table.mixed
    usable = usable[first] & usable[second] & (table.altloc[first] == table.altloc[second])
    pairs = np.unique(np.sort(table.residue[np.stack([first, second], axis=1)[usable]], axis=1), axis=0)
    apart = np.isin(pairs, table.residue[separated]).any(axis=1)
    listed = [(left, right) for left, right in pairs[~apart].tolist() if left != right]
    letters = _letters(table, active & table.lettered)
    return sorted(listed, key=lambda pair: letters[pair[0]] != letters[pair[1]])
