"""Pairs of points that lie close together."""

import numpy as np
from scipy.spatial import KDTree


def close_pairs(points: np.ndarray, others: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of every point and other point at most ``cutoff`` apart, sorted; points that are not finite have none.

    >>> first, second = close_pairs(np.zeros((1, 3)), np.array([[9.0, 0, 0], [0.5, 0, 0]]), 1.0)
    >>> first.tolist(), second.tolist()
    ([0], [1])
    """
    left, right = (np.flatnonzero(np.isfinite(some).all(axis=1)) for some in (points, others))
    if left.size == 0 or right.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    near = KDTree(points[left]).sparse_distance_matrix(KDTree(others[right]), cutoff, output_type="ndarray")
    i, j = left[near["i"]], right[near["j"]]
    order = np.lexsort((j, i))
    return i[order], j[order]
