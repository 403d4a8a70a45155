"""From a start to the answer: cycles, coincident conformers, other starts."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jax_occupancy.refinement._coincident import coincident_members
from jax_occupancy.refinement._cycles import ROUGH, Stage, State, run_cycles, tolerance_of
from jax_occupancy.refinement._objective import amplitude_at, minimise, minimise_from
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.refinement._solver import SolverResult
from jax_occupancy.refinement._starts import (
    RELATIVE_GAIN,
    SAME_LOG_LIKELIHOOD,
    SAME_OCCUPANCY,
    Minimum,
    carry_down,
    distinct_minima,
    random_starts,
    set_by_set_starts,
)

# A lower minimum changes the scales, which may make another one the lowest; this many times is enough.
MAX_ROUNDS = 4
# Minima that are brought to rest on their own scales.
MAX_OTHERS = 3


def search(problem: Problem, *, stage: Stage = lambda name: None) -> tuple[Problem, State]:
    """Refine from the start that the options name and make sure of the answer, with B factors and positions held.

    Refined ones would tell coincident conformers apart by what fits the noise.

    Args:
        problem: model, data and groups.
        stage: called with the name of each stage as it begins.

    Returns:
        The problem as it was in the end, with coincident conformers tied; and the answer.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from jax_occupancy.refinement import Options, prepare
        >>> _, state = search(prepare(*read_example(), options=Options(starts=2)))
        >>> state.minima[0].count  # all three starts ended here
        3
    """
    options, history = problem.options, []

    def cycles(problem: Problem, x: Array, share: float = 1.0, tolerance: float | None = None) -> State:
        state = run_cycles(problem, x, share=share, stage=stage, tolerance=tolerance)
        history.extend(state.history)
        return state

    begin = problem.start(options.start, seed=options.seed)
    state = cycles(problem, begin, tolerance=ROUGH)
    ties = _coincident(problem, state)
    if ties:
        problem = problem.with_ties(ties)
        begin = _even(begin, ties)
        state = cycles(problem, _even(state.x, ties), state.share, ROUGH)
    problem = problem.with_solvent_around(state.x)
    state = cycles(problem, state.x, state.share)
    minima: tuple[Minimum, ...] = ()
    for _ in range(MAX_ROUNDS):
        stage("starts")
        minima = _minima(problem, state)
        # Each minimum has scales of its own, at which the targets are to be compared.
        others = [cycles(problem, jnp.asarray(other.x, state.x.dtype), state.share) for other in _others(minima, state)]
        lower = [other for other in others if _is_lower(other.solved, state.solved)]
        if not lower:
            break
        state = min(lower, key=lambda other: float(other.solved.target))
    amplitudes = np.asarray(amplitude_at(state.objective, begin))
    return problem, replace(state, begin=amplitudes, minima=minima, history=tuple(history))


def _minima(problem: Problem, state: State) -> tuple[Minimum, ...]:
    """The distinct minima that random starts and, where these differ, restarts of single sets end in."""
    options, solved, tolerance = problem.options, state.solved, tolerance_of(state.x.dtype)
    starts = random_starts(problem.tensor, problem.constraints, count=options.starts, seed=options.seed)
    starts = jnp.asarray(starts, state.x.dtype)
    is_likelihood, results = state.objective.target.is_likelihood, [solved]
    if is_likelihood and len(starts):
        found = minimise_from(state.objective, starts, solved.curvature, tolerance=tolerance)
        # Far from the minimum whose second derivatives it was given a search may come to a halt early.
        early = np.asarray(found.target) > float(solved.target) + SAME_LOG_LIKELIHOOD
        results += [found._replace(x=found.x[i], target=found.target[i]) for i in np.flatnonzero(~early)]
        starts = found.x[early]
    # Least squares has several minima, with second derivatives of their own.
    results += [minimise(state.objective, start, tolerance=tolerance) for start in starts]
    information = np.asarray(solved.curvature, np.float64) * state.log_likelihood_unit(problem)
    minima = distinct_minima(results, information, n_groups=problem.n_groups)
    if not is_likelihood or len(minima) > 1:
        results += _restarted_set_by_set(problem, state, min(results, key=lambda one: float(one.target)))
        minima = distinct_minima(results, information, n_groups=problem.n_groups)
    return minima


def _restarted_set_by_set(problem: Problem, state: State, best: SolverResult) -> list[SolverResult]:
    """Where the search ends with one set changed at a time, always from the lowest minimum so far."""
    matrix, results = np.asarray(state.objective.matrix), []
    for change in set_by_set_starts(problem.constraints, np.asarray(state.x, np.float64)):
        x = np.asarray(best.x)
        wanted = carry_down(matrix, np.where(np.isnan(change), x, change))
        if np.max(np.abs(matrix @ (wanted - x)), initial=0) > 1e-6:
            continue  # the parent of this set has changed since
        start = jnp.asarray(wanted, best.x.dtype)
        result = minimise(state.objective, start, tolerance=tolerance_of(start.dtype))
        results.append(result)
        if _is_lower(result, best):
            best = result
    return results


def _others(minima: tuple[Minimum, ...], state: State) -> tuple[Minimum, ...]:
    """The lowest minima other than the present one."""
    here = np.asarray(state.x)
    others = [minimum for minimum in minima if np.max(np.abs(minimum.x - here), initial=0) > SAME_OCCUPANCY]
    return tuple(others[:MAX_OTHERS])


def _is_lower(one: SolverResult, other: SolverResult) -> bool:
    return bool(one.target < other.target - RELATIVE_GAIN * jnp.abs(other.target))


def _coincident(problem: Problem, state: State) -> list[list[int]]:
    n, unit = problem.n_groups, state.log_likelihood_unit(problem)
    information = np.asarray(state.solved.curvature, np.float64)[:n, :n] * unit
    # A group whose occupancy others share out is no conformer, and a fixed fraction of a parent can't be tied.
    left_out = np.any(problem.constraints.matrix[:, :n] < 0, axis=0)
    left_out |= ~problem.tensor.topology.refinable[problem.constraints.entries]
    sets = [[int(m) for m in members if m < n and not left_out[m]] for members in problem.constraints.sets]
    return coincident_members(information, sets)


def _even(x: Array, ties: list[list[int]]) -> Array:
    """Split the occupancies of tied conformers evenly."""
    for tie in ties:
        index = jnp.asarray(tie)
        x = x.at[index].set(x[index].mean())
    return x
