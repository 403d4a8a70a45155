"""Starting occupancies, those of states without atoms and of fixed fractions among them, and the module they make."""

import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from jax_occupancy.groups._grouping import Group, Grouping, GroupSet, each

if TYPE_CHECKING:
    import jax_occupancy.core

SUM_TOLERANCE = 0.02
LAST_DECIMAL = 0.005  # what rounding to two decimals takes from, or gives to, each of several occupancies
ROUNDING = 1e-9
RESCALED = "occupancies that exclude each other do not sum to 1 and will be made to"
FULL = 1 - 1e-9  # fixed fractions that leave nothing tell nothing about their parent


def with_starts(sets: tuple[GroupSet, ...]) -> tuple[GroupSet, ...]:
    """Give groups without atoms the largest sum of their child sets, and fixed fractions their part of the parent."""
    if all(s.parent is None for s in sets):
        return sets
    for _ in range(2 * len(sets) + 1):  # every level may have to be climbed, and gone down again
        starts = {group.name: float(group.start) for s in sets for group in s.groups}
        updated = tuple(each(s, partial(_settled, home=s, sets=sets, starts=starts)) for s in sets)
        if [g.start for s in updated for g in s.groups] == [g.start for s in sets for g in s.groups]:
            break
        sets = updated
    return sets


def largest_sum(sets: Iterable[GroupSet]) -> float:
    """The largest whole that some child sets ask for, at most 1."""
    asked = [0.0]
    for group_set in sets:
        # Fixed fractions grow with the parent, so the others say how large it is.
        fractions = sum(group.fraction for group in group_set.groups if group.fraction is not None)
        rest = sum(float(group.start) for group in group_set.groups if group.fraction is None)
        asked += [round(rest / (1 - fractions), 12)] if fractions < FULL else []
    return min(max(asked), 1.0)


def _settled(group: Group, home: GroupSet, sets: tuple[GroupSet, ...], starts: dict[str, float]) -> Group:
    if group.fraction is not None and home.parent is not None:
        return replace(group, start=min(group.fraction * starts[home.parent], 1.0))
    below = [s for s in sets if s.parent == group.name] if not group.atoms.size and group.refinable else []
    telling = [s for s in below if any(g.fraction is None for g in s.groups)]
    if telling:
        return replace(group, start=largest_sum(telling))
    if below:
        others = sum(starts[other.name] for other in home.groups if other.name != group.name)
        whole = home.whole if home.parent is None else starts[home.parent]
        return replace(group, start=min(max(whole - others, 0.0), 1.0))
    return group


def tolerance(n: int) -> float:
    """How far a sum of ``n`` occupancies of two decimals may be off: twelve letters at 0.08 are a whole."""
    return max(SUM_TOLERANCE, n * LAST_DECIMAL) + ROUNDING


def make_tensor(
    grouping: Grouping, occupancies: Any, *, dtype: Any, name: str | None
) -> "jax_occupancy.core.OccupancyTensor":
    """What ``Grouping.to_tensor`` makes."""
    from jax_occupancy.core import OccupancyTensor  # core loads jax, which reading a table of groups does not need

    given = np.asarray(occupancies)
    if given.shape != (grouping.n_atoms,):
        raise ValueError(
            f"occupancies has shape {given.shape}; wanted ({grouping.n_atoms},), one occupancy per atom in file order."
        )
    values = np.clip(given if np.issubdtype(given.dtype, np.floating) else given.astype(np.float64), 0, 1)

    def at_mean(group: Group) -> Group:
        moves = group.refinable and group.atoms.size
        return replace(group, start=float(values[group.counted].mean())) if moves else group

    refinable = np.zeros(grouping.n_atoms, bool)
    for group_set in with_starts(tuple(each(s, at_mean) for s in grouping.sets)):
        for group in group_set.groups:
            values[group.atoms] = group.start
            refinable[group.atoms] = group.refinable
    # A group that stands alone is a sharing group; one with siblings, or that can't go up to 1, is a member of a set.
    alone = [s.groups[0] for s in grouping.sets if s.kind == "free" and s.whole == 1]
    sets = [s for s in grouping.sets if s.kind != "free" or s.whole < 1]
    place: dict[str, Any] = {group.name: number for number, group in enumerate(alone)}
    place |= {g.name: (i, j) for i, s in enumerate(sets) for j, g in enumerate(s.groups)}
    with warnings.catch_warnings():
        if _says_so_already(grouping, values):
            warnings.filterwarnings("ignore", "start values of .* normalised", UserWarning)
        return OccupancyTensor(
            values,
            [group.atoms.tolist() for group in alone],
            altloc_groups=[[group.atoms.tolist() for group in s.groups] for s in sets] or None,
            complete=[s.kind == "complete" for s in sets],
            parents=[None if s.parent is None else place[s.parent] for s in sets] or None,
            wholes=[s.whole for s in sets] if sets else 1.0,
            refinable_mask=refinable,
            dtype=dtype,
            name=name,
            # Entries without atoms come last in collapsed space and have no label there.
            labels=[group.name for group in alone] + [g.name for s in sets for g in s.groups if g.atoms.size],
        )


def _says_so_already(grouping: Grouping, values: np.ndarray) -> bool:
    """Whether the groups warn of the sums that these start values have, or all sums are 1 to rounding."""
    told = any(message.startswith(RESCALED) for message in grouping.warnings)
    complete = [s for s in grouping.sets if s.kind == "complete"]
    rounded = all(abs(s.start - s.whole) <= tolerance(len(s.groups)) for s in complete)
    return (told or rounded) and all(abs(values[g.atoms[0]] - g.start) <= 1e-6 for g in grouping.groups if g.atoms.size)
