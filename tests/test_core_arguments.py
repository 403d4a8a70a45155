import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jax_occupancy.core import OccupancyTensor

HALF = np.full(6, 0.5)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([0.5, 1.2, -0.1], ValueError, r"2 are not \(atom 1: 1.2, atom 2: -0.1\)"),
        ([0.5, np.nan], ValueError, "atom 1: nan"),
        ([2.0] * 9, ValueError, r"atom 4: 2.0, \.\.\."),
        ([[0.5, 0.5]], ValueError, r"shape \(1, 2\)"),
        (0.5, ValueError, "one axis"),
        (["a", "b"], TypeError, "real numbers"),
        ([[0.5], [0.5, 0.6]], ValueError, "rectangular"),
    ],
)
def test_initial_values(values, error, message):
    with pytest.raises(error, match=message):
        OccupancyTensor(values)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([0, 1, 2], ValueError, r"one group is \[\[0, 1, 2\]\]"),
        ([[0, 1], [1, 2]], ValueError, r"atom 1 in sharing_groups\[0\] and sharing_groups\[1\]"),
        ([[0, 0], [1]], ValueError, r"atom 0 in sharing_groups\[0\] and sharing_groups\[0\]"),
        ([[0], [1, 6]], ValueError, r"sharing_groups\[1\] names atoms outside 0...5: 6"),
        ([[-1, 0]], ValueError, "outside 0...5: -1"),
        ([[0.0, 1.0]], TypeError, "integer atom indices"),
        ([[True, False]], TypeError, "integer atom indices"),
        ([[0, 1], []], ValueError, r"sharing_groups\[1\] is empty"),
        ([[[0, 1]]], ValueError, "list of atom indices"),
        ("AB", TypeError, "list of lists"),
        (np.zeros(6), TypeError, "labels must be integers"),
        (np.zeros(5, int), ValueError, r"shape \(6,\)"),
    ],
)
def test_sharing_groups(groups, error, message):
    with pytest.raises(error, match=message):
        OccupancyTensor(HALF, groups)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"altloc_groups": [[[0, 1]]]}, ValueError, "at least two"),
        ({"altloc_groups": [[]], "wholes": 0.5}, ValueError, "at least two"),
        ({"altloc_groups": [[[0], [1]]], "wholes": [0.5, 1.0]}, ValueError, r"wholes has shape \(2,\) for 1 sets"),
        ({"altloc_groups": [[[0], [1]]], "wholes": [[0.5]]}, ValueError, r"wholes has shape \(1, 1\) for 1 sets"),
        ({"altloc_groups": [[[0], [1]]], "wholes": "half"}, TypeError, "wholes must be a number or one number per set"),
        ({"altloc_groups": [[[0], [1]]], "wholes": 0.0}, ValueError, "above 0 and at most 1, .* not 0.0"),
        ({"altloc_groups": [[[0], [1]]], "wholes": 1.5}, ValueError, "above 0 and at most 1, .* not 1.5"),
        (
            {"altloc_groups": [[[0], [1]], [[2], [3]]], "parents": [None, (0, 0)], "wholes": 0.5},
            ValueError,
            "1 for sets with a parent, not 0.5",
        ),
        ({"altloc_groups": [[0, 1], [2, 3]]}, ValueError, "each a list of atom indices"),
        (
            {"altloc_groups": [[[0, 1], [1, 2]]]},
            ValueError,
            r"atom 1 in altloc_groups\[0\]\[0\] and altloc_groups\[0\]\[1\]",
        ),
        ({"altloc_groups": [[[0], [1]], [[1], [2]]]}, ValueError, "one conformer of one set"),
        ({"altloc_groups": [[[0], [], []]]}, ValueError, "2 conformers without atoms"),
        ({"altloc_groups": [[[0], [9]]]}, ValueError, "outside 0...5: 9"),
        ({"altloc_groups": [[[0], [2]]], "sharing_groups": [[0, 1]]}, ValueError, r"takes part of sharing_groups\[0\]"),
        ({"altloc_groups": [[[0], [1]]], "complete": [True, False]}, ValueError, "2 entries for 1 sets"),
        ({"altloc_groups": [[[0], [1]]], "complete": 1}, TypeError, "bool"),
        ({"altloc_groups": [[[0], [1]]], "use_sigmoid": False}, ValueError, "use_sigmoid=True"),
        ({"altloc_groups": [[[0], [1]]], "parents": [None, None]}, ValueError, "2 entries for 1 sets"),
        ({"altloc_groups": [[[0], [1]]], "parents": [(0, 0)]}, ValueError, "circle"),
        ({"altloc_groups": [[[0], [1]]], "parents": [7]}, ValueError, "no sharing group"),
        ({"altloc_groups": [[[0], [1]]], "parents": [(3, 0)]}, ValueError, "no member"),
        ({"altloc_groups": [[[0], [1]]], "parents": ["A"]}, TypeError, "None, a sharing group"),
        ({"altloc_groups": [[[0], [1]]], "labels": ["only one"]}, ValueError, "1 names for 2"),
        ({"refinable_mask": [True] * 5}, ValueError, r"shape \(6,\)"),
        ({"refinable_mask": [0, 1, 2, 3, 4, 5]}, TypeError, "boolean"),
        ({"altloc_groups": 5}, TypeError, "altloc_groups must be a list"),
        ({"altloc_groups": [[[0], [1]]], "parents": 0}, TypeError, "parents must be a list"),
        ({"margin": 0.5}, ValueError, "margin"),
        ({"dtype": np.int32}, TypeError, "float32 or float64"),
    ],
)
def test_other_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        OccupancyTensor(HALF, **arguments)


def test_circle_of_two_sets_is_named():
    with pytest.raises(ValueError, match=r"altloc_groups\[0\] -> altloc_groups\[1\] -> altloc_groups\[0\]"):
        OccupancyTensor(HALF, altloc_groups=[[[0], [1]], [[2], [3]]], parents=[(1, 0), (0, 0)])


def test_fixed_members_that_sum_above_one():
    mask = [False, False, True]
    with pytest.raises(ValueError, match=r"altloc_groups\[0\] \(L:A, L:B, L:C\): fixed 1.2 of 1"):
        OccupancyTensor(
            [0.6, 0.6, 0.1], altloc_groups=[[[0], [1], [2]]], refinable_mask=mask, labels=["L:A", "L:B", "L:C"]
        )
    with pytest.raises(ValueError, match="fixed below their sum"):
        OccupancyTensor([0.4, 0.4], altloc_groups=[[[0], [1]]], requires_grad=False)
    kept = OccupancyTensor([0.4, 0.4], altloc_groups=[[[0], [1]]], complete=False, requires_grad=False)
    np.testing.assert_allclose(kept(), [0.4, 0.4], rtol=1e-6)


def test_all_fixed_sets_are_mended_once_and_for_all():
    occ = OccupancyTensor([0.33, 0.33, 0.33], altloc_groups=[[[0], [1], [2]]], requires_grad=False)
    np.testing.assert_allclose(occ(), [1 / 3] * 3, rtol=1e-6)


def test_arrays_are_as_good_as_lists():
    occ = OccupancyTensor(np.full(4, 0.5), altloc_groups=np.array([[[0, 1], [2, 3]]]))
    assert occ.expansion_mask.tolist() == [0, 0, 1, 1]


def test_sums_that_miss_one_are_normalised_with_a_warning():
    with pytest.warns(UserWarning, match=r"altloc_groups\[0\] \(group 0, group 1\): 0.8 instead of 1"):
        occ = OccupancyTensor([0.4, 0.4], altloc_groups=[[[0], [1]]])
    np.testing.assert_allclose(occ(), [0.5, 0.5], rtol=1e-6)
    silent = OccupancyTensor([0.5, 0.49], altloc_groups=[[[0], [1]]])
    np.testing.assert_allclose(silent().sum(), 1, rtol=1e-6)
    kept = OccupancyTensor([0.4, 0.4], altloc_groups=[[[0], [1]]], complete=False)
    np.testing.assert_allclose(kept(), [0.4, 0.4], rtol=1e-6)
    with pytest.warns(UserWarning, match="1.2 instead of 1"):
        full = OccupancyTensor([0.6, 0.6], altloc_groups=[[[0], [1]]], complete=False)
    assert 0.999 < float(full().sum()) <= 1 + 1e-6


def test_labels_as_groups_and_other_spellings_agree():
    by_list = OccupancyTensor(HALF, [[4, 5], [0, 2]])
    by_label = OccupancyTensor(HALF, np.array([1, -1, 1, -1, 0, 0]))
    by_tuple = OccupancyTensor(jnp.asarray(HALF), (np.array([4, 5]), range(0, 3, 2)))
    assert by_list.topology == by_label.topology == by_tuple.topology
    assert by_list.expansion_mask.tolist() == [1, 2, 1, 3, 0, 0]
    rows = OccupancyTensor(HALF, np.arange(6).reshape(3, 2))
    assert rows.expansion_mask.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_conformer_is_a_sharing_group_or_becomes_one():
    occ = OccupancyTensor(HALF, [[4, 5]], altloc_groups=[[[0, 1], [5, 4]]])
    assert occ.expansion_mask.tolist() == [1, 1, 2, 3, 0, 0]
    assert occ.topology.n_groups == 2


def test_one_refinable_atom_makes_its_group_refinable():
    occ = OccupancyTensor(HALF, [[0, 1, 2], [3, 4]], refinable_mask=np.arange(6) == 1)
    assert occ.refinable_mask.tolist() == [True, False, False]
    assert occ.get_refinable_atoms().tolist() == [True] * 3 + [False] * 3
    assert occ.get_frozen_atoms().tolist() == [False] * 3 + [True] * 3
    assert (occ.get_refinable_count(), occ.get_fixed_count()) == (1, 2)


def test_labels_may_be_a_column_of_a_table():
    labels = [3, 3, 7, -1]
    column = OccupancyTensor([0.5] * 4, pd.Series(labels, index=[9, 8, 7, 6], dtype="int8"))
    assert column.topology == OccupancyTensor([0.5] * 4, np.array(labels)).topology


@pytest.mark.parametrize("labels", [["a", "b"], pd.Series(["a", "b"]), pd.Series(["a", "b"], dtype="category")])
def test_labels_that_are_names(labels):
    with pytest.raises(TypeError, match=r"pandas\.factorize numbers names"):
        OccupancyTensor([0.5, 0.5], labels)
