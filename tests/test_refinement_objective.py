"""A target as a function of occupancies and B shifts, and its derivatives."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_refinement_solver import EVEN, MATRIX, TRUTH, random_model

from jax_occupancy.refinement import Objective, Result, minimise
from jax_occupancy.xray import LeastSquares, LinearModel

pytestmark = pytest.mark.usefixtures("x64")


def test_gradient_and_gauss_newton_matrix_without_b_shifts():
    linear = random_model()
    target = LeastSquares.from_data(np.full(400, 12.0), np.arange(400) % 10 == 0)
    objective = Objective(linear, target, jnp.asarray(MATRIX))
    x = jnp.asarray(EVEN)
    step = 1e-6
    by_hand = [(objective.value(x + step * e) - objective.value(x - step * e)) / (2 * step) for e in np.eye(9)]
    np.testing.assert_allclose(objective.gradient(x), by_hand, atol=1e-9)
    jacobian = np.asarray(jax.jacfwd(objective.amplitude)(x))
    wanted = 2 * jacobian.T @ (np.asarray(target.weight)[:, None] * jacobian)
    np.testing.assert_allclose(objective.curvature(x), wanted, rtol=1e-10, atol=1e-15)


def shifting_objective(b_true, seed=0):
    """Noise-free data of groups whose B factors differ from those of the model."""
    random = np.random.default_rng(seed)
    linear = eqx.tree_at(lambda m: m.s_squared, random_model(seed), jnp.asarray(random.uniform(0, 0.15, 400)))
    observed = np.asarray(linear.amplitude(jnp.asarray(TRUTH[:7]), jnp.asarray(b_true)))
    return Objective(
        linear,
        LeastSquares.from_data(observed, np.zeros(400, bool)),
        jnp.asarray(np.pad(MATRIX, ((0, 0), (0, 7)))),
        lowest_b=jnp.full(7, -8.0),
        spread_b=jnp.full(7, 10.0),
        weight=jnp.array(1e-9),
    )


def test_variables_are_split_into_occupancies_and_b_shifts():
    random = random_model(n_groups=2, n=20)
    target = LeastSquares.from_data(np.ones(20), np.zeros(20, bool))
    objective = Objective(random, target, jnp.zeros((0, 5)), jnp.array([-5.0, -20.0]), jnp.array([4.0, 10.0]))
    q, delta_b = objective.split(jnp.array([0.3, 0.6, 0.1, 1.25, 2.5]))
    np.testing.assert_allclose(q, [0.3, 0.6])
    np.testing.assert_allclose(delta_b, [0.0, 5.0])
    assert Objective(random, target, jnp.zeros((0, 3))).split(jnp.array([0.3, 0.6, 0.1]))[1] is None


def test_b_shifts_are_found_beside_the_occupancies():
    b_true = np.array([3.0, -5.0, 10.0, 0.0, -2.0, 0.0, 1.0])
    objective = shifting_objective(b_true)
    start = jnp.concatenate([jnp.asarray(EVEN), jnp.full(7, 0.8)])
    by_hand = [(objective.value(start + h) - objective.value(start - h)) / 2e-6 for h in 1e-6 * np.eye(16)]
    np.testing.assert_allclose(objective.gradient(start), by_hand, atol=1e-7)
    result = minimise(objective, start, tolerance=1e-9)
    assert result.result == Result.converged
    q, delta_b = objective.split(result.x)
    np.testing.assert_allclose(q, TRUTH[:7], atol=1e-5)
    there = TRUTH[:7] > 0
    np.testing.assert_allclose(np.asarray(delta_b)[there], b_true[there], atol=2e-3)


def test_a_b_shift_stops_where_b_would_not_be_positive_and_stays_at_zero_for_what_is_absent():
    objective = shifting_objective(np.array([-30.0, 0, 0, 0, 0, 0, 0]))
    start = jnp.concatenate([jnp.asarray(EVEN), jnp.full(7, 0.8)])
    _, delta_b = objective.split(minimise(objective, start, tolerance=1e-9).x)
    assert delta_b[0] == -8
    assert abs(delta_b[3]) < 50


def test_value_is_the_misfit_and_the_prior():
    objective = shifting_objective(np.arange(7.0))
    x = jnp.concatenate([jnp.asarray(EVEN), jnp.linspace(0.5, 1.1, 7)])
    q, delta_b = objective.split(x)
    misfit = float(jnp.sum(objective.target(objective.linear.amplitude(q, delta_b))))
    heavier = dataclasses.replace(objective, weight=jnp.array(3.0))
    prior = 1.5 * np.sum((np.asarray(delta_b) / 10.0) ** 2)
    assert heavier.value(x) == pytest.approx(misfit + prior, rel=1e-12)
    value = jax.jit(lambda x: heavier.value(x))
    numeric = [(value(x + h) - value(x - h)) / 2e-6 for h in 1e-6 * np.eye(16)]
    np.testing.assert_allclose(heavier.gradient(x), numeric, atol=1e-7)


def test_a_prior_that_expects_b_to_follow_the_occupancies():
    trend = np.diag(np.arange(-3.0, 4.0)) + np.random.default_rng(2).normal(size=(7, 7))
    guess = np.linspace(0.1, 0.9, 7)
    plain = dataclasses.replace(shifting_objective(np.arange(7.0)), weight=jnp.array(3.0))
    objective = dataclasses.replace(plain, trend_b=jnp.asarray(trend), guess=jnp.asarray(guess))
    x = jnp.concatenate([jnp.asarray(EVEN), jnp.linspace(0.5, 1.1, 7)])
    q, delta_b = map(np.asarray, objective.split(x))
    expected = trend @ (q - guess)
    more = 1.5 * np.sum(((delta_b - expected) / 10) ** 2 - (delta_b / 10) ** 2)
    assert objective.value(x) == pytest.approx(float(plain.value(x)) + more, rel=1e-12)
    value = jax.jit(lambda x: objective.value(x))
    numeric = [(value(x + h) - value(x - h)) / 2e-6 for h in 1e-6 * np.eye(16)]
    np.testing.assert_allclose(objective.gradient(x), numeric, atol=1e-7)
    jacobian = np.zeros((7, 16))
    jacobian[:, :7], jacobian[:, 9:] = -trend / 10, np.eye(7)
    without = plain.curvature(x) - 3.0 * np.diag(np.arange(16) >= 9)
    np.testing.assert_allclose(objective.curvature(x), without + 3.0 * jacobian.T @ jacobian, atol=1e-9)


def test_curvature_with_b_shifts_is_that_of_the_jacobian_plus_the_prior():
    objective = shifting_objective(np.arange(7.0))
    x = jnp.concatenate([jnp.asarray(EVEN), jnp.linspace(0.5, 1.1, 7)])
    jacobian = np.asarray(jax.jit(jax.jacfwd(objective.amplitude))(x))
    second = jax.vmap(jax.grad(jax.grad(lambda f, w, o: w * (f - o) ** 2)))(
        objective.amplitude(x), objective.target.weight, objective.target.observed
    )
    wanted = jacobian.T @ (np.asarray(second)[:, None] * jacobian)
    wanted[9:, 9:] += 1e-9 * np.eye(7)
    np.testing.assert_allclose(objective.curvature(x), wanted, rtol=1e-9, atol=1e-14)
    # vacancies scatter nothing
    assert not np.any(objective.curvature(x)[7:9])


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
        objective = Objective(linear, target, matrix, jnp.array([-10.0]), jnp.array([10.0]), jnp.asarray(weight))
        return objective, minimise(objective, x, tolerance=1e-10)

    objective, result = solved(1e-9)
    for _ in range(10):
        misfit = float(jnp.sum(target(objective.amplitude(result.x))))
        objective, result = solved(misfit / 30)
    q, delta_b = objective.split(result.x)

    def minus_log_likelihood(p):
        misfit = jnp.sum(target(linear.amplitude(p[:1], p[1:])))
        return 30 * jnp.log(misfit) + 0.5 * jnp.sum((p[1:] / 10) ** 2)

    slope = jax.grad(minus_log_likelihood)(jnp.concatenate([q, delta_b]))
    np.testing.assert_allclose(slope, 0, atol=1e-5)
