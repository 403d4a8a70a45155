"""The public steps of a refinement one at a time, for data sets and starts of one model."""

import time
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from jax_occupancy import Model, Reflections
from jax_occupancy.refinement import (
    Assessment,
    Fit,
    Observations,
    Setup,
    assess,
    model_error,
    run_cycles,
    shifted_columns,
    start_values,
    target_maker,
)
from jax_occupancy.xray import Columns, r_factor


@dataclass(frozen=True, eq=False)
class Ending:
    """Where a start led: occupancies of the groups that move, R factors, and the seconds of scaling and solving."""

    fit: Fit
    q: np.ndarray
    r_work: float
    r_free: float
    seconds: dict[str, float]

    def value_at(self, q: np.ndarray) -> float:
        """The target at other occupancies, with the scales and σ_A of this end."""
        return float(jnp.sum(self.fit.problem.target(self.fit.linear.amplitude(jnp.asarray(q)))))


class StageTimer:
    """Call it with a stage's name as the stage begins; `seconds` adds up."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.stage, self.since = "", time.perf_counter()

    def __call__(self, stage: str) -> None:
        """End one stage and begin another."""
        now = time.perf_counter()
        if self.stage:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self.since
        self.stage, self.since = stage, now


def with_data(setup: Setup, reflections: Reflections) -> Setup:
    """The same model and Miller indices with other measurements."""
    return replace(setup, observations=Observations.from_reflections(reflections))


def converge(setup: Setup, start: str | np.ndarray = "model") -> Ending:
    """Maximum likelihood from one start: scale, σ_A, solve, again until nothing moves."""
    timer = StageTimer()
    x = start_values(setup, start)
    maker = target_maker("ml", setup.observations, dtype=x.dtype)
    fit = run_cycles(setup.linear, setup.observations, setup.constraints, x, maker, stage=timer)
    jax.block_until_ready(fit.x)
    timer("")
    q = fit.x[: setup.n_groups]
    amplitude = np.asarray(fit.linear.amplitude(q), np.float64)
    r_work, r_free = r_factor(setup.observations.amplitude, amplitude, setup.data.free)
    return Ending(fit, np.asarray(q), r_work, r_free, timer.seconds)


def stored_columns(setup: Setup, model: Model) -> Columns:
    """Structure factors of the parts of groups and their derivatives, for all data sets of one model."""
    return shifted_columns(model, setup.data, setup.parts.atoms).stored()


def assessed(setup: Setup, columns: Columns, fit: Fit) -> Assessment:
    """Uncertainties and evidence at the end of a maximum-likelihood refinement."""
    error = model_error(setup.observations, fit)
    return assess(fit, setup.constraints, setup.parts, columns, error, log_likelihood_unit=1.0, sandwich=False)


def of_groups(setup: Setup, occupancies: np.ndarray) -> np.ndarray:
    """Occupancies of the groups that move, from one of each atom."""
    first = [np.flatnonzero(setup.tensor.expansion_mask == entry)[0] for entry in setup.constraints.entries]
    return np.asarray(occupancies)[first]


def in_atoms(setup: Setup, q: np.ndarray) -> np.ndarray:
    """Occupancy of each atom from those of the groups that move."""
    collapsed = np.array(setup.tensor.group_occupancies)
    collapsed[setup.constraints.entries] = q
    return np.asarray(setup.tensor.with_group_occupancies(np.clip(collapsed, 0, 1), margin=0)())
