"""From groups back to selections, so that groups can be written down."""

import numpy as np
import pandas as pd

from jax_occupancy.groups._grouping import Group, Grouping
from jax_occupancy.groups._naming import atom_name, listing
from jax_occupancy.groups._table import AtomTable, group_numbers, read_table
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet


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
    table = read_table(atoms)
    groups = {
        g.name: _described(table, g, grouping[s.parent] if s.parent else None) for s in grouping for g in s.groups
    }
    sets = tuple(UserSet(tuple(g.name for g in s.groups), s.kind, s.parent) for s in grouping if s.kind != "free")
    return UserGroups(groups, sets, automatic=False)


def _described(table: AtomTable, group: Group, parent: Group | None) -> UserGroup:
    """A group by its selections."""
    return UserGroup(selections(table, group.atoms), None if group.refinable else _fixed_value(group, parent))


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


def selections(table: AtomTable, atoms: np.ndarray) -> tuple[str, ...]:
    """Selections in gemmi's syntax that together match these atoms, one per residue and letter."""
    if atoms.size == 0:
        return ()
    # Residue names are part of the key: with microheterogeneity one letter may stand for two of them.
    conformer = group_numbers(table.chain, table.resseq, table.icode, table.resname, table.altloc)
    _check_names(table, conformer, atoms)
    size = np.bincount(conformer)
    pieces: dict[int, list[int]] = {}
    for atom in atoms.tolist():
        pieces.setdefault(int(conformer[atom]), []).append(atom)
    return tuple(_selection(table, piece, whole=len(piece) == int(size[key])) for key, piece in pieces.items())


def _selection(table: AtomTable, piece: list[int], *, whole: bool) -> str:
    """One residue and letter, or some of its atoms."""
    first = piece[0]
    names = "*" if whole else ",".join(dict.fromkeys(table.name[piece]))
    place = f"//{table.chain[first]}/{table.resseq[first]}.{table.icode[first]}({table.resname[first]})"
    return f"{place}/{names}:{table.altloc[first]}"


def _check_names(table: AtomTable, conformer: np.ndarray, atoms: np.ndarray) -> None:
    """Refuse atoms that share all their labels with atoms outside the group."""
    labels = group_numbers(conformer, table.name)
    twins = np.isin(labels, labels[atoms])
    twins[atoms] = False
    if twins.any():
        shown = listing((atom_name(table, int(atom)) for atom in np.flatnonzero(twins)), at_most=5)
        raise ValueError(
            f"{int(twins.sum())} atoms have the labels of atoms in another group: {shown}; no selection tells them "
            "apart. Number the residues or name the atoms anew."
        )
