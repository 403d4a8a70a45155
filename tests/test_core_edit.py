import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_core_simplex import example, sums_of

from jax_occupancy.core import OccupancyTensor, concatenate


def assert_sums(occ, tolerance=2e-6):
    total, whole = sums_of(occ.group_occupancies, occ.topology)
    complete = occ.topology.complete
    np.testing.assert_allclose(total[complete], whole[complete], atol=tolerance)
    assert np.all(total <= whole + tolerance)


def test_set_group_occupancy_of_a_free_and_of_a_fixed_group():
    occ = OccupancyTensor([0.5, 0.5, 1.0, 1.0], [[0, 1], [2, 3]], refinable_mask=[True, True, False, False])
    np.testing.assert_allclose(occ.set_group_occupancy(0, 0.7)(), [0.7, 0.7, 1, 1], rtol=1e-6)
    assert occ.set_group_occupancy(1, 0.0)().tolist()[2:] == [0.0, 0.0]
    assert float(occ.set_group_occupancy(0, 1.0)()[0]) < 1
    assert occ.get_group_occupancy(1) == 1


def test_siblings_share_the_rest_in_proportion():
    occ = OccupancyTensor([0.5, 0.3, 0.2], altloc_groups=[[[0], [1], [2]]])
    np.testing.assert_allclose(occ.set_group_occupancy(0, 0.75)(), [0.75, 0.15, 0.1], rtol=1e-5)
    fixed = occ.freeze([False, False, True])
    np.testing.assert_allclose(fixed.set_group_occupancy(0, 0.75)(), [0.75, 0.05, 0.2], rtol=1e-5)
    np.testing.assert_allclose(fixed.set_group_occupancy(2, 0.6)(), [0.25, 0.15, 0.6], rtol=1e-5)


def test_an_incomplete_set_gives_way_only_when_full():
    occ = OccupancyTensor([0.3, 0.4], altloc_groups=[[[0], [1]]], complete=False)
    np.testing.assert_allclose(occ.set_group_occupancy(0, 0.5)(), [0.5, 0.4], rtol=1e-5)
    np.testing.assert_allclose(occ.set_group_occupancy(0, 0.9)(), [0.9, 0.1], atol=2e-4)


def test_setting_a_parent_keeps_its_childrens_shares():
    occ = example("float32")
    moved = occ.set_group_occupancy(1, 0.6)
    np.testing.assert_allclose(moved.get_group_occupancy(1), 0.6, rtol=1e-5)
    np.testing.assert_allclose(moved()[12:] / 0.6, occ()[12:] / 0.3, rtol=1e-5)
    assert_sums(moved)


def test_a_fixed_fraction_of_a_parent_leaves_its_siblings_what_they_are_given():
    """Half of a state is fixed; when the state grows the half grows with it, and the vacancy is what is left."""
    occ = OccupancyTensor(
        [0.2, 0.1, 0.1, 0.6],
        altloc_groups=[[[], [3]], [[0], [1], [2]]],
        parents=[None, (0, 0)],
        complete=[True, False],
        refinable_mask=[False, True, True, True],
    )
    wanted = [[0.1, 0.45, 0.2, 0.05, 0.9], [0.7, 0.15, 0.05, 0.05, 0.3]]
    np.testing.assert_allclose(occ.with_group_occupancies(wanted).group_occupancies, wanted, atol=1e-6)


def test_what_can_not_be_set_is_an_error():
    occ = OccupancyTensor([0.5, 0.3, 0.2], altloc_groups=[[[0], [1], [2]]], refinable_mask=[True, False, False])
    with pytest.raises(ValueError, match="no refinable sibling"):
        occ.set_group_occupancy(0, 0.4)
    with pytest.raises(ValueError, match="has room for"):
        occ.set_group_occupancy(0, 0.8)
    with pytest.raises(ValueError, match="from 0 to 1"):
        occ.set_group_occupancy(0, 1.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        occ.set_group_occupancy(0, np.nan)
    for index in (-1, 3):
        with pytest.raises(IndexError, match="3 sharing groups"):
            occ.set_group_occupancy(index, 0.5)
        with pytest.raises(IndexError, match="3 sharing groups"):
            occ.get_group_occupancy(index)
    traced = jax.jit(lambda v: occ.unfreeze_all().set_group_occupancy(0, v)())(1.5)
    np.testing.assert_allclose(traced, [1, 0, 0], atol=3e-4)


def test_clamp_keeps_sums_bounds_and_fixed_entries(dtype):
    occ = example(dtype)
    clamped = occ.clamp(0.05, 0.45)
    q = np.asarray(clamped.group_occupancies)
    free = occ.refinable_mask
    assert np.all(q[free] >= 0.05 - 1e-6)
    assert np.all(q[free] <= 0.45 + 1e-6)
    assert np.array_equal(clamped.logits[~free], occ.logits[~free])
    assert_sums(clamped)
    np.testing.assert_allclose(occ.clamp()(), occ(), atol=1e-6)


def test_clamp_projects_a_set_onto_its_simplex():
    occ = OccupancyTensor([0.9, 0.06, 0.04], altloc_groups=[[[0], [1], [2]]])
    np.testing.assert_allclose(occ.clamp(0.1, 1.0)(), [0.8, 0.1, 0.1], atol=1e-5)
    incomplete = OccupancyTensor([0.6, 0.02], altloc_groups=[[[0], [1]]], complete=False)
    np.testing.assert_allclose(incomplete.clamp(0.1, 0.5)(), [0.5, 0.1], atol=1e-5)


def test_clamp_that_can_not_be_done():
    occ = OccupancyTensor([0.5, 0.3, 0.2], altloc_groups=[[[0], [1], [2]]])
    np.testing.assert_allclose(occ.clamp(1 / 3, 1.0)(), [1 / 3] * 3, rtol=1e-4)
    with pytest.raises(ValueError, match=r"altloc_groups\[0\]"):
        occ.clamp(0.4, 1.0)
    with pytest.raises(ValueError, match=r"altloc_groups\[0\]"):
        occ.clamp(0.0, 0.3)
    with pytest.raises(ValueError, match="ordered"):
        occ.clamp(0.5, 0.2)


def test_freeze_and_unfreeze_change_no_occupancy(dtype):
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    occ = example(dtype)
    for mask in (np.arange(15) == 4, np.arange(15) == 0, np.arange(15) >= 12, np.ones(15, bool)):
        frozen = occ.freeze(mask)
        np.testing.assert_allclose(frozen(), occ(), atol=tolerance)
        assert not frozen.get_refinable_atoms()[mask].any()
        thawed = frozen.unfreeze(mask)
        # An exact one that becomes refinable is lifted off the boundary, nothing else moves.
        np.testing.assert_allclose(thawed(), np.where(mask, np.minimum(occ(), 1 - 1e-4), occ()), atol=tolerance)
        assert thawed.get_refinable_atoms()[mask].all()
    assert occ.freeze_all().get_refinable_count() == 0
    assert occ.unfreeze_all().get_fixed_count() == 0
    assert occ.freeze(np.zeros(15, bool)) is not None
    assert occ.freeze(np.zeros(15, bool)).topology is occ.topology


def test_a_frozen_member_stays_and_its_siblings_share_the_rest():
    occ = OccupancyTensor([0.5, 0.3, 0.2], altloc_groups=[[[0], [1], [2]]]).freeze([False, True, False])
    held = float(occ()[1])
    for shift in (-3.0, 0.5, 20.0):
        moved = occ.with_refinable_params(occ.refinable_params.at[0].add(shift))
        assert float(moved()[1]) == held
        assert_sums(moved)


def test_unfreezing_a_bound_lifts_it():
    occ = OccupancyTensor([0.0, 1.0], requires_grad=False)
    assert occ().tolist() == [0.0, 1.0]
    np.testing.assert_allclose(occ.unfreeze_all()(), [1e-4, 1 - 1e-4], atol=1e-6)


def test_update_refinable_mask_replaces():
    occ = OccupancyTensor([0.5] * 4, [[0, 1]]).freeze([True, False, False, False])
    new = occ.update_refinable_mask([False, True, False, True])
    assert new.refinable_mask.tolist() == [True, False, True]
    for bad, error in (([True], ValueError), ([1, 0, 0, 0], TypeError)):
        with pytest.raises(error, match="mask"):
            occ.update_refinable_mask(bad)
        with pytest.raises(error, match="mask"):
            occ.freeze(bad)


def test_edits_are_traceable():
    occ = example("float32")

    @jax.jit
    def edit(occ, value):
        return occ.freeze(np.arange(15) == 11).set_group_occupancy(0, value).clamp(0.01, 0.9)

    edited = edit(occ, 0.45)
    np.testing.assert_allclose(edited.get_group_occupancy(0), 0.45, atol=1e-5)
    np.testing.assert_allclose(edited.get_group_occupancy(1), 0.35, atol=1e-5)
    values = jax.vmap(lambda value: occ.set_group_occupancy(0, value)())(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(values[:, 0], [0.1, 0.2], rtol=1e-4)


def test_values_and_indices_that_make_no_sense():
    occ = example("float32")
    with pytest.raises(ValueError, match=r"values must be .*1.5 at \[2\], nan at \[4\]"):
        occ.with_occupancies(np.where(np.arange(15) == 2, 1.5, np.where(np.arange(15) == 4, np.nan, 0.3)))
    for index in (0.5, True, "A"):
        with pytest.raises(TypeError, match="group_idx must be an integer"):
            occ.get_group_occupancy(index)
    with pytest.raises(TypeError, match="traced"):
        jax.jit(lambda i: occ.get_group_occupancy(i))(0)
    with pytest.raises(ValueError, match="one entry per model"):
        occ.set_group_occupancy(0, np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="NaN"):
        occ.with_refinable_params(jnp.full(occ.get_refinable_count(), jnp.nan))
    raw = OccupancyTensor([0.5, 1.7], use_sigmoid=False)
    with pytest.raises(ValueError, match="ordered"):
        raw.clamp(2, 1)
    with pytest.raises(ValueError, match="finite"):
        raw.with_occupancies([np.nan, 1.0])


def test_one_vector_for_a_whole_stack():
    occ = OccupancyTensor([0.3, 0.4])
    stacked = occ.with_occupancies([[0.1, 0.2], [0.3, 0.4]])
    assert stacked.with_refinable_params(jnp.zeros(2))().tolist() == [[0.5, 0.5]] * 2


def test_a_set_that_shares_out_less_than_one():
    """What lies across a 2-fold axis: a pair that sums to a half, and a group by itself that goes up to it."""
    values = [0.2, 0.3, 0.4]
    occ = OccupancyTensor(values, altloc_groups=[[[0], [1]], [[2]]], complete=[True, False], wholes=0.5)
    np.testing.assert_allclose(occ(), values, rtol=1e-5)
    np.testing.assert_allclose(occ.set_group_occupancy(0, 0.45)(), [0.45, 0.05, 0.4], rtol=1e-4)
    np.testing.assert_allclose(occ.clamp(0.22, 0.35)(), [0.22, 0.28, 0.35], rtol=1e-4)
    np.testing.assert_allclose(
        occ.freeze([True, False, False]).with_occupancies(np.ones(3))(), [0.2, 0.3, 0.5], rtol=1e-3
    )
    both = concatenate([occ, OccupancyTensor([0.6, 0.4], altloc_groups=[[[0], [1]]])])
    assert both.topology.whole.tolist() == [0.5, 0.5, 1.0]
    np.testing.assert_allclose(both(), [*values, 0.6, 0.4], rtol=1e-5)
    with pytest.raises(ValueError, match=r"group 2 can't be set to 0\.6.*has room for 0\.5"):
        occ.set_group_occupancy(2, 0.6)
    other = OccupancyTensor(values, altloc_groups=[[[0], [1]], [[2]]], complete=[True, False], wholes=[0.5, 0.9])
    assert occ.topology.describe_difference(other.topology).startswith("what is shared out by altloc_groups[1]")
