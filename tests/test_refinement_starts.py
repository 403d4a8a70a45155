import jax.numpy as jnp
import numpy as np
import pytest
from test_core_simplex import example

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.refinement import constraints_of, gauss_newton
from jax_occupancy.refinement._starts import carry_down, distinct_minima, random_starts, set_by_set_starts


def constrained(occ):
    return constraints_of(occ.topology, np.asarray(occ.group_occupancies, np.float64))


@pytest.mark.parametrize("mask", [None, [1, 0, 2], [13]])
def test_random_starts_are_feasible_reproducible_and_all_different(mask, x64):
    occ = example("float64")
    if mask is not None:
        occ = occ.freeze(np.isin(np.arange(15), mask))
    constraints = constrained(occ)
    starts = random_starts(occ, constraints, count=20, seed=3)
    assert starts.shape == (20, constraints.matrix.shape[1])
    assert np.all((starts >= 0) & (starts <= 1))
    np.testing.assert_allclose(starts @ constraints.matrix.T, np.tile(constraints.total, (20, 1)), atol=1e-9)
    assert np.unique(starts, axis=0).shape[0] == 20
    np.testing.assert_array_equal(starts, random_starts(occ, constraints, count=20, seed=3))
    assert not np.array_equal(starts, random_starts(occ, constraints, count=20, seed=4))


def test_random_starts_are_uniform_on_each_simplex(x64):
    """Moments of Dirichlet(1, ..., 1): mean 1/k, variance (k - 1)/(k²(k + 1)), covariance −1/(k²(k + 1))."""
    occ = OccupancyTensor(
        [0.5, 0.3, 0.2, 0.4, 0.3, 0.5, 1.0],
        altloc_groups=[[[0], [1], [2]], [[3], [4]]],
        complete=[True, False],
        refinable_mask=[True] * 6 + [False],
    )
    constraints = constrained(occ)
    starts = random_starts(occ, constraints, count=20_000, seed=0)
    for members, k in ((slice(0, 3), 3), (slice(3, 5), 3), (slice(5, 6), 2)):
        drawn = starts[:, members]
        np.testing.assert_allclose(drawn.mean(0), 1 / k, atol=0.01)
        covariance = np.atleast_2d(np.cov(drawn.T))
        wanted = (np.eye(drawn.shape[1]) * k - 1) / (k**2 * (k + 1))
        np.testing.assert_allclose(covariance, wanted, atol=0.003)


def test_set_by_set_starts_favour_each_member_in_turn():
    occ = OccupancyTensor([0.6, 0.4, 0.5, 0.3, 0.2, 0.25], altloc_groups=[[[0], [1]], [[2], [3], [4]]])
    constraints = constrained(occ)
    x = constraints.variables(np.asarray(occ.group_occupancies, np.float64))
    changes = set_by_set_starts(constraints, x)
    # two of the pair, three of the triple, two of the free atom with its vacancy
    assert changes.shape == (7, 7)
    assert np.sum(~np.isnan(changes), axis=1).tolist() == [2, 2, 3, 3, 3, 2, 2]
    np.testing.assert_allclose(changes[0, :2], [0.75, 0.25])
    np.testing.assert_allclose(changes[1, :2], [0.25, 0.75])
    np.testing.assert_allclose(changes[3, 2:5], [0.125, 0.75, 0.125])
    for change in changes:
        whole = np.where(np.isnan(change), x, change)
        np.testing.assert_allclose(constraints.matrix @ whole, constraints.total, atol=1e-7)


def test_tied_sets_and_single_members_are_not_restarted():
    occ = OccupancyTensor([0.6, 0.4, 0.5, 0.5], altloc_groups=[[[0], [1]], [[2], [3]]])
    constraints = constrained(occ).with_ties([[0, 1]])
    changes = set_by_set_starts(constraints, np.array([0.5, 0.5, 0.5, 0.5]))
    assert np.isnan(changes[:, :2]).all()
    assert len(changes) == 2
    full = OccupancyTensor([0.6, 0.4], altloc_groups=[[[0], [1]]], refinable_mask=[True, False])
    assert set_by_set_starts(constrained(full), np.array([0.6])).shape == (0, 1)


def result(x, target):
    """A search that ended there."""
    x = jnp.asarray(x, float)
    nothing, still = jnp.zeros((0, x.size)), jnp.zeros_like
    end = gauss_newton(lambda x: jnp.sum(still(x)), still, lambda x: jnp.eye(x.size), nothing, x, tolerance=1e-6)
    return end._replace(target=jnp.asarray(float(target)))


def test_distinct_minima_are_counted_the_lowest_first():
    ends = [
        result([0.5, 0.5, 9], 2.0), result([0.9, 0.1, 9], 1.0), result([0.9004, 0.0996, 1], 1.00001),
        result([0.5005, 0.4995, 9], 2.0), result([0.2, 0.8, 9], 3.0),
    ]  # fmt: skip
    minima = distinct_minima(ends, 1e3 * np.eye(3), n_groups=2)
    assert [minimum.target for minimum in minima] == [1, 2, 3]
    assert [minimum.count for minimum in minima] == [2, 2, 1]
    np.testing.assert_allclose([minimum.max_shift for minimum in minima], [0, 0.4, 0.7], atol=1e-6)


@pytest.mark.parametrize(("apart", "count"), [(0.0009, 1), (0.0011, 2)])
def test_a_thousandth_of_an_occupancy_is_another_minimum(apart, count):
    ends = [result([0.5, 0.5], 1.0), result([0.5 + apart, 0.5 - apart], 1.0)]
    assert len(distinct_minima(ends, 1e6 * np.eye(2), n_groups=2)) == count


def test_ends_that_the_data_do_not_tell_apart_are_one():
    """Coincident conformers: along (1, −1) there is no information."""
    flat = 1e4 * np.array([[1.0, 1.0], [1.0, 1.0]])
    ends = [result([0.3, 0.7], 1.0), result([0.6, 0.4], 1.0)]
    assert len(distinct_minima(ends, flat, n_groups=2)) == 1
    assert len(distinct_minima(ends, 1e4 * np.eye(2), n_groups=2)) == 2
    assert distinct_minima([], np.zeros((2, 2)), n_groups=2) == ()


def test_nothing_that_can_move():
    occ = OccupancyTensor([0.5, 0.5], requires_grad=False)
    constraints = constrained(occ)
    assert random_starts(occ, constraints, count=3, seed=0).shape == (3, 0)
    assert set_by_set_starts(constraints, np.zeros(0)).shape == (0, 0)


def test_children_follow_a_parent_that_changed():
    occ = OccupancyTensor(
        [0.3, 0.4, 0.3, 0.2, 0.2], altloc_groups=[[[], [2]], [[0], [1]], [[3], [4]]], parents=[None, (0, 0), (1, 1)]
    )
    constraints = constrained(occ)
    x = constraints.variables(np.asarray(occ.group_occupancies, np.float64))
    for change in set_by_set_starts(constraints, x):
        moved = carry_down(constraints.matrix, np.where(np.isnan(change), x, change))
        np.testing.assert_allclose(constraints.matrix @ moved, constraints.total, atol=1e-12)
        assert (moved >= 0).all()
    none = carry_down(constraints.matrix, np.zeros(x.size))
    assert np.array_equal(none, np.zeros(x.size))
