"""Starting occupancies that follow from others: of states without atoms, and of fixed fractions of a parent."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax_occupancy.groups

SUM_TOLERANCE = 0.02
LAST_DECIMAL = 0.005  # what rounding to two decimals takes from, or gives to, each of several occupancies
ROUNDING = 1e-9
FULL = 1 - 1e-9  # fixed fractions that leave nothing tell nothing about their parent


def with_starts(
    sets: tuple["jax_occupancy.groups.GroupSet", ...],
) -> tuple["jax_occupancy.groups.GroupSet", ...]:
    """Give groups without atoms the largest sum of their child sets, and fixed fractions their part of the parent."""
    if all(s.parent is None for s in sets):
        return sets
    for _ in range(2 * len(sets) + 1):  # every level may have to be climbed, and gone down again
        starts = {group.name: float(group.start) for s in sets for group in s.groups}
        updated = tuple(replace(s, groups=tuple(_settled(g, s, sets, starts) for g in s.groups)) for s in sets)
        if [g.start for s in updated for g in s.groups] == [g.start for s in sets for g in s.groups]:
            break
        sets = updated
    return sets


def largest_sum(sets: Iterable["jax_occupancy.groups.GroupSet"]) -> float:
    """The largest whole that some child sets ask for, at most 1."""
    return min(max((_asked_of_parent(s) for s in sets), default=0.0), 1.0)


def _asked_of_parent(group_set: "jax_occupancy.groups.GroupSet") -> float:
    """What a set sums to; fixed fractions grow with the parent, so the others say how large it is."""
    fractions = sum(group.fraction for group in group_set.groups if group.fraction is not None)
    rest = sum(float(group.start) for group in group_set.groups if group.fraction is None)
    return round(rest / (1 - fractions), 12) if fractions < FULL else 0.0


def _settled(
    group: "jax_occupancy.groups.Group",
    home: "jax_occupancy.groups.GroupSet",
    sets: tuple["jax_occupancy.groups.GroupSet", ...],
    starts: dict[str, float],
) -> "jax_occupancy.groups.Group":
    """A group at the start that its parent or its children give it."""
    if group.fraction is not None and home.parent is not None:
        return replace(group, start=min(group.fraction * starts[home.parent], 1.0))
    below = [s for s in sets if s.parent == group.name] if not group.atoms.size and group.refinable else []
    telling = [s for s in below if any(g.fraction is None for g in s.groups)]
    if telling:
        return replace(group, start=largest_sum(telling))
    if below:
        others = sum(starts[other.name] for other in home.groups if other.name != group.name)
        whole = 1.0 if home.parent is None else starts[home.parent]
        return replace(group, start=min(max(whole - others, 0.0), 1.0))
    return group


def tolerance(n: int) -> float:
    """How far a sum of ``n`` occupancies of two decimals may be off: twelve letters at 0.08 are a whole."""
    return max(SUM_TOLERANCE, n * LAST_DECIMAL) + ROUNDING
