"""The static half of an OccupancyTensor: which atom reads which entry, and which entries compete."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from jax_occupancy.core._arguments import first_five


@dataclasses.dataclass(frozen=True, eq=False)
class Topology:
    """Everything about an OccupancyTensor that is not a number to be refined.

    It is hashable and compared by one digest, so that `jax.jit` can key its cache on it at no cost, however many atoms
    there are; its arrays are read-only copies. The constructor of `OccupancyTensor` makes it. Collapsed space holds the
    sharing groups, then the independent atoms in atom order, then the entries that have no atoms and only parent other
    sets. An entry that belongs to no set is a simplex of its own.

    Example:
        >>> from jax_occupancy.core import OccupancyTensor
        >>> topology = OccupancyTensor([0.6, 0.6, 0.4, 1.0], altloc_groups=[[[0, 1], [2]]]).topology
        >>> topology
        Topology(atoms=4, collapsed=3, groups=2, sets=1, refinable=3)
        >>> topology.expansion_index.tolist(), topology.members.tolist()
        ([0, 0, 1, 2], [0, 1])
    """

    expansion_index: Int[np.ndarray, " atoms"]  # the entry that each atom reads
    refinable: Bool[np.ndarray, " collapsed"]
    n_groups: int  # how many of the first entries are sharing groups
    members: Int[np.ndarray, " members"]  # entries that belong to a set, set after set
    set_of_member: Int[np.ndarray, " members"]  # ascending
    complete: Bool[np.ndarray, " sets"]  # whether a set sums to its whole, or to at most that
    parent: Int[np.ndarray, " sets"]  # the entry that each set shares out; -1 stands for the whole crystal
    whole: Float[np.ndarray, " sets"]  # what a set without a parent shares out: one, or less
    use_sigmoid: bool = True  # whether the leaf holds logits, or the occupancies themselves
    name: str | None = None
    labels: tuple[str, ...] = ()  # of the sharing groups, or nothing
    digest: bytes = dataclasses.field(init=False)  # 16 bytes that stand for all of the above

    def __post_init__(self):
        digest = hashlib.blake2b(digest_size=16)
        for field in dataclasses.fields(self):
            if not field.init:
                continue
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value = np.array(value, order="C")
                value.setflags(write=False)
                object.__setattr__(self, field.name, value)
                digest.update(f"{field.name}{value.shape}{value.dtype}".encode())
                digest.update(value.data)
            else:
                digest.update(f"{field.name}={value!r}".encode())
        object.__setattr__(self, "digest", digest.digest())

    def __hash__(self):
        return hash(self.digest)

    def __eq__(self, other):
        return isinstance(other, Topology) and self.digest == other.digest

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        # Through the constructor, which makes the arrays read-only and the digest theirs.
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}
        return functools.partial(Topology, **fields), ()

    def __repr__(self):
        return (
            f"Topology(atoms={self.n_atoms}, collapsed={self.n_collapsed}, groups={self.n_groups}, "
            f"sets={self.n_sets}, refinable={int(self.refinable.sum())})"
        )

    @property
    def n_atoms(self) -> int:
        """Length of atom space."""
        return self.expansion_index.size

    @property
    def n_collapsed(self) -> int:
        """Length of collapsed space."""
        return self.refinable.size

    @property
    def n_sets(self) -> int:
        """Number of sets of mutually exclusive entries."""
        return self.complete.size

    @functools.cached_property
    def group_map(self) -> Int[np.ndarray, " atoms"]:
        """Sharing group of each atom, -1 for an independent atom."""
        return _read_only(np.where(self.expansion_index < self.n_groups, self.expansion_index, -1))

    @functools.cached_property
    def sharing_groups(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """Atoms of each sharing group, ascending."""
        order = np.argsort(self.expansion_index, kind="stable")
        ends = np.cumsum(self.atom_counts)[: self.n_groups]
        return tuple(_read_only(atoms) for atoms in np.split(order, ends)[: self.n_groups])

    @functools.cached_property
    def atom_counts(self) -> Int[np.ndarray, " collapsed"]:
        """Number of atoms that read each entry (0 for one that only parents other sets)."""
        return _read_only(np.bincount(self.expansion_index, minlength=self.n_collapsed))

    @functools.cached_property
    def set_of_entry(self) -> Int[np.ndarray, " collapsed"]:
        """The set each entry belongs to, -1 for an entry on its own."""
        sets = np.full(self.n_collapsed, -1, np.int32)
        sets[self.members] = self.set_of_member
        return _read_only(sets)

    @functools.cached_property
    def set_levels(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """Sets by depth of nesting: those without a parent, then their children, and so on."""
        above = np.where(self.parent >= 0, self.set_of_entry[self.parent], -1)
        # A parent that belongs to no set counts as much as one in a set without a parent.
        depth = lowest = (self.parent >= 0).astype(int)
        for _ in range(self.n_sets):
            before, depth = depth, np.where(above >= 0, depth[above] + 1, lowest)
            if np.array_equal(before, depth):
                break
        return tuple(_read_only(np.flatnonzero(depth == level)) for level in range(depth.max(initial=-1) + 1))

    def with_refinable(self, refinable: Bool[np.ndarray, " collapsed"]) -> "Topology":
        """Copy with another mask."""
        if np.array_equal(refinable, self.refinable):
            return self
        return dataclasses.replace(self, refinable=refinable)

    def describe_entry(self, entry: int | np.integer) -> str:
        """Name an entry for a message: its label, its group number or its atom."""
        if entry < len(self.labels):
            return self.labels[entry]
        if entry < self.n_groups:
            return f"group {entry}"
        atoms = np.flatnonzero(self.expansion_index == entry)
        return f"atom {atoms[0]}" if atoms.size else f"entry {entry} (no atoms)"

    def describe_set(self, index: int | np.integer) -> str:
        """Name a set for a message: its number and its members."""
        return f"altloc_groups[{index}] ({first_five(self.members_of(index), self.describe_entry)})"

    def members_of(self, index: int | np.integer) -> Int[np.ndarray, " _"]:
        """Entries that belong to a set."""
        return self.members[self.set_of_member == index]

    def describe_difference(self, other: "Topology") -> str:
        """Say in which parts, joined by semicolons, another topology differs, as "this against the other".

        Example:
            >>> from jax_occupancy.core import OccupancyTensor
            >>> pair, three = OccupancyTensor([0.5, 0.5]), OccupancyTensor([0.5, 0.5, 1.0])
            >>> pair.topology.describe_difference(three.topology)
            '2 atoms against 3'
            >>> pair.topology.describe_difference(pair.freeze([False, True]).topology)
            'the refinable mask (atom 1)'
        """
        return "" if self == other else "; ".join(_differences(self, other))


def _differences(ours: Topology, theirs: Topology) -> Iterator[str]:
    if ours.n_atoms != theirs.n_atoms:
        # Everything else follows from this and would only hide it.
        yield f"{ours.n_atoms} atoms against {theirs.n_atoms}"
        return
    if ours.use_sigmoid != theirs.use_sigmoid:
        yield f"use_sigmoid={ours.use_sigmoid} against {theirs.use_sigmoid}"
    if ours.name != theirs.name:
        yield f"the name {ours.name!r} against {theirs.name!r}"
    if ours.n_groups != theirs.n_groups:
        yield f"{ours.n_groups} sharing groups against {theirs.n_groups}"
    elif ours.labels != theirs.labels:
        pairs = zip(ours.labels or [None] * ours.n_groups, theirs.labels or [None] * ours.n_groups, strict=True)
        shown = first_five((pair for pair in pairs if pair[0] != pair[1]), lambda pair: f"{pair[0]} against {pair[1]}")
        yield f"the labels ({shown})"
    moved = np.flatnonzero(ours.expansion_index != theirs.expansion_index)
    if moved.size:
        yield f"the entries that {moved.size} atoms read (atoms {first_five(moved)})"
    elif ours.n_collapsed != theirs.n_collapsed:
        yield f"{ours.n_collapsed} entries of collapsed space against {theirs.n_collapsed}"
    elif (masked := np.flatnonzero(ours.refinable != theirs.refinable)).size:
        yield f"the refinable mask ({first_five(masked, ours.describe_entry)})"
    if ours.n_sets != theirs.n_sets:
        yield f"{ours.n_sets} sets against {theirs.n_sets}"
    elif ours.n_collapsed == theirs.n_collapsed:
        same_members = [np.array_equal(ours.members_of(s), theirs.members_of(s)) for s in range(ours.n_sets)]
        parts = {
            "the members of": np.logical_not(same_members),
            "whether the sum must be met in": ours.complete != theirs.complete,
            "the parents of": ours.parent != theirs.parent,
            "what is shared out by": ours.whole != theirs.whole,
        }
        for part, different in parts.items():
            if different.any():
                yield f"{part} {first_five(np.flatnonzero(different), ours.describe_set)}"


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
