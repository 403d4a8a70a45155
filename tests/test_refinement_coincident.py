import numpy as np
import pytest

from jax_occupancy.refinement._coincident import coincident_members, distance, known_in_sum


def information(*columns, weight=100.0):
    jacobian = np.array(columns, float)
    return weight * jacobian @ jacobian.T


RANDOM = np.random.default_rng(0)
U, V = RANDOM.standard_normal((2, 6))


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ([U, U, V, -V], [[0, 1]]),
        ([U, V, U, -V], [[0, 2]]),
        ([U, V, -U, V], [[1, 3]]),
        ([U, V, U, V], [[0, 2], [1, 3]]),
        ([U, U, U, V], [[0, 1, 2]]),
        ([U, V, -U, -V], []),
    ],
    ids=["A=B", "A=C", "B=D", "A=C and B=D", "A=B=C", "none"],
)
def test_members_anywhere_in_a_set(columns, wanted):
    assert coincident_members(information(*columns), [[0, 1, 2, 3]]) == wanted


def test_only_members_of_one_set_are_compared():
    assert coincident_members(information(U, V, U, V), [[0, 1], [2, 3]]) == []
    assert coincident_members(information(U, U, V, V), [[0, 1], [2, 3]]) == [[0, 1], [2, 3]]


def test_a_split_that_the_data_determine_is_refined_however_close_the_conformers():
    """Both rules at their thresholds: an esd of 0.25 of the split, and a correlation of 0.9 of the columns."""
    near = U + 0.02 * V
    esd_of_split = 1 / np.linalg.norm(U - near)
    for factor, tied in ((0.99, True), (1.01, False)):
        weight = (factor * esd_of_split / 0.25) ** 2
        found = coincident_members(information(U, near, weight=weight), [[0, 1]])
        assert (found == [[0, 1]]) == tied
    across = V - (U @ V) / (U @ U) * U
    for cosine, tied in ((0.901, True), (0.899, False)):
        other = cosine * U + np.sqrt(1 - cosine**2) * across * np.linalg.norm(U) / np.linalg.norm(across)
        assert (coincident_members(information(U, other, weight=1e-6), [[0, 1]]) == [[0, 1]]) == tied


def test_groups_that_scatter_nothing_are_not_taken_for_one():
    assert coincident_members(np.zeros((2, 2)), [[0, 1]]) == []
    assert coincident_members(np.zeros((0, 0)), []) == []


def in_sum(*, esd=0.3, other=None, esd_of_sum=0.03, apart=0.2, sets=((0, 1, 2),)):
    """Two conformers near each other and a third far away."""
    shared = (esd_of_sum**2 - 2 * esd**2) / 2
    covariance = np.array([[esd**2, shared, 0], [shared, esd**2, 0], [0, 0, esd_of_sum**2]])
    places = [np.zeros((2, 3)), np.array([[apart, 0, 0], [0, 0, 0]]), np.full((2, 3), 2.0)]
    unsure = np.array([esd, other or esd, esd_of_sum])
    return known_in_sum([np.array(members) for members in sets], unsure, covariance, places)


def test_near_conformers_whose_sum_alone_is_known():
    pair = {0: (0, 1), 1: (0, 1)}
    assert in_sum() == pair
    assert in_sum(sets=((0, 2), (1,))) == {}
    assert in_sum(sets=((0, 1, 7),)) == pair  # a vacancy is no conformer
    assert in_sum(other=0.01) == pair  # the other one as if this were held on its bound
    for inside, outside in (
        ({"esd": 0.21}, {"esd": 0.19}),
        ({"apart": 0.49}, {"apart": 0.51}),
        ({"esd_of_sum": 0.149}, {"esd_of_sum": 0.151}),
    ):
        assert in_sum(**inside) == pair
        assert in_sum(**outside) == {}


def test_in_a_chain_of_near_conformers_one_that_is_known_keeps_its_own_value():
    covariance = np.array([[0.0025, -0.00125, -0.00125], [-0.00125, 0.09, -0.08875], [-0.00125, -0.08875, 0.09]])
    places = [np.array([[x, 0.0, 0.0]]) for x in (0.0, 0.4, 0.8)]
    found = known_in_sum([np.arange(3)], np.array([0.05, 0.3, 0.3]), covariance, places)
    assert found == {1: (1, 2), 2: (1, 2)}


def test_the_distance_is_that_of_the_atom_farthest_from_any_of_the_other():
    one, other = np.zeros((1, 3)), np.array([[0.0, 0, 0], [0, 3, 4]])
    assert distance([one, other]) == distance([other, one]) == 5
    assert distance([one, one]) == 0
    assert distance([one, np.zeros((0, 3))]) == np.inf
