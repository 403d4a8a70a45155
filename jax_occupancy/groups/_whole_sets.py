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
    tree = _Tree(grouping)
    found: list[list[np.ndarray]] = []
    for group_set in sorted(grouping.sets, key=tree.depth):
        beside = tree.beside(group_set)
        if group_set.kind == "complete" and beside is not None:
            conformers = tree.spread([*group_set.groups, *beside])
            if conformers is not None and len(conformers) > 1:
                found.append(conformers)
    return found


class _Tree:
    """What is above and below each set."""

    def __init__(self, grouping: Grouping):
        self.home = {group.name: s for s in grouping.sets for group in s.groups}
        self.below: dict[str, GroupSet] = {}
        for s in grouping.sets:
            if s.parent is not None and s.kind == "complete":
                self.below.setdefault(s.parent, s)

    def depth(self, group_set: GroupSet) -> int:
        """How many parents are above a set."""
        return 0 if group_set.parent is None else 1 + self.depth(self.home[group_set.parent])

    def beside(self, group_set: GroupSet) -> list[Group] | None:
        """Groups that with the parent of a set sum to one; None if there are none such."""
        if group_set.parent is None:
            return []
        above = self.home[group_set.parent]
        rest = self.beside(above)
        if above.kind != "complete" or rest is None:
            return None
        return [*(group for group in above.groups if group.name != group_set.parent), *rest]

    def spread(self, groups: Iterable[Group]) -> list[np.ndarray] | None:
        """The atoms of groups, children in place of a group without atoms; None if there are none."""
        conformers: list[np.ndarray] = []
        for group in groups:
            if group.atoms.size:
                conformers.append(group.atoms)
                continue
            children = self.below.get(group.name)
            inner = None if children is None else self.spread(children.groups)
            if inner is None:
                return None
            conformers += inner
        return conformers
