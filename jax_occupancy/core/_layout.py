"""An order of collapsed space in which sets of one size lie side by side, so that their shares need no scatter."""

import dataclasses

import numpy as np
from jaxtyping import Int

from jax_occupancy.core._topology import Topology


@dataclasses.dataclass(frozen=True)
class SetLayout:
    """First the singles (entries of no set, and fixed members), then a block for each number of refinable members.

    A block holds the first refinable members of all its sets, then the second ones, and so on.

    Attributes:
        entries: the entry of collapsed space at each place of the layout.
        position: the place in the layout of each entry.
        n_single: how many singles there are.
        blocks: for each block its sets, ascending, and their number of refinable members.
    """

    entries: Int[np.ndarray, " collapsed"]
    position: Int[np.ndarray, " collapsed"]
    n_single: int
    blocks: tuple[tuple[Int[np.ndarray, " _"], int], ...]

    @classmethod
    def of(cls, topology: Topology) -> "SetLayout":
        """Lay out the collapsed space of a topology."""
        free = topology.refinable[topology.members]
        members, sets = topology.members[free], topology.set_of_member[free]
        counts = np.bincount(sets, minlength=topology.n_sets)
        first = np.cumsum(counts) - counts
        single = np.flatnonzero(np.bincount(members, minlength=topology.n_collapsed) == 0)
        pieces, blocks = [single], []
        for size in np.unique(counts[counts > 0]):
            chosen = np.flatnonzero(counts == size)
            pieces.append(members[first[chosen] + np.arange(size)[:, None]].ravel())
            blocks.append((chosen, int(size)))
        entries = np.concatenate(pieces)
        position = np.empty_like(entries)
        position[entries] = np.arange(entries.size)
        return cls(entries, position, single.size, tuple(blocks))
