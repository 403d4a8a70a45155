"""Conformers that the data can't tell apart.

In models of fragment screens conformers of one set often coincide, in whole or nearly. Their columns of the Jacobian
are then equal: the data determine the sum of their occupancies and nothing of its split. Where they are nearly equal
the split is refined, and told to be unknown.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

# Columns must point the same way to this correlation, and the split be as uncertain as this, before two conformers
# are taken for one: a split that the data determine is refined however close the conformers are.
CORRELATION = 0.9
UNCERTAIN = 0.25
# A standard uncertainty as large as this leaves nothing of the range from 0 to 1.
UNKNOWN = 0.2
# One that is as uncertain and those within this distance of it, in Å, are told as one where their sum is known to this
# part of that, or better.
NEAR, SUM_KNOWN = 0.5, 0.5


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


def known_in_sum(
    sets: Sequence[Int[np.ndarray, " _"]],
    unsure: Float[np.ndarray, " groups"],
    covariance: Float[np.ndarray, "groups groups"],
    places: Sequence[Float[np.ndarray, "_ 3"]],
) -> dict[int, tuple[int, ...]]:
    """Members of a set that lie near another and are known in sum only: each with these.

    How unsure an occupancy is are its standard uncertainty or, on a bound, its limit.
    """
    found = {}
    for members in ([i for i in one.tolist() if i < len(unsure)] for one in sets):
        for i in (i for i in members if unsure[i] > UNKNOWN):
            near = [j for j in members if j not in found and distance([places[i], places[j]]) <= NEAR]
            # One that is known by itself is among them only where the others are not known without it.
            for together in (tuple(j for j in near if unsure[j] > UNKNOWN), tuple(near)):
                esd = np.sqrt(max(covariance[np.ix_(together, together)].sum(), 0))
                if i in together and len(together) > 1 and esd <= SUM_KNOWN * unsure[i]:
                    found |= dict.fromkeys(together, together)
                    break
    return found


def distance(places: Sequence[Float[np.ndarray, "_ 3"]]) -> float:
    """How far an atom of one group is at most from the nearest of another; infinite where a group has no atoms."""
    if not all(map(len, places)):
        return np.inf
    return max(float(KDTree(one).query(other)[0].max()) for one in places for other in places)
