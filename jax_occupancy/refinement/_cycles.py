"""Scales, σ_A and occupancies in turn, until none of them moves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jax_occupancy.refinement._constraints import Constraints
from jax_occupancy.refinement._problem import BShifts, Problem, minimise, split_variables
from jax_occupancy.refinement._solver import SolverResult
from jax_occupancy.refinement._targets import Observations, TargetMaker
from jax_occupancy.xray import LinearModel, Scale, SigmaA, fit_scale

# The scales follow the occupancies so closely that a few rounds bring both to rest.
MAX_CYCLES = 30

Stage = Callable[[str], Any]
OnCycle = Callable[[Array, list[dict[str, float]]], Any]


@dataclass(frozen=True, eq=False)
class Fit:
    """Where the cycles ended.

    What `run_cycles` returns.

    Attributes:
        problem: the target at the final scales and σ_A.
        result: where the solver ended in the last cycle.
        scale: overall and solvent scales.
        sigma_a: None where the target needs none.
        moved: largest change of a variable in the last cycle.
        converged: whether that is at most ten times the tolerance of the solver (see `tolerance_of`).
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
    on_cycle: OnCycle = lambda x, history: None,
    max_cycles: int = MAX_CYCLES,
) -> Fit:
    """Fit the scales and solve for the occupancies in turn.

    Args:
        linear: the structure factors; their scales are replaced.
        observations: the data, of all its reflections or some.
        constraints: equations of the occupancies.
        x: start.
        make_target: makes the target for amplitudes of the present model.
        b_shifts: bounds and prior of B shifts; None holds the B factors.
        stage: called with "scale" and "solve" as these begin.
        on_cycle: called after each cycle with the variables and the history so far.
        max_cycles: limit on the number of rounds.

    Returns:
        The end, converged or not.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from jax_occupancy.refinement import make_setup, start_values, target_maker
        >>> setup = make_setup(*read_example())
        >>> x = start_values(setup, "model")
        >>> maker = target_maker("ml", setup.observations, dtype=x.dtype)
        >>> run_cycles(setup.linear, setup.observations, setup.constraints, x, maker).converged
        True
    """
    dtype = linear.overall.dtype
    tolerance = tolerance_of(dtype)
    matrix = jnp.asarray(_equations(constraints, x.size, b_shifts), dtype)
    history: list[dict[str, float]] = []
    unknown = jnp.zeros((x.size, x.size), dtype)
    n = linear.fixed.size
    while True:
        stage("scale")
        q, delta_b = split_variables(x, linear.n_groups, b_shifts)
        scale = _fit_scale(linear, q, delta_b, observations)
        linear = linear.with_scale(
            observations.spread(scale.overall, n, fill=1.0), observations.spread(scale.solvent, n, fill=0.0)
        )
        made = make_target(np.asarray(_amplitude(linear, q, delta_b), np.float64))
        problem = Problem(linear, made.target, matrix, b_shifts)
        stage("solve")
        before = float(value_at(problem, x))
        result = minimise(problem, x, unknown, tolerance=tolerance)
        moved = float(jnp.max(jnp.abs(result.x - x), initial=0))
        x = result.x
        row = {"start": before, "end": float(result.target), "max_shift": moved}
        history.append(row | {"steps": int(result.steps)})
        on_cycle(x, history)
        converged = moved <= 10 * tolerance
        if converged or len(history) == max_cycles:
            return Fit(problem, result, scale, made.sigma_a, moved, converged, tuple(history))


def scaled_amplitudes(
    linear: LinearModel, x: Float[Array, " variables"], observations: Observations
) -> Float[np.ndarray, " reflections"]:
    """Amplitudes of the model on the scale of the data, without any refinement."""
    q = x[: linear.n_groups]
    scale = _fit_scale(linear, q, None, observations)
    calculated, mask = (observations.gather(np.asarray(part)) for part in _parts_of_model(linear, q, None))
    return np.abs(scale.apply(calculated, mask)).astype(np.float64)


def _equations(constraints: Constraints, n_variables: int, b_shifts: BShifts | None) -> np.ndarray:
    """The equations for all variables: conformers that are held equal have the same B shift too."""
    matrix = np.pad(constraints.matrix, ((0, 0), (0, n_variables - constraints.matrix.shape[1])))
    pairs = [(tie[0], other) for tie in constraints.ties for other in tie[1:]]
    if b_shifts is None or not pairs:
        return matrix
    spread = np.asarray(b_shifts.spread, np.float64)
    rows = np.zeros((len(pairs), n_variables))
    first = n_variables - spread.size
    for row, (one, other) in zip(rows, pairs, strict=True):
        row[first + one], row[first + other] = spread[one], -spread[other]
    return np.concatenate([matrix, rows])


def _fit_scale(linear: LinearModel, q: Array, delta_b: Array | None, observations: Observations) -> Scale:
    data = observations.reflections
    calculated, mask = (observations.gather(np.asarray(part)) for part in _parts_of_model(linear, q, delta_b))
    return fit_scale(
        data.hkl,
        observations.amplitude,
        observations.sigma,
        data.free,
        calculated=calculated,
        mask=mask,
        cell=data.cell,
        spacegroup=data.spacegroup,
    )


# Compiled as a whole: operation by operation the first call costs a second.
@eqx.filter_jit
def _parts_of_model(linear: LinearModel, q: Array, delta_b: Array | None) -> tuple[Array, Array]:
    return linear.calculated(q, delta_b), linear.solvent_mask(q)


_amplitude = eqx.filter_jit(LinearModel.amplitude)
amplitude_at = eqx.filter_jit(Problem.amplitude)
value_at = eqx.filter_jit(Problem.value)


@eqx.filter_jit
def structure_factors_at(problem: Problem, x: Float[Array, " variables"]) -> Complex[Array, " reflections"]:
    """Structure factors of the model on the scale of the data."""
    return problem.linear(*problem.split(x))
