"""Occupancies, B factors and positions on their way to the optimum of their posterior.

In rounds: the widths of the priors, a Newton step of everything on the quadratic, structure factors of what moved anew.
Residues of groups move as bodies. Once they are at rest their atoms take one step, each on its own, and the answer is
the optimum of that quadratic. One step from an estimate that is good already tells what the curvature knows (Le Cam,
1956); more of them fit the noise: with coordinates off by 0.05 Å at 2 Å errors of conformers that overlap were 0.064
after one, 0.069 after two and 0.080 at rest.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_occupancy.refinement._covariance import uncertainty
from jax_occupancy.refinement._cycles import ROUGH, Stage, State, run_cycles
from jax_occupancy.refinement._evidence import constrained_minimum
from jax_occupancy.refinement._information import Information
from jax_occupancy.refinement._posterior import Posterior, Spreads, posterior_at
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.refinement._quadratic import solve_on_simplexes
from jax_occupancy.refinement._solver import Result

MAX_ROUNDS = 8
# Cycles with B shifts before anything else moves, and steps of the solver in each.
FIRST_CYCLES, FIRST_STEPS = 3, 8
# Rounds before the steps are shortened or lengthened by what the last one brought.
PLAIN_ROUNDS = 2
# At rest: no occupancy wants to move by more than this part of its standard uncertainty, or this much, and nothing else
# by more than so many of what it is known to beside all others.
AT_REST, AT_REST_ABSOLUTE, AT_REST_OTHERS = 0.3, 1e-3, 3.0
# The same of bodies whose atoms go on their own from there: these move more than what is left then.
AT_REST_BEFORE_ATOMS = 0.6
# Steps of the solver after each step of the posterior, and of expectation and maximisation before it.
STEPS_AGAIN = 2
EM_STEPS, EM_STEPS_AGAIN, EM_STEPS_OF_ATOMS = 12, 3, 40
# How many shifts the first guess of a spread is worth if there is one; with n of them it is worth 1/√n of that. A fixed
# worth keeps the spread of forty right B factors so wide that occupancies are a third less accurate than they could be.
WORTH = 1.0
# Standard deviation of κ before the data are asked.
TREND_SPREAD = 1.0
# No B factor is taken to be wrong by more than itself, no atom by more than this, in Å: where the data ask for more the
# quadratic does not hold.
WIDEST = (1.0, 1.0, 0.5)
# Degrees of freedom of the prior of ΔB.
TAIL = 4.0
# No step along an axis is longer, in Å.
LONGEST_STEP = 0.2


def settle(problem: Problem, state: State, *, stage: Stage = lambda name: None) -> tuple[Problem, State, Posterior]:
    """Move occupancies, B factors and positions together to the optimum of their posterior.

    Args:
        problem: model, data and groups.
        state: where the occupancies and B shifts of groups came to rest.
        stage: called with the name of each stage as it begins.

    Returns:
        The problem with the moved atoms, the state with the moved occupancies, and the posterior there.
    """
    n, n_x, dtype = problem.n_groups, problem.n_variables, state.x.dtype
    # Not the state itself: the structure factors before the first move can go.
    ended: dict[str, Any] = {"begin": state.begin, "minima": state.minima}
    history, weight = list(state.history), 1 / state.log_likelihood_unit(problem)

    def cycles(problem: Problem, x: np.ndarray, **limits: Any) -> State:
        kept = {"share": state.share, "scale": state.scale, "weight": weight}
        found = run_cycles(problem, jnp.asarray(x, dtype), tolerance=ROUGH, **kept, **limits)
        history.extend(found.history)
        # Where steps are few on purpose the search is under way.
        under_way = found.result == Result.max_steps and "max_steps" in limits
        return replace(found, result=Result.max_cycles) if under_way else found

    stage("settle")
    if problem.options.b_factors != "held":
        start = np.concatenate([state.x, -problem.lowest_shifts / problem.b_spread])
        state = cycles(problem, start, max_cycles=FIRST_CYCLES, max_steps=FIRST_STEPS)
    rested, posterior = False, posterior_at(problem, state)
    wanted, factor = np.zeros(posterior.weights.size), np.ones(posterior.weights.size)
    for rounds in range(MAX_ROUNDS + 1):
        em_steps = EM_STEPS_AGAIN if rounds else EM_STEPS
        posterior, step, change, esd = _solve(problem, np.asarray(state.x[:n_x], np.float64), posterior, em_steps)
        moved = np.abs(step[:n])
        others = np.abs(change) * np.sqrt(np.diag(posterior.of_nuisances[0]))
        small = (AT_REST_BEFORE_ATOMS if problem.goes_by_atom else AT_REST) * esd
        rested = bool(np.all(moved <= np.maximum(small, AT_REST_ABSOLUTE)) and np.all(others <= AT_REST_OTHERS))
        if rested or not posterior.free.size or state.result not in (Result.converged, Result.max_cycles):
            break
        if rounds == MAX_ROUNDS:
            state = replace(state, result=Result.max_cycles)
            break
        if rounds >= PLAIN_ROUNDS:
            factor[posterior.free] = _secant(factor[posterior.free], wanted[posterior.free], change)
        wanted[posterior.free] = change
        problem, start = _moved(problem, state, posterior, step, factor[posterior.free] * change)
        # Its matrices, a gigabyte for a thousand groups, have done their work.
        posterior = replace(posterior, likelihood=Information(None, None, None))
        state = cycles(problem, start, max_cycles=1, max_steps=STEPS_AGAIN)
        posterior = posterior_at(problem, state, posterior)
    if rested and state.result == Result.max_cycles:
        state = replace(state, result=Result.converged)
    if posterior.free.size:
        state = replace(state, moved=float(moved.max(initial=0)))
    in_esds = float(np.max(np.divide(moved, esd, out=np.zeros(n), where=esd > 0), initial=0))
    ended |= {"moved": state.moved, "moved_esds": in_esds}
    if rested and problem.goes_by_atom:
        ended["result"] = state.result
        bodies, problem = (problem, state, posterior), problem.by_atom()
        posterior = posterior_at(problem, state, posterior)
        x = np.asarray(state.x[:n_x], np.float64)
        posterior, step, change, _ = _solve(problem, x, posterior, EM_STEPS_OF_ATOMS)
        problem, start = _moved(problem, state, posterior, step, change)
        state = cycles(problem, start, max_cycles=1, max_steps=0)
        posterior = replace(posterior.after(step, change), of_bodies=bodies)
    return problem, replace(state, history=tuple(history), **ended), posterior


def _secant(factor: np.ndarray, before: np.ndarray, change: np.ndarray) -> np.ndarray:
    """What part of the change that each nuisance wants is the right one.

    Where residuals are large a Gauss-Newton step of a shift is too long or too short; what was wanted before and after
    the last one tells by how much.
    """
    ratio = np.divide(change, before, out=np.zeros_like(change), where=before != 0)
    return np.clip(np.where(ratio < 1, factor / np.maximum(1 - ratio, 0.1), 1.0), 0.2, 1.5)


def _solve(problem: Problem, x: np.ndarray, posterior: Posterior, em_steps: int):
    """The spreads that the data ask for, the steps of variables and nuisances to the optimum, and esds."""
    matrix = problem.constraints.matrix
    step, change, esd = np.zeros(x.size), np.zeros(posterior.free.size), np.zeros(problem.n_groups)
    if not posterior.is_finite:
        return posterior, step, change, esd
    if change.size:
        pieces = _pieces(problem, posterior)
        for _ in range(em_steps):
            posterior = _with_spreads(posterior, _expected_squares(posterior, pieces, x), problem)
    blocks = problem.near.blocks(matrix, x.size)
    step, covariance, change = _optimum(posterior, matrix, x, partial(_on_simplexes, blocks=blocks))
    esd = np.sqrt(np.maximum(np.diag(covariance), 0))[: problem.n_groups]
    of_shifts = posterior.kind == 2
    change[of_shifts] = np.clip(change[of_shifts], -LONGEST_STEP, LONGEST_STEP)
    return posterior, step, change, esd


def _optimum(posterior: Posterior, matrix: np.ndarray, x: np.ndarray, solve: Callable[..., np.ndarray]):
    """The step of the variables to the optimum, their covariance there, and the change of the nuisances."""
    slope, information, _ = posterior.of_occupancies(marginal=True)
    _, _, follow, rest = posterior.marginal
    step = solve(slope, information, matrix, x)
    covariance, _ = uncertainty(information, slope, matrix, x + step <= 0)
    return step, covariance, -follow @ step[posterior.place] - rest


_compiled = jax.jit(solve_on_simplexes)


def _on_simplexes(slope: np.ndarray, information: np.ndarray, matrix: np.ndarray, x: np.ndarray, *, blocks: Any):
    return np.asarray(_compiled(*map(jnp.asarray, (slope, information, matrix, x)), blocks), np.float64)


def _of_any_size(slope: np.ndarray, information: np.ndarray, matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same for small programmes, each of another size: nothing is compiled."""
    return constrained_minimum(information, slope, x, matrix, matrix @ x) - x


def _pieces(problem: Problem, posterior: Posterior) -> list[tuple[Posterior, np.ndarray, np.ndarray, np.ndarray]]:
    """The posterior of each family of groups, its equations, and which variables and nuisances it has."""
    matrix, n = problem.constraints.matrix, problem.n_groups
    family, found = problem.constraints.family[:n], []
    for one in np.unique(family):
        of_groups = np.flatnonzero(family == one)
        equations = matrix[np.any(matrix[:, of_groups] != 0, axis=1)]
        variables = np.concatenate([of_groups, n + np.flatnonzero(np.any(equations[:, n:] != 0, axis=0))])
        parts, nuisances = (np.flatnonzero(family[group] == one) for group in (posterior.place, posterior.group))
        piece = posterior.restricted(variables, parts, nuisances)
        found.append((piece, equations[:, variables], variables, nuisances))
    return found


def _expected_squares(posterior: Posterior, pieces: list, x: np.ndarray) -> np.ndarray:
    """Expectations of squares relative to the sizes of the nuisances, each family of groups for itself: (3, nuisances).

    They are those of the nuisances, of what their priors expect if κ is one, and of the product of both.
    """
    found = np.zeros((3, posterior.free.size))
    for whole, equations, variables, nuisances in pieces:
        piece = replace(whole, spreads=posterior.spreads, weights=posterior.weights)
        step, of_variables, change = _optimum(piece, equations, x[variables], _of_any_size)
        follow, own = piece.marginal[2], piece.covariance_of_nuisances.diagonal()
        of_parts = of_variables[np.ix_(piece.place, piece.place)]
        variance = own + np.einsum("ij,jk,ik->i", follow, of_parts, follow, optimize=True)
        response = piece.response.toarray()
        value, expected = piece.nuisance + change, piece.expected + response @ step
        of_expected = np.sum(response @ of_variables * response, axis=1)
        shared = -np.sum(follow @ of_variables[piece.place] * response, axis=1)
        found[0, nuisances] = (value**2 + variance) / piece.size**2
        found[1, nuisances] = (expected**2 + of_expected) / piece.size**2
        found[2, nuisances] = (value * expected + shared) / piece.size**2
    return found


def _with_spreads(posterior: Posterior, expectations: np.ndarray, problem: Problem) -> Posterior:
    """Maximisation: κ, spreads and weights of the tail from the expected squares of the shifts."""
    options, weights, spreads = problem.options, posterior.weights.copy(), posterior.spreads
    found, asked = list(spreads), (options.b_error, options.b_error, options.position_error)
    of_groups, (square, of_trend, product) = posterior.kind == 0, expectations

    def departed(trends: Spreads) -> np.ndarray:
        trend = trends.trend_of(posterior.kind)
        return square - 2 * trend * product + trend**2 * of_trend

    if options.b_error is None and of_groups.any():
        tail = (TAIL + 1) / (TAIL + departed(spreads)[of_groups] / spreads.group_b**2)
        weights[posterior.free[of_groups]] = tail
        told = np.sum(tail * of_trend[of_groups]) + (spreads.group_b / TREND_SPREAD) ** 2
        found[3] = max(np.sum(tail * product[of_groups]) / told, 0.0)
    for kind in (1, 2):
        own = posterior.kind == kind
        if asked[kind] is None and own.any() and posterior.response[own].nnz:
            told = np.sum(of_trend[own]) + (spreads[kind] / TREND_SPREAD) ** 2
            found[3 + kind] = max(np.sum(product[own]) / told, 0.0)
    from_expected = departed(Spreads(*found))
    for kind, (before, widest) in enumerate(zip(posterior.before[:3], WIDEST, strict=True)):
        own = posterior.kind == kind
        if own.any() and asked[kind] is None:
            worth = WORTH / np.sqrt(own.sum())
            squares = np.sum(weights[posterior.free[own]] * from_expected[own]) + worth * before**2
            found[kind] = min(np.sqrt(squares / (own.sum() + worth)), widest)
    return replace(posterior, spreads=Spreads(*map(float, found)), weights=weights)


def _moved(problem: Problem, state: State, posterior: Posterior, step: np.ndarray, change: np.ndarray):
    """The problem with the nuisances changed, and where its cycles start."""
    movers, n_x = problem.movers, problem.n_variables
    of_groups, of_atoms, of_shifts = (posterior.kind == kind for kind in range(3))
    after = posterior.nuisance + change
    delta_b, shifts, b_spread = movers.delta_b.copy(), movers.shifts.T.copy(), problem.b_spread.copy()
    b_spread[posterior.group[of_groups]] = posterior.spread[of_groups]
    b_trend = np.zeros((problem.n_groups, problem.n_groups))
    response = posterior.response[of_groups][:, : problem.n_groups]
    b_trend[posterior.group[of_groups]] = posterior.spreads.trend * response.toarray()
    shifts[:, movers.may_shift] = after[of_shifts].reshape(3, -1) if of_shifts.any() else 0.0
    x = np.maximum(np.asarray(state.x[:n_x], np.float64) + step, 0)
    _, found = state.objective.split(state.x)
    if found is not None:
        of_b = np.array(found, np.float64)
        of_b[posterior.group[of_groups]] = after[of_groups]
        of_b = np.maximum(of_b, problem.lowest_shifts)
        x = np.concatenate([x, (of_b - problem.lowest_shifts) / b_spread])
        if of_atoms.any():  # an atom is on its bound alone, or with a group whose B factors fall
            fallen = np.minimum(of_b[problem.group_of_mover], 0)
            delta_b[:] = np.maximum(after[of_atoms], problem.lowest_shifts_of_movers - fallen)
    return problem.moved(shifts.T, delta_b, b_spread=b_spread, b_trend=b_trend), x
