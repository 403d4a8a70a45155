"""What the data say for each group: would the model be worse without it, and without its links?

Every hypothesis changes the occupancies of one set. Where its other members come to lie is found on the quadratic
model of the target; the target itself is then evaluated there, so the log-likelihoods are exact and the optimum they
are compared with is never beaten by more than what the hypothesis is worth.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import nnls

# Weight of an equation against the curvatures, which are scaled to one.
STIFF = 1e4


class Hypotheses(NamedTuple):
    """Changes of the model that the data are asked about.

    Attributes:
        changes: what each adds to the occupancies of the parts.
        kind: "absent", "full", "unlinked" or "residue".
        subject: the group ("absent", "full"), the number of the set ("unlinked"), or (set, residue).
        occupancies: for a residue the occupancy of each of its groups if it is let go.
    """

    changes: list[Float[np.ndarray, " parts"]]
    kind: list[str]
    subject: list[Any]
    occupancies: list[dict[int, float]]

    def add(self, change, kind: str, subject, occupancies=None) -> None:
        """Append one."""
        self.changes.append(change)
        self.kind.append(kind)
        self.subject.append(subject)
        self.occupancies.append(occupancies or {})


def constrained_minimum(
    curvature: Float[np.ndarray, "n n"],
    gradient: Float[np.ndarray, " n"],
    x: Float[np.ndarray, " n"],
    matrix: Float[np.ndarray, "equations n"],
    total: Float[np.ndarray, " equations"],
) -> Float[np.ndarray, " n"]:
    """Minimise gradient·d + ½ d·curvature·d over x + d ≥ 0 with matrix·(x + d) = total.

    Args:
        curvature: positive semidefinite.
        gradient: at x.
        x: where the quadratic is expanded.
        matrix: the equations.
        total: their right sides.

    Returns:
        x + d.

    Example:
        >>> import numpy as np
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
    hypotheses: Hypotheses,
    *,
    curvature: Float[np.ndarray, "variables variables"],
    gradient: Float[np.ndarray, " variables"],
    matrix: Float[np.ndarray, "equations variables"],
    total: Float[np.ndarray, " equations"],
    x: Float[np.ndarray, " variables"],
    n_groups: int,
    group_of_part: Int[np.ndarray, " parts"],
) -> None:
    """Add, for each group, that it is nowhere and that it is everywhere.

    Args:
        hypotheses: what to add to.
        curvature: information on the variables.
        gradient: of the target.
        matrix: equations of the variables.
        total: their right sides.
        x: the minimum.
        n_groups: how many of the first variables are groups.
        group_of_part: the group of each part.
    """
    families = _families(matrix)
    for group in range(n_groups):
        members, rows = families[group]
        for kind, value in (("absent", 0.0), ("full", 1.0)):
            wanted = np.zeros(members.size)
            wanted[np.flatnonzero(members == group)] = 1.0
            equations = np.concatenate([matrix[np.ix_(rows, members)], wanted[None]])
            sums = np.append(total[rows], value)
            new = constrained_minimum(
                curvature[np.ix_(members, members)], gradient[members], x[members], equations, sums
            )
            if np.max(np.abs(equations @ new - sums)) > 1e-3:
                continue  # it can't be: a fixed sibling has its share
            change = np.zeros(n_groups)
            inside = members < n_groups
            change[members[inside]] = (new - x[members])[inside]
            hypotheses.add(change[group_of_part], kind, group)


def unlinked(
    hypotheses: Hypotheses,
    *,
    information: Float[np.ndarray, "parts parts"],
    gradient: Float[np.ndarray, " parts"],
    sets: Sequence[Int[np.ndarray, " _"]],
    complete: Sequence[bool],
    wholes: Sequence[float],
    x: Float[np.ndarray, " variables"],
    group_of_part: Int[np.ndarray, " parts"],
    residues: Sequence[str],
) -> None:
    """Add, for each set that runs over several residues, that each residue goes its own way, and that all do.

    Args:
        hypotheses: what to add to.
        information: on the occupancies of the parts.
        gradient: of the target.
        sets: the groups of each set.
        complete: whether they share out all of what the set has.
        wholes: what each set has: 1, what fixed members leave, or what its parent has.
        x: the minimum.
        group_of_part: the group of each part.
        residues: the residue of each part.
    """
    names = np.array(residues)
    for number, (members, full, whole) in enumerate(zip(sets, complete, wholes, strict=True)):
        inside = np.isin(group_of_part, members)
        here = list(dict.fromkeys(names[inside].tolist()))
        if len(here) < 2:
            continue
        everywhere = np.zeros(len(residues))
        for residue in here:
            own = np.flatnonzero(inside & (names == residue))
            if own.size != members.size:
                continue  # not all conformers have it, so their sum need not be one there
            rest = np.flatnonzero(inside & (names != residue))
            share = (members, full, whole, information, gradient, x, group_of_part)
            change, occupancies = _let_go(own, rest, *share)
            hypotheses.add(change, "residue", (number, residue), occupancies)
            everywhere[own] = _let_go(own, rest[:0], *share)[0][own]
        if everywhere.any():
            hypotheses.add(everywhere, "unlinked", number)


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


def _families(matrix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each variable the variables and equations that it is connected with."""
    linked = matrix != 0
    found: list[tuple[np.ndarray, np.ndarray]] = []
    known: dict[int, int] = {}
    for variable in range(matrix.shape[1]):
        if variable in known:
            found.append(found[known[variable]])
            continue
        members, rows = np.zeros(matrix.shape[1], bool), np.zeros(matrix.shape[0], bool)
        members[variable] = True
        while True:
            rows = linked[:, members].any(axis=1)
            grown = members | linked[rows].any(axis=0)
            if np.array_equal(grown, members):
                break
            members = grown
        for member in np.flatnonzero(members):
            known.setdefault(int(member), variable)
        found.append((np.flatnonzero(members), np.flatnonzero(rows)))
    return found
