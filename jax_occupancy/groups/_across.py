"""What lies across a symmetry element: it leaves no room for its own images, so that 1/n is all there can be of it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from jax_occupancy.groups._building import set_kind
from jax_occupancy.groups._grouping import Group, GroupSet, owners
from jax_occupancy.groups._regrouping import with_reason
from jax_occupancy.groups._starts import tolerance
from jax_occupancy.groups._table import AtomTable


def within_symmetry(
    table: AtomTable, sets: Sequence[GroupSet], images: Sequence[tuple[int, int, str]], *, asked: int
) -> tuple[GroupSet, ...]:
    """Sets all of whose members meet their own images, and that start at 1/n at most, go up to that.

    The first ``asked`` sets stay complete or not, as asked for.
    """
    orders = iter(orders_across(table, [group for s in sets for group in s.groups], images))
    result = []
    for number, group_set in enumerate(sets):
        order = min(next(orders) for _ in group_set.groups)
        bounded = order > 1 and group_set.parent is None and group_set.refinable
        if bounded and group_set.start <= 1 / order + tolerance(len(group_set.groups)):
            kind = set_kind(table, group_set.groups, whole=1 / order) if number >= asked else group_set.kind
            note = f"it lies across a symmetry element, on top of its own images, which leaves 1/{order} at most"
            group_set = replace(with_reason(group_set, note), kind=kind, whole=1 / order)
        result.append(group_set)
    return tuple(result)


def orders_across(table: AtomTable, groups: Sequence[Group], images: Sequence[tuple[int, int, str]]) -> list[int]:
    """How many images of itself, the group included, lie on top of each group."""
    owner, operations = owners(table.n_atoms, groups), defaultdict(set)
    for atom, other, operation in images:
        if owner[atom] == owner[other]:
            operations[atom].add(operation)
    met = np.ones(table.n_atoms, np.int64)
    met[list(operations)] = [1 + len(some) for some in operations.values()]
    # Few atoms may meet images, and not all of them: what is on the element tells its order. Where all are on one (a
    # molecule in a mirror plane) that makes no images.
    site = pd.Series(table.site).groupby(table.residue)
    there = np.isin(table.residue, table.residue[list(operations)])
    highest, lowest = (site.transform(which).to_numpy() for which in ("max", "min"))
    met = np.where(there, np.maximum(met, highest // lowest), met)
    return [int(np.maximum(met, table.across)[group.atoms].max(initial=1)) for group in groups]
