"""Smooth functions of resolution: straight lines in 1/d² between nodes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Where reflections lie between nodes of resolution; a function is constant beyond the first and the last node.

    As a matrix, (reflections, nodes), it has two elements in each row, so sums over it are cheap.

    Attributes:
        nodes: Increasing values of 1/d², in 1/Å².
        left: The node below each reflection.
        right: The node above it.
        fraction: How far it is from the left to the right one, 0 to 1.

    Example:
        >>> import numpy as np
        >>> between = Interpolation.from_nodes(np.array([0.1, 0.2, 0.3]), np.array([0.05, 0.15, 0.3]))
        >>> between.interpolate(np.array([1.0, 3.0, 7.0])).round(3).tolist()
        [1.0, 2.0, 7.0]
    """

    nodes: Float[np.ndarray, " nodes"]
    left: Int[np.ndarray, " reflections"]
    right: Int[np.ndarray, " reflections"]
    fraction: Float[np.ndarray, " reflections"]

    @classmethod
    def from_nodes(cls, nodes: np.ndarray, inverse_d2: np.ndarray) -> "Interpolation":
        """Place reflections of given 1/d² between nodes."""
        last = len(nodes) - 1
        left = np.clip(np.searchsorted(nodes, inverse_d2, side="right") - 1, 0, max(last - 1, 0))
        right = np.minimum(left + 1, last)
        width = np.where(right > left, nodes[right] - nodes[left], np.inf)
        return cls(nodes, left, right, np.clip((inverse_d2 - nodes[left]) / width, 0, 1))

    @property
    def d_spacing(self) -> Float[np.ndarray, " nodes"]:
        """Resolution of the nodes, in Å."""
        return 1 / np.sqrt(np.maximum(self.nodes, np.finfo(float).tiny))

    def take(self, chosen: np.ndarray) -> "Interpolation":
        """The chosen reflections only."""
        return Interpolation(self.nodes, self.left[chosen], self.right[chosen], self.fraction[chosen])

    def interpolate(self, values: Float[np.ndarray, " nodes"]) -> Float[np.ndarray, " reflections"]:
        """H @ values."""
        return (1 - self.fraction) * values[self.left] + self.fraction * values[self.right]

    def collect(self, values: Float[np.ndarray, " reflections"]) -> Float[np.ndarray, " nodes"]:
        """Hᵀ @ values."""
        return self._at(self.left, (1 - self.fraction) * values) + self._at(self.right, self.fraction * values)

    def gram(self, weights: Float[np.ndarray, " reflections"]) -> Float[np.ndarray, "nodes nodes"]:
        """Hᵀ @ diag(weights) @ H."""
        f = self.fraction
        matrix = np.diag(self._at(self.left, (1 - f) ** 2 * weights) + self._at(self.right, f**2 * weights))
        beside = self._at(self.left, f * (1 - f) * weights)[:-1]
        return matrix + np.diag(beside, 1) + np.diag(beside, -1)

    def _at(self, node: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(node, values, minlength=len(self.nodes))


def shell_nodes(
    inverse_d2: Float[np.ndarray, " reflections"], *, smallest: int, most: int
) -> Float[np.ndarray, " nodes"]:
    """Cut the reflections into shells of equal thickness in 1/d, thicker ones where there are few reflections.

    Args:
        inverse_d2: 1/d² of the reflections that something will be fitted to, at least one, in 1/Å².
        smallest: Fewest reflections in a shell.
        most: Limit on the number of shells.

    Returns:
        Borders of the shells in 1/d², increasing; a single one if there are too few reflections for one shell.

    Example:
        >>> import numpy as np
        >>> shell_nodes(np.linspace(0.0, 1.0, 101) ** 2, smallest=20, most=2).round(2).tolist()
        [0.0, 0.25, 1.0]
    """
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


def smooth_mean(
    values: Float[np.ndarray, " reflections"], between: Interpolation, chosen: np.ndarray
) -> Float[np.ndarray, " reflections"]:
    """Mean of positive values by resolution, from the chosen reflections, for all of them.

    Args:
        values: One number per reflection, none negative.
        between: Nodes of the mean, and where all reflections lie.
        chosen: True where a reflection counts.

    Returns:
        The mean around each reflection, interpolated in its logarithm; never zero if any value is positive.
    """
    inside = between.take(chosen)
    count, total = inside.collect(np.ones(len(inside.left))), inside.collect(values[chosen])
    overall = values[chosen].mean()
    mean = np.where(count > 0, total / np.where(count > 0, count, 1), overall)
    return np.exp(between.interpolate(np.log(np.maximum(mean, 1e-6 * overall + np.finfo(float).tiny))))
