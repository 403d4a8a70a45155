"""Which conformers sum to exactly one, so that rounding can keep the sum."""

from collections.abc import Iterable

import numpy as np

from jax_occupancy.groups._grouping import Group, Grouping, GroupSet


def whole_sets(grouping: Grouping) -> list[list[np.ndarray]]:
    """List the conformers with atoms that sum to one, nested sets spread out.

    A complete set that nothing stands above is one list. Under a parent the members are followed by what the parent
    leaves to its siblings, and a sibling without atoms (a state such as "bound") by the members of its first complete
    child set. Parents come before their children. Sets that sum to less than one are left out. A list has the positions
    of the atoms of each conformer, as ``write_model`` takes them.
    """
    home = {group.name: s for s in grouping for group in s.groups}
    below = {s.parent: s for s in reversed(grouping.sets) if s.kind == "complete"}

    def depth(group_set: GroupSet) -> int:
        return 0 if group_set.parent is None else 1 + depth(home[group_set.parent])

    def beside(group_set: GroupSet) -> list[Group] | None:
        """Groups that with the parent of a set sum to one; None if there are none such."""
        if group_set.parent is None:
            return []
        above = home[group_set.parent]
        rest = beside(above)
        if above.kind != "complete" or rest is None:
            return None
        return [*(group for group in above.groups if group.name != group_set.parent), *rest]

    def spread(groups: Iterable[Group]) -> list[np.ndarray] | None:
        """The atoms of groups, children in place of a group without atoms; None if there are none."""
        conformers: list[np.ndarray] = []
        for group in groups:
            children = below.get(group.name)
            inner = [group.atoms] if group.atoms.size else children and spread(children.groups)
            if inner is None:
                return None
            conformers += inner
        return conformers

    found = []
    for group_set in sorted(grouping.sets, key=depth):
        others = beside(group_set)
        conformers = None if others is None else spread([*group_set.groups, *others])
        if group_set.kind == "complete" and conformers is not None and len(conformers) > 1:
            found.append(conformers)
    return found
