"""Conformers in contact share their occupancy, letter by letter, over residues, chains and symmetry images."""

import numpy as np

from jax_occupancy.groups._linking import ROUNDING, START_DIFFERENCE, Links
from jax_occupancy.groups._naming import residue_label
from jax_occupancy.groups._table import AtomTable

ABSENT = ("other", "water")  # kinds of residue that may be there with some letters only


def join_contacts(
    table: AtomTable, active: np.ndarray, contacts: np.ndarray, links: Links, *, force: bool, separated: np.ndarray
) -> None:
    """Join the runs of residues in contact whose letters agree.

    The letters must be the same, or those of ligands and waters some of the others': a residue of a polymer that
    exists in fewer letters than its neighbours would have to be partly absent. Equal letters join first, so that a
    water between two side chains goes with the one it cannot contradict. Starts more than 0.1 apart keep two
    residues apart, as along the chain.

    Args:
        table: the atoms.
        active: where an atom takes part in automatic groups.
        contacts: pairs of positions of atoms that touch.
        links: the runs so far; joined here.
        force: join whatever the starts.
        separated: positions of atoms whose residues must stay apart.
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
        self.starts: dict[int, dict[str, float]] = {}
        counted = active & table.lettered & (~table.hydrogen | (table.occupancy > 0))
        sums: dict[tuple[int, str], list[float]] = {}
        for atom in np.flatnonzero(counted).tolist():
            sums.setdefault((int(table.residue[atom]), table.altloc[atom]), []).append(float(table.occupancy[atom]))
        for (residue, letter), values in sums.items():
            self.starts.setdefault(residue, {})[letter] = sum(values) / len(values)
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
        a, b = self.starts[left], self.starts[right]
        far = [x for x in sorted(a.keys() & b.keys()) if abs(a[x] - b[x]) > START_DIFFERENCE + ROUNDING]
        if far and not force:
            return f"conformer {far[0]} starts at {a[far[0]]:.2f} and {b[far[0]]:.2f}"
        return None


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
