import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_refinement_solver import EVEN, shifting_problem

from jax_occupancy.refinement import BShifts, Problem
from jax_occupancy.refinement._problem import minimise, split_variables
from jax_occupancy.xray import LeastSquares, LinearModel

pytestmark = pytest.mark.usefixtures("x64")


def test_variables_are_split_into_occupancies_and_b_shifts():
    shifts = BShifts(jnp.array([-5.0, -20.0]), jnp.array([4.0, 10.0]), jnp.array(1.0))
    q, delta_b = split_variables(jnp.array([0.3, 0.6, 0.1, 1.25, 2.5]), 2, shifts)
    np.testing.assert_allclose(q, [0.3, 0.6])
    np.testing.assert_allclose(delta_b, [0.0, 5.0])
    assert split_variables(jnp.array([0.3, 0.6, 0.1]), 2, None)[1] is None


def test_value_is_the_misfit_and_the_prior():
    problem = shifting_problem(np.arange(7.0))
    x = jnp.concatenate([jnp.asarray(EVEN), jnp.linspace(0.5, 1.1, 7)])
    q, delta_b = problem.split(x)
    misfit = float(jnp.sum(problem.target(problem.linear.amplitude(q, delta_b))))
    shifts = problem.b_shifts
    heavier = Problem(
        problem.linear, problem.target, problem.matrix, BShifts(shifts.lowest, shifts.spread, jnp.array(3.0))
    )
    prior = 1.5 * np.sum((np.asarray(delta_b) / 10.0) ** 2)
    assert heavier.value(x) == pytest.approx(misfit + prior, rel=1e-12)
    value = jax.jit(lambda x: heavier.value(x))
    numeric = [(value(x + h) - value(x - h)) / 2e-6 for h in 1e-6 * np.eye(16)]
    np.testing.assert_allclose(heavier.gradient(x), numeric, atol=1e-7)


def test_curvature_with_b_shifts_is_that_of_the_jacobian_plus_the_prior():
    problem = shifting_problem(np.arange(7.0))
    x = jnp.concatenate([jnp.asarray(EVEN), jnp.linspace(0.5, 1.1, 7)])
    jacobian = np.asarray(jax.jit(jax.jacfwd(problem.amplitude))(x))
    second = jax.vmap(jax.grad(jax.grad(lambda f, w, o: w * (f - o) ** 2)))(
        problem.amplitude(x), problem.target.weight, problem.target.observed
    )
    wanted = jacobian.T @ (np.asarray(second)[:, None] * jacobian)
    wanted[9:, 9:] += 1e-9 * np.eye(7)
    np.testing.assert_allclose(problem.curvature(x), wanted, rtol=1e-9, atol=1e-14)
    # vacancies scatter nothing
    assert not np.any(problem.curvature(x)[7:9])


def test_with_least_squares_the_prior_weighs_as_much_as_one_unit_of_log_likelihood():
    """The same answer as for the log-likelihood N/2·log(sum of squares), whose unit is N/2 over that sum."""
    random = np.random.default_rng(5)
    columns = random.standard_normal((1, 60)) + 1j * random.standard_normal((1, 60))
    s_squared = random.uniform(0, 0.1, 60)
    linear = LinearModel.from_structure_factors(
        5 * np.ones(60) + 0j, np.zeros(60) + 0j, columns, np.ones(60), np.zeros(60), s_squared=s_squared
    )
    observed = np.abs(5 + 0.6 * columns[0] * np.exp(-6 * s_squared)) + 0.3 * random.standard_normal(60)
    target = LeastSquares.from_data(np.abs(observed), np.zeros(60, bool))
    x = jnp.array([0.5, 0.5, 1.0])
    matrix = jnp.array([[1.0, 1.0, 0.0]])

    def solved(weight):
        shifts = BShifts(jnp.array([-10.0]), jnp.array([10.0]), jnp.asarray(weight))
        problem = Problem(linear, target, matrix, shifts)
        return problem, minimise(problem, x, jnp.zeros((3, 3)), tolerance=1e-10)

    problem, result = solved(1e-9)
    for _ in range(10):
        misfit = float(jnp.sum(target(problem.amplitude(result.x))))
        problem, result = solved(misfit / 30)
    q, delta_b = problem.split(result.x)

    def minus_log_likelihood(p):
        misfit = jnp.sum(target(linear.amplitude(p[:1], p[1:])))
        return 30 * jnp.log(misfit) + 0.5 * jnp.sum((p[1:] / 10) ** 2)

    slope = jax.grad(minus_log_likelihood)(jnp.concatenate([q, delta_b]))
    np.testing.assert_allclose(slope, 0, atol=1e-5)
