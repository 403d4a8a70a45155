"""What grouping makes: groups, sets of groups that exclude each other, and all of them together."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import jax_occupancy.core

SetKind = Literal["complete", "incomplete", "free"]


@dataclass(frozen=True, eq=False)
class Group:
    """Atoms that share one occupancy.

    Args:
        name: unique name, such as "A/54/ARG:A" (chain, residue, residue name, letter).
        atoms: positions of the atoms in file order; may be empty for a state that only parents other sets.
        start: occupancy the refinement starts from (for a fixed group: the value it keeps).
        refinable: whether the occupancy may change.
        reason: why this group was made, as a sentence.
        altloc: letter of the conformer, "" without.
        residues: the residues it covers, such as "A/54-57".
        counted: the atoms ``start`` is the mean of; all of them unless some (hydrogens kept at zero) were not
            given an occupancy of their own.
        fraction: for a fixed group under a parent, the fraction of the parent that it keeps; None otherwise.

    Raises:
        ValueError: a position is negative or occurs twice, or the start lies outside 0…1.
    """

    name: str
    atoms: Any
    start: float | int
    refinable: bool
    reason: str
    altloc: str = ""
    residues: str = ""
    counted: Any = None
    fraction: float | None = None

    def __post_init__(self):
        atoms = _positions(self.name, self.atoms)
        counted = atoms if self.counted is None else _positions(self.name, self.counted)
        if not -1e-9 <= self.start <= 1 + 1e-9:
            raise ValueError(
                f"group {self.name!r} starts at {self.start}; wanted an occupancy from 0 to 1. Clamp it first."
            )
        object.__setattr__(self, "atoms", atoms)
        object.__setattr__(self, "counted", counted)


@dataclass(frozen=True, eq=False)
class GroupSet:
    """Groups that share one whole: "complete" sums to it, "incomplete" to at most it, "free" is one group alone.

    The whole is the occupancy of the group that is named as parent. Without one it is 1, or 1/n for what lies across a
    symmetry element of order n: it leaves no room for its own images, and a free group goes up to that.

    Raises:
        ValueError: a free set has a parent or not exactly one member, or another set has fewer than two.
    """

    kind: SetKind
    groups: tuple[Group, ...]
    parent: str | None = None
    whole: float = 1.0

    def __post_init__(self):
        if (self.kind == "free") != (len(self.groups) == 1) or not self.groups:
            names = [group.name for group in self.groups[:5]]
            raise ValueError(
                f"a {self.kind} set has the {len(self.groups)} groups {names}; wanted exactly one in a free set and at "
                "least two in any other: atoms that are there together belong in one group."
            )
        if self.kind == "free" and self.parent is not None:
            raise ValueError(
                f"the free group {self.groups[0].name!r} has the parent {self.parent!r}; wanted at least two groups "
                "that share the parent. Put its atoms into the parent instead."
            )

    @property
    def start(self) -> float:
        """Sum of the starting occupancies."""
        return float(sum(group.start for group in self.groups))

    @property
    def refinable(self) -> bool:
        """Whether any member may change."""
        return any(group.refinable for group in self.groups)

    @property
    def relation(self) -> str:
        """What the sum of the members is: "= 1" (complete), "≤ 1" (incomplete), "= bound" (a parent), "" (free)."""
        whole = self.parent or ("1" if self.whole == 1 else f"{self.whole:.2f}")
        return {"complete": f"= {whole}", "incomplete": f"≤ {whole}", "free": "" if whole == "1" else f"≤ {whole}"}[
            self.kind
        ]


@dataclass(frozen=True, eq=False)
class Grouping:
    """All groups of a model; atoms of no group keep their occupancy.

    Sets come in the order of their first atoms; warnings say what a crystallographer should look at.

    Raises:
        ValueError: a name occurs twice, an atom is in two groups or out of range, or parents are unknown or run in
            a circle.

    Example:
        >>> water = Group("A/7/HOH", [2], 0.5, True, "atom A/7/HOH/O has a partial occupancy")
        >>> grouping = Grouping(3, (GroupSet("free", (water,)),))
        >>> grouping.to_dict()["sets"][0]["groups"][0]["atoms"]
        [2]
    """

    n_atoms: int
    sets: tuple[GroupSet, ...] = ()
    warnings: tuple[str, ...] = ()
    _by_name: dict[str, Group] = field(init=False, repr=False)

    def __post_init__(self):
        groups = [group for group_set in self.sets for group in group_set.groups]
        by_name = {group.name: group for group in groups}
        if len(by_name) < len(groups):
            repeated = [name for name, count in Counter(group.name for group in groups).items() if count > 1]
            raise ValueError(f"group names occur twice: {repeated[:5]}; wanted unique names.")
        _check_atoms(groups, self.n_atoms)
        _check_parents(self.sets)
        object.__setattr__(self, "_by_name", by_name)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Every group, set by set."""
        return tuple(group for group_set in self.sets for group in group_set.groups)

    def __getitem__(self, name: str) -> Group:
        return self._by_name[name]

    def __iter__(self) -> Iterator[GroupSet]:
        return iter(self.sets)

    def __len__(self) -> int:
        return len(self.sets)

    def with_warnings(self, *messages: str) -> "Grouping":
        """The same groups with more warnings."""
        return replace(self, warnings=(*self.warnings, *messages))

    def without(self, gone: Any) -> "Grouping":
        """The groups of a model that lacks some atoms, positions counted among those that stay.

        A group whose atoms are all gone leaves its set. Who is left alone in a complete set is always there, so it is
        no group any more, and sets that it parents share out the whole; alone in an incomplete one it is free.

        Args:
            gone: which atoms are gone, bool, shape (atoms,).

        Raises:
            ValueError: one group is left alone under a parent, or a parent is gone.

        Example:
            >>> pair = GroupSet("complete", (Group("A", [0], 0.9, True, ""), Group("B", [1], 0.1, True, "")))
            >>> water = GroupSet("free", (Group("W", [2], 0.5, True, ""),))
            >>> [group.atoms.tolist() for group in Grouping(3, (pair, water)).without([False, True, False]).groups]
            [[1]]
        """
        gone = np.asarray(gone, bool)
        place, sets, settled = np.cumsum(~gone) - 1, [], {}
        for s in self.sets:
            left = tuple(group for group in s.groups if not group.atoms.size or not gone[group.atoms].all())
            if s.kind == "complete" and s.parent is None and len(left) == 1:
                settled[left[0].name] = s.whole
            elif left:
                kind = "free" if s.kind == "incomplete" and len(left) == 1 else s.kind
                sets.append(GroupSet(kind, tuple(_moved(group, gone, place) for group in left), s.parent, s.whole))
        sets = [replace(s, parent=None, whole=settled[s.parent]) if s.parent in settled else s for s in sets]
        return Grouping(int((~gone).sum()), tuple(sets), self.warnings)

    def to_frame(self) -> pd.DataFrame:
        """One row per group, for reading; ``set`` is the number of its set."""
        columns = ["name", "set", "kind", "parent", "n_atoms", "residues", "altloc", "start", "refinable", "reason"]
        rows = [
            (g.name, number, s.kind, s.parent, g.atoms.size, g.residues, g.altloc, g.start, g.refinable, g.reason)
            for number, s in enumerate(self.sets)
            for g in s.groups
        ]
        return pd.DataFrame(rows, columns=pd.Index(columns))

    def to_dict(self) -> dict[str, Any]:
        """The refinable sets as plain data for JSON: n_atoms, sets (atoms by position in the file) and warnings."""
        sets = []
        for s in self.sets:
            groups = [
                {"name": g.name, "atoms": g.atoms.tolist(), "start": float(g.start)}
                | {"refinable": g.refinable, "reason": g.reason}
                for g in s.groups
            ]
            if s.refinable:
                sets.append({"kind": s.kind, "parent": s.parent, "whole": s.whole, "groups": groups})
        return {"n_atoms": self.n_atoms, "sets": sets, "warnings": list(self.warnings)}

    def to_tensor(
        self, occupancies: Any, *, dtype: Any = None, name: str | None = None
    ) -> "jax_occupancy.core.OccupancyTensor":
        """Make the module whose parameters are the occupancies of these groups; all other atoms are fixed in it.

        A refinable group starts from the mean of its atoms, a fixed one keeps its value or its fraction of its parent.

        Args:
            occupancies: occupancy of every atom in file order; values outside 0…1 are clamped.
            dtype: float type of the parameters; None follows the occupancies.

        Raises:
            ValueError: there is not one occupancy per atom.
        """
        from jax_occupancy.groups._starts import make_tensor  # it makes groups

        return make_tensor(self, occupancies, dtype=dtype, name=name)


def _moved(group: Group, gone: np.ndarray, place: np.ndarray) -> Group:
    """A group whose remaining atoms have other places."""
    atoms, counted = (place[some[~gone[some]]] for some in (group.atoms, group.counted))
    return replace(group, atoms=atoms, counted=counted)


def each(group_set: GroupSet, change: Callable[[Group], Group]) -> GroupSet:
    """The set with every group changed."""
    return replace(group_set, groups=tuple(change(group) for group in group_set.groups))


def owners(n_atoms: int, groups: Iterable[Group]) -> np.ndarray:
    """The number of the group of each atom, -1 for one of no group."""
    owner = np.full(n_atoms, -1)
    for number, group in enumerate(groups):
        owner[group.atoms] = number
    return owner


def whole_sets(grouping: Grouping) -> list[list[np.ndarray]]:
    """List the conformers whose sum is exact, as positions of their atoms, so that ``write_model`` keeps it.

    A complete set that nothing stands above is one list. Under a parent the members are followed by what the parent
    leaves to its siblings, and a sibling without atoms (a state such as "bound") by the members of its first complete
    child set. Parents come before their children. Sets that sum to less than one are left out.
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


def _positions(name: str, atoms: Any) -> np.ndarray:
    array = np.array(atoms, np.int64).reshape(-1)
    if array.size and (array.min() < 0 or len(set(array.tolist())) < array.size):
        raise ValueError(
            f"group {name!r} has the positions {array[:5].tolist()}…; wanted different 0-based positions of atoms."
        )
    array.flags.writeable = False
    return array


def _check_atoms(groups: list[Group], n_atoms: int) -> None:
    owner = np.full(n_atoms, -1)
    for number, group in enumerate(groups):
        if group.atoms.size and group.atoms.max() >= n_atoms:
            raise ValueError(f"group {group.name!r} has atom {group.atoms.max()}, but there are {n_atoms} atoms.")
        taken = group.atoms[owner[group.atoms] >= 0]
        if taken.size:
            other = groups[owner[taken[0]]].name
            raise ValueError(
                f"groups {other!r} and {group.name!r} overlap in {taken.size} atoms, first at positions "
                f"{taken[:5].tolist()}; wanted every atom in at most one group."
            )
        owner[group.atoms] = number


def _check_parents(sets: tuple[GroupSet, ...]) -> None:
    above = {group.name: s.parent for s in sets for group in s.groups}
    for start in above:
        path = [start]
        while (parent := above[path[-1]]) is not None:
            if parent not in above:
                raise ValueError(f"the set of {path[-1]!r} has the parent {parent!r}, which is no group.")
            if parent in path:
                circle = " -> ".join([*path[path.index(parent) :], parent])
                raise ValueError(f"parents run in a circle: {circle}; wanted a parent that is no descendant.")
            path.append(parent)
