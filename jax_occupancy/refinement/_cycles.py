"""Scales, σ_A and occupancies in turn, until none of them moves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_occupancy.refinement._constraints import Constraints
from jax_occupancy.refinement._objective import (
    Objective,
    amplitude_at,
    amplitude_of,
    by_solvent_share,
    minimise,
    misfit_at,
    misfit_of,
    powers_of,
    prior_at,
    unscaled,
)
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.refinement._solver import MAX_STEPS, Result, SolverResult
from jax_occupancy.refinement._starts import Minimum
from jax_occupancy.xray import LinearModel, Scale, SigmaA, TwinnedModel, fit_fractions, own_share

# The scales follow the occupancies so closely that a few rounds bring both to rest.
MAX_CYCLES = 30
# Where they have not after so many, because a reflection comes and goes, a shift is none that is as small as this
# against the esds (½ d·H·d, in log-likelihood: 2 % of an esd) and by itself.
PATIENCE, SMALL_FOR_THE_DATA, SMALL_SHIFT = 10, 2e-4, 5e-3
# What counts as no change of a variable where the search goes on from there.
ROUGH = 1e-3

Stage = Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class State:
    """Where a refinement is: what moves, and how it came there.

    Attributes:
        objective: the target at the present scales and σ_A.
        solved: where the solver ended in the last cycle.
        scale: overall and solvent scales.
        sigma_a: None for targets that are no likelihood.
        moved: largest change of a variable in the last cycle, or that it would make in one more.
        moved_esds: the same in units of the standard uncertainties; NaN before these are known.
        result: `Result.converged` if the solver came to rest and moved nothing by more than ten times its tolerance.
        history: one row per cycle: target before and after, steps and largest change.
        share: how much of the bulk solvent fills the places of absent groups, 0 to 1.
        begin: amplitudes of the model at the start of the search, on the scales of its end.
        minima: where the start, the random starts and the restarts of single sets ended.
    """

    objective: Objective
    solved: SolverResult
    scale: Scale
    sigma_a: SigmaA | None
    moved: float
    result: Result
    history: tuple[dict[str, float], ...]
    share: float = 1.0
    begin: Float[np.ndarray, " reflections"] | Any = None
    minima: tuple[Minimum, ...] = ()
    moved_esds: float = np.nan

    @property
    def x(self) -> Float[Array, " variables"]:
        """The variables (see `Objective`)."""
        return self.solved.x

    @property
    def linear(self) -> LinearModel:
        """The model at the present scales."""
        return self.objective.linear

    def log_likelihood_unit(self, problem: Problem) -> float:
        """What one unit of the target is in log-likelihood.

        Least squares is a likelihood whose variance is what is left over: N/2 over the sum of squares.
        """
        if self.objective.target.is_likelihood:
            return 1.0
        misfit = float(misfit_at(self.objective, amplitude_at(self.objective, self.x)))
        working = problem.data.n_reflections - problem.data.n_free
        return working / (2 * max(misfit, np.finfo(float).tiny))


def tolerance_of(dtype: Any) -> float:
    """Largest change of an occupancy that counts as none; float32 resolves the target, not the last digits of q."""
    return 1e-6 if dtype == jnp.float64 else 1e-4


def run_cycles(
    problem: Problem,
    x: Float[Array, " variables"],
    *,
    weight: float = 1.0,
    share: float = 1.0,
    scale: Scale | None = None,
    stage: Stage = lambda name: None,
    max_cycles: int = MAX_CYCLES,
    tolerance: float | None = None,
    max_steps: int = MAX_STEPS,
) -> State:
    """Fit the scales and solve for the occupancies in turn.

    Args:
        problem: model, data and groups.
        x: start; if it goes on after the vacancies, with the B shifts (see `Objective`).
        weight: of the prior of the B shifts in the target.
        share: how much of the bulk solvent fills the places of absent groups, to begin with.
        scale: scales of a model before, whose minimum is kept.
        stage: called with "scale" and "solve" as these begin.
        max_cycles: limit on the number of rounds.
        tolerance: largest change of a variable that counts as none; `tolerance_of` when left out.
        max_steps: limit on the steps of the solver in each.

    Returns:
        The end, converged or not.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from jax_occupancy.refinement import prepare
        >>> problem = prepare(*read_example())
        >>> run_cycles(problem, problem.start("model")).result.name
        'converged'
    """
    linear, observations = problem.linear, problem.observations
    dtype, n = linear.overall.dtype, linear.fixed.size
    tolerance = tolerance_of(dtype) if tolerance is None else tolerance
    with_b = x.size > problem.n_variables
    spread = problem.b_spread if with_b else None
    matrix = _equations(problem.constraints, x.size, spread)
    blocks = problem.near.blocks(matrix, problem.n_variables)
    tiles = problem.near.of(np.tile(np.arange(problem.n_groups), 2 if with_b else 1))
    prior = {}
    if with_b:
        prior = {"lowest_b": jnp.asarray(problem.lowest_shifts, dtype), "spread_b": jnp.asarray(spread, dtype)}
        prior |= {"trend_b": jnp.asarray(problem.b_trend, dtype), "guess": problem.guess}
        prior["weight"] = jnp.asarray(weight, dtype)
    kind = problem.target_class
    equations = jnp.asarray(matrix, dtype)
    model = Objective(linear.with_solvent_share(share), None, equations, tiles=tiles, blocks=blocks, **prior)
    history: list[dict[str, float]] = []
    known, of_twin = None, {}
    if isinstance(linear, TwinnedModel) and scale is not None:
        linear = linear.with_fractions(scale.fractions)
        model = model.with_fractions(scale.fractions).with_scale(*problem.scales_of_all(scale))
    while True:
        stage("scale")
        q, delta_b = model.split(x)
        parts = unscaled(model.linear, q, delta_b)
        calculated, mask = (observations.gather(np.asarray(part)) for part in parts)
        if isinstance(linear, TwinnedModel):
            of_twin = {"own_share": observations.gather(own_share(powers_of(model.linear, parts), linear.fractions))}
        # of two minima of the scales that of the last cycle, or they change places for ever
        scale = observations.scale(calculated, mask, start=scale, **of_twin)
        model = model.with_scale(*problem.scales_of_all(scale))
        sigma_a = None
        if kind.is_likelihood:
            sigma_a = observations.sigma_a(
                observations.gather(np.asarray(amplitude_of(model.linear, parts), np.float64))
            )
        target = observations.target(kind, sigma_a, n, dtype=dtype)
        if isinstance(linear, TwinnedModel):
            fractions, esds, _ = fit_fractions(target, powers_of(model.linear, parts), linear.fractions)
            scale = replace(scale, fractions=fractions, fraction_esds=esds)
            linear = linear.with_fractions(fractions)
            model = model.with_fractions(fractions)
        objective = replace(model, target=target)
        if not linear.displaced.is_empty:
            slope, curvature = by_solvent_share(objective.linear, target, parts, linear, q)
            # A model without solvent has no derivatives by it.
            share = float(np.clip(share - slope / curvature, 0, 1)) if curvature > 0 else share
            filled = linear.with_solvent_share(share).with_scale(model.linear.overall, model.linear.solvent)
            model, objective = replace(model, linear=filled), replace(objective, linear=filled)
        stage("solve")
        before = float(misfit_of(objective.linear, target, parts[0], q)) + (
            float(prior_at(objective, x)) if with_b else 0
        )
        solved = minimise(objective, x, known, tolerance=tolerance, max_steps=max_steps)
        step = solved.x - x
        # With B shifts nothing else asks for it, and the cycle before is near.
        known = solved.curvature if with_b else None
        moved, x = float(jnp.max(jnp.abs(step), initial=0)), solved.x
        row = {"start": before, "end": float(solved.target), "max_shift": moved}
        history.append(row | {"steps": int(solved.steps)})
        result = Result(int(solved.result))
        at_rest = moved <= 10 * tolerance or result in (Result.stalled, Result.not_finite)
        if len(history) >= PATIENCE and moved <= SMALL_SHIFT:
            told = 0.5 * float(step @ solved.curvature @ step) / weight
            at_rest = at_rest or told <= SMALL_FOR_THE_DATA
        if at_rest or len(history) == max_cycles:
            result = result if at_rest else Result.max_cycles
            return State(objective, solved, scale, sigma_a, moved, result, tuple(history), share)


def _equations(
    constraints: Constraints, n_variables: int, spread: Float[np.ndarray, " groups"] | None
) -> Float[np.ndarray, "equations variables"]:
    """The equations for all variables: conformers that are held equal have the same B shift too."""
    matrix = np.pad(constraints.matrix, ((0, 0), (0, n_variables - constraints.matrix.shape[1])))
    pairs = [(tie[0], other) for tie in constraints.ties for other in tie[1:]]
    if spread is None or not pairs:
        return matrix
    rows = np.zeros((len(pairs), n_variables))
    first = n_variables - spread.size
    for row, (one, other) in zip(rows, pairs, strict=True):
        row[first + one], row[first + other] = spread[one], -spread[other]
    return np.concatenate([matrix, rows])
