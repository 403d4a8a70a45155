import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jax_occupancy.refinement import _quadratic, solve_on_simplexes


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


def pulls_of(gradient, hessian, matrix, x, step):
    """Multipliers of the bounds: how much harder than its free siblings each member is pulled down."""
    end, pull = x + step, gradient + hessian @ step
    free = end > 1e-9
    multipliers = np.linalg.lstsq(matrix[:, free].T, pull[free], rcond=None)[0]
    return pull - matrix.T @ multipliers


def test_hundreds_of_bounds_are_guessed_at_once(x64):
    """150 sets of three: far more bounds than rounds."""
    random = np.random.default_rng(0)
    n = 450
    matrix = np.kron(np.eye(n // 3), np.ones((1, 3)))
    root = random.standard_normal((n + 50, n))
    hessian, gradient = root.T @ root / n, 0.3 * random.standard_normal(n)
    x = np.full(n, 1 / 3)
    programme = [jnp.asarray(a) for a in (gradient, hessian, matrix, x)]
    step = np.asarray(jax.jit(solve_on_simplexes)(*programme))
    assert np.sum(x + step == 0) > 100
    np.testing.assert_allclose(matrix @ step, 0, atol=1e-10)
    pulls = pulls_of(gradient, hessian, matrix, x, step)
    np.testing.assert_allclose(pulls[x + step > 0], 0, atol=1e-7)
    assert np.all(pulls > -1e-7)


@pytest.mark.parametrize("batched", [False, True])
def test_block_by_block_the_step_is_the_same(batched, x64):
    """Twenty blocks of four sets of three, one set more in the last, each block with curvature into the next."""
    random = np.random.default_rng(1)
    n = 3 * 81
    block_of_set = np.append(np.repeat(np.arange(20), 4), 19)
    matrix, block = np.kron(np.eye(81), np.ones((1, 3))), np.repeat(block_of_set, 3)
    root = random.standard_normal((400, n)) * (np.abs(block - random.integers(0, 20, 400)[:, None]) < 2)
    hessian, gradient, x = root.T @ root, 20 * random.standard_normal((3, n)), np.full(n, 1 / 3)
    of_all = np.concatenate([block, block_of_set])
    rows = [np.flatnonzero(of_all == one) for one in range(20)]
    blocks = np.full((20, max(map(len, rows))), len(of_all))
    for one, row in zip(blocks, rows, strict=True):
        one[: len(row)] = row
    hessian, matrix, x, blocks = map(jnp.asarray, (hessian, matrix, x, blocks))
    if batched:
        solve = jax.vmap(solve_on_simplexes, (0, None, None, None, None))
        steps = solve(jnp.asarray(gradient), hessian, matrix, x, blocks)
    else:
        steps = [solve_on_simplexes(jnp.asarray(one), hessian, matrix, x, blocks) for one in gradient]
    for one, step in zip(gradient, steps, strict=True):
        wanted = solve_on_simplexes(jnp.asarray(one), hessian, matrix, x)
        assert np.sum(x + wanted == 0) > 20
        np.testing.assert_allclose(step, wanted, atol=1e-9)
        np.testing.assert_allclose(matrix @ step, 0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_where_guesses_go_in_a_circle_bounds_are_taken_one_at_a_time(seed, x64, monkeypatch):
    """No round of guesses at all: the fallback alone gives the same answer."""
    hessian, gradient, matrix, x = random_problem(seed)
    programme = [jnp.asarray(a) for a in (gradient, hessian, matrix, x)]
    guessed = solve_on_simplexes(*programme)
    monkeypatch.setattr(_quadratic, "MAX_ROUNDS", 0)
    np.testing.assert_allclose(solve_on_simplexes(*programme), guessed, atol=1e-9)


def test_a_circle_of_guesses_is_left(x64, monkeypatch):
    """Guesses that always come out wrong are given up after MAX_ROUNDS, from the start once more."""
    hessian, gradient, matrix, x = random_problem(1)
    programme = [jnp.asarray(a) for a in (gradient, hessian, matrix, x)]
    wanted = solve_on_simplexes(*programme)

    def circular(programme, state, step, pull):
        return state._replace(at_bound=~state.at_bound, step=step, count=state.count + 1)

    monkeypatch.setattr(_quadratic, "_guess_bounds", circular)
    np.testing.assert_allclose(solve_on_simplexes(*programme), wanted, atol=1e-9)


def test_a_nested_set(x64):
    """A parent that shares out its occupancy: members sum to it wherever it goes."""
    matrix = np.array([[1.0, 1, 0, 0], [0, -1, 1, 1]])
    hessian = np.diag([1.0, 0.5, 2.0, 3.0])
    x = np.array([0.5, 0.5, 0.25, 0.25])
    for pull in (1.0, -1.0, 5.0):
        gradient = np.array([0.0, pull, 0.1, -0.1])
        step = np.asarray(solve_on_simplexes(*map(jnp.asarray, (gradient, hessian, matrix, x))))
        peer = minimize(
            lambda d, g=gradient: g @ d + d @ hessian @ d / 2,
            np.zeros(4),
            method="SLSQP",
            bounds=[(-v, None) for v in x],
            constraints={"type": "eq", "fun": lambda d: matrix @ d},
            options={"ftol": 1e-15},
        )
        np.testing.assert_allclose(step, peer.x, atol=1e-6)


def test_no_variables():
    step = solve_on_simplexes(jnp.zeros(0), jnp.zeros((0, 0)), jnp.zeros((0, 0)), jnp.zeros(0))
    assert step.shape == (0,)
