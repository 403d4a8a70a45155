import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.refinement import Constraints, solve
from jax_occupancy.refinement._problem import BShifts, Problem, information, minimise
from jax_occupancy.refinement._starts import distinct_minima, restart_set_by_set, set_by_set_starts
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


class BestFactor(Problem):
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


def test_the_linear_problem_of_4xof_in_cctbx_numbers(data_dir, x64):
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
    problem = BestFactor(linear, target, jnp.asarray(matrix))

    random = np.random.default_rng(0)
    starts = [q, np.repeat(1 / np.maximum(sizes, 2), sizes)]
    for _ in range(8):
        starts.append(np.concatenate([random.dirichlet(np.ones(k)) if k > 1 else random.random(1) for k in sizes]))
    unknown = jnp.zeros((matrix.shape[1],) * 2)
    ends = []
    for start in starts:
        x = jnp.asarray(np.concatenate([start, 1 - start[edges[alone]]]))
        ends.append(minimise(problem, x, unknown, tolerance=1e-7))
        assert ends[-1].converged
    deposited = jnp.asarray(np.concatenate([q, 1 - q[edges[alone]]]))
    np.testing.assert_allclose(problem.value(deposited), 0.0227032, atol=1e-7)
    known = np.array([0.022639903, 0.022641717, 0.022641789, 0.022643503, 0.022648003, 0.022648784])
    found = np.array([float(end.target) for end in ends])
    assert np.all(np.abs(found[:, None] - known).min(1) < 2e-9)
    # A millionth is where the lowest minimum counts as reached.
    lowest = 0.022639903 * (1 + 1e-6)
    for minimum in distinct_minima(ends, 1e9 * np.eye(matrix.shape[1]), n_groups=n):
        end = ends[int(np.argmin(np.abs(found - minimum.target)))]
        if minimum.target > lowest:
            changes = set_by_set_starts(constraints, np.asarray(end.x))
            again = restart_set_by_set(problem, end, changes, unknown, tolerance=1e-7)
            assert min(float(one.target) for one in again) <= lowest
