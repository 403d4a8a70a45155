import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.refinement import Objective, Result, gauss_newton, minimise
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
    objective = Objective(linear, target, jnp.asarray(MATRIX, dtype))
    result = minimise(objective, jnp.asarray(EVEN, dtype), tolerance=tolerance)
    assert result.result == Result.converged
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
    result = minimise(Objective(linear, target, jnp.asarray(MATRIX)), jnp.asarray(EVEN), tolerance=1e-7)

    def value(x):
        return jnp.sum(target(linear.amplitude(x[:7])))

    assert result.target <= value(jnp.asarray(EVEN))
    assert result.result == Result.converged
    pull = np.asarray(jax.grad(value)(result.x))
    end = np.asarray(result.x)
    for row in MATRIX.astype(bool):
        free = row & (end > 1e-6)
        level = pull[free].mean()
        np.testing.assert_allclose(pull[free], level, atol=1e-7)
        assert np.all(pull[row] >= level - 1e-7)


def test_vmaps_over_starts_and_does_not_recompile(x64):
    linear = random_model()
    observed = np.asarray(linear.amplitude(jnp.asarray(TRUTH[:7])))
    target = LeastSquares.from_data(observed, np.zeros(400, bool))
    objective = Objective(linear, target, jnp.asarray(MATRIX))
    starts = jnp.stack([jnp.asarray(EVEN), 0.9 * jnp.asarray(EVEN) + 0.1 * jnp.asarray(TRUTH)])
    traces = []

    @eqx.filter_jit
    def run(x):
        traces.append(None)
        return minimise(objective, x, tolerance=1e-7).x

    for start in starts:
        np.testing.assert_allclose(run(start), TRUTH, atol=1e-6)
    assert len(traces) == 1
    np.testing.assert_allclose(jax.lax.map(run, starts), [TRUTH, TRUTH], atol=1e-6)
    np.testing.assert_allclose(jax.vmap(run)(starts), [TRUTH, TRUTH], atol=1e-6)


CENTRE, WEIGHTS, PAIR = jnp.array([0.8, 0.1]), jnp.array([1.0, 3.0]), jnp.ones((1, 2))


def value(x):
    """Its minimum where the variables sum to one is at 0.875, 0.125."""
    return jnp.sum(WEIGHTS * (x - CENTRE) ** 2)


def search(value=value, gradient=None, curvature=None, **options):
    gradient, curvature = gradient or jax.grad(value), curvature or jax.hessian(value)
    return gauss_newton(value, gradient, curvature, PAIR, jnp.array([0.4, 0.6]), tolerance=1e-6, **options)


def test_each_end_of_a_search_has_its_name():
    """A failed line search, or a target that is no number, is no convergence."""
    ends = {
        "converged": search(),
        "stalled": search(gradient=lambda x: -jax.grad(value)(x)),
        "not_finite": search(value=lambda x: value(x) * jnp.nan),
        # steps of a thousandth of the way
        "max_steps": search(curvature=lambda x: 1000 * jax.hessian(value)(x)),
    }
    assert {name: Result(int(end.result)).name for name, end in ends.items()} == {name: name for name in ends}
    np.testing.assert_allclose(ends["converged"].x, [0.875, 0.125], atol=1e-5)
    np.testing.assert_array_equal(ends["stalled"].x, jnp.array([0.4, 0.6]))
    assert (ends["stalled"].steps, ends["max_steps"].steps) == (1, 100)
    assert ends["max_steps"].target < value(jnp.array([0.4, 0.6]))
    assert Result(int(search(max_steps=1).result)) == Result.max_steps
    assert all(len(one.sentence) > 10 for one in Result)
    assert len({one.sentence for one in Result}) == len(Result)


def test_no_number_at_all_is_told_wherever_it_appears():
    """In the derivatives from the beginning, or in the target on the way; the search ends where it still was one."""
    nan_slope = search(gradient=lambda x: jnp.full(2, jnp.nan))
    assert Result(int(nan_slope.result)) == Result.not_finite
    nan_curvature = search(curvature=lambda x: jnp.full((2, 2), jnp.nan))
    assert Result(int(nan_curvature.result)) == Result.not_finite
    np.testing.assert_allclose(nan_slope.x, [0.4, 0.6], rtol=1e-6)
    beyond = search(value=lambda x: jnp.where(x[0] > 0.7, jnp.nan, value(x)))
    assert Result(int(beyond.result)) != Result.converged
    assert 0.4 < beyond.x[0] <= 0.7


def test_a_matrix_is_kept_while_steps_get_shorter_and_another_one_found_where_they_do_not(x64):
    seen = []

    def quartic(x):
        return jnp.sum((x - 1) ** 4 + (x - 1) ** 2)

    def curvature(x):
        jax.debug.callback(seen.append, x)
        return jax.hessian(quartic)(x)

    def search_from(known, curvature=curvature):
        seen.clear()
        nothing, start, slope = jnp.zeros((0, 2)), jnp.array([1.3, 3.0]), jax.grad(quartic)
        end = gauss_newton(quartic, slope, curvature, nothing, start, tolerance=1e-8, known_curvature=known)
        jax.effects_barrier()
        return end, len(seen)

    for known, fewest in ((None, 2), (2.5 * jnp.eye(2), 1), (500 * jnp.eye(2), 1)):
        end, count = search_from(known)
        np.testing.assert_allclose(end.x, 1, atol=1e-7)
        assert fewest <= count < end.steps
    end, count = search_from(20 * jnp.eye(2), curvature=None)
    np.testing.assert_allclose(end.x, 1, atol=1e-4)
    assert count == 0
    np.testing.assert_array_equal(end.curvature, 20 * np.eye(2))
