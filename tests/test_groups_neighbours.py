"""Close pairs against all pairs."""

import numpy as np
import pytest

from jax_occupancy.groups._neighbours import close_pairs


def all_pairs(points, others, cutoff):
    distance = np.linalg.norm(points[:, None] - others[None], axis=-1)
    return [tuple(pair) for pair in np.argwhere(distance <= cutoff)]


@pytest.mark.parametrize("cutoff", [0.3, 1.0, 7.0])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 50), (80, 60)])
def test_equals_the_loop_over_all_pairs(cutoff, n, m):
    rng = np.random.default_rng(n)
    points, others = rng.uniform(-6, 3, (n, 3)), rng.uniform(-3, 6, (m, 3))
    first, second = close_pairs(points, others, cutoff)
    assert list(zip(first, second, strict=True)) == all_pairs(points, others, cutoff)


def test_points_on_cell_borders():
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3)
    first, _ = close_pairs(grid, grid, 1.0)
    assert first.size == 64 + 2 * 3 * 48


def test_no_points_and_no_numbers():
    none, some = np.empty((0, 3)), np.array([[0.0, 0, 0], [np.nan, 0, 0]])
    assert [side.size for side in close_pairs(none, some, 1.0)] == [0, 0]
    assert [side.tolist() for side in close_pairs(some, some, 1.0)] == [[0], [0]]
