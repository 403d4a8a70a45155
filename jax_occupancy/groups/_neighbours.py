"""Points that lie close together, without a look at all pairs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

MOST_IN_ONE_PLACE = 16
Keys = tuple[np.ndarray, np.ndarray]


def close_pairs(
    points: np.ndarray, others: np.ndarray, cutoff: float, *, keys: Keys | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of points and others at most ``cutoff`` apart, sorted; ``keys`` (integers of both) must be equal."""
    if keys is not None:
        # A fourth coordinate, in which different keys are out of reach: conformers in one place cost no more.
        points, others = (
            np.column_stack([xyz, 2 * cutoff * key]) for xyz, key in zip((points, others), keys, strict=True)
        )
    left, right = (np.flatnonzero(np.isfinite(some).all(axis=1)) for some in (points, others))
    if left.size == 0 or right.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    near = KDTree(points[left]).sparse_distance_matrix(KDTree(others[right]), cutoff, output_type="ndarray")
    i, j = left[near["i"]], right[near["j"]]
    order = np.lexsort((j, i))
    return i[order], j[order]


def distances_to(points: np.ndarray, others: np.ndarray, cutoff: float, *, nth: int = 1) -> np.ndarray:
    """How far away the nearest other point (or the next but one, ...) of each point is, infinite beyond ``cutoff``."""
    left, right = (np.flatnonzero(np.isfinite(some).all(axis=1)) for some in (points, others))
    result = np.full(len(points), np.inf)
    if left.size and right.size:
        found = KDTree(others[right]).query(points[left], k=nth, distance_upper_bound=cutoff)[0]
        result[left] = np.reshape(found, (left.size, nth))[:, -1]
    return result


def in_touch(clusters: Sequence[np.ndarray], cutoff: float) -> list[list[int]]:
    """Which clusters of points come within ``cutoff`` of each other, directly or through others, by their numbers."""
    number = np.repeat(np.arange(len(clusters)), [len(cluster) for cluster in clusters])
    points = np.concatenate(clusters)
    rest, found = set(range(len(clusters))), []
    while rest:
        component, border = [], {min(rest)}
        while border:
            component += sorted(border)
            rest -= border
            open_points = np.flatnonzero(np.isin(number, list(rest)))
            near = distances_to(points[open_points], points[np.isin(number, list(border))], cutoff)
            border = set(number[open_points[np.isfinite(near)]].tolist())
        found.append(sorted(component))
    return found


def connected(n: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The number of the component that each of ``n`` nodes is in, given pairs that are connected."""
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def meetings(points: np.ndarray, numbers: np.ndarray, cutoff: float) -> list[tuple[int, int]]:
    """Pairs of different numbers whose points come within ``cutoff``; of more than 16 in one place the first 16."""
    finite = np.isfinite(points).all(axis=1)
    points, numbers = points[finite], numbers[finite]
    # One entry for all points of a number in a cell: conformers of one set in one place are looked at once.
    entries = np.unique(np.column_stack([np.floor(points / cutoff), numbers]).astype(np.int64), axis=0)
    entries = entries[_rank(np.unique(entries[:, :3], axis=0, return_inverse=True)[1].reshape(-1)) < MOST_IN_ONE_PLACE]
    if not len(entries):
        return []
    pairs = KDTree(entries[:, :3]).query_pairs(1.0, p=np.inf, output_type="ndarray")
    pairs = np.sort(entries[:, 3][pairs], axis=1)
    near = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    near = near[_rank(near[:, 0]) < MOST_IN_ONE_PLACE].tolist()
    own = pd.Series(numbers).groupby(numbers).indices
    return [(a, b) for a, b in near if distances_to(points[own[a]], points[own[b]], cutoff).min() < np.inf]


def _rank(sorted_numbers: np.ndarray) -> np.ndarray:
    """How many equal numbers come before each one, given numbers in order."""
    return np.arange(len(sorted_numbers)) - np.searchsorted(sorted_numbers, sorted_numbers)
