import numpy as np
import pytest
from scipy.optimize import minimize

from jax_occupancy.refinement import Constraints
from jax_occupancy.refinement._evidence import absent_and_full, constrained_minimum, unlinked
from jax_occupancy.refinement._movers import Parts

# A pair (0, 1), a free group (2) with its vacancy (5), which is the parent of a pair (3, 4).
MATRIX = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 1], [0, 0, -1, 1, 1, 0]], float)
TOTAL = np.array([1.0, 1.0, 0.0])
X = np.array([0.6, 0.4, 0.7, 0.5, 0.2, 0.3])


def random_quadratic(seed, n, size=100.0):
    random = np.random.default_rng(seed)
    root = np.sqrt(size) * random.standard_normal((n + 3, n))
    return root.T @ root, size * random.standard_normal(n)


def slsqp(curvature, gradient, x, matrix, total):
    size = np.abs(curvature).max()
    return minimize(
        lambda y: (gradient @ (y - x) + (y - x) @ curvature @ (y - x) / 2) / size,
        x,
        jac=lambda y: (gradient + curvature @ (y - x)) / size,
        method="SLSQP",
        bounds=[(0, None)] * x.size,
        constraints={"type": "eq", "fun": lambda y: matrix @ y - total, "jac": lambda y: matrix},
        options={"ftol": 1e-15, "maxiter": 500},
    ).x


@pytest.mark.parametrize("seed", range(6))
def test_constrained_minimum_agrees_with_slsqp(seed):
    curvature, gradient = random_quadratic(seed, 6)
    found = constrained_minimum(curvature, gradient, X, MATRIX, TOTAL)
    np.testing.assert_allclose(MATRIX @ found, TOTAL, atol=1e-6)
    assert np.all(found >= 0)
    np.testing.assert_allclose(found, slsqp(curvature, gradient, X, MATRIX, TOTAL), atol=2e-5)


def test_no_curvature_at_all_still_satisfies_the_equations():
    found = constrained_minimum(np.zeros((6, 6)), np.zeros(6), X, MATRIX, TOTAL)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(MATRIX @ found, TOTAL, atol=1e-6)


def constraints_of(n_groups, matrix, total, sets=()):
    return Constraints(np.arange(n_groups), np.asarray(matrix, float), np.asarray(total, float), tuple(sets))


def hypotheses_of(curvature, gradient, matrix=MATRIX, total=TOTAL, x=X, n=5):
    found = absent_and_full(constraints_of(n, matrix, total), curvature, gradient, x)
    return {(kind, group): change for kind, group, change, *_ in found}


def test_absent_and_full_move_the_rest_of_the_family_to_its_minimum():
    curvature, gradient = random_quadratic(7, 6)
    curvature[5], curvature[:, 5], gradient[5] = 0, 0, 0
    found = hypotheses_of(curvature, gradient)
    assert set(found) == {(kind, group) for kind in ("absent", "full") for group in range(5)}
    for (kind, group), change in found.items():
        new = X[:5] + change
        assert new[group] == pytest.approx({"absent": 0, "full": 1}[kind], abs=1e-6)
        assert new[0] + new[1] == pytest.approx(1, abs=1e-6)
        assert new[3] + new[4] == pytest.approx(new[2], abs=1e-6)
        family, rows = ([0, 1], [0]) if group < 2 else ([2, 3, 4, 5], [1, 2])
        outside = [i for i in range(5) if i not in family]
        assert not change[outside].any()
        wanted = np.concatenate([MATRIX[np.ix_(rows, family)], (np.array(family) == group)[None]])
        best = slsqp(
            curvature[np.ix_(family, family)], gradient[family], X[family], wanted, np.append(TOTAL[rows], new[group])
        )
        inside = [i for i in family if i < 5]
        np.testing.assert_allclose(new[inside], best[: len(inside)], atol=1e-4)


def test_what_a_fixed_sibling_makes_impossible_is_not_asked():
    """A pair that has three quarters: neither can be everywhere."""
    found = hypotheses_of(
        100 * np.eye(2) - 20, np.zeros(2), np.ones((1, 2)), np.array([0.75]), np.array([0.5, 0.25]), n=2
    )
    assert set(found) == {("absent", 0), ("absent", 1)}
    alone = hypotheses_of(np.eye(1), np.zeros(1), np.ones((1, 1)), np.array([0.6]), np.array([0.6]), n=1)
    assert alone == {}


def test_full_is_all_that_there_can_be_across_a_symmetry_element():
    constraints = constraints_of(1, np.ones((1, 2)), np.array([0.5]))._replace(highest=np.array([0.5]))
    found = absent_and_full(constraints, np.diag([9.0, 0.0]), np.zeros(2), np.array([0.3, 0.2]))
    assert {one.kind: round(float(one.change[0]), 6) for one in found} == {"absent": -0.3, "full": 0.2}


def test_a_group_without_atoms_changes_its_children():
    curvature, gradient = random_quadratic(8, 6)
    curvature[[2, 5]], curvature[:, [2, 5]], gradient[[2, 5]] = 0, 0, 0
    found = hypotheses_of(curvature, gradient)
    np.testing.assert_allclose(found["absent", 2][[0, 1, 3, 4]], [0, 0, -0.5, -0.2], atol=1e-6)
    assert found["full", 2][3:].sum() == pytest.approx(0.3, abs=1e-6)


def unlinked_of(information, gradient, *, sets, x, n_groups, group_of_part, residues):
    """Sets are lists of variables; those past the groups are vacancies."""
    constraints = constraints_of(n_groups, np.zeros((len(sets), x.size)), np.zeros(len(sets)), map(np.array, sets))
    parts = Parts((), np.array(group_of_part), tuple(residues))
    return list(unlinked(constraints, information, gradient, x, parts))


GROUP_OF_PART = [0, 0, 1, 1, 2]
RESIDUES = ["A/1", "A/2", "A/1", "A/2", "B/9"]


def test_a_residue_leaves_its_linked_set_for_the_minimum_of_the_quadratic():
    information, gradient = random_quadratic(9, 5)
    gradient[[0, 2]] = [300, -300]
    x = np.array([0.6, 0.4, 0.5, 0.5])
    found = unlinked_of(
        information, gradient, sets=[[0, 1], [2, 3]], x=x, n_groups=3, group_of_part=GROUP_OF_PART, residues=RESIDUES
    )
    assert [one.kind for one in found] == ["residue", "residue", "unlinked"]
    assert [one.subject for one in found] == [(0, "A/1"), (0, "A/2"), 0]
    for (_, _, change, occupancies, *_), own in zip(found[:2], ([0, 2], [1, 3]), strict=True):
        new = np.array([0.6, 0.6, 0.4, 0.4, 0.5]) + change
        assert new[4] == 0.5
        assert new[0] + new[2] == pytest.approx(1, abs=1e-6)
        assert new[1] + new[3] == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose([occupancies[0], occupancies[1]], new[own], atol=1e-9)
        best = slsqp(
            information[:4, :4],
            gradient[:4],
            np.array([0.6, 0.6, 0.4, 0.4]),
            np.array([[1.0, 0, 1, 0], [0, 1, 0, 1]]),
            np.ones(2),
        )
        np.testing.assert_allclose(new[:4], best, atol=1e-4)
    # each residue goes its own way, and conformers of one residue still sum to one
    everywhere = found[2].change
    np.testing.assert_allclose(everywhere[:2], -everywhere[2:4], atol=1e-6)


def test_residues_of_an_incomplete_set_stay_within_what_it_has():
    """The whole is 0.7, a fixed sibling's or a parent's doing; the data would like more."""
    found = unlinked_of(
        np.eye(2), np.array([-50.0, -50.0]), sets=[[0, 1]], x=np.array([0.5, 0.2]), n_groups=1, group_of_part=[0, 0],
        residues=["A/1", "A/2"],
    )  # fmt: skip
    assert [one.kind for one in found] == ["residue", "residue", "unlinked"]
    assert [list(one.occupancies.values()) for one in found[:2]] == [[pytest.approx(0.7, abs=1e-6)]] * 2
    np.testing.assert_allclose(found[2].change, 0.2, atol=1e-6)


def test_residues_that_lack_a_conformer_and_sets_of_one_residue_are_not_asked():
    arguments = {"information": np.eye(3), "gradient": np.zeros(3), "x": np.array([0.6, 0.4]), "n_groups": 2}
    found = unlinked_of(**arguments, sets=[[0, 1]], group_of_part=[0, 0, 1], residues=["A/1", "A/2", "A/1"])
    assert [one.subject for one in found] == [(0, "A/1"), 0]
    assert unlinked_of(**arguments, sets=[[0, 1]], group_of_part=[0, 1, 1], residues=["A/1", "A/1", "A/1"]) == []
