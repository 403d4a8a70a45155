"""What the data say for each group: would the model be worse without it, and without its links?

Every hypothesis changes the occupancies of one set, and B factors and positions follow. Where its other members come to
lie is found on the quadratic model of the posterior; the target itself is then evaluated there with B factors and
positions held, and what these would have given back is taken from the quadratic.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from jax_occupancy.refinement._constraints import Constraints
from jax_occupancy.refinement._movers import Parts

# Weight of an equation against the curvatures, which are scaled to one.
STIFF = 1e4


class Hypothesis(NamedTuple):
    """A change of the model that the data are asked about.

    Attributes:
        kind: "absent", "full", "unlinked" or "residue".
        subject: the group ("absent", "full"), the number of the set ("unlinked"), or (set, residue).
        change: what it adds to the occupancies of the groups ("absent", "full") or of the parts.
        occupancies: for a residue the occupancy of each of its groups if it is let go.
        held: what the quadratic loses by it with B factors and positions held.
        followed: what it loses if these follow.
    """

    kind: str
    subject: Any
    change: Float[np.ndarray, " _"]
    occupancies: dict[int, float]
    held: float
    followed: float

    def loss(self, with_held: float) -> float:
        """What the log-likelihood loses if B factors and positions follow, from what it loses with these held.

        A group that vanishes goes too far for the quadratic, which then gives the part of the loss that remains; where
        residues are let go it gives what is gained besides.
        """
        if self.kind in ("absent", "full"):
            return with_held * (np.clip(self.followed / self.held, 0, 1) if self.held > 0 else 1.0)
        return with_held - (self.held - self.followed)


def constrained_minimum(
    curvature: Float[np.ndarray, "n n"],
    gradient: Float[np.ndarray, " n"],
    x: Float[np.ndarray, " n"],
    matrix: Float[np.ndarray, "equations n"],
    total: Float[np.ndarray, " equations"],
) -> Float[np.ndarray, " n"]:
    """Minimise gradient·d + ½ d·curvature·d over x + d ≥ 0 with matrix·(x + d) = total, and return x + d.

    Example:
        >>> H, total = 9 * np.eye(2), np.ones(1)
        >>> constrained_minimum(H, np.zeros(2), np.array([0.7, 0.9]), np.ones((1, 2)), total).round(6).tolist()
        [0.4, 0.6]
    """
    size = max(float(np.max(np.diag(curvature), initial=0)), 1e-30)
    values, vectors = np.linalg.eigh(curvature / size + 1e-9 * np.eye(x.size))
    root = (vectors * np.sqrt(np.maximum(values, 1e-12))).T
    # ‖root·y − aim‖² is the quadratic but for a constant
    aim = root @ x - (vectors / np.sqrt(np.maximum(values, 1e-12))).T @ (gradient / size)
    return nnls(np.concatenate([root, STIFF * matrix]), np.concatenate([aim, STIFF * total]))[0]


def absent_and_full(
    constraints: Constraints,
    curvature: Float[np.ndarray, "variables variables"],
    gradient: Float[np.ndarray, " variables"],
    x: Float[np.ndarray, " variables"],
    following: Callable[[str, int, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
) -> Iterator[Hypothesis]:
    """For each group, that it is nowhere and that it is everywhere, as far as its set allows.

    `following` gives curvature and slope of some variables if B factors and positions follow a hypothesis on a group.
    """
    if not _has_minimum(curvature, gradient):
        return
    sides, total, n_groups = constraints.matrix, constraints.total, constraints.entries.size
    family, highest = constraints.family, np.broadcast_to(constraints.highest, n_groups)
    for group in range(n_groups):
        members = np.flatnonzero(family == family[group])
        rows = np.flatnonzero(np.any(sides[:, members] != 0, axis=1))
        for kind, value in (("absent", 0.0), ("full", highest[group])):
            wanted = (members == group).astype(float)
            equations = np.concatenate([sides[np.ix_(rows, members)], wanted[None]])
            sums = np.append(total[rows], value)
            held = curvature[np.ix_(members, members)], gradient[members]
            flexible = held if following is None else following(kind, group, members)
            new = constrained_minimum(*flexible, x[members], equations, sums)
            if np.max(np.abs(equations @ new - sums)) > 1e-3:
                continue  # it can't be: a fixed sibling has its share
            change, step = np.zeros(n_groups), new - x[members]
            inside = members < n_groups
            change[members[inside]] = step[inside]
            losses = (float(slope @ step + 0.5 * step @ matrix @ step) for matrix, slope in (held, flexible))
            yield Hypothesis(kind, group, change, {}, *losses)


def unlinked(
    constraints: Constraints,
    information: Float[np.ndarray, "parts parts"],
    gradient: Float[np.ndarray, " parts"],
    x: Float[np.ndarray, " variables"],
    parts: Parts,
    following: tuple[Float[np.ndarray, "parts parts"], Float[np.ndarray, " parts"]] | None = None,
) -> Iterator[Hypothesis]:
    """For each set that runs over several residues, that each residue goes its own way, and that all do.

    `following` are information and gradient of the parts if B factors and positions follow.
    """
    held, (information, gradient) = (information, gradient), following or (information, gradient)
    either = held, (information, gradient)

    def hypothesis(kind: str, subject: Any, change: np.ndarray, occupancies: dict[int, float]) -> Hypothesis:
        losses = (float(slope @ change + 0.5 * change @ matrix @ change) for matrix, slope in either)
        return Hypothesis(kind, subject, change, occupancies, *losses)

    if not _has_minimum(information, gradient):
        return
    names, group_of_part, n_groups = np.array(parts.residue), parts.group, constraints.entries.size
    for number, variables in enumerate(constraints.sets):
        members = variables[variables < n_groups]
        inside = np.isin(group_of_part, members)
        here = list(dict.fromkeys(names[inside].tolist()))
        if len(here) < 2:
            continue
        whole, full = float(x[variables].sum()), members.size == variables.size
        everywhere = np.zeros(len(names))
        for residue in here:
            own = np.flatnonzero(inside & (names == residue))
            if own.size != members.size:
                continue  # not all conformers have it, so their sum need not be one there
            rest = np.flatnonzero(inside & (names != residue))
            share = (members, full, whole, information, gradient, x, group_of_part)
            change, occupancies = _let_go(own, rest, *share)
            yield hypothesis("residue", (number, residue), change, occupancies)
            everywhere[own] = _let_go(own, rest[:0], *share)[0][own]
        if everywhere.any():
            yield hypothesis("unlinked", number, everywhere, {})


def _has_minimum(curvature: np.ndarray, gradient: np.ndarray) -> bool:
    """Whether all are numbers: a search that ended where the target is none has nothing to ask."""
    return bool(np.isfinite(curvature).all() and np.isfinite(gradient).all())


def _let_go(own, rest, members, full, whole, information, gradient, x, group_of_part):
    """Best change if the parts of one residue leave the rest of their groups."""
    moving = [own] if rest.size == 0 else [own, rest]
    columns = [
        np.isin(np.arange(len(group_of_part)), parts) & (group_of_part == g) for parts in moving for g in members
    ]
    spread = np.array(columns, float).T
    start = np.tile(x[members], len(moving))
    k, blocks = members.size, len(moving)
    sums = np.kron(np.eye(blocks), np.ones((1, k)))
    total = np.full(blocks, whole)
    curvature, slope = spread.T @ information @ spread, spread.T @ gradient
    if not full:  # a vacancy for each block
        curvature = np.pad(curvature, (0, blocks))
        slope, start = np.pad(slope, (0, blocks)), np.append(start, total - x[members].sum())
        sums = np.concatenate([sums, np.eye(blocks)], axis=1)
    new = constrained_minimum(curvature, slope, start, sums, total)[: k * blocks]
    change = spread @ (new - np.tile(x[members], blocks))
    return change, dict(zip(members.tolist(), new[:k].tolist(), strict=True))
