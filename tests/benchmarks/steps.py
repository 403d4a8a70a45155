"""The public steps of a refinement, one at a time: what is done once for a model, and what for each start."""

import time
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from jax_occupancy import Grouping, Model, OccupancyTensor, Reflections
from jax_occupancy.refinement import Constraints, constraints_of, linear_model, model_sites, solve
from jax_occupancy.xray import LinearModel, MaximumLikelihood, estimate_sigma_a, fit_scale, r_factor

TOLERANCE, MAX_CYCLES = 1e-6, 20


@dataclass(frozen=True, eq=False)
class Prepared:
    """The groups of a model and their structure factors."""

    tensor: OccupancyTensor
    constraints: Constraints
    linear: LinearModel
    seconds: float

    @property
    def n_groups(self) -> int:
        """Entries that move."""
        return self.constraints.entries.size

    def of_groups(self, occupancies: np.ndarray) -> np.ndarray:
        """Occupancies of the entries that move from one of each atom."""
        first = [np.flatnonzero(self.tensor.expansion_mask == entry)[0] for entry in self.constraints.entries]
        return np.asarray(occupancies)[first]

    def in_atoms(self, q: np.ndarray) -> np.ndarray:
        """Occupancy of each atom from those of the entries that move."""
        collapsed = np.array(self.tensor.group_occupancies)
        collapsed[self.constraints.entries] = q
        return np.asarray(self.tensor.with_group_occupancies(np.clip(collapsed, 0, 1), margin=0)())


@dataclass(frozen=True, eq=False)
class Ending:
    """Where a start led: group occupancies, esds with B and position free and held, target, R, cycles, time."""

    q: np.ndarray
    esd: np.ndarray
    esd_fixed: np.ndarray
    linear: LinearModel
    target: MaximumLikelihood
    r_work: float
    r_free: float
    cycles: int
    seconds: dict[str, float] = field(default_factory=dict)

    def value_at(self, q: np.ndarray) -> float:
        """The target of this ending, its scales and σ_A, at other occupancies."""
        return float(jnp.sum(self.target(self.linear.amplitude(jnp.asarray(q)))))


def prepare(model: Model, grouping: Grouping, reflections: Reflections) -> Prepared:
    """Compute the structure factors of the groups and of the rest."""
    tensor = grouping.to_tensor(model_sites(model).chemical)
    constraints = constraints_of(tensor.topology, np.asarray(tensor.group_occupancies))
    since = time.perf_counter()
    linear = jax.block_until_ready(linear_model(model, reflections, tensor, constraints.entries))
    return Prepared(tensor, constraints, linear, time.perf_counter() - since)


def converge(prepared: Prepared, reflections: Reflections, start: np.ndarray | None = None) -> Ending:
    """Scale, σ_A, solve, again until nothing moves; from one occupancy per atom or from the model's."""
    tensor = prepared.tensor if start is None else prepared.tensor.with_occupancies(start)
    n, matrix = prepared.n_groups, jnp.asarray(prepared.constraints.matrix)
    x = jnp.asarray(prepared.constraints.variables(np.asarray(tensor.group_occupancies)))
    crystal = {"cell": reflections.cell, "spacegroup": reflections.spacegroup}
    data = reflections.hkl, reflections.amplitude, reflections.sigma, reflections.free
    seconds = dict.fromkeys(("scale", "sigma_a", "solve"), 0.0)
    cycles, moved = 0, np.inf
    while moved >= 10 * TOLERANCE and cycles < MAX_CYCLES:
        times = [time.perf_counter()]
        calculated = np.asarray(prepared.linear.calculated(x[:n]))
        scale = fit_scale(*data, calculated=calculated, mask=np.asarray(prepared.linear.mask), **crystal)
        linear = prepared.linear.with_scale(scale.overall, scale.solvent)
        times.append(time.perf_counter())
        sigma_a = estimate_sigma_a(*data, model_amplitude=np.asarray(linear.amplitude(x[:n])), **crystal)
        target = MaximumLikelihood.from_data(*data[1:], sigma_a=sigma_a)
        times.append(time.perf_counter())
        result = jax.block_until_ready(solve(linear, target, matrix, x, tolerance=TOLERANCE))
        times.append(time.perf_counter())
        for stage, spent in zip(seconds, np.diff(times), strict=True):
            seconds[stage] += float(spent)
        moved, x, cycles = float(jnp.max(jnp.abs(result.x - x))), result.x, cycles + 1
    r_work, r_free = r_factor(reflections.amplitude, np.asarray(linear.amplitude(x[:n])), reflections.free)
    held = esd_fixed(linear, target, prepared.constraints, np.asarray(x))
    return Ending(np.asarray(x[:n]), np.full(n, np.nan), held, linear, target, r_work, r_free, cycles, seconds)


def esd_fixed(linear: LinearModel, target: MaximumLikelihood, constraints: Constraints, x: np.ndarray) -> np.ndarray:
    """From the Fisher information, along the directions that the constraints leave to variables off their bounds."""
    n = constraints.entries.size
    q = jnp.asarray(x[:n])
    jacobian, weight = np.asarray(linear.jacobian(q)), np.asarray(target.information(linear.amplitude(q)))
    information = np.zeros((x.size, x.size))
    information[:n, :n] = jacobian.T @ (weight[:, None] * jacobian)
    equations = np.concatenate([constraints.matrix, np.eye(x.size)[x <= 0]])
    _, sizes, directions = np.linalg.svd(equations)
    free = directions[np.sum(sizes > 1e-10) :].T
    covariance = free @ np.linalg.solve(free.T @ information @ free, free.T)
    return np.sqrt(np.maximum(np.diag(covariance)[:n], 0))
