"""Pairs of points that lie close together."""

from itertools import product

import numpy as np
from jaxtyping import Float, Int


def close_pairs(
    points: Float[np.ndarray, "points 3"], others: Float[np.ndarray, "others 3"], cutoff: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Find every pair of a point and another point that are at most ``cutoff`` apart.

    The points are sorted into cubic cells of edge ``cutoff``, so that only the 27 cells around a point are
    searched: the work grows with the number of pairs, not with the square of the number of points.

    Args:
        points: Cartesian coordinates in Å; rows that are not finite are in no pair.
        others: Cartesian coordinates in Å, which may be the same array.
        cutoff: largest distance in Å.

    Returns:
        The positions in ``points`` and the positions in ``others`` of the pairs, sorted by the first, then the second.

    Example:
        >>> import numpy as np
        >>> first, second = close_pairs(np.zeros((1, 3)), np.array([[9.0, 0, 0], [0.5, 0, 0]]), 1.0)
        >>> first.tolist(), second.tolist()
        ([0], [1])
    """
    left = np.flatnonzero(np.isfinite(points).all(axis=1))
    right = np.flatnonzero(np.isfinite(others).all(axis=1))
    if left.size == 0 or right.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    i, j = _pairs_in_cells(points[left] / cutoff, others[right] / cutoff)
    near = np.square(points[left[i]] - others[right[j]]).sum(axis=1) <= cutoff**2
    i, j = left[i[near]], right[j[near]]
    order = np.lexsort((j, i))
    return i[order], j[order]


def _pairs_in_cells(points: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of points (in units of the cell edge) whose cells touch."""
    corner = np.minimum(np.floor(points).min(axis=0), np.floor(others).min(axis=0)).astype(np.int64) - 1
    left = np.floor(points).astype(np.int64) - corner
    right = np.floor(others).astype(np.int64) - corner
    extent = np.maximum(left.max(axis=0), right.max(axis=0)) + 2
    weights = np.array([extent[1] * extent[2], extent[2], 1])
    order = np.argsort(right @ weights, kind="stable")
    sorted_keys = (right @ weights)[order]
    firsts, seconds = [], []
    for step in product((-1, 0, 1), repeat=3):
        keys = (left + np.array(step)) @ weights
        start = np.searchsorted(sorted_keys, keys, "left")
        count = np.searchsorted(sorted_keys, keys, "right") - start
        firsts.append(np.repeat(np.arange(len(points)), count))
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        seconds.append(order[np.repeat(start, count) + within])
    return np.concatenate(firsts), np.concatenate(seconds)
