"""From files in memory to the linear problem: what of the crystal depends on which occupancy."""

import jax.numpy as jnp
import numpy as np

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.io import Model, Reflections
from jax_occupancy.xray import (
    Crystal,
    LinearModel,
    fixed_structure_factors,
    group_scatterers,
    group_structure_factors,
    site_orders,
    solvent_structure_factors,
)

# Cells of model and data may differ by this much (relative for lengths, degrees for angles) before it is an error.
CELL_TOLERANCE = 0.005
ANGLE_TOLERANCE = 0.5


def check_same_crystal(model: Model, reflections: Reflections) -> None:
    """Refuse a model and data that do not belong together.

    Raises:
        ValueError: the model has no cell or space group, or they differ from those of the data.
    """
    if model.cell is None or model.spacegroup is None:
        raise ValueError(
            f"{model.path}: no unit cell or space group; add a CRYST1 record (PDB) or _cell and _symmetry items (mmCIF)"
        )
    ours, theirs = np.array(model.cell.parameters), np.array(reflections.cell.parameters)
    apart = np.abs(ours - theirs) > np.concatenate([CELL_TOLERANCE * theirs[:3], [ANGLE_TOLERANCE] * 3])
    if apart.any():
        raise ValueError(
            f"{model.path} has the cell {_cell(ours)}, the data {_cell(theirs)}; are they the same crystal form?"
        )
    # Screw axes of a model's and a data file's name may differ in setting only; the operations decide.
    if set(model.spacegroup.operations()) != set(reflections.spacegroup.operations()):
        raise ValueError(
            f"{model.path} has the space group {model.spacegroup.xhm()}, the data {reflections.spacegroup.xhm()}"
        )


def linear_model(
    model: Model, reflections: Reflections, tensor: OccupancyTensor, entries: np.ndarray, *, dtype=None
) -> LinearModel:
    """Compute what each occupancy that can move adds to the structure factors, and what all else adds.

    Args:
        model: the atoms; their order is the tensor's.
        reflections: Miller indices to compute for.
        tensor: which atoms share an occupancy; its occupancies are chemical (see `Sites`), so that an atom on a
            special position of order n counts 1/n of its own.
        entries: entries of collapsed space that can move, one column of the result each.
        dtype: float32 or float64; JAX' default float when left out.

    Returns:
        The linear model with overall scale one and no solvent yet.

    Raises:
        ValueError: the model has no cell.
    """
    if model.cell is None:
        raise ValueError(f"{model.path}: no unit cell; add a CRYST1 record (PDB) or _cell items (mmCIF)")
    groups = [np.flatnonzero(tensor.expansion_mask == entry) for entry in entries]
    moving = np.concatenate([np.zeros(0, int), *groups])
    weights = 1.0 / site_orders(model.structure)
    hkl = reflections.hkl
    occupancies = np.asarray(tensor(), np.float64)
    fixed = fixed_structure_factors(model.structure, hkl, refinable=moving, occupancies=occupancies, weights=weights)
    mask = solvent_structure_factors(model.structure, hkl, refinable=moving, occupancies=occupancies)
    scatterers = group_scatterers(model.atoms, groups, model.cell, weights=weights, dtype=dtype)
    crystal = Crystal.from_gemmi(model.cell, model.spacegroup, dtype=dtype)
    columns = group_structure_factors(jnp.asarray(hkl), scatterers, crystal, n_groups=len(groups))
    n = reflections.n_reflections
    return LinearModel.from_structure_factors(fixed, mask, columns, np.ones(n), np.zeros(n))


def _cell(parameters: np.ndarray) -> str:
    return " ".join(f"{value:.2f}" for value in parameters)
