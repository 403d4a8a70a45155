"""Smooth functions of resolution: straight lines in 1/d² between nodes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from jax_occupancy.xray._crystal import Values

Nodes = Float[np.ndarray, " nodes"]


@dataclass(frozen=True, eq=False)
class Interpolation:
    """A function between nodes of 1/d², constant beyond them, as a matrix H (reflections, nodes)."""

    nodes: Nodes
    matrix: csr_array

    @classmethod
    def from_nodes(cls, nodes: np.ndarray, inverse_d2: np.ndarray) -> "Interpolation":
        """Place reflections of given 1/d² between nodes."""
        n, last = len(inverse_d2), len(nodes) - 1
        place = np.interp(inverse_d2, nodes, np.arange(last + 1))
        left = np.minimum(place.astype(int), max(last - 1, 0))
        columns = np.stack([left, np.minimum(left + 1, last)], axis=1)
        shares = np.stack([1 - (place - left), place - left], axis=1)
        return cls(nodes, csr_array((shares.ravel(), columns.ravel(), np.arange(0, 2 * n + 1, 2)), (n, last + 1)))

    @property
    def d_spacing(self) -> Nodes:
        """Resolution of the nodes, in Å."""
        return 1 / np.sqrt(np.maximum(self.nodes, np.finfo(float).tiny))

    def take(self, chosen: np.ndarray) -> "Interpolation":
        """The chosen reflections only."""
        return Interpolation(self.nodes, self.matrix[chosen])

    def interpolate(self, values: Nodes) -> Values:
        """H @ values."""
        return self.matrix @ values

    def collect(self, values: Values) -> Nodes:
        """Hᵀ @ values."""
        return self.matrix.T @ values

    @property
    def nearest(self) -> Int[np.ndarray, " reflections"]:
        """The node that is nearest to each reflection, in 1/d²."""
        (left, right), (share, _) = self._pairs()
        return np.where(share > 0.5, left, right)

    def gram(self, weights: Values) -> Float[np.ndarray, "nodes nodes"]:
        """Hᵀ @ diag(weights) @ H; by hand, because a product of sparse matrices takes ten times as long."""
        (left, right), (a, b) = self._pairs()
        n = len(self.nodes)
        diagonal = np.bincount(left, a**2 * weights, n) + np.bincount(right, b**2 * weights, n)
        beside = np.bincount(left, a * b * weights, n)[:-1]
        return np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Both nodes of each reflection, and both shares."""
        return self.matrix.indices.reshape(-1, 2).T, self.matrix.data.reshape(-1, 2).T


def shell_nodes(inverse_d2: Values, *, smallest: int, most: int) -> Nodes:
    """Borders, in 1/d², of shells of equal thickness in 1/d, thicker or only one where there are few reflections."""
    s = np.sort(np.sqrt(inverse_d2))
    if len(s) < smallest or s[-1] - s[0] < 1e-9:
        return np.array([np.mean(s) ** 2])
    borders, used = [s[0]], 0
    for border in np.linspace(s[0], s[-1], most + 1)[1:-1]:
        below = int(np.searchsorted(s, border))
        if below - used >= smallest and len(s) - below >= smallest:
            borders.append(border)
            used = below
    return np.array([*borders, s[-1]]) ** 2


def smooth_mean(values: Values, between: Interpolation, chosen: np.ndarray) -> Values:
    """Mean around each reflection of the chosen values, none negative, interpolated in its logarithm."""
    inside, values = between.take(chosen), values[chosen]
    count, total = inside.collect(np.ones(len(values))), inside.collect(values)
    overall = values.mean()
    mean = np.where(count > 0, total / np.where(count > 0, count, 1), overall)
    return np.exp(between.interpolate(np.log(np.maximum(mean, 1e-6 * overall + np.finfo(float).tiny))))
