"""From a start to the answer: cycles, coincident conformers, other starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_occupancy.refinement._coincident import coincident_members
from jax_occupancy.refinement._cycles import Fit, OnCycle, run_cycles, tolerance_of
from jax_occupancy.refinement._problem import minimise
from jax_occupancy.refinement._setup import Setup
from jax_occupancy.refinement._solver import SolverResult
from jax_occupancy.refinement._starts import (
    RELATIVE_GAIN,
    SAME_LOG_LIKELIHOOD,
    SAME_OCCUPANCY,
    Minimum,
    distinct_minima,
    random_starts,
    restart_set_by_set,
    set_by_set_starts,
)
from jax_occupancy.refinement._targets import target_maker

# A lower minimum changes the scales, which may make another one the lowest; this many times is enough.
MAX_ROUNDS = 4
# Minima that are brought to rest on their own scales.
MAX_OTHERS = 3


@dataclass(frozen=True, eq=False)
class Found:
    """The answer, and how sure it is.

    What `search` returns, with the problem as it was in the end.

    Attributes:
        fit: the end.
        begin: the start.
        minima: where the start, the random starts and the restarts of single sets ended.
        log_likelihood_unit: what one unit of the target is in log-likelihood.
        history: cycles of all rounds.
    """

    fit: Fit
    begin: Float[Array, " variables"]
    minima: tuple[Minimum, ...]
    log_likelihood_unit: float
    history: tuple[dict[str, float], ...]


def search(
    setup: Setup,
    begin: Float[Array, " variables"],
    *,
    target: str,
    refine_b: bool,
    starts: int,
    seed: int,
    stage: Callable[[str], Any],
    resume: Array | np.ndarray | None = None,
    past: Sequence[Mapping[str, float]] = (),
    on_cycle: OnCycle = lambda x, history: None,
) -> tuple[Setup, Found]:
    """Refine from one start and make sure of the answer.

    Args:
        setup: the problem.
        begin: the start.
        target: "ml" or "ls".
        refine_b: whether B shifts of the groups are refined.
        starts: number of random starts.
        seed: of the random starts.
        stage: called with the name of each stage as it begins.
        resume: variables that an earlier run of the same search gave to `on_cycle`, to go on from.
        past: the history that came with them.
        on_cycle: called with the variables and the history of all rounds whenever a cycle has led on.

    Returns:
        The problem as it was in the end, with coincident conformers tied; and the answer.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from jax_occupancy.refinement import make_setup, start_values
        >>> setup = make_setup(*read_example())
        >>> options = {"target": "ml", "refine_b": False, "starts": 2, "seed": 0}
        >>> _, found = search(setup, start_values(setup, "even"), **options, stage=lambda name: None)
        >>> found.minima[0].count  # all three starts ended here
        3
    """
    history = [dict(row) for row in past]
    weight = 1.0

    def cycles(setup: Setup, x: Array, on_cycle: OnCycle = lambda x, history: None) -> Fit:
        shifts = setup.b_shifts(weight) if x.size > begin.size else None
        maker = target_maker(target, setup.observations, dtype=x.dtype)
        fit = run_cycles(
            setup.linear,
            setup.observations,
            setup.constraints,
            x,
            maker,
            b_shifts=shifts,
            stage=stage,
            on_cycle=lambda x, rows: on_cycle(x, history + rows),
        )
        history.extend(fit.history)
        return fit

    here = begin if resume is None else jnp.asarray(resume, begin.dtype)
    # First with B factors held: refined ones would tell coincident conformers apart by what fits the noise, and their
    # prior is in log-likelihoods, which a sum of squares must be brought to.
    fit = cycles(setup, here[: begin.size], on_cycle)
    unit = _unit(target, fit, setup)
    ties = _coincident(setup, fit, unit)
    if ties:
        setup = setup.with_ties(ties)
    x, weight = _even(begin, ties), 1 / unit
    if refine_b:
        x = _with_b(setup, x, weight)
        here = here if here.size == x.size else _with_b(setup, fit.x, weight)
        fit = cycles(setup, _even(here, ties), on_cycle)
    elif ties:
        fit = cycles(setup, _even(fit.x, ties), on_cycle)
    minima: tuple[Minimum, ...] = ()
    for _ in range(MAX_ROUNDS):
        stage("starts")
        minima = _minima(setup, fit, target, starts=starts, seed=seed)
        # Each minimum has scales of its own, at which the targets are to be compared.
        others = [cycles(setup, jnp.asarray(other.x, fit.x.dtype)) for other in _others(minima, fit)]
        lower = [other for other in others if _is_lower(other.result, fit.result)]
        if not lower:
            break
        fit = min(lower, key=lambda other: float(other.result.target))
        on_cycle(fit.x, history)
    return setup, Found(fit, x, minima, _unit(target, fit, setup), tuple(history))


def _minima(setup: Setup, fit: Fit, target: str, *, starts: int, seed: int) -> tuple[Minimum, ...]:
    """The distinct minima that random starts and, where these differ, restarts of single sets end in."""
    tolerance = tolerance_of(fit.x.dtype)
    n, n_x = setup.n_groups, setup.constraints.matrix.shape[1]
    unknown = jnp.zeros_like(fit.result.curvature)
    # Least squares has several minima, with second derivatives of their own.
    known = fit.result.curvature if target == "ml" else unknown
    results = [fit.result]
    for start in random_starts(setup.tensor, setup.constraints, count=starts, seed=seed):
        whole = jnp.concatenate([jnp.asarray(start, fit.x.dtype), fit.x[n_x:]])
        result = minimise(fit.problem, whole, known, tolerance=tolerance)
        if result.target > fit.result.target + SAME_LOG_LIKELIHOOD:
            # Far from the minimum whose second derivatives it was given a search may come to a halt early.
            result = minimise(fit.problem, result.x, unknown, tolerance=tolerance)
        results.append(result)
    information = np.asarray(fit.result.curvature, np.float64) * _unit(target, fit, setup)
    minima = distinct_minima(results, information, n_groups=n)
    if target == "ls" or len(minima) > 1:
        changes = set_by_set_starts(setup.constraints, np.asarray(fit.x[:n_x], np.float64))
        changes = np.pad(changes, ((0, 0), (0, fit.x.size - n_x)), constant_values=np.nan)
        lowest = min(results, key=lambda result: float(result.target))
        results += restart_set_by_set(fit.problem, lowest, changes, known, tolerance=tolerance)
        minima = distinct_minima(results, information, n_groups=n)
    return minima


def _others(minima: tuple[Minimum, ...], fit: Fit) -> tuple[Minimum, ...]:
    """The lowest minima other than the present one."""
    here = np.asarray(fit.x)
    others = [minimum for minimum in minima if np.max(np.abs(minimum.x - here), initial=0) > SAME_OCCUPANCY]
    return tuple(others[:MAX_OTHERS])


def _is_lower(one: SolverResult, other: SolverResult) -> bool:
    return bool(one.target < other.target - RELATIVE_GAIN * jnp.abs(other.target))


def _unit(target: str, fit: Fit, setup: Setup) -> float:
    """What one unit of the target is in log-likelihood.

    Least squares is a likelihood whose variance is what is left over: N/2 over the sum of squares.
    """
    if target == "ml":
        return 1.0
    amplitude = fit.problem.amplitude(fit.x)
    misfit = float(jnp.sum(fit.problem.target(amplitude)))
    working = setup.data.n_reflections - setup.data.n_free
    return working / (2 * max(misfit, np.finfo(float).tiny))


def _coincident(setup: Setup, fit: Fit, unit: float) -> list[list[int]]:
    n = setup.n_groups
    information = np.asarray(fit.result.curvature, np.float64)[:n, :n] * unit
    # A group whose occupancy others share out is no conformer, and a fixed fraction of a parent can't be tied.
    left_out = np.any(setup.constraints.matrix[:, :n] < 0, axis=0)
    left_out |= ~setup.tensor.topology.refinable[setup.constraints.entries]
    sets = [[int(m) for m in members if m < n and not left_out[m]] for members in setup.constraints.sets]
    return coincident_members(information, sets)


def _with_b(setup: Setup, x: Array, weight: float) -> Array:
    """Append the variables of B shifts, all at no shift."""
    shifts = setup.b_shifts(weight)
    return jnp.concatenate([x, -shifts.lowest / shifts.spread])


def _even(x: Array, ties: list[list[int]]) -> Array:
    """Split the occupancies of tied conformers evenly."""
    for tie in ties:
        index = jnp.asarray(tie)
        x = x.at[index].set(x[index].mean())
    return x
