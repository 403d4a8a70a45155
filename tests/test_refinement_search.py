"""Restarts of single sets lead out of false minima."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.refinement import Constraints, Objective, Result, State, constraints_of, minimise
from jax_occupancy.refinement._search import _restarted_set_by_set
from jax_occupancy.refinement._starts import distinct_minima
from jax_occupancy.xray import LeastSquares, LinearModel, Scale, Target

pytestmark = pytest.mark.usefixtures("x64")


def restarted(refined, objective, constraints, end):
    """The end of all restarts from an end, of a problem with other constraints and another objective."""
    problem = dataclasses.replace(refined[0], constraints=constraints)
    ones = np.ones(end.x.size)
    scale = Scale(ones, 0 * ones, ones[:1], ones[:1], 0 * ones[:1], (0.0,) * 6)
    state = State(objective, end, scale, None, 0.0, Result.converged, ())
    return _restarted_set_by_set(problem, state, end)


class DoubleWell(Target):
    """Minima of the amplitude at 1.2 and, lower, at 1.8."""

    weight: jax.Array

    def __call__(self, f):
        return 100 * ((f - 1.2) * (f - 1.8)) ** 2 - 0.1 * f


def test_restarts_leave_a_false_minimum(refined):
    """Two pairs, each with a double well; the first starts in the upper well."""
    columns = np.array([[1.0, 0], [0, 0], [0, 1], [0, 0]]) + 0j
    linear = LinearModel.from_structure_factors(np.ones(2) + 0j, np.zeros(2) + 0j, columns, np.ones(2), np.zeros(2))
    occ = OccupancyTensor([0.15, 0.85, 0.5, 0.5], altloc_groups=[[[0], [1]], [[2], [3]]])
    constraints = constraints_of(occ.topology, np.asarray(occ.group_occupancies))
    objective = Objective(linear, DoubleWell(jnp.ones(2)), jnp.asarray(constraints.matrix))
    first = minimise(objective, jnp.array([0.15, 0.85, 0.75, 0.25]), tolerance=1e-8)
    ends = restarted(refined, objective, constraints, first)
    assert len(ends) == 4
    best = min(ends, key=lambda end: float(end.target))
    assert first.x[0] < 0.5
    np.testing.assert_allclose(best.x[::2], 0.8, atol=0.01)
    assert best.target < first.target - 0.01


class BestFactor(Objective):
    """cctbx's target: least squares with the best single scale factor."""

    def amplitude(self, x):
        f, observed = self.linear.amplitude(x[: self.linear.n_groups]), self.target.observed
        return f * (f @ observed) / (f @ f)

    def gradient(self, x):
        return jax.grad(self.value)(x)

    def curvature(self, x):
        f, observed, q = (
            self.linear.amplitude(x[: self.linear.n_groups]),
            self.target.observed,
            x[: self.linear.n_groups],
        )
        jacobian, factor = jax.jacfwd(self.linear.amplitude)(q), (f @ observed) / (f @ f)
        change = (jacobian.T @ observed - 2 * factor * (jacobian.T @ f)) / (f @ f)
        scaled = factor * jacobian + f[:, None] * change
        matrix = 2 * self.target.weight[0] * scaled.T @ scaled
        return jnp.pad(matrix, (0, x.size - q.size))


def test_the_linear_problem_of_4xof_in_cctbx_numbers(refined, data_dir):
    """Every start ends in one of six minima; restarts of single sets lead from each of them to the lowest."""
    path = data_dir.parent / "oracle" / "4xof_linear.npz"
    if not path.exists():
        pytest.skip("needs oracle/4xof_linear.npz beside the data folder")
    data = np.load(path)
    working = ~data["free"].astype(bool)
    held = (data["ktotal"] * (data["f0"] + data["kmask"] * data["fmask"]))[working]
    columns = (data["ktotal"] * data["fk"])[:, working]
    observed, sizes, q = data["fo"][working], data["con_groups"], data["q_deposited"]
    n, edges = q.size, np.cumsum([0, *sizes])
    alone = np.flatnonzero(sizes == 1)
    matrix = np.zeros((sizes.size, n + alone.size))
    for s in range(sizes.size):
        matrix[s, edges[s] : edges[s + 1]] = 1
    matrix[alone, n + np.arange(alone.size)] = 1
    sets = tuple(np.flatnonzero(row) for row in matrix)
    constraints = Constraints(np.arange(n), matrix, np.ones(sizes.size), sets)
    ones = np.ones(observed.size)
    linear = LinearModel.from_structure_factors(held, 0j * held, columns, ones, 0 * ones)
    target = LeastSquares.from_data(observed, np.zeros(observed.size, bool))
    objective = BestFactor(linear, target, jnp.asarray(matrix))

    random = np.random.default_rng(0)
    starts = [q, np.repeat(1 / np.maximum(sizes, 2), sizes)]
    for _ in range(8):
        starts.append(np.concatenate([random.dirichlet(np.ones(k)) if k > 1 else random.random(1) for k in sizes]))
    ends = []
    for start in starts:
        x = jnp.asarray(np.concatenate([start, 1 - start[edges[alone]]]))
        ends.append(minimise(objective, x, tolerance=1e-7))
        assert ends[-1].result == Result.converged
    deposited = jnp.asarray(np.concatenate([q, 1 - q[edges[alone]]]))
    np.testing.assert_allclose(objective.value(deposited), 0.0227032, atol=1e-7)
    known = np.array([0.022639903, 0.022641717, 0.022641789, 0.022643503, 0.022648003, 0.022648784])
    found = np.array([float(end.target) for end in ends])
    assert np.all(np.abs(found[:, None] - known).min(1) < 2e-9)
    # A millionth is where the lowest minimum counts as reached.
    lowest = 0.022639903 * (1 + 1e-6)
    for minimum in distinct_minima(ends, 1e9 * np.eye(matrix.shape[1]), n_groups=n):
        end = ends[int(np.argmin(np.abs(found - minimum.target)))]
        if minimum.target > lowest:
            again = restarted(refined, objective, constraints, end)
            assert min(float(one.target) for one in again) <= lowest
