import numpy as np
import pytest

from jax_occupancy.core import OccupancyTensor

VALUES = [0.5, 0.3, 0.2, 0.4, 0.6, 0.5, 0.5]
SETS = [[[0], [1], [2]], [[3], [4]]]


def tensor(**changes):
    arguments = {"altloc_groups": SETS, "complete": [True, False], "labels": list("abcde"), "name": "one"}
    return OccupancyTensor(VALUES, **(arguments | changes))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (OccupancyTensor(VALUES[:6]), ["7 atoms against 6"]),
        (tensor(name="two"), ["the name 'one' against 'two'"]),
        (tensor(labels=list("abxde")), ["the labels (c against x)"]),
        (tensor(labels=None), ["the labels (a against None"]),
        (tensor(sharing_groups=[[5, 6]], labels=list("fabcde")), ["5 sharing groups against 6", "7 atoms read"]),
        (tensor(complete=[True, True]), ["whether the sum must be met in altloc_groups[1] (d, e)"]),
        (
            tensor(altloc_groups=[*SETS, [[5], [6]]], complete=[True, False, False], labels=None),
            ["5 sharing groups against 7", "2 sets against 3"],
        ),
        (tensor(altloc_groups=[[[0], [1], [2], []], [[3], [4]]]), ["7 entries of collapsed space against 8"]),
        (tensor(refinable_mask=np.arange(7) != 1), ["the refinable mask (b)"]),
        (OccupancyTensor(VALUES, use_sigmoid=False), ["use_sigmoid=True against False", "2 sets against 0"]),
    ],
)
def test_says_what_differs(other, words):
    text = tensor().topology.describe_difference(other.topology)
    for word in words:
        assert word in text


def test_other_parents():
    groups = [[5, 6], [0, 1, 2]]
    ours = OccupancyTensor(np.ones(7) / 2, groups, altloc_groups=[[[5, 6], [0, 1, 2]], [[3], [4]]], complete=False)
    theirs = OccupancyTensor(
        [0.5] * 3 + [0.25] * 2 + [0.5] * 2,
        groups,
        altloc_groups=[[[5, 6], [0, 1, 2]], [[3], [4]]],
        complete=False,
        parents=[None, 1],
    )
    text = ours.topology.describe_difference(theirs.topology)
    assert text == "the parents of altloc_groups[1] (group 2, group 3)"


def test_members_that_moved_between_sets():
    groups = [[0], [1], [2], [3], [4]]
    ours = OccupancyTensor([0.5] * 7, groups, altloc_groups=[[[0], [1]], [[2], [3]]])
    theirs = OccupancyTensor([0.5] * 7, groups, altloc_groups=[[[0], [1]], [[2], [4]]])
    text = ours.topology.describe_difference(theirs.topology)
    assert text == "the members of altloc_groups[1] (group 2, group 3)"


def test_equal_topologies_have_none():
    assert tensor().topology.describe_difference(tensor().topology) == ""
