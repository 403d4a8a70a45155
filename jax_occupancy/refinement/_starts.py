"""Other starts: do they end in the same minimum, and is there a lower one?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.refinement._constraints import Constraints
from jax_occupancy.refinement._solver import SolverResult

# Two ends are the same if no occupancy differs by more, or if the data can't tell them apart: by less than this
# in the log-likelihood.
SAME_OCCUPANCY = 1e-3
SAME_LOG_LIKELIHOOD = 1e-3
# A lower target by less than this is the same minimum once more.
RELATIVE_GAIN = 1e-9


class Minimum(NamedTuple):
    """A minimum of the target.

    Attributes:
        x: the variables there.
        target: its value.
        count: how many starts ended there.
        max_shift: largest difference of an occupancy from the lowest minimum.
    """

    x: Float[np.ndarray, " variables"]
    target: float
    count: int
    max_shift: float


def random_starts(
    tensor: OccupancyTensor, constraints: Constraints, *, count: int, seed: int
) -> Float[np.ndarray, "starts variables"]:
    """Draw feasible starts, uniform on the simplex of each set; fixed entries stay."""
    topology, random = tensor.topology, np.random.default_rng(seed)
    n_entries, n_sets = topology.n_collapsed, topology.n_sets
    # Shares of exponential variates are uniform on a simplex; the vacancy, whose logit is zero, is one of them.
    logits = np.log(random.exponential(size=(count, n_entries)))
    vacancy = np.log(random.exponential(size=(count, n_entries + n_sets)))
    alone = topology.set_of_entry < 0
    logits[:, alone] -= vacancy[:, :n_entries][:, alone]
    incomplete = np.flatnonzero(~topology.complete)
    members = np.isin(topology.set_of_entry, incomplete)
    logits[:, members] -= vacancy[:, n_entries + topology.set_of_entry[members]]
    drawn = tensor.with_refinable_params(logits[:, topology.refinable])
    variables = [constraints.variables(q) for q in np.asarray(drawn.group_occupancies, np.float64)]
    return np.reshape(variables, (count, constraints.matrix.shape[1]))


def set_by_set_starts(constraints: Constraints, x: Float[np.ndarray, " variables"]) -> Float[np.ndarray, "starts n"]:
    """Changes of one set at a time: each of its members in turn gets three quarters of the whole.

    One row per change: the new values of the set's variables, NaN for all others.
    """
    changes = []
    tied = {variable for tie in constraints.ties for variable in tie}
    for members in constraints.sets:
        if members.size < 2 or tied & set(members.tolist()):
            continue
        whole = x[members].sum()
        for favoured in members:
            change = np.full(x.size, np.nan)
            change[members] = 0.25 * whole / (members.size - 1)
            change[favoured] = 0.75 * whole
            changes.append(change)
    return np.reshape(changes, (len(changes), x.size))


def carry_down(
    matrix: Float[np.ndarray, "equations variables"], x: Float[np.ndarray, " variables"]
) -> Float[np.ndarray, " variables"]:
    """Let the children of every parent share out what it has now, in the proportions they had; evenly if they had none.

    A parent has a negative coefficient in the equations of its children; every depth of nesting is followed.
    """
    x = np.array(x, np.float64)
    # Two coefficients of ±1 tie two variables; neither is the other's parent.
    nested = [row for row in matrix if np.any(row < 0) and not (np.sum(row != 0) == 2 and row.sum() == 0)]
    for _ in nested:
        for row in nested:
            children = row > 0
            whole, have = -row[~children] @ x[~children], row[children] @ x[children]
            x[children] = x[children] * (whole / have) if have > 0 else whole / row[children].sum()
    return x


def distinct_minima(
    results: Sequence[SolverResult], information: Float[np.ndarray, "variables variables"], *, n_groups: int
) -> tuple[Minimum, ...]:
    """Sort the ends of all starts into minima, the lowest first.

    Ends are the same if none of the first `n_groups` variables differs, or if the data can't tell them apart:
    `information` is in units of the log-likelihood.
    """
    found: list[tuple[np.ndarray, float, int]] = []
    for result in sorted(results, key=lambda result: float(result.target)):
        end = np.asarray(result.x, np.float64)
        for i, (x, value, count) in enumerate(found):
            apart = end - x
            told = 0.5 * apart @ information @ apart
            if np.max(np.abs(apart[:n_groups]), initial=0) <= SAME_OCCUPANCY or told <= SAME_LOG_LIKELIHOOD:
                found[i] = (x, value, count + 1)
                break
        else:
            found.append((end, float(result.target), 1))
    lowest = found[0][0][:n_groups] if found else np.zeros(n_groups)
    return tuple(
        Minimum(x, value, count, float(np.max(np.abs(x[:n_groups] - lowest), initial=0))) for x, value, count in found
    )
