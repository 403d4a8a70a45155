import jax.numpy as jnp
import numpy as np
import pytest
from test_core_simplex import example

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.refinement import constraints_of


@pytest.mark.parametrize("mask", [None, [1, 0, 2], [13]])
def test_every_value_of_the_module_satisfies_the_equations(mask, x64):
    occ = example("float64")
    if mask is not None:
        occ = occ.freeze(np.isin(np.arange(15), mask))
    q = np.asarray(occ.group_occupancies)
    constraints = constraints_of(occ.topology, q)
    for shift in (0.0, 1.0, -2.0):
        moved = occ.with_refinable_params(occ.refinable_params + shift * jnp.sin(jnp.arange(occ.refinable_params.size)))
        x = constraints.variables(np.asarray(moved.group_occupancies))
        assert np.all(x >= 0)
        np.testing.assert_allclose(constraints.matrix @ x, constraints.total, atol=1e-12)


def test_one_equation_per_set_free_group_and_nested_fraction(x64):
    occ = example("float64").freeze(np.arange(15) == 13)
    constraints = constraints_of(occ.topology, np.asarray(occ.group_occupancies))
    # complete, incomplete, nested, one independent, and the fixed fraction of the nested set
    assert constraints.matrix.shape[0] == 5
    # seven entries that move (the frozen one with its parent) and a vacancy for the incomplete set and the free atom
    moving = constraints.entries
    assert occ.expansion_mask[13] in moving
    assert occ.expansion_mask[5] not in moving
    assert constraints.matrix.shape[1] == moving.size + 2
    np.testing.assert_allclose(constraints.total, [0.8, 1, 0, 0, 1], atol=1e-12)


def test_a_set_whose_fixed_members_fill_it():
    occ = OccupancyTensor([1.0, 0.0, 0.0], altloc_groups=[[[0], [1], [2]]], refinable_mask=[False, True, True])
    constraints = constraints_of(occ.topology, np.asarray(occ.group_occupancies))
    assert constraints.total.tolist() == [0.0]


def test_nothing_to_refine():
    occ = OccupancyTensor([0.5, 0.5], requires_grad=False)
    constraints = constraints_of(occ.topology, np.asarray(occ.group_occupancies))
    assert constraints.entries.size == 0
    assert constraints.variables(np.asarray(occ.group_occupancies)).shape == (0,)


def test_the_sets_name_the_variables_that_share_out_each_whole(x64):
    occ = example("float64").freeze(np.arange(15) == 13)
    constraints = constraints_of(occ.topology, np.asarray(occ.group_occupancies))
    assert len(constraints.sets) == constraints.total.size
    x = constraints.variables(np.asarray(occ.group_occupancies))
    for members, row, total in zip(constraints.sets, constraints.matrix, constraints.total, strict=True):
        assert np.array_equal(members, np.flatnonzero(row > 0))
        # what it sums to: its own total, or its parent's (or a fraction of it)
        whole = total - np.minimum(row, 0) @ x
        assert x[members].sum() == pytest.approx(whole, abs=1e-12)


def test_ties_take_the_mean_and_add_equations(x64):
    occ = OccupancyTensor([0.5, 0.3, 0.2, 0.4], altloc_groups=[[[0], [1], [2]]])
    q = np.asarray(occ.group_occupancies, np.float64)
    constraints = constraints_of(occ.topology, q).with_ties([[0, 2]])
    assert constraints.ties == ((0, 2),)
    assert constraints.matrix.shape[0] == constraints.total.size == 3
    x = constraints.variables(q)
    np.testing.assert_allclose(x, [0.35, 0.3, 0.35, 0.4, 0.6], atol=1e-9)
    np.testing.assert_allclose(constraints.matrix @ x, constraints.total, atol=1e-9)
    three = constraints_of(occ.topology, q).with_ties([[0, 1, 2]])
    np.testing.assert_allclose(three.variables(q)[:3], 1 / 3, atol=1e-9)
    assert three.matrix.shape[0] == 4
    assert constraints_of(occ.topology, q).with_ties([]).matrix.shape[0] == 2


def test_sets_that_share_out_less_than_one():
    sets = [[[0], [1]], [[2]], [[3], [4]]]
    values, parents = [0.2, 0.3, 0.2, 0.1, 0.1], [None, None, (0, 0)]
    occ = OccupancyTensor(
        values, altloc_groups=sets, complete=[True, False, True], parents=parents, wholes=[0.5, 0.25, 1]
    )
    constraints = constraints_of(occ.topology, np.asarray(occ.group_occupancies))
    assert constraints.total.tolist() == [0.5, 0.25, 0.0]
    assert constraints.highest.tolist() == [0.5, 0.5, 0.25, 0.5, 0.5]
