"""Scales, σ_A and occupancies in turn, until none of them moves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_occupancy.refinement._constraints import Constraints
from jax_occupancy.refinement._problem import BShifts, Problem, minimise
from jax_occupancy.refinement._solver import SolverResult
from jax_occupancy.refinement._targets import Observations, TargetMaker
from jax_occupancy.xray import LinearModel, Scale, SigmaA, fit_scale

# The scales follow the occupancies so closely that a few rounds bring both to rest.
MAX_CYCLES = 30

Stage = Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class Fit:
    """Where the cycles ended.

    Attributes:
        problem: the target at the final scales and σ_A.
        result: where the solver ended in the last cycle.
        scale: overall and solvent scales.
        sigma_a: None where the target needs none.
        moved: largest change of a variable in the last cycle.
        converged: whether that is within the tolerance.
        history: one row per cycle: target before and after, steps and largest change.
    """

    problem: Problem
    result: SolverResult
    scale: Scale
    sigma_a: SigmaA | None
    moved: float
    converged: bool
    history: tuple[dict[str, float], ...]

    @property
    def x(self) -> Float[Array, " variables"]:
        """The variables (see `Problem`)."""
        return self.result.x

    @property
    def linear(self) -> LinearModel:
        """The model at the final scales."""
        return self.problem.linear


def tolerance_of(dtype: Any) -> float:
    """Largest change of an occupancy that counts as none; float32 resolves the target, not the last digits of q."""
    return 1e-6 if dtype == jnp.float64 else 1e-4


def run_cycles(
    linear: LinearModel,
    observations: Observations,
    constraints: Constraints,
    x: Float[Array, " variables"],
    make_target: TargetMaker,
    *,
    b_shifts: BShifts | None = None,
    stage: Stage = lambda name: None,
    max_cycles: int = MAX_CYCLES,
) -> Fit:
    """Fit the scales and solve for the occupancies in turn.

    Args:
        linear: the structure factors; their scales are replaced.
        observations: the data.
        constraints: equations of the occupancies.
        x: start.
        make_target: makes the target for amplitudes of the present model.
        b_shifts: bounds and prior of B shifts; None holds the B factors.
        stage: called with "scale" and "solve" as these begin.
        max_cycles: limit on the number of rounds.

    Returns:
        The end, converged or not.
    """
    dtype = linear.overall.dtype
    tolerance = tolerance_of(dtype)
    matrix = np.pad(constraints.matrix, ((0, 0), (0, x.size - constraints.matrix.shape[1])))
    problem = Problem(linear, lambda f: f, jnp.asarray(matrix, dtype), b_shifts)
    history: list[dict[str, float]] = []
    unknown = jnp.zeros((x.size, x.size), dtype)
    while True:
        stage("scale")
        scale = _fit_scale(problem, x, observations)
        linear = linear.with_scale(scale.overall, scale.solvent)
        problem = Problem(linear, problem.target, problem.matrix, b_shifts)
        made = make_target(np.asarray(_amplitude(problem, x), np.float64))
        problem = Problem(linear, made.target, problem.matrix, b_shifts)
        stage("solve")
        before = float(_value(problem, x))
        result = minimise(problem, x, unknown, tolerance=tolerance)
        moved = float(jnp.max(jnp.abs(result.x - x), initial=0))
        x = result.x
        row = {"start": before, "end": float(result.target), "max_shift": moved}
        history.append(row | {"steps": int(result.steps)})
        converged = moved <= 10 * tolerance
        if converged or len(history) == max_cycles:
            return Fit(problem, result, scale, made.sigma_a, moved, converged, tuple(history))


def scaled_amplitudes(
    linear: LinearModel, x: Float[Array, " variables"], observations: Observations
) -> Float[np.ndarray, " reflections"]:
    """Amplitudes of the model on the scale of the data, without any refinement."""
    problem = Problem(linear, lambda f: f, jnp.zeros((0, x.size), x.dtype))
    scale = _fit_scale(problem, x, observations)
    calculated, mask = (np.asarray(part) for part in _parts_of_model(problem, x))
    return np.abs(scale.apply(calculated, mask)).astype(np.float64)


def _fit_scale(problem: Problem, x: Array, observations: Observations) -> Scale:
    data = observations.reflections
    calculated, mask = _parts_of_model(problem, x)
    return fit_scale(
        data.hkl,
        observations.amplitude,
        observations.sigma,
        data.free,
        calculated=np.asarray(calculated),
        mask=np.asarray(mask),
        cell=data.cell,
        spacegroup=data.spacegroup,
    )


# Compiled as a whole: operation by operation the first call costs a second.
@eqx.filter_jit
def _parts_of_model(problem: Problem, x: Array) -> tuple[Array, Array]:
    q, delta_b = problem.split(x)
    return problem.linear.calculated(q, delta_b), problem.linear.solvent_mask(q)


_amplitude = eqx.filter_jit(Problem.amplitude)
_value = eqx.filter_jit(Problem.value)
