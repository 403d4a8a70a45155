"""One posterior of occupancies, B factors and positions: its optimum is the estimate, its curvature the uncertainty.

An occupancy trades with the B factors and positions of its atoms, which were refined at another occupancy and are wrong
besides. So what is minimised in the end is

    −ln L(q, ΔB, δB, t) + Σ ΔB²/2(τB)² + Σ δB²/2(βB)² + Σ n|t|²/2σ²

with a shift ΔB of the B factors of each group, a shift t of each of its residues as a body of n atoms and, where atoms
are free, t and a shift δB of the B factor of each atom. How wide the priors are, τ, β and σ, the data say themselves:
they are those that make the shifts found as likely as can be (empirical Bayes by expectation and maximisation;
Dempster, Laird & Rubin, J. R. Stat. Soc. B39, 1-38, 1977). The prior of ΔB has the tail of Student's distribution: one
ligand with a wrong B factor among forty right waters may have moved far.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

from jax_occupancy.refinement._covariance import PRIOR_OCCUPANCY, uncertainty
from jax_occupancy.refinement._cycles import Stage, State, run_cycles
from jax_occupancy.refinement._evidence import constrained_minimum
from jax_occupancy.refinement._information import Information, extended_information
from jax_occupancy.refinement._model_error import model_error
from jax_occupancy.refinement._objective import amplitude_at
from jax_occupancy.refinement._problem import RELATIVE_B_SPREAD, SMALLEST_B, Problem
from jax_occupancy.refinement._quadratic import solve_on_simplexes
from jax_occupancy.refinement._solver import Result

MAX_ROUNDS = 8
# Cycles with B shifts before anything else moves.
FIRST_CYCLES = 3
# Rounds before the steps are shortened or lengthened by what the last one brought.
PLAIN_ROUNDS = 2
# At rest: no occupancy wants to move by more than this part of its standard uncertainty, or this much, and nothing else
# by more than so many of what it is known to beside all others.
AT_REST, AT_REST_ABSOLUTE, AT_REST_OTHERS = 0.3, 1e-3, 3.0
# What counts as no change of a variable within a round, and steps of the solver after each step of the posterior.
ROUGH, STEPS_AGAIN = 1e-3, 2
EM_STEPS, EM_STEPS_AGAIN = 12, 3
# Spread of the B factors of atoms, relative to each, before the data have spoken, and how many shifts this is worth.
RELATIVE_ATOM_SPREAD, WORTH = 0.1, 1.0
# Degrees of freedom of the prior of ΔB.
TAIL = 4.0
# No step along an axis is longer, in Å.
LONGEST_STEP = 0.2


class Spreads(NamedTuple):
    """Standard deviations of the priors.

    Attributes:
        group_b: of ΔB of a group, relative to its mean B factor.
        atom_b: of δB of an atom, relative to its B factor.
        position: of an atom along each axis, in Å.
    """

    group_b: float
    atom_b: float
    position: float


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior around a point, as a quadratic in the occupancies of the parts and the nuisances.

    The nuisances are ΔB of groups, δB of movers and shifts of movers, those of them that are free.

    Attributes:
        likelihood: derivatives of minus the log-likelihood.
        place: for the parts, the variable that each belongs to.
        n_variables: occupancies and vacancies.
        free: the free nuisances among all.
        nuisance: their values, in Å² and Å.
        kind: 0 for ΔB, 1 for δB, 2 for shifts: what in `spreads` their prior is.
        size: what the prior of each is relative to: a B factor, or 1/√n of a body of n atoms.
        weights: of the tail, 1 for what lies where the spread says; of all nuisances.
        group: the group of each nuisance.
        spreads: of the priors.
        before: what was believed before the data were asked.
    """

    likelihood: Information
    place: Int[np.ndarray, " parts"]
    n_variables: int
    free: Int[np.ndarray, " nuisances"]
    nuisance: Float[np.ndarray, " nuisances"]
    kind: Int[np.ndarray, " nuisances"]
    size: Float[np.ndarray, " nuisances"]
    weights: Float[np.ndarray, " all"]
    group: Int[np.ndarray, " nuisances"]
    spreads: Spreads
    before: Spreads

    @property
    def is_finite(self) -> bool:
        """Whether all are numbers: a search that ended where the target is none has no posterior."""
        return bool(np.isfinite(self.likelihood.gradient).all() and np.isfinite(self.likelihood.curvature).all())

    @property
    def spread(self) -> Float[np.ndarray, " nuisances"]:
        """Standard deviation of the prior of each nuisance."""
        return np.array(self.spreads)[self.kind] * self.size / np.sqrt(self.weights[self.free])

    @property
    def priors(self) -> dict[str, float]:
        """Standard deviations of the priors of what was refined, as a solution has them."""
        found: dict[str, float] = {}
        if (self.kind == 0).any():
            found["b_error"] = float(np.median(self.spreads.group_b * self.size[self.kind == 0]))
            found["relative_b_error"] = self.spreads.group_b
        if (self.kind == 1).any():
            found["relative_b_error_of_atoms"] = self.spreads.atom_b
        if (self.kind == 2).any():
            found["position_error"] = self.spreads.position
        return found

    def restricted(self, variables: np.ndarray, parts: np.ndarray, nuisances: np.ndarray) -> "Posterior":
        """That of some variables with their parts and nuisances, all others held."""
        own = np.concatenate([parts, self.place.size + nuisances])
        gradient, curvature = self.likelihood.gradient[own], self.likelihood.curvature[np.ix_(own, own)]
        names = ("free", "nuisance", "kind", "size", "group")
        return replace(
            self,
            likelihood=Information(gradient, curvature, None),
            place=np.searchsorted(variables, self.place[parts]),
            n_variables=len(variables),
            **{name: getattr(self, name)[nuisances] for name in names},
        )

    def of_nuisances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Curvature and slope by the nuisances, priors included, and the curvature between parts and nuisances."""
        n, precision = self.place.size, self.spread**-2.0
        curvature = self.likelihood.curvature[n:, n:] + np.diag(precision)
        return curvature, self.likelihood.gradient[n:] + precision * self.nuisance, self.likelihood.curvature[:n, n:]

    @cached_property
    def marginal(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Information on the parts with the nuisances marginalised, gradient, and the response of the nuisances.

        The response to a change d of the parts is −follow·d − rest.
        """
        n = self.place.size
        curvature, slope, between = self.of_nuisances()
        parts, of_parts = self.likelihood.curvature[:n, :n], self.likelihood.gradient[:n]
        if not self.nuisance.size or not self.is_finite:
            return parts, of_parts, between.T, slope
        factor = cho_factor(curvature)
        follow, rest = cho_solve(factor, between.T), cho_solve(factor, slope)
        return parts - between @ follow, of_parts - between @ rest, follow, rest

    def following(self) -> Callable[[str, int, np.ndarray], np.ndarray]:
        """The curvature of some variables if B factors and positions follow a change of one group.

        Those of a group that is absent have nothing to follow with.
        """
        information, _, follow, _ = self.marginal
        curvature = self.with_prior(self.of_variables(information))
        inverse = np.linalg.inv(self.of_nuisances()[0]) if self.free.size else np.zeros((0, 0))
        response = self.of_variables(follow.T, rows_only=True)

        def of(kind: str, group: int, members: np.ndarray) -> np.ndarray:
            own = np.flatnonzero(self.group == group)
            found = curvature[np.ix_(members, members)]
            if kind == "full" or not own.size:
                return found
            lost = response[np.ix_(members, own)]
            return found + lost @ np.linalg.solve(inverse[np.ix_(own, own)], lost.T)

        return of

    def of_variables(self, of_parts: np.ndarray, *, rows_only: bool = False) -> np.ndarray:
        """Rows and columns of parts, and of nuisances after them if there are, as rows and columns of variables."""
        more = len(of_parts) - self.place.size
        place = np.concatenate([self.place, self.n_variables + np.arange(more)])
        rows = np.zeros((self.n_variables + more, *of_parts.shape[1:]))
        np.add.at(rows, place, of_parts)
        return rows if rows_only or rows.ndim == 1 else self.of_variables(rows.T, rows_only=True).T

    def everything(self) -> Information:
        """Derivatives by variables and nuisances, priors included, as one system."""
        gradient, curvature = self.likelihood.gradient.copy(), self.likelihood.curvature.copy()
        n = self.place.size
        curvature[n:, n:], gradient[n:], _ = self.of_nuisances()
        scores = None if self.likelihood.scores is None else self.of_variables(self.likelihood.scores)
        return Information(self.of_variables(gradient), self.with_prior(self.of_variables(curvature)), scores)

    def with_prior(self, of_variables: np.ndarray) -> np.ndarray:
        """A matrix of variables with the weak prior of the occupancies."""
        groups = np.unique(self.place)
        of_variables[groups, groups] += PRIOR_OCCUPANCY**-2.0
        return of_variables


def settle(problem: Problem, state: State, *, stage: Stage = lambda name: None) -> tuple[Problem, State, Posterior]:
    """Move occupancies, B factors and positions together to the optimum of their posterior.

    Args:
        problem: model, data and groups.
        state: where the occupancies and B shifts of groups came to rest.
        stage: called with the name of each stage as it begins.

    Returns:
        The problem with the moved atoms, the state with the moved occupancies, and the posterior there.
    """
    n, n_x, first = problem.n_groups, problem.n_variables, state
    history, weight = list(state.history), 1 / state.log_likelihood_unit(problem)

    def cycles(problem: Problem, x: np.ndarray, **limits: Any) -> State:
        kept = {"share": state.share, "scale": state.scale, "weight": weight}
        found = run_cycles(problem, jnp.asarray(x, first.x.dtype), tolerance=ROUGH, **kept, **limits)
        history.extend(found.history)
        # Where steps are few on purpose the search is under way.
        under_way = found.result == Result.max_steps and "max_steps" in limits
        return replace(found, result=Result.max_cycles) if under_way else found

    stage("settle")
    if problem.options.b_factors != "held":
        start = np.concatenate([state.x, -problem.lowest_shifts / problem.b_spread])
        state = cycles(problem, start, max_cycles=FIRST_CYCLES)
    rested, posterior = False, posterior_at(problem, state)
    wanted, factor = np.zeros(posterior.weights.size), np.ones(posterior.weights.size)
    for rounds in range(MAX_ROUNDS + 1):
        posterior, step, change, esd = _solve(problem, np.asarray(state.x[:n_x], np.float64), posterior)
        moved = np.abs(step[:n])
        others = np.abs(change) * np.sqrt(np.diag(posterior.of_nuisances()[0]))
        rested = bool(np.all(moved <= np.maximum(AT_REST * esd, AT_REST_ABSOLUTE)) and np.all(others <= AT_REST_OTHERS))
        if rested or not posterior.free.size or state.result not in (Result.converged, Result.max_cycles):
            break
        if rounds == MAX_ROUNDS:
            state = replace(state, result=Result.max_cycles)
            break
        if rounds >= PLAIN_ROUNDS:
            factor[posterior.free] = _secant(factor[posterior.free], wanted[posterior.free], change)
        wanted[posterior.free] = change
        problem, start = _moved(problem, state, posterior, step, factor[posterior.free] * change)
        state = cycles(problem, start, max_cycles=1, max_steps=STEPS_AGAIN)
        posterior = posterior_at(problem, state, posterior)
    if rested and state.result == Result.max_cycles:
        state = replace(state, result=Result.converged)
    if posterior.free.size:
        state = replace(state, moved=float(moved.max(initial=0)))
    in_esds = float(np.max(np.divide(moved, esd, out=np.zeros(n), where=esd > 0), initial=0))
    ended = {"history": tuple(history), "begin": first.begin, "minima": first.minima, "moved_esds": in_esds}
    return problem, replace(state, **ended), posterior


def _secant(factor: np.ndarray, before: np.ndarray, change: np.ndarray) -> np.ndarray:
    """What part of the change that each nuisance wants is the right one.

    Where residuals are large a Gauss-Newton step of a shift is too long or too short; what was wanted before and after
    the last one tells by how much.
    """
    ratio = np.divide(change, before, out=np.zeros_like(change), where=before != 0)
    return np.clip(np.where(ratio < 1, factor / np.maximum(1 - ratio, 0.1), 1.0), 0.5, 1.5)


def posterior_at(problem: Problem, state: State, before: Posterior | None = None) -> Posterior:
    """The derivatives where a refinement is, with the priors of the round before."""
    first = _first_spreads(problem, state) if before is None else before.before
    objective, parts, movers, options = state.objective, problem.parts, problem.movers, problem.options
    q, delta_b = objective.split(state.x)
    n_groups, n_parts, n_movers = problem.n_groups, parts.group.size, len(movers.atoms)
    by_mover, may_shift = options.b_factors == "atom", options.positions != "held"
    counts = np.array([n_groups, n_movers * by_mover, 3 * n_movers * may_shift])
    group = np.concatenate(
        [np.arange(n_groups), problem.group_of_mover[: counts[1]], np.tile(problem.group_of_mover, 3 * may_shift)]
    )
    found = extended_information(
        objective,
        problem.columns,
        jnp.asarray(movers.part),
        jnp.asarray(parts.group),
        q,
        jnp.zeros_like(q) if delta_b is None else delta_b,
        problem.near.of(np.concatenate([parts.group, group])),
        by_mover=by_mover,
        with_scores=not objective.target.is_likelihood,
    )
    free = np.concatenate(
        [
            # One at its lower bound stays there.
            np.zeros(n_groups, bool) if delta_b is None else (problem.mean_b > 0) & (delta_b > problem.lowest_shifts),
            np.ones(counts[1], bool),
            np.tile(movers.may_shift, 3 * may_shift),
        ]
    )
    whole = np.flatnonzero(np.concatenate([np.ones(n_parts, bool), free]))
    free = np.flatnonzero(free)
    kind = np.repeat(np.arange(3), counts)
    of_groups = np.maximum(problem.mean_b, SMALLEST_B) if options.b_error is None else options.b_error
    size = [
        np.broadcast_to(of_groups, n_groups),
        np.maximum(movers.b, SMALLEST_B)[: counts[1]],
        np.tile([len(atoms) ** -0.5 for atoms in movers.atoms], 3 * may_shift),
    ]
    values = [
        np.zeros(n_groups) if delta_b is None else np.asarray(delta_b, np.float64),
        movers.delta_b[: counts[1]],
        np.tile(movers.shifts.T.ravel(), int(may_shift)),
    ]
    unit = state.log_likelihood_unit(problem)
    scores = found.scores
    return Posterior(
        likelihood=Information(
            np.asarray(found.gradient, np.float64)[whole] * unit,
            np.asarray(found.curvature, np.float64)[np.ix_(whole, whole)] * unit,
            None if scores is None else np.asarray(scores, np.float64)[np.ix_(whole, whole)] * unit**2,
        ),
        place=parts.group,
        n_variables=problem.n_variables,
        free=free,
        nuisance=np.concatenate(values)[free],
        kind=kind[free],
        size=np.concatenate(size)[free],
        weights=np.ones(kind.size) if before is None else before.weights,
        group=group[free],
        spreads=first if before is None else before.spreads,
        before=first,
    )


def _first_spreads(problem: Problem, state: State) -> Spreads:
    """What is believed before the data are asked."""
    observations, sigma_a, options = problem.observations, state.sigma_a, problem.options
    if sigma_a is None:
        amplitude = np.asarray(amplitude_at(state.objective, state.x), np.float64)
        sigma_a = observations.sigma_a(observations.gather(amplitude))
    position = model_error(sigma_a, observations.sigma, 1 / (2 * problem.data.d_spacing()))
    return Spreads(
        RELATIVE_B_SPREAD if options.b_error is None else 1.0,
        RELATIVE_ATOM_SPREAD,
        position if options.position_error is None else options.position_error,
    )


def _solve(problem: Problem, x: np.ndarray, posterior: Posterior):
    """The spreads that the data ask for, the steps of variables and nuisances to the optimum, and esds."""
    matrix = problem.constraints.matrix
    step, change, esd = np.zeros(x.size), np.zeros(posterior.free.size), np.zeros(problem.n_groups)
    if not posterior.is_finite:
        return posterior, step, change, esd
    if change.size:
        pieces = list(_pieces(problem, posterior))
        for _ in range(EM_STEPS if (posterior.weights == 1).all() else EM_STEPS_AGAIN):
            posterior = _with_spreads(posterior, _expected_squares(posterior, pieces, matrix, x), problem)
    of_parts, slope, follow, rest = posterior.marginal
    information, slope = posterior.with_prior(posterior.of_variables(of_parts)), posterior.of_variables(slope)
    step = np.asarray(_solve_on_simplexes(*map(jnp.asarray, (slope, information, matrix, x))), np.float64)
    covariance, _ = uncertainty(information, slope, matrix, x + step <= 0)
    esd = np.sqrt(np.maximum(np.diag(covariance), 0))[: problem.n_groups]
    change = -follow @ step[posterior.place] - rest
    of_shifts = posterior.kind == 2
    change[of_shifts] = np.clip(change[of_shifts], -LONGEST_STEP, LONGEST_STEP)
    return posterior, step, change, esd


def _pieces(problem: Problem, posterior: Posterior) -> Iterator[tuple[np.ndarray, ...]]:
    """Variables, parts and nuisances of each tile of groups."""
    near, matrix, n = problem.near, problem.constraints.matrix, problem.n_groups
    for tile in range(len(near.tiles)):
        of_groups = np.flatnonzero(near.tile == tile)
        vacancies = n + np.flatnonzero(np.any(matrix[np.any(matrix[:, of_groups] != 0, axis=1), n:] != 0, axis=0))
        parts, nuisances = (np.flatnonzero(near.tile[group] == tile) for group in (posterior.place, posterior.group))
        yield np.concatenate([of_groups, vacancies]), parts, nuisances


def _expected_squares(posterior: Posterior, pieces: list, matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Expectation of the squares of the nuisances relative to their sizes, each tile of groups for itself."""
    square = np.zeros(posterior.free.size)
    for variables, parts, nuisances in pieces:
        piece = posterior.restricted(variables, parts, nuisances)
        equations = matrix[np.ix_(np.any(matrix[:, variables] != 0, axis=1), variables)]
        of_parts, slope, follow, rest = piece.marginal
        information, slope = piece.with_prior(piece.of_variables(of_parts)), piece.of_variables(slope)
        here = x[variables]
        step = constrained_minimum(information, slope, here, equations, equations @ here) - here
        covariance, _ = uncertainty(information, slope, equations, here + step <= 0)
        change = -follow @ step[piece.place] - rest
        own = np.linalg.inv(piece.of_nuisances()[0]).diagonal()
        of_parts = covariance[np.ix_(piece.place, piece.place)]
        variance = own + np.einsum("ij,jk,ik->i", follow, of_parts, follow, optimize=True)
        square[nuisances] = ((piece.nuisance + change) ** 2 + variance) / piece.size**2
    return square


_solve_on_simplexes = jax.jit(solve_on_simplexes)


def _with_spreads(posterior: Posterior, square: np.ndarray, problem: Problem) -> Posterior:
    """Maximisation: spreads and weights of the tail from the expected squares of the shifts."""
    options, weights, found = problem.options, posterior.weights.copy(), list(posterior.spreads)
    asked = (options.b_error, None, options.position_error)
    of_groups = posterior.kind == 0
    if options.b_error is None:
        tail = (TAIL + 1) / (TAIL + square[of_groups] / posterior.spreads.group_b**2)
        weights[posterior.free[of_groups]] = tail
    for kind, before in enumerate(posterior.before):
        own = posterior.kind == kind
        if own.any() and asked[kind] is None:
            found[kind] = np.sqrt(
                (np.sum(weights[posterior.free[own]] * square[own]) + WORTH * before**2) / (own.sum() + WORTH)
            )
    return replace(posterior, spreads=Spreads(*map(float, found)), weights=weights)


def _moved(problem: Problem, state: State, posterior: Posterior, step: np.ndarray, change: np.ndarray):
    """The problem with the nuisances changed, and where its cycles start."""
    movers, n_x = problem.movers, problem.n_variables
    of_groups, of_atoms, of_shifts = (posterior.kind == kind for kind in range(3))
    after = posterior.nuisance + change
    delta_b, shifts, b_spread = movers.delta_b.copy(), movers.shifts.T.copy(), problem.b_spread.copy()
    b_spread[posterior.group[of_groups]] = posterior.spread[of_groups]
    delta_b[: of_atoms.sum()] = np.maximum(after[of_atoms], SMALLEST_B - movers.b[: of_atoms.sum()])
    shifts[:, movers.may_shift] = after[of_shifts].reshape(3, -1) if of_shifts.any() else 0.0
    x = np.maximum(np.asarray(state.x[:n_x], np.float64) + step, 0)
    _, found = state.objective.split(state.x)
    if found is not None:
        of_b = np.array(found, np.float64)
        of_b[posterior.group[of_groups]] = after[of_groups]
        x = np.concatenate([x, (np.maximum(of_b, problem.lowest_shifts) - problem.lowest_shifts) / b_spread])
    return problem.moved(shifts.T, delta_b, b_spread), x
