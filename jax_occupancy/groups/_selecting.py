"""From groups back to selections, so that groups can be written down."""

import numpy as np
import pandas as pd

from jax_occupancy.groups._grouping import Group, Grouping
from jax_occupancy.groups._naming import atom_name, listing
from jax_occupancy.groups._table import AtomTable, group_numbers, read_table
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet


class Selections:
    """Says atoms as selections in gemmi's syntax, one per residue and letter."""

    def __init__(self, table: AtomTable):
        self._table = table
        # Residue names are part of the key: with microheterogeneity one letter may stand for two of them.
        self._conformer = group_numbers(table.chain, table.resseq, table.icode, table.resname, table.altloc)
        self._size = np.bincount(self._conformer, minlength=1)
        self._label = group_numbers(self._conformer, table.name)
        self._twins = np.bincount(self._label, minlength=1)

    def of(self, atoms: np.ndarray) -> tuple[str, ...]:
        """The selections that together match these atoms; a ValueError names others that have their labels."""
        labels, count = np.unique(self._label[atoms], return_counts=True)
        if (count < self._twins[labels]).any():
            twins = np.setdiff1d(np.flatnonzero(np.isin(self._label, labels)), atoms)
            shown = listing((atom_name(self._table, int(atom)) for atom in twins), at_most=5)
            raise ValueError(
                f"{twins.size} atoms have the labels of atoms in another group: {shown}; no selection tells them "
                "apart. Number the residues or name the atoms anew."
            )
        pieces: dict[int, list[int]] = {}
        for atom in atoms.tolist():
            pieces.setdefault(int(self._conformer[atom]), []).append(atom)
        return tuple(self._selection(piece, len(piece) == int(self._size[key])) for key, piece in pieces.items())

    def _selection(self, piece: list[int], whole: bool) -> str:
        """One residue and letter, or some of its atoms."""
        t, first = self._table, piece[0]
        names = "*" if whole else ",".join(dict.fromkeys(t.name[piece]))
        return f"//{t.chain[first]}/{t.resseq[first]}.{t.icode[first]}({t.resname[first]})/{names}:{t.altloc[first]}"


def describe_groups(grouping: Grouping, atoms: pd.DataFrame) -> UserGroups:
    """Say any grouping in the user's terms: named groups by selection, and sets.

    Nothing is left to the automatic choice, so that ``choose_groups`` makes the same groups of the same atoms
    whatever its options. The free groups come after the sets.

    Args:
        grouping: the groups.
        atoms: the atom table they were made from.

    Returns:
        The groups in the user's terms; a fixed member of a nested set has the fraction of its parent.

    Raises:
        ValueError: the table has another number of atoms than the grouping, atoms that no selection can tell
            apart are in different groups, or a fixed group shares out a parent that starts at 0.

    Example:
        >>> import pandas as pd
        >>> from jax_occupancy.groups import automatic_groups
        >>> atom = {"name": "O", "resname": "HOH", "chainid": "A", "resseq": 7, "x": 0.0, "y": 0.0, "z": 0.0}
        >>> rows = [atom | {"altloc": "A", "occupancy": 0.6}, atom | {"altloc": "B", "occupancy": 0.4}]
        >>> atoms = pd.DataFrame(rows)
        >>> describe_groups(automatic_groups(atoms), atoms).groups["A/7/HOH:B"].selection
        ('//A/7.(HOH)/*:B',)
    """
    if len(atoms) != grouping.n_atoms:
        raise ValueError(
            f"atoms has {len(atoms)} rows; wanted {grouping.n_atoms}, the atoms the groups were made from."
        )
    selections = Selections(read_table(atoms))
    groups = {
        g.name: _described(selections, g, grouping[s.parent] if s.parent else None) for s in grouping for g in s.groups
    }
    sets = tuple(UserSet(tuple(g.name for g in s.groups), s.kind, s.parent) for s in grouping if s.kind != "free")
    return UserGroups(groups, sets, automatic=False)


def _described(selections: Selections, group: Group, parent: Group | None) -> UserGroup:
    """A group by its selections."""
    return UserGroup(selections.of(group.atoms), None if group.refinable else _fixed_value(group, parent))


def _fixed_value(group: Group, parent: Group | None) -> float:
    """The value of a fixed group; under a parent, the fraction that it keeps of it."""
    if parent is None:
        return float(group.start)
    if group.fraction is not None:
        return float(group.fraction)
    if parent.start <= 0:
        raise ValueError(
            f"the group {group.name!r} is fixed at a fraction of {parent.name!r}, which starts at {parent.start:g}, so "
            "the fraction cannot be told. Start the parent above 0, or refine the group."
        )
    return float(np.clip(np.round(group.start / parent.start, 12), 0, 1))
