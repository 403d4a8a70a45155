import numpy as np
import pytest

from jax_occupancy.refinement import Constraints, prepare, run_cycles
from jax_occupancy.refinement._cycles import _equations
from jax_occupancy.refinement._observations import Observations

pytestmark = pytest.mark.usefixtures("x64")


def test_tied_conformers_have_one_b_shift():
    """Equations in the solver's variables, whose unit is the spread of each group."""
    constraints = Constraints(np.arange(3), np.ones((1, 3)), np.ones(1), (np.arange(3),)).with_ties([[0, 2]])
    spread = np.array([2.0, 3.0, 6.0])
    matrix = _equations(constraints, 6, spread)
    assert matrix.shape == (3, 6)
    before, after = np.array([2.0, 1, 1.5]), np.array([3.5, 4, 2.0])
    changes = spread * (after - before)
    assert changes[0] == changes[2]
    np.testing.assert_allclose(matrix[2, 3:] @ (after - before), 0)
    assert _equations(constraints, 3, None).shape == (2, 3)


def test_scales_start_from_those_of_the_cycle_before(example):
    """Of two minima they would else find now one and now the other, and the occupancies never come to rest."""
    found, starts = [], []

    class Watched(Observations):
        def scale(self, calculated, mask, *, start=None):
            starts.append(start)
            found.append(super().scale(calculated, mask, start=start))
            return found[-1]

    problem = prepare(*example[:2])
    watched = problem.observing(Watched(problem.observations.reflections))
    assert run_cycles(watched, problem.start("model")).result.name == "converged"
    assert len(starts) > 2
    assert starts == [None, *found[:-1]]
