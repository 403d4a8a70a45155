"""The sums of a tensor's sets as linear equations in the occupancies.

A set that may stay partly empty gets one more member, its vacancy, that scatters nothing. Then free, incomplete and
complete sets are all the same: members ≥ 0 that sum to what their parent has, `matrix @ x = total`. A fixed member
under a refinable parent is a fixed fraction of it, one more equation.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components

from jax_occupancy.core import Topology


class Constraints(NamedTuple):
    """Variables of the solver and the equations they obey.

    Attributes:
        entries: the collapsed entry that each of the first variables is; the vacancies follow.
        matrix: one row per equation, one column per variable.
        total: what each row sums to.
        sets: for each equation of a set the variables that share out its whole, vacancy included.
        ties: variables that are held equal, each list one more set of equations.
        highest: the largest value that each of the entries could have.
    """

    entries: Int[np.ndarray, " moving"]
    matrix: Float[np.ndarray, "equations variables"]
    total: Float[np.ndarray, " equations"]
    sets: tuple[Int[np.ndarray, " members"], ...] = ()
    ties: tuple[tuple[int, ...], ...] = ()
    highest: Float[np.ndarray, " moving"] | float = 1.0

    @property
    def family(self) -> Int[np.ndarray, " variables"]:
        """The number of the family of each variable; equations hold a family together, across all nesting."""
        linked = (self.matrix != 0).astype(float)
        return connected_components(linked.T @ linked, directed=False)[1]

    def variables(self, q: Float[np.ndarray, " collapsed"]) -> Float[np.ndarray, " variables"]:
        """Pick the occupancies that can move, tied ones at their mean, and append the vacancies they leave."""
        n = self.entries.size
        x = np.array(q, np.float64)[self.entries]
        for tie in self.ties:
            x[list(tie)] = x[list(tie)].mean()
        left = self.total - self.matrix[:, :n] @ x
        return np.concatenate([x, np.maximum(left @ self.matrix[:, n:], 0.0)])

    def with_ties(self, ties: Sequence[Sequence[int]]) -> "Constraints":
        """Hold the occupancies of each list equal."""
        pairs = [(tie[0], other) for tie in ties for other in tie[1:]]
        rows = np.zeros((len(pairs), self.matrix.shape[1]))
        for row, (one, other) in zip(rows, pairs, strict=True):
            row[one], row[other] = 1.0, -1.0
        return self._replace(
            matrix=np.concatenate([self.matrix, rows]),
            total=np.concatenate([self.total, np.zeros(len(pairs))]),
            ties=tuple(tuple(tie) for tie in ties),
        )


def constraints_of(topology: Topology, q: Float[np.ndarray, " collapsed"]) -> Constraints:
    """Write the sets of a topology as equations for the entries that can move.

    Args:
        topology: the sets, and which entries are refinable.
        q: occupancies in collapsed space, from which the fixed entries take their values.

    Returns:
        One equation per set with a refinable member, per refinable entry on its own, and per fixed fraction of a
        parent that can move.

    Example:
        >>> from jax_occupancy import OccupancyTensor
        >>> occ = OccupancyTensor([0.6, 0.4, 0.3], altloc_groups=[[[0], [1]]])
        >>> found = constraints_of(occ.topology, np.asarray(occ.group_occupancies))
        >>> found.matrix.tolist()  # the third entry is free, and the fourth variable its vacancy
        [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    """
    moving = _moving(topology)
    entries = np.flatnonzero(moving)
    column = np.cumsum(moving) - 1
    rows: list[np.ndarray] = []
    totals: list[float] = []
    may_be_empty: list[bool] = []

    def add(coefficients: dict[int, float], total: float, vacancy: bool) -> None:
        row = np.zeros(entries.size)
        for entry, coefficient in coefficients.items():
            row[column[entry]] = coefficient
        rows.append(row)
        totals.append(total)
        may_be_empty.append(vacancy)

    for index in range(topology.n_sets):
        members = topology.members[topology.set_of_member == index]
        held = members[~topology.refinable[members]]
        parent = int(topology.parent[index])
        if parent >= 0 and moving[parent]:
            for entry in held:
                fraction = q[entry] / q[parent] if q[parent] > 0 else 0.0
                add({int(entry): 1.0, parent: -fraction}, 0.0, False)
            if held.size < members.size:
                add({int(m): 1.0 for m in members} | {parent: -1.0}, 0.0, bool(~topology.complete[index]))
        elif held.size < members.size:
            whole = q[parent] if parent >= 0 else topology.whole[index]
            free = members[topology.refinable[members]]
            add({int(m): 1.0 for m in free}, float(max(whole - q[held].sum(), 0.0)), bool(~topology.complete[index]))
    for entry in np.flatnonzero(topology.refinable & (topology.set_of_entry < 0)):
        add({int(entry): 1.0}, 1.0, True)
    slack = np.eye(len(rows))[:, np.flatnonzero(may_be_empty)]
    matrix = np.concatenate([np.reshape(rows, (len(rows), entries.size)), slack], axis=1)
    # A parent has the coefficient −1, or −fraction.
    sets = tuple(np.flatnonzero(row > 0) for row in matrix)
    return Constraints(entries, matrix, np.array(totals, np.float64), sets, highest=_highest(topology)[entries])


def _highest(topology: Topology) -> np.ndarray:
    """What each entry has if no other of its set, and none above it, has anything."""
    highest = np.ones(topology.n_collapsed)
    for level in topology.set_levels:
        for index in level:
            parent = topology.parent[index]
            highest[topology.members_of(index)] = highest[parent] if parent >= 0 else topology.whole[index]
    return highest


def _moving(topology: Topology) -> np.ndarray:
    """Entries whose occupancy can change: the refinable ones, and fixed fractions of one that can."""
    moving = topology.refinable.copy()
    for level in topology.set_levels:
        nested = level[topology.parent[level] >= 0]
        below = nested[moving[topology.parent[nested]]]
        moving[topology.members[np.isin(topology.set_of_member, below)]] = True
    return moving
