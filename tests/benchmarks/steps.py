"""The public steps of a refinement one at a time, for data sets and starts of one model."""

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jax_occupancy import Reflections
from jax_occupancy.refinement import Problem, State, run_cycles
from jax_occupancy.xray import r_factor


@dataclass(frozen=True, eq=False)
class Ending:
    """Where a start led: occupancies of the groups that move, R factors, and the seconds of scaling and solving."""

    state: State
    q: np.ndarray
    r_work: float
    r_free: float
    seconds: dict[str, float]

    def value_at(self, q: np.ndarray) -> float:
        """The target at other occupancies, with the scales and σ_A of this end."""
        return float(jnp.sum(self.state.objective.target(self.state.linear.amplitude(jnp.asarray(q)))))


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


def with_data(problem: Problem, reflections: Reflections) -> Problem:
    """The same model and Miller indices with other measurements."""
    return problem.observing(problem.observations.from_reflections(reflections))


def converge(problem: Problem, start: str | np.ndarray = "model") -> Ending:
    """Maximum likelihood from one start, B held: scale, σ_A, solve, again until nothing moves."""
    timer = StageTimer()
    state = run_cycles(problem, problem.start(start), stage=timer)
    state = run_cycles(problem.with_solvent_around(state.x), state.x, share=state.share, stage=timer)
    jax.block_until_ready(state.x)
    timer("")
    q = state.x[: problem.n_groups]
    observations = problem.observations
    amplitude = observations.gather(np.asarray(state.linear.amplitude(q), np.float64))
    r_work, r_free = r_factor(observations.amplitude, amplitude, problem.data.free)
    return Ending(state, np.asarray(q), r_work, r_free, timer.seconds)


def of_groups(problem: Problem, occupancies: np.ndarray) -> np.ndarray:
    """Occupancies of the groups that move, from one of each atom."""
    expansion, entries = problem.tensor.expansion_mask, problem.constraints.entries
    first = [np.flatnonzero(expansion == entry)[0] for entry in entries]
    return np.asarray(occupancies)[first]


def in_atoms(problem: Problem, q: np.ndarray) -> np.ndarray:
    """Occupancy of each atom from those of the groups that move."""
    collapsed = np.array(problem.tensor.group_occupancies)
    collapsed[problem.constraints.entries] = q
    return np.asarray(problem.tensor.with_group_occupancies(np.clip(collapsed, 0, 1), margin=0)())
