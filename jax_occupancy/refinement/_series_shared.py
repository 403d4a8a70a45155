"""What many data sets of one model have in common, computed once.

All data sets of one cell are handled as measurements of the same reflections, those that any of them has; what a data
set lacks does not count in its target. So structure factors are computed once, and JAX compiles every step once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gemmi
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, Reflections
from jax_occupancy.refinement._devices import shard_columns, stored
from jax_occupancy.refinement._linear_model import shifted_columns
from jax_occupancy.refinement._setup import Setup, make_setup
from jax_occupancy.refinement._targets import Observations
from jax_occupancy.xray import Columns

# Cells are the same within this: relative for lengths, degrees for angles. It is what rounding in files makes.
SAME_LENGTH = 2e-4
SAME_ANGLE = 0.02


@dataclass(frozen=True, eq=False)
class Shared:
    """A model in one cell, ready for every data set of that cell.

    Attributes:
        setup: the problem for all reflections that any data set has.
        columns: structure factors of the parts of groups for the same reflections.
        rows: for each data set, where its reflections are among these.
    """

    setup: Setup
    columns: Columns
    rows: tuple[Int[np.ndarray, " _"], ...]

    def setup_of(self, index: int, reflections: Reflections) -> Setup:
        """The problem of one data set."""
        observations = Observations.from_reflections(reflections)
        return self.setup.observing(observations._replace(rows=self.rows[index]))

    def on(self, mesh: Mesh) -> "Shared":
        """The same with the reflections divided among devices."""
        return replace(self, setup=self.setup.on(mesh), columns=shard_columns(self.columns, mesh))


def share(
    model: Model, datasets: Sequence[Reflections], grouping: Grouping, *, memory: float | int, **beam: Any
) -> Shared:
    """Compute the structure factors of a model for all data sets of one cell.

    Args:
        model: the model, in that cell.
        datasets: the data.
        grouping: the groups.
        memory: gigabytes that structure factors may take; above it they are computed in passes.
        beam: radiation and wavelength.

    Returns:
        What the data sets share.
    """
    hkl, inverse = np.unique(np.concatenate([data.hkl for data in datasets]), axis=0, return_inverse=True)
    ones = np.ones(len(hkl))
    first = datasets[0]
    everything = Reflections(
        hkl=hkl,
        free=ones < 0,
        amplitude=ones,
        sigma=ones,
        cell=first.cell,
        spacegroup=first.spacegroup,
    )
    setup = make_setup(model, everything, grouping, memory=memory, **beam)
    dtype = setup.linear.overall.dtype
    columns = shifted_columns(model, everything, setup.parts.atoms, dtype=dtype, **beam)
    # value and three derivatives, real and imaginary part
    gigabytes = 8 * columns.n_groups * len(hkl) * dtype.itemsize / 1e9
    ends = np.cumsum([data.n_reflections for data in datasets])[:-1]
    return Shared(
        setup,
        stored(columns) if gigabytes <= memory else columns,
        tuple(np.split(inverse.reshape(-1), ends)),
    )


def by_cell(model: Model, datasets: Mapping[Any, Reflections]) -> list[tuple[Model, list]]:
    """Sort data sets by their cell.

    Args:
        model: the model.
        datasets: data sets by name.

    Returns:
        For each cell the model in it, and the names of the data sets. In another cell than its own the model keeps its
        fractional coordinates.
    """
    assert model.cell is not None
    cells, members = [model.cell], [[]]
    for name, data in datasets.items():
        found = next((i for i, cell in enumerate(cells) if same_cell(cell, data.cell)), len(cells))
        if found == len(cells):
            cells.append(data.cell)
            members.append([])
        members[found].append(name)
    models = [model, *(model_in_cell(model, cell) for cell in cells[1:])]
    return [(one, names) for one, names in zip(models, members, strict=True) if names]


def same_cell(one: gemmi.UnitCell, other: gemmi.UnitCell) -> bool:
    """Whether two cells differ by rounding only.

    Example:
        >>> same_cell(gemmi.UnitCell(50, 60, 70, 90, 90, 90), gemmi.UnitCell(50.005, 60, 70, 90, 90.01, 90))
        True
    """
    ours, theirs = np.array(one.parameters), np.array(other.parameters)
    return bool(np.all(np.abs(ours - theirs) <= np.concatenate([SAME_LENGTH * ours[:3], [SAME_ANGLE] * 3])))


def model_in_cell(model: Model, cell: gemmi.UnitCell) -> Model:
    """Put a model into another cell; its fractional coordinates stay as they are.

    Args:
        model: a model with a cell.
        cell: the new one.

    Returns:
        The model with other Cartesian coordinates; it is there to be computed with, and keeps the bytes of its file.
    """
    assert model.cell is not None
    structure = model.structure.clone()
    structure.cell = cell
    structure.setup_cell_images()
    xyz = np.zeros((model.n_atoms, 3))
    for site in structure[0].all():
        site.atom.pos = cell.orthogonalize(model.cell.fractionalize(site.atom.pos))
        xyz[site.atom.serial - 1] = site.atom.pos.tolist()
    atoms = model.atoms.assign(x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2])
    return replace(model, structure=structure, atoms=atoms, cell=cell)
