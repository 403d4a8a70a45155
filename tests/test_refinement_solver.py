import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.refinement import gauss_newton, solve
from jax_occupancy.refinement._problem import BShifts, Problem, information
from jax_occupancy.xray import LeastSquares, LinearModel


def random_model(seed=0, n_groups=7, n=400, dtype="float64"):
    random = np.random.default_rng(seed)

    def waves(*shape):
        return random.standard_normal(shape) + 1j * random.standard_normal(shape)

    kind = "complex128" if dtype == "float64" else "complex64"
    columns = jnp.asarray(waves(n_groups, n), kind)
    return LinearModel.from_structure_factors(10 * waves(n), 0j * waves(n), columns, np.ones(n), np.zeros(n))


# Sets: a pair, a triple, and a group that is free (with a vacancy as the eighth variable, and one more free).
MATRIX = np.array(
    [[1, 1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0, 0], [0] * 5 + [1, 0, 1, 0], [0] * 6 + [1, 0, 1.0]]
)
TRUTH = np.array([0.7, 0.3, 0.2, 0.0, 0.8, 0.45, 1.0, 0.55, 0.0])
EVEN = np.array([0.5, 0.5, 1 / 3, 1 / 3, 1 / 3, 0.5, 0.5, 0.5, 0.5])


def test_finds_the_truth_of_noise_free_data_bounds_included(dtype):
    linear = random_model(dtype=dtype)
    observed = np.asarray(linear.amplitude(jnp.asarray(TRUTH[:7], dtype)), np.float64)
    target = LeastSquares.from_data(observed, np.zeros(400, bool), dtype=dtype)
    tolerance = 1e-7 if dtype == "float64" else 1e-4
    result = solve(linear, target, jnp.asarray(MATRIX, dtype), jnp.asarray(EVEN, dtype), tolerance=tolerance)
    assert result.converged
    assert result.steps < 12
    np.testing.assert_allclose(result.x, TRUTH, atol=1e-7 if dtype == "float64" else 1e-3)
    np.testing.assert_allclose(MATRIX @ np.asarray(result.x), 1, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_never_ends_above_its_start_and_ends_at_a_stationary_point(seed, x64):
    linear = random_model(seed)
    random = np.random.default_rng(seed)
    truth = np.asarray(linear.amplitude(jnp.asarray(TRUTH[:7])))
    observed = np.abs(truth * (1 + 0.3 * random.standard_normal(400)))
    target = LeastSquares.from_data(observed, random.random(400) < 0.1)
    result = solve(linear, target, jnp.asarray(MATRIX), jnp.asarray(EVEN), tolerance=1e-7)

    def value(x):
        return jnp.sum(target(linear.amplitude(x[:7])))

    assert result.target <= value(jnp.asarray(EVEN))
    assert result.converged
    pull = np.asarray(jax.grad(value)(result.x))
    end = np.asarray(result.x)
    for row in MATRIX.astype(bool):
        free = row & (end > 1e-6)
        level = pull[free].mean()
        np.testing.assert_allclose(pull[free], level, atol=1e-7)
        assert np.all(pull[row] >= level - 1e-7)


def test_gradient_and_gauss_newton_matrix_of_a_problem(x64):
    linear = random_model()
    target = LeastSquares.from_data(np.full(400, 12.0), np.arange(400) % 10 == 0)
    problem = Problem(linear, target, jnp.asarray(MATRIX))
    x = jnp.asarray(EVEN)
    step = 1e-6
    by_hand = [(problem.value(x + step * e) - problem.value(x - step * e)) / (2 * step) for e in np.eye(9)]
    np.testing.assert_allclose(problem.gradient(x), by_hand, atol=1e-9)
    jacobian = np.asarray(jax.jacfwd(problem.amplitude)(x))
    wanted = 2 * jacobian.T @ (np.asarray(target.weight)[:, None] * jacobian)
    np.testing.assert_allclose(problem.curvature(x), wanted, rtol=1e-10, atol=1e-15)


def shifting_problem(b_true, seed=0):
    """Noise-free data of groups whose B factors differ from those of the model."""
    random = np.random.default_rng(seed)
    linear = eqx.tree_at(lambda m: m.s_squared, random_model(seed), jnp.asarray(random.uniform(0, 0.15, 400)))
    observed = np.asarray(linear.amplitude(jnp.asarray(TRUTH[:7]), jnp.asarray(b_true)))
    shifts = BShifts(jnp.full(7, -8.0), jnp.full(7, 10.0), jnp.array(1e-9))
    return Problem(
        linear,
        LeastSquares.from_data(observed, np.zeros(400, bool)),
        jnp.asarray(np.pad(MATRIX, ((0, 0), (0, 7)))),
        shifts,
    )


def test_b_shifts_are_found_beside_the_occupancies(x64):
    b_true = np.array([3.0, -5.0, 10.0, 0.0, -2.0, 0.0, 1.0])
    problem = shifting_problem(b_true)
    start = jnp.concatenate([jnp.asarray(EVEN), jnp.full(7, 0.8)])
    by_hand = [(problem.value(start + h) - problem.value(start - h)) / 2e-6 for h in 1e-6 * np.eye(16)]
    np.testing.assert_allclose(problem.gradient(start), by_hand, atol=1e-7)
    result = problem.solve(start, tolerance=1e-9)
    assert result.converged
    q, delta_b = problem.split(result.x)
    np.testing.assert_allclose(q, TRUTH[:7], atol=1e-5)
    there = TRUTH[:7] > 0
    np.testing.assert_allclose(np.asarray(delta_b)[there], b_true[there], atol=2e-3)


def test_a_b_shift_stops_where_b_would_not_be_positive_and_stays_at_zero_for_what_is_absent(x64):
    problem = shifting_problem(np.array([-30.0, 0, 0, 0, 0, 0, 0]))
    start = jnp.concatenate([jnp.asarray(EVEN), jnp.full(7, 0.8)])
    _, delta_b = problem.split(problem.solve(start, tolerance=1e-9).x)
    assert delta_b[0] == -8
    assert abs(delta_b[3]) < 50


def test_information_is_never_negative(x64):
    f = jnp.array([0.5, 2.0])
    np.testing.assert_allclose(information(lambda f: f**4 - 6 * f**2, f), [0, 36])


def test_vmaps_over_starts_and_does_not_recompile(x64):
    linear = random_model()
    observed = np.asarray(linear.amplitude(jnp.asarray(TRUTH[:7])))
    target = LeastSquares.from_data(observed, np.zeros(400, bool))
    matrix = jnp.asarray(MATRIX)
    starts = jnp.stack([jnp.asarray(EVEN), 0.9 * jnp.asarray(EVEN) + 0.1 * jnp.asarray(TRUTH)])
    traces = []

    @eqx.filter_jit
    def run(x):
        traces.append(None)
        return solve(linear, target, matrix, x, tolerance=1e-7).x

    for start in starts:
        np.testing.assert_allclose(run(start), TRUTH, atol=1e-6)
    assert len(traces) == 1
    np.testing.assert_allclose(jax.lax.map(run, starts), [TRUTH, TRUTH], atol=1e-6)
    np.testing.assert_allclose(jax.vmap(run)(starts), [TRUTH, TRUTH], atol=1e-6)


def test_the_linear_problem_of_4xof_in_cctbx_numbers(data_dir, x64):
    """Every start ends in one of the minima known for least squares, some in the lowest."""
    path = data_dir.parent / "oracle" / "4xof_linear.npz"
    if not path.exists():
        pytest.skip("needs oracle/4xof_linear.npz beside the data folder")
    data = np.load(path)
    working = ~data["free"].astype(bool)
    held = (data["ktotal"] * (data["f0"] + data["kmask"] * data["fmask"]))[working]
    columns = jnp.asarray((data["ktotal"] * data["fk"])[:, working])
    observed, sizes, q = jnp.asarray(data["fo"][working]), data["con_groups"], data["q_deposited"]
    n, edges = q.size, np.cumsum([0, *sizes])
    alone = np.flatnonzero(sizes == 1)
    matrix = np.zeros((sizes.size, n + alone.size))
    for s in range(sizes.size):
        matrix[s, edges[s] : edges[s + 1]] = 1
    matrix[alone, n + np.arange(alone.size)] = 1

    def amplitude(x):
        f = jnp.abs(held + x[:n] @ columns)
        return f * (f @ observed) / (f @ f)  # k, the best single factor

    def losses(f):
        return (f - observed) ** 2 / jnp.sum(observed**2)

    def run(x):
        def value(x):
            return jnp.sum(losses(amplitude(x)))

        def curvature(x):
            jacobian = jax.jacfwd(amplitude)(x)
            return jacobian.T @ (information(losses, amplitude(x))[:, None] * jacobian)

        return gauss_newton(value, jax.grad(value), curvature, jnp.asarray(matrix), x, tolerance=1e-7)

    run = jax.jit(run)
    deposited = jnp.concatenate([jnp.asarray(q), 1 - q[edges[alone]]])
    np.testing.assert_allclose(jnp.sum(losses(amplitude(deposited))), 0.0227032, atol=1e-7)
    known = np.array([0.022639903, 0.022641717, 0.022641789, 0.022643503, 0.022648003, 0.022648784])
    random, found = np.random.default_rng(0), []
    for start in [deposited] + [None] * 4:
        if start is None:
            shares = np.concatenate(
                [random.dirichlet(np.ones(size)) if size > 1 else random.random(1) for size in sizes]
            )
            start = jnp.concatenate([jnp.asarray(shares), 1 - shares[edges[alone]]])
        result = run(start)
        assert result.converged
        found.append(float(result.target))
    assert np.all(np.abs(np.array(found)[:, None] - known).min(1) < 2e-9)
    assert min(found) < 0.022639903 * (1 + 1e-6)
