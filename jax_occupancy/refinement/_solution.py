"""What a refinement returns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, write_model
from jax_occupancy.xray import Scale


@dataclass(frozen=True, eq=False)
class StartEnd:
    """One number at the start and at the end of a refinement, both on the final scales."""

    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Solution:
    """Refined occupancies and how they were reached.

    Attributes:
        tensor: the refined module; `tensor()` gives the occupancy of each atom.
        table: one row per group: name, set, kind, atoms, residues, altloc, start, occupancy, reason.
        grouping: the groups.
        target: the target.
        r_work: R of the working set.
        r_free: R of the free set, NaN without one.
        scale: overall and solvent scales at the end.
        n_reflections: how many reflections were used, the free set included.
        n_free: how many of them are in the free set.
        resolution: low and high limit in Å.
        cycles: rounds of scaling and solving.
        steps: steps of the solver in all of them.
        result: "converged" or "max_cycles".
        message: the result in a sentence.
        seconds: wall-clock time of each stage.
    """

    tensor: OccupancyTensor
    table: pd.DataFrame
    grouping: Grouping
    target: StartEnd
    r_work: StartEnd
    r_free: StartEnd
    scale: Scale
    n_reflections: int
    n_free: int
    resolution: tuple[float, float]
    cycles: int
    steps: int
    result: str
    message: str
    seconds: Mapping[str, float]

    def write(self, model: Model, path) -> None:
        """Write the model with the refined occupancies, PDB or mmCIF by the extension of `path`.

        The sums of complete sets are kept when the values are rounded.

        Raises:
            ValueError: `path` is the file the model was read from, or has no known extension.
        """
        sets = [
            [group.atoms for group in s.groups] for s in self.grouping.sets if s.kind == "complete" and not s.parent
        ]
        write_model(model, path, np.asarray(self.tensor(), np.float64), sets=sets)


def solution_table(grouping: Grouping, tensor: OccupancyTensor) -> pd.DataFrame:
    """Put the refined occupancy of each group beside its start value."""
    table = grouping.to_frame()
    q = np.asarray(tensor.group_occupancies, np.float64)
    without_atoms = iter(np.flatnonzero(tensor.topology.atom_counts == 0))
    entries = [
        tensor.expansion_mask[group.atoms[0]] if group.atoms.size else next(without_atoms) for group in grouping.groups
    ]
    table.insert(list(table.columns).index("start") + 1, "occupancy", q[entries])
    return table
