"""Which residues share their conformers, letter by letter: those bonded along a chain, joined as asked, in contact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jax_occupancy.groups._naming import listing, residue_label, residue_names
from jax_occupancy.groups._neighbours import close_pairs
from jax_occupancy.groups._table import AMINO_ACIDS, NUCLEOTIDES, AtomTable

PEPTIDE_BOND = 2.0  # Å, C to N
PHOSPHATE_BOND = 2.2  # Å, O3' to P
START_DIFFERENCE = 0.1
ROUNDING = 1e-9
ABSENT = ("other", "water")  # kinds of residue that may be there with some letters only


@dataclass
class Links:
    """The run every residue belongs to, and notes on links that were refused, by residue."""

    run: np.ndarray
    notes: dict[int, list[str]] = field(default_factory=dict)

    def join(self, residues: Sequence[int]) -> None:
        """Make one run of the runs of these residues."""
        runs = self.run[list(residues)]
        self.run[np.isin(self.run, runs)] = runs.min()

    def note(self, residue: int, text: str) -> None:
        """Remember why a residue stays apart."""
        self.notes.setdefault(residue, []).append(text)


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
    if link:
        _link_neighbours(table, active, bonds, links, force=force, separated=separated)
    for name, atoms in joined.items():
        _join(table, name, atoms[active[atoms] & table.lettered[atoms]], links)
    return links


def _link_neighbours(
    table: AtomTable,
    active: np.ndarray,
    bonds: tuple[np.ndarray, np.ndarray],
    links: Links,
    *,
    force: bool,
    separated: np.ndarray,
) -> None:
    """Link along the chain what may be linked, and note why the rest is not."""
    starts = _conformer_starts(table, active)
    apart = set(table.residue[separated].tolist())
    for (before, after), bonded in _bonded_letters(table, bonds, starts).items():
        asked = "as asked" if apart & {before, after} else None
        refusal = asked or _refusal(starts[before], starts[after], bonded, force=force)
        if refusal is None:
            links.join([before, after])
        else:
            links.note(before, f"kept apart from {residue_label(table, table.first_atom[after])}: {refusal}")
            links.note(after, f"kept apart from {residue_label(table, table.first_atom[before])}: {refusal}")


def _join(table: AtomTable, name: str, atoms: np.ndarray, links: Links) -> None:
    """Link residues as asked; their letters must be those of the one with most, or some of them."""
    letters = {
        int(r): set(table.altloc[(table.residue == r) & table.lettered]) for r in np.unique(table.residue[atoms])
    }
    if len(letters) < 2:
        raise ValueError(
            f"the link {name!r} needs at least two residues with letters that are in no other group; found "
            f"{residue_names(table, letters) or 'none'}."
        )
    mixed = [r for r in letters if table.mixed[table.residue == r].any()]
    if mixed:
        raise ValueError(
            f"the link {name!r} cannot be made letter by letter: one letter of {residue_names(table, mixed)} stands "
            "for two residue names. Make the groups by name."
        )
    most = max(letters.values(), key=len, default=set())
    odd = [r for r, own in letters.items() if not own <= most]
    if odd:
        raise ValueError(
            f"the link {name!r} cannot be made letter by letter: {residue_names(table, odd)} have letters other than "
            f"{', '.join(sorted(most))}. Rename the letters, or make the groups by name."
        )
    links.join(list(letters))
    for residue in letters:
        links.note(residue, "linked as asked")


def _conformer_starts(table: AtomTable, active: np.ndarray) -> dict[int, dict[str, float]]:
    """Mean start of each letter, for the residues of a polymer whose atoms all have letters."""
    standard = np.isin(table.resname, tuple(AMINO_ACIDS | NUCLEOTIDES))
    n_residues = int(table.residue.max(initial=-1)) + 1
    whole = np.ones(n_residues, bool)
    # Hydrogens that were left out of the grouping say nothing about their residue.
    spoiling = (table.mixed | ~table.lettered | ~standard | ~active) & (active | ~table.hydrogen)
    whole[table.residue[spoiling]] = False
    return _mean_starts(table, whole[table.residue] & active)


def _mean_starts(table: AtomTable, chosen: np.ndarray) -> dict[int, dict[str, float]]:
    """Mean start of each letter of each residue; hydrogens at zero do not count."""
    values: dict[int, dict[str, list[float]]] = {}
    for atom in np.flatnonzero(chosen & (~table.hydrogen | (table.occupancy > 0))).tolist():
        letters = values.setdefault(int(table.residue[atom]), {})
        letters.setdefault(table.altloc[atom], []).append(float(table.occupancy[atom]))
    return {residue: {x: sum(q) / len(q) for x, q in letters.items()} for residue, letters in values.items()}


def _far_starts(left: dict[str, float], right: dict[str, float]) -> str | None:
    """The first letter of two residues whose starts are too far apart, in words."""
    for letter in sorted(left.keys() & right.keys()):
        if abs(left[letter] - right[letter]) > START_DIFFERENCE + ROUNDING:
            return f"conformer {letter} starts at {left[letter]:.2f} and {right[letter]:.2f}"
    return None


def _bonded_letters(
    table: AtomTable, bonds: tuple[np.ndarray, np.ndarray], starts: dict[int, dict[str, float]]
) -> dict[tuple[int, int], set[str]]:
    """Pairs of fully alternate residues with any bond between them, in order, and the letters that are bonded."""
    first, second = bonds
    letters = np.where(compatible(table, first, second), table.altloc[first], "")
    pairs: dict[tuple[int, int], set[str]] = {}
    residues = zip(table.residue[first].tolist(), table.residue[second].tolist(), letters, strict=True)
    for before, after, letter in residues:
        if before in starts and after in starts:
            pairs.setdefault((before, after), set()).add(letter)
    return dict(sorted(pairs.items()))


def _refusal(left: dict[str, float], right: dict[str, float], bonded: set[str], *, force: bool) -> str | None:
    """Why two residues with these starts and bonded letters are not linked; None if they are."""
    if left.keys() != right.keys():
        return f"its letters are {listing(sorted(left))} and {listing(sorted(right))}"
    loose = sorted(left.keys() - bonded)
    if loose:
        return f"no bond in conformer {listing(loose)}"
    return None if force else _far_starts(left, right)


def join_contacts(
    table: AtomTable, active: np.ndarray, contacts: np.ndarray, links: Links, *, force: bool, separated: np.ndarray
) -> None:
    """Join the runs of residues in contact whose letters agree.

    The letters must be the same, or those of ligands and waters some of the others': a residue of a polymer that
    exists in fewer letters than its neighbours would have to be partly absent. Equal letters join first, so that a
    water between two side chains goes with the one it cannot contradict. Starts more than 0.1 apart keep two
    residues apart, as along the chain, unless ``force``.
    """
    runs = _Runs(table, active)
    for left, right in _residue_pairs(table, active, contacts, separated):
        if links.run[left] == links.run[right]:
            continue
        refusal = runs.refusal(links.run, left, right, force=force)
        if refusal is None:
            links.join([left, right])
            links.note(left, "joined by contact")
            links.note(right, "joined by contact")
        else:
            for one, other in ((left, right), (right, left)):
                label = residue_label(table, table.first_atom[other])
                links.note(one, f"in contact with {label} but kept apart: {refusal}")


class _Runs:
    """Starts and kinds of residues, and what they say about joining two runs."""

    def __init__(self, table: AtomTable, active: np.ndarray):
        self.starts = _mean_starts(table, active & table.lettered)
        self.may_be_absent = np.ones(int(table.residue.max(initial=-1)) + 1, bool)
        self.may_be_absent[table.residue[~np.isin(table.kind, ABSENT)]] = False

    def refusal(self, run: np.ndarray, left: int, right: int, *, force: bool) -> str | None:
        """Why two residues and the runs they are in stay apart; None if they need not."""
        first, second = (np.flatnonzero(run == run[residue]) for residue in (left, right))
        letters = [set().union(*(self.starts.get(int(r), {}) for r in members)) for members in (first, second)]
        fewer = first if letters[0] <= letters[1] else second
        nested = letters[0] <= letters[1] or letters[1] <= letters[0]
        if not nested or (letters[0] != letters[1] and not self.may_be_absent[fewer].all()):
            return f"the letters are {', '.join(sorted(letters[0]))} and {', '.join(sorted(letters[1]))}"
        return None if force else _far_starts(self.starts[left], self.starts[right])


def _residue_pairs(
    table: AtomTable, active: np.ndarray, contacts: np.ndarray, separated: np.ndarray
) -> list[tuple[int, int]]:
    """Different residues with letters in contact, those with equal letters first."""
    atoms = np.asarray(contacts, np.int64).reshape(-1, 2)
    usable = (active & table.lettered & ~table.mixed)[atoms].all(axis=1) & (
        table.altloc[atoms[:, 0]] == table.altloc[atoms[:, 1]]
    )
    pairs = np.unique(np.sort(table.residue[atoms[usable]], axis=1), axis=0)
    apart = np.isin(pairs, table.residue[separated]).any(axis=1)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & ~apart]
    letters: dict[int, set[str]] = {}
    for atom in np.flatnonzero(active & table.lettered & np.isin(table.residue, pairs)).tolist():
        letters.setdefault(int(table.residue[atom]), set()).add(table.altloc[atom])
    listed = [(int(left), int(right)) for left, right in pairs]
    return sorted(listed, key=lambda pair: letters[pair[0]] != letters[pair[1]])
