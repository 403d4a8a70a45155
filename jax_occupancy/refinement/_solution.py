"""What a refinement returns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import Grouping, whole_sets
from jax_occupancy.io import Model, write_model
from jax_occupancy.xray import Scale, Sites

SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class StartEnd:
    """One number at the start and at the end of a refinement, both on the final scales."""

    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Solution:
    """Refined occupancies and how they were reached.

    Attributes:
        tensor: the refined module; `tensor()` gives the occupancy of each atom, on a special position that of its site.
        occupancies: the same on the host, shape (atoms,).
        table: one row per group: name, set, kind, atoms, residues, altloc, start, occupancy, reason.
        grouping: the groups.
        sites: special positions and how the file counts them; `sites.to_file(occupancies)` is what is written.
        target_name: "ml" or "ls".
        target: the value of the target: −log-likelihood (ml), or the sum of squares over that of F_obs (ls).
        sigma_a_source: "free" or "working", the set that σ_A was estimated from; None for least squares.
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
    occupancies: Float[np.ndarray, " atoms"]
    table: pd.DataFrame
    grouping: Grouping
    sites: Sites
    target_name: str
    target: StartEnd
    sigma_a_source: str | None
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

        The sums of complete sets are kept when the values are rounded, nested ones included. On special positions
        occupancies are written as they were read, with or without 1/n inside.

        Raises:
            ValueError: `path` is the file the model was read from, or has no known extension.
        """
        occupancies = self.sites.to_file(self.occupancies)
        write_model(model, path, occupancies, sets=_sets_to_round(self.grouping, self.sites, occupancies))


def _sets_to_round(grouping: Grouping, sites: Sites, occupancies: np.ndarray) -> list[list[np.ndarray]]:
    """The sets whose sum in the file is one: not those of atoms that are written with 1/n inside."""
    found = []
    for conformers in whole_sets(grouping):
        plain = [atoms[~sites.crystallographic[atoms]] for atoms in conformers]
        # A set whose members are all fixed keeps the sum that it was given.
        if all(atoms.size for atoms in plain) and abs(sum(occupancies[a[0]] for a in plain) - 1) < SUM_TOLERANCE:
            found.append(plain)
    return found


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
