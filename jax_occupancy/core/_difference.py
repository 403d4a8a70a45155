"""What makes two topologies different, in words."""

from collections.abc import Iterator

import numpy as np

from jax_occupancy.core._arguments import first_five
from jax_occupancy.core._topology import Topology


def describe_difference(ours: Topology, theirs: Topology) -> str:
    """Say in which parts, joined by semicolons, two topologies differ, as "ours against theirs"; nothing if in none.

    Example:
        >>> from jax_occupancy.core import OccupancyTensor
        >>> pair, three = OccupancyTensor([0.5, 0.5]), OccupancyTensor([0.5, 0.5, 1.0])
        >>> describe_difference(pair.topology, three.topology)
        '2 atoms against 3'
        >>> describe_difference(pair.topology, pair.freeze([False, True]).topology)
        'the refinable mask (atom 1)'
    """
    return "" if ours == theirs else "; ".join(_differences(ours, theirs))


def _differences(ours: Topology, theirs: Topology) -> Iterator[str]:
    if ours.n_atoms != theirs.n_atoms:
        # Everything else follows from this and would only hide it.
        yield f"{ours.n_atoms} atoms against {theirs.n_atoms}"
        return
    if ours.use_sigmoid != theirs.use_sigmoid:
        yield f"use_sigmoid={ours.use_sigmoid} against {theirs.use_sigmoid}"
    if ours.name != theirs.name:
        yield f"the name {ours.name!r} against {theirs.name!r}"
    yield from _groups(ours, theirs)
    if ours.n_sets != theirs.n_sets:
        yield f"{ours.n_sets} sets against {theirs.n_sets}"
    elif ours.n_collapsed == theirs.n_collapsed:
        yield from _sets(ours, theirs)


def _groups(ours: Topology, theirs: Topology) -> Iterator[str]:
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
    else:
        masked = np.flatnonzero(ours.refinable != theirs.refinable)
        if masked.size:
            yield f"the refinable mask ({first_five(masked, ours.describe_entry)})"


def _sets(ours: Topology, theirs: Topology) -> Iterator[str]:
    sets = range(ours.n_sets)
    members = [s for s in sets if _members(ours, s) != _members(theirs, s)]
    parts = {
        "the members of": members,
        "whether the sum must be met in": np.flatnonzero(ours.complete != theirs.complete),
        "the parents of": np.flatnonzero(ours.parent != theirs.parent),
    }
    for part, different in parts.items():
        if len(different):
            yield f"{part} {first_five(different, ours.describe_set)}"


def _members(topology: Topology, index: int) -> list[int]:
    return topology.members[topology.set_of_member == index].tolist()
