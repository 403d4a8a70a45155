import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import null_space
from scipy.optimize import brentq, nnls

from jax_occupancy.refinement import uncertainty

# A pair, a triple, a free group (variable 5) with its vacancy (6), and one with its vacancy beneath a parent (7, 8).
MATRIX = np.array(
    [
        [1, 1, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, -1, 0, 1, 1],
    ],
    float,
)
VACANCIES = [6, 8]


def random_information(seed=0, size=1e3):
    random = np.random.default_rng(seed)
    jacobian = random.standard_normal((40, 9)) * np.sqrt(size) * 10 ** random.uniform(-1, 1, 9)
    jacobian[:, VACANCIES] = 0
    return jacobian.T @ jacobian, random.standard_normal(9) * np.sqrt(size)


def reduced_covariance(curvature, matrix, at_bound):
    """Inverse of the Hessian in a basis of the directions that the constraints leave."""
    rows = np.concatenate([matrix, np.eye(matrix.shape[1])[at_bound]])
    basis = null_space(rows)
    return basis @ np.linalg.inv(basis.T @ curvature @ basis) @ basis.T


@pytest.mark.parametrize("bound", [[], [1], [3], [2, 3], [6], [6, 8], [0, 3, 6], [5, 7, 8]])
def test_equals_the_inverse_in_a_basis_of_the_allowed_directions(bound):
    curvature, gradient = random_information()
    at_bound = np.isin(np.arange(9), bound)
    covariance, limit = uncertainty(curvature, gradient, MATRIX, at_bound)
    wanted = reduced_covariance(curvature, MATRIX, at_bound)
    # The small block that keeps the system regular stands for a variance of 1e-14.
    np.testing.assert_allclose(covariance, wanted, rtol=1e-6, atol=5e-14)
    assert np.array_equal(np.isnan(limit[:6]), ~at_bound[:6])
    np.testing.assert_allclose(covariance[0, 0], covariance[1, 1], rtol=1e-6, atol=5e-14)


def test_ties_are_one_more_equation():
    curvature, gradient = random_information(1)
    curvature[:, 3], curvature[3] = curvature[:, 2], curvature[2]
    tie = np.eye(9)[2] - np.eye(9)[3]
    found, _ = uncertainty(curvature, gradient, np.concatenate([MATRIX, tie[None]]), np.zeros(9, bool))
    wanted = reduced_covariance(curvature, np.concatenate([MATRIX, tie[None]]), np.zeros(9, bool))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-12)
    at_bound = np.isin(np.arange(9), [2])
    tied, _ = uncertainty(curvature, gradient, np.concatenate([MATRIX, tie[None]]), at_bound)
    np.testing.assert_allclose(tied[2:5, 2:5], 0, atol=1e-12)


@pytest.mark.parametrize("bound", [[], [0, 6]])
def test_parameters_of_very_different_size(bound):
    curvature, gradient = random_information(2)
    scale = np.array([1, 1, 1, 1, 1, 1, 1, 1e2, 1e-2])
    matrix = MATRIX[:3].copy()
    curvature = curvature + np.diag(np.where(np.isin(np.arange(9), [8]), 3.0, 0))
    at_bound = np.isin(np.arange(9), bound)
    found, _ = uncertainty(curvature * np.outer(scale, scale), gradient, matrix, at_bound)
    wanted = reduced_covariance(curvature, matrix, at_bound)
    np.testing.assert_allclose(found, wanted / np.outer(scale, scale), rtol=1e-5, atol=5e-14)


@pytest.mark.parametrize(("curvature", "slope"), [(400.0, 30.0), (400.0, 0.0), (25.0, 2000.0), (1e6, 1e5)])
def test_the_limit_is_the_quantile_of_the_likelihood_inside_the_bound(curvature, slope):
    """A free group at zero, without and with another that follows."""
    for coupled in (0.0, 0.6):
        pair = curvature * np.array([[1, coupled, 0], [coupled, 1, 0], [0, 0, 0]])
        gradient = np.array([slope, 0.0, 0.0])
        matrix = np.array([[1.0, 0, 1.0]])
        found = uncertainty(pair, gradient, matrix, np.array([True, False, False]))[1][0]
        stiffness = curvature * (1 - coupled**2)
        scale = 1 / max(np.sqrt(stiffness), slope)

        def likelihood(q, stiffness=stiffness):
            return np.exp(-slope * q - stiffness * q**2 / 2)

        whole = quad(likelihood, 0, 40 * scale, epsabs=0, epsrel=1e-11)[0]
        wanted = brentq(
            lambda q, whole=whole: quad(likelihood, 0, q, epsabs=0, epsrel=1e-11)[0] / whole - 0.95,
            0, 20 * scale, xtol=1e-14,
        )  # fmt: skip
        assert found == pytest.approx(wanted, rel=1e-6)


def test_the_limit_of_a_conformer_counts_that_the_other_gives_way():
    jacobian = np.random.default_rng(3).standard_normal((30, 2)) * 5
    curvature, gradient = jacobian.T @ jacobian, np.array([4.0, 1.0])
    _, found = uncertainty(curvature, gradient, np.ones((1, 2)), np.array([True, False]))
    way = np.array([1.0, -1.0])
    _, alone = uncertainty(
        np.array([[way @ curvature @ way]]), np.array([way @ gradient]), np.zeros((0, 1)), np.array([True])
    )
    assert found[0] == pytest.approx(alone[0], rel=1e-9)


def test_the_sandwich_gives_the_spread_of_estimates_that_weights_do_not_fit():
    """Least squares with equal weights on data whose noise grows with the signal, 4,000 times."""
    random = np.random.default_rng(4)
    jacobian = random.standard_normal((300, 3)) + 1
    truth, matrix = np.array([0.4, 0.35, 0.25]), np.ones((1, 3))
    spread = 0.05 * np.abs(jacobian[:, 0]) ** 2 + 0.01
    noise = spread * random.standard_normal((4000, 300))
    basis = null_space(matrix)
    design = jacobian @ basis
    estimates = truth + noise @ design @ np.linalg.inv(design.T @ design) @ basis.T
    wanted = np.cov(estimates.T)
    scores = jacobian.T @ (spread[:, None] ** 2 * jacobian)
    found = uncertainty(jacobian.T @ jacobian, np.zeros(3), matrix, np.zeros(3, bool), scores=scores)[0]
    # a standard deviation from 4,000 values is good to 1.1 %
    np.testing.assert_allclose(np.sqrt(np.diag(found)), np.sqrt(np.diag(wanted)), rtol=0.05)
    one = estimates[0] @ jacobian.T - (truth @ jacobian.T + noise[0])
    naive = np.sqrt(np.diag(reduced_covariance(jacobian.T @ jacobian, matrix, np.zeros(3, bool))) * one.var())
    assert np.abs(naive / np.sqrt(np.diag(wanted)) - 1).max() > 0.2


def test_nothing_free_and_nothing_at_all():
    covariance, limit = uncertainty(np.eye(2), np.zeros(2), np.ones((1, 2)), np.array([True, False]))
    np.testing.assert_allclose(covariance, 0, atol=1e-12)
    assert np.isfinite(limit[0])
    covariance, _ = uncertainty(np.zeros((0, 0)), np.zeros(0), np.zeros((0, 0)), np.zeros(0, bool))
    assert covariance.shape == (0, 0)
    # a group that the data do not see at all has no limit, and nothing is NaN that should not be
    covariance, _ = uncertainty(np.zeros((2, 2)), np.zeros(2), np.ones((1, 2)), np.array([True, False]))
    assert np.all(np.isfinite(covariance))


def test_linear_limits_agree_with_a_direct_solution():
    """nnls puts the same variable at zero that has a limit."""
    random = np.random.default_rng(6)
    jacobian = random.standard_normal((20, 3))
    observed = jacobian @ np.array([0.5, -0.4, 0.3])
    x = nnls(jacobian, observed)[0]
    gradient = jacobian.T @ (jacobian @ x - observed)
    _, limit = uncertainty(jacobian.T @ jacobian, gradient, np.zeros((0, 3)), x == 0)
    assert np.array_equal(np.isfinite(limit), x == 0)
    assert np.all(limit[x == 0] > 0)
