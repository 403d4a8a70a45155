"""How well the refined occupancies are known, and what the data say for each group."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from jax_occupancy.refinement._constraints import Constraints
from jax_occupancy.refinement._covariance import uncertainty
from jax_occupancy.refinement._cycles import State
from jax_occupancy.refinement._evidence import absent_and_full, unlinked
from jax_occupancy.refinement._information import values_of_changes
from jax_occupancy.refinement._objective import amplitude_at, misfit_at
from jax_occupancy.refinement._posterior import Posterior
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.xray import Columns

# A standard uncertainty below this is none: the equations and bounds leave the occupancy one value.
NO_FREEDOM = 1e-6


class Assessment(NamedTuple):
    """What is known of each group, in the order of the solver's variables.

    Attributes:
        groups: one row per group: esd, with the B factor and the position of all groups marginalised (NaN on a bound,
            where equations leave no freedom, and for coincident conformers, of which only the sum is known), esd_fixed,
            with them held; at_bound, whether the occupancy sits on 0 or on all that its set has, and limit, the
            one-sided 95 % limit there; delta_b, the refined shift of the B factor in Å², delta_b_esd and b_correlation,
            its correlation with the occupancy; llg_absent and llg_full, the log-likelihood gained over an occupancy of
            zero and of one (1/n across a symmetry element), and llg_unlinked, that would be gained if all residues of
            the set went their own way, this one with residues as bodies. NaN where something does not apply.
        covariance: of the occupancies, B factors and positions marginalised.
        residues: one row per residue of a linked set: what would be gained if it left the others, and where to.
    """

    groups: pd.DataFrame
    covariance: Float[np.ndarray, "groups groups"]
    residues: pd.DataFrame


def assess(problem: Problem, state: State, posterior: Posterior) -> Assessment:
    """Find standard uncertainties and evidence at the end of a refinement.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from jax_occupancy.refinement import prepare, search, settle
        >>> end = settle(*search(prepare(*read_example())))
        >>> len(assess(*end).groups) == end[0].n_groups
        True
    """
    constraints = problem.constraints
    n, n_x = problem.n_groups, problem.n_variables
    x = np.asarray(state.x[:n_x], np.float64)
    bound, with_held = _met_bounds(x, constraints), posterior.of_occupancies(marginal=False)
    (covariance, limits), (held, _) = (
        uncertainty(one.curvature, one.gradient, constraints.matrix, bound, scores=one.scores)
        for one in (posterior.of_occupancies(marginal=True), with_held)
    )
    at_bound, limit = _bounds_of_groups(x, n, constraints, limits)
    esd, esd_fixed = (np.sqrt(np.maximum(np.diag(found)[:n], 0)) for found in (covariance, held))
    pinned = esd < NO_FREEDOM
    esd[pinned], esd_fixed[pinned] = np.nan, np.nan
    limit[~pinned] = np.nan
    for tie in constraints.ties:  # their sum alone is known
        esd[list(tie)], esd_fixed[list(tie)] = np.nan, np.nan
    columns = {"esd": esd, "esd_fixed": esd_fixed, "at_bound": at_bound, "limit": limit}
    table = pd.DataFrame(columns | _nuisances(problem, state, posterior, covariance, pinned))
    # Atoms on their own would make up for what residues should not share.
    unlinked_gain, residues = _links(*(posterior.of_bodies or (problem, state, posterior)))
    table = table.assign(**_evidence(problem, state, posterior), llg_unlinked=unlinked_gain)
    covariance = np.where(pinned | pinned[:, None], 0.0, covariance[:n, :n])
    return Assessment(table, covariance, residues)


def _nuisances(
    problem: Problem, state: State, posterior: Posterior, covariance: np.ndarray, pinned: np.ndarray
) -> dict[str, np.ndarray]:
    """What B factors and positions of each group did, beside what their priors expect."""
    n = problem.n_groups
    names = ("delta_b", "delta_b_esd", "b_correlation", "b_expected", "b_spread", "shift", "shift_spread")
    found = {name: np.full(n, np.nan) for name in names}
    of_b = np.flatnonzero(posterior.kind == 0)
    group = posterior.group[of_b]
    _, delta_b = state.objective.split(state.x)
    if delta_b is not None:
        found["delta_b"] = np.asarray(delta_b, np.float64)
    own, shared = posterior.of_some(covariance, of_b)
    esd = np.sqrt(np.maximum(np.diag(own), 0))
    found["delta_b_esd"][group] = esd
    found["b_expected"][group] = posterior.spreads.trend * posterior.expected[of_b]
    found["b_spread"][group] = posterior.spreads.group_b * posterior.size[of_b]
    with np.errstate(invalid="ignore", divide="ignore"):
        found["b_correlation"][group] = shared[group, np.arange(of_b.size)] / (
            np.sqrt(np.diag(covariance)[group]) * esd
        )
    found["b_correlation"][pinned] = np.nan
    of_shifts = posterior.kind == 2
    if of_shifts.any():
        sizes = np.array([atoms.size for atoms in problem.movers.atoms])
        atoms = np.bincount(problem.group_of_mover, sizes, minlength=n)
        square = np.bincount(problem.group_of_mover, sizes * np.sum(problem.movers.shifts**2, axis=1), minlength=n)
        count = np.bincount(problem.group_of_mover, minlength=n)
        with np.errstate(invalid="ignore", divide="ignore"):
            found["shift"] = np.sqrt(square / atoms)
            found["shift_spread"] = posterior.spreads.position * np.sqrt(3 * count / atoms)
    return found


def _met_bounds(x: np.ndarray, constraints: Constraints) -> Bool[np.ndarray, " variables"]:
    """Variables at zero; of those that are tied the first stands for all."""
    bound = x <= 0
    for tie in constraints.ties:
        bound[list(tie[1:])] = False
    return bound


def _bounds_of_groups(
    x: np.ndarray, n: int, constraints: Constraints, limit: np.ndarray
) -> tuple[Bool[np.ndarray, " groups"], Float[np.ndarray, " groups"]]:
    """Which groups sit on a bound, and their limits: from above at zero, from below where the others are at zero."""
    at_bound, limits = x[:n] <= 0, limit[:n].copy()
    for tie in constraints.ties:
        limits[list(tie)] = limit[tie[0]]
    for members in constraints.sets:
        there = members[x[members] > 0]
        if there.size == 1 and members.size > 1 and there[0] < n:
            at_bound[there[0]] = True
            others = limit[members[members != there[0]]]
            known = others[np.isfinite(others)]
            limits[there[0]] = x[there[0]] - known.max() if known.size else np.nan
    return at_bound, np.clip(limits, 0, 1)


def _evidence(problem: Problem, state: State, posterior: Posterior) -> dict[str, np.ndarray]:
    """The columns llg_absent and llg_full."""
    held, n = posterior.of_occupancies(marginal=False), problem.n_groups
    x = np.asarray(state.x[: problem.n_variables], np.float64)
    hypotheses = list(absent_and_full(problem.constraints, held.curvature, held.gradient, x, posterior.following()))
    columns = {f"llg_{kind}": np.full(n, np.nan) for kind in ("absent", "full")}
    changes = [one.change for one in hypotheses]
    losses = _losses(problem, state, changes, state.objective.linear.columns, np.arange(n), np.arange(n))
    for one, with_held in zip(hypotheses, losses, strict=True):
        if not problem.outside[one.subject]:  # no data speak for or against these
            columns[f"llg_{one.kind}"][one.subject] = one.loss(with_held)
    return columns


def _links(problem: Problem, state: State, posterior: Posterior) -> tuple[np.ndarray, pd.DataFrame]:
    """What would be gained for each group without the links of its set, and the table of residues."""
    parts, movers, information = problem.parts, problem.movers, posterior.likelihood
    x, n_parts = np.asarray(state.x[: problem.n_variables], np.float64), problem.parts.group.size
    held = information.curvature[:n_parts, :n_parts], information.gradient[:n_parts]
    hypotheses = list(unlinked(problem.constraints, *held, x, parts, posterior.marginal[:2]))
    columns = problem.columns.without_shifts()
    changes = [one.change for one in hypotheses]
    losses = _losses(problem, state, changes, columns, movers.part, parts.group)
    gained, rows = np.full(problem.n_groups, np.nan), []
    for one, with_held in zip(hypotheses, losses, strict=True):
        loss = one.loss(with_held)
        if one.kind == "unlinked":
            members = problem.constraints.sets[one.subject]
            gained[members[members < problem.n_groups]] = -loss
        else:
            number, residue = one.subject
            rows += [(number, residue, group, q, -loss) for group, q in one.occupancies.items()]
    gained[np.flatnonzero(problem.outside)] = np.nan
    residues = pd.DataFrame(rows, columns=["set", "residue", "group", "occupancy", "llg_alone"])  # pyright: ignore
    return gained, residues


def _losses(
    problem: Problem,
    state: State,
    changes: list[np.ndarray],
    columns: Columns,
    part_of_column: Int[np.ndarray, " columns"],
    group_of_part: Int[np.ndarray, " parts"],
) -> Float[np.ndarray, " changes"]:
    """How much lower the log-likelihood is for each change of the occupancies of the parts, which lie in one tile.

    For least squares the variance of the data is what is left over: N/2·log of the ratio of the sums of squares.
    """
    if not changes:
        return np.zeros(0)
    near, group_of_column = problem.near, group_of_part[part_of_column]
    tile_of_change = [int(near.tile[group_of_part[np.argmax(change != 0)]]) for change in changes]
    rows, number, taken = near.rows(group_of_column), [], [0] * len(near.tiles)
    for tile in tile_of_change:
        number.append(taken[tile])
        taken[tile] += 1
    of_tiles = np.zeros((len(rows), max(taken), rows.shape[1]))
    for change, tile, i in zip(changes, tile_of_change, number, strict=True):
        of_tiles[tile, i] = np.append(change[part_of_column], 0)[rows[tile]]
    q, delta_b = state.objective.split(state.x)
    values = values_of_changes(
        state.objective,
        columns,
        jnp.asarray(group_of_column),
        q,
        jnp.zeros_like(q) if delta_b is None else delta_b,
        jnp.asarray(of_tiles, state.x.dtype),
        jnp.asarray(rows),
    )
    others = np.asarray(values, np.float64)[tile_of_change, number]
    best = float(misfit_at(state.objective, amplitude_at(state.objective, state.x)))
    if state.objective.target.is_likelihood:
        return others - best
    return state.log_likelihood_unit(problem) * best * np.log(others / best)
