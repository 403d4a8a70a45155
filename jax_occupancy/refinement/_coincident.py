"""Conformers that the data can't tell apart.

In models of fragment screens conformers of one set often coincide, in whole or nearly. Their columns of the Jacobian
are then equal: the data determine the sum of their occupancies and nothing of its split.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

# Columns must point the same way to this correlation, and the split be as uncertain as this, before two conformers
# are taken for one: a split that the data determine is refined however close the conformers are.
CORRELATION = 0.9
UNCERTAIN = 0.25


def coincident_members(
    information: Float[np.ndarray, "groups groups"], sets: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Members of the same set whose split the data do not determine, by the information on the occupancies."""
    size = np.diag(information)
    found = []
    for members in sets:
        clusters: list[list[int]] = []
        for group in members:
            home = next((c for c in clusters if _alike(information, size, c[0], group)), None)
            if home is None:
                clusters.append([group])
            else:
                home.append(group)
        found += [cluster for cluster in clusters if len(cluster) > 1]
    return found


def _alike(information: np.ndarray, size: np.ndarray, a: int, b: int) -> bool:
    of_split = size[a] - 2 * information[a, b] + size[b]
    return bool(
        information[a, b] >= CORRELATION * np.sqrt(size[a] * size[b])
        and of_split * UNCERTAIN**2 <= 1
        and information[a, b] > 0
    )
