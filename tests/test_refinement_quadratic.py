import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jax_occupancy.refinement import solve_on_simplexes


def random_problem(seed):
    """Three sets of unequal size, start inside or on the boundary."""
    random = np.random.default_rng(seed)
    sizes = [1 + random.integers(1, 4), 1 + random.integers(1, 4), 2]
    n = sum(sizes)
    matrix = np.zeros((3, n))
    edges = np.cumsum([0, *sizes])
    for s in range(3):
        matrix[s, edges[s] : edges[s + 1]] = 1
    root = random.standard_normal((n + 2, n))
    x = np.concatenate([random.dirichlet(np.ones(size)) for size in sizes])
    if seed % 3 == 0:
        x[edges[0]] += x[edges[0] + 1]
        x[edges[0] + 1] = 0
    return root.T @ root, 3 * random.standard_normal(n), matrix, x


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_slsqp_and_the_kkt_conditions(seed, x64):
    hessian, gradient, matrix, x = random_problem(seed)
    step = np.asarray(jax.jit(solve_on_simplexes)(*map(jnp.asarray, (gradient, hessian, matrix, x))))
    end = x + step
    assert np.all(end >= 0)
    np.testing.assert_allclose(matrix @ end, matrix @ x, atol=1e-12)

    def value(d):
        return gradient @ d + d @ hessian @ d / 2

    peer = minimize(
        value,
        np.zeros_like(x),
        jac=lambda d: gradient + hessian @ d,
        method="SLSQP",
        bounds=[(-v, None) for v in x],
        constraints={"type": "eq", "fun": lambda d: matrix @ d, "jac": lambda d: matrix},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert value(step) <= peer.fun + 1e-9
    # Within a set the pull on free members is equal, and members at zero are pulled no less.
    pull = gradient + hessian @ step
    for row in matrix.astype(bool):
        free = row & (end > 1e-9)
        level = pull[free].mean()
        np.testing.assert_allclose(pull[free], level, atol=1e-7)
        assert np.all(pull[row] >= level - 1e-7)


def test_a_variable_leaves_its_bound_only_if_that_pays(x64):
    matrix, hessian = jnp.ones((1, 2)), jnp.eye(2)
    at_bound = jnp.array([1.0, 0.0])
    stays = solve_on_simplexes(jnp.array([-3.0, 0.0]), hessian, matrix, at_bound)
    np.testing.assert_allclose(stays, [0, 0], atol=1e-15)
    leaves = solve_on_simplexes(jnp.array([0.5, -0.5]), hessian, matrix, at_bound)
    np.testing.assert_allclose(leaves, [-0.5, 0.5], atol=1e-12)


def test_equal_columns_give_no_nan(dtype):
    """Two coincident conformers: the data say nothing on the split, which stays."""
    column = np.array([1.0, 2.0, -1.0])
    jacobian = np.stack([column, column, -column], 1)
    hessian = jnp.asarray(jacobian.T @ jacobian, dtype)
    x = jnp.asarray([0.3, 0.3, 0.4], dtype)
    step = solve_on_simplexes(jnp.asarray([-1.0, -1.0, 1.0], dtype), hessian, jnp.ones((1, 3), dtype), x)
    assert np.all(np.isfinite(step))
    np.testing.assert_allclose(step[0], step[1], atol=5e-3 if dtype == "float32" else 1e-6)


def test_no_variables():
    step = solve_on_simplexes(jnp.zeros(0), jnp.zeros((0, 0)), jnp.zeros((0, 0)), jnp.zeros(0))
    assert step.shape == (0,)
