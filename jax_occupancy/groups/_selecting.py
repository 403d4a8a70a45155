"""From groups back to selections, so that groups can be written down."""

import numpy as np
import pandas as pd

from jax_occupancy.groups._grouping import Group, Grouping
from jax_occupancy.groups._pieces import Pieces, table_of_grouping
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
    pieces = Pieces(table_of_grouping(grouping, atoms))
    groups = {
        g.name: _described(pieces, g, grouping[s.parent] if s.parent else None) for s in grouping for g in s.groups
    }
    sets = tuple(UserSet(tuple(g.name for g in s.groups), s.kind, s.parent) for s in grouping if s.kind != "free")
    return UserGroups(groups, sets, automatic=False)


def _described(pieces: Pieces, group: Group, parent: Group | None) -> UserGroup:
    """A group by its selections."""
    selections = tuple(
        f"//{one.chain}/{one.resseq}.{one.icode}({one.resname})/{','.join(one.names) or '*'}:{one.altloc}"
        for one in pieces.of(group.name, group.atoms)
    )
    return UserGroup(selections, None if group.refinable else _fixed_value(group, parent))


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
