"""Models and data sets as a leading axis: vmap through structure factors, targets and solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy import OccupancyTensor, stack
from jax_occupancy.refinement import Objective, Result, gauss_newton, minimise
from jax_occupancy.xray import LeastSquares, LinearModel, MaximumLikelihood

pytestmark = pytest.mark.usefixtures("x64")

MODELS, GROUPS, REFLECTIONS = 3, 4, 60
# Two pairs that sum to one.
MATRIX = jnp.array([[1.0, 1, 0, 0], [0, 0, 1, 1]])


def complex_normal(random, *shape):
    return random.standard_normal(shape) + 1j * random.standard_normal(shape)


@pytest.fixture
def problem():
    """A linear model, true occupancies of several crystals and their noisy amplitudes."""
    random = np.random.default_rng(0)
    ones = np.ones(REFLECTIONS)
    linear = LinearModel.from_structure_factors(
        5 * complex_normal(random, REFLECTIONS), 0 * ones, complex_normal(random, GROUPS, REFLECTIONS), ones, 0 * ones
    )
    share = random.uniform(0.2, 0.8, (MODELS, 2))
    truth = jnp.asarray(np.stack([share[:, 0], 1 - share[:, 0], share[:, 1], 1 - share[:, 1]], axis=1))
    amplitude = jax.vmap(linear.amplitude)(truth)
    observed = amplitude + 0.05 * jnp.asarray(random.standard_normal(amplitude.shape))
    return linear, truth, observed


def ml(observed):
    shape = observed.shape
    return MaximumLikelihood(
        observed,
        jnp.ones(shape),
        jnp.full(shape, 0.005),
        jnp.zeros(shape, bool).at[..., ::7].set(True),
        jnp.ones(shape),
    )


def ls(observed):
    return LeastSquares(observed, jnp.ones(observed.shape))


def test_structure_factors_and_their_derivatives(problem):
    linear, truth, _ = problem
    for method in (linear, linear.amplitude, jax.jacfwd(linear.amplitude), lambda q: linear(q, 2 * q)):
        np.testing.assert_allclose(jax.vmap(method)(truth), jnp.stack([method(q) for q in truth]), rtol=1e-12)


def test_structure_factors_of_a_stack_of_modules(problem):
    linear, truth, _ = problem
    tensors = [OccupancyTensor(q, altloc_groups=[[[0], [1]], [[2], [3]]]) for q in np.asarray(truth)]
    together = jax.vmap(lambda tensor: linear.amplitude(tensor()))(stack(tensors))
    np.testing.assert_allclose(together, jnp.stack([linear.amplitude(q) for q in truth]), rtol=1e-6)


def batch(make, observed):
    """The targets of several data sets as one."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(make, observed))


@pytest.mark.parametrize("make", [ml, ls])
def test_targets(problem, make):
    linear, truth, observed = problem

    def value(target, q):
        return jnp.sum(target(linear.amplitude(q)))

    together = jax.vmap(jax.value_and_grad(value, argnums=1))(batch(make, observed), truth)
    alone = [jax.value_and_grad(value, argnums=1)(make(one), q) for one, q in zip(observed, truth, strict=True)]
    np.testing.assert_allclose(together[0], [value for value, _ in alone], rtol=1e-12)
    np.testing.assert_allclose(together[1], jnp.stack([slope for _, slope in alone]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [ml, ls])
def test_solver_over_data_sets_and_starts(problem, make):
    linear, truth, observed = problem
    even = jnp.full(GROUPS, 0.5)

    def refined(target, x):
        return minimise(Objective(linear, target, MATRIX), x, tolerance=1e-9)

    together = jax.vmap(refined, in_axes=(0, None))(batch(make, observed), even)
    assert (together.result == Result.converged).all()
    assert jnp.abs(together.x - truth).max() < 0.05
    for i, one in enumerate(observed):
        alone = refined(make(one), even)
        np.testing.assert_allclose(together.x[i], alone.x, atol=1e-8)
        assert together.steps[i] == alone.steps
    starts = jnp.stack([even, truth[0], jnp.array([0.9, 0.1, 0.1, 0.9])])
    ends = jax.vmap(refined, in_axes=(None, 0))(make(observed[0]), starts).x
    np.testing.assert_allclose(ends, jnp.broadcast_to(ends[0], ends.shape), atol=1e-7)


def test_gauss_newton_over_targets():
    centres = jnp.array([[0.3, 0.7], [1.5, -0.2]])
    row = jnp.ones((1, 2))

    def refined(centre):
        return gauss_newton(
            lambda x: jnp.sum((x - centre) ** 2), lambda x: 2 * (x - centre), lambda x: 2 * jnp.eye(2), row,
            jnp.full(2, 0.5), tolerance=1e-9,
        ).x  # fmt: skip

    np.testing.assert_allclose(jax.vmap(refined)(centres), [[0.3, 0.7], [1.0, 0.0]], atol=1e-9)
