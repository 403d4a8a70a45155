"""From files in memory to the linear problem: what of the crystal depends on which occupancy."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Int

from jax_occupancy._options import Options
from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import listing
from jax_occupancy.io import Model, Reflections, atom_label
from jax_occupancy.xray import (
    Columns,
    Crystal,
    DisplacedSolvent,
    LinearModel,
    Radiation,
    fixed_structure_factors,
    group_scatterers,
    group_solvent_structure_factors,
    site_orders,
    solvent_structure_factors,
)

# Cells of model and data may differ by this much (relative for lengths, degrees for angles) before it is an error.
CELL_TOLERANCE = 0.005
ANGLE_TOLERANCE = 0.5

# What is kept of structure factors: on 4XOF their rounding moves no occupancy by more than 1e-8, and half the memory is
# read in every pass. They are computed, and their sums taken, in the precision of the refinement.
STORED = np.float32

# The element of atoms that nobody knows.
UNKNOWN = "X"
NO_CELL = "{}: no unit cell; add a CRYST1 record (PDB) or _cell items (mmCIF)"


def check_same_crystal(model: Model, reflections: Reflections) -> None:
    """Refuse a model and data that do not belong together.

    Raises:
        ValueError: the model has no cell or space group, or they differ from those of the data; it has no atoms that
            could scatter: copies that the file does not hold, negative B factors.
    """
    if model.cell is None:
        raise ValueError(NO_CELL.format(model.path))
    if model.spacegroup is None:
        raise ValueError(
            f"{model.path}: no space group that is known; name it in columns 56-66 of the CRYST1 record (PDB), or as "
            "_symmetry.space_group_name_H-M (mmCIF)"
        )
    copies = sum(not operation.given for operation in model.structure.ncs)
    if copies:
        raise ValueError(
            f"{model.path}: {copies} strict NCS operations (MTRIX or _struct_ncs_oper) generate atoms that are not in "
            "the file; write them out first, with `gemmi convert` (expand-ncs) or `servalcat util expand`, for example"
        )
    _check_b_factors(model)
    same_operations = set(model.spacegroup.operations()) == set(reflections.spacegroup.operations())
    if not same_operations and model.spacegroup.number == reflections.spacegroup.number:
        raise ValueError(
            f"{model.path} has the space group {model.spacegroup.xhm()}, the data {reflections.spacegroup.xhm()}: the "
            "same in another setting; reindex the data, or transform the model"
        )
    ours, theirs = np.array(model.cell.parameters), np.array(reflections.cell.parameters)
    apart = np.abs(ours - theirs) > np.concatenate([CELL_TOLERANCE * theirs[:3], [ANGLE_TOLERANCE] * 3])
    if apart.any():
        raise ValueError(
            f"{model.path} has the cell {_cell(ours)}, the data {_cell(theirs)}; are they the same crystal form?"
        )
    if not same_operations:
        raise ValueError(
            f"{model.path} has the space group {model.spacegroup.xhm()}, the data {reflections.spacegroup.xhm()}; "
            "correct the one that is wrong"
        )


def _check_b_factors(model: Model) -> None:
    atoms = model.atoms
    refined = (atoms["occupancy"] > 0) | (atoms["altloc"] != "")
    negative = np.flatnonzero((refined & atoms["u11"].isna() & (atoms["tempfactor"] < 0)).to_numpy())
    if len(negative):
        told = (f"{atom_label(atoms, p)} ({atoms['tempfactor'].iloc[p]:g} Å²)" for p in negative.tolist())
        raise ValueError(
            f"{model.path} has atoms with a negative B factor, with which scattering would grow with resolution: "
            f"{listing(told, at_most=5)}; correct them"
        )


def linear_model(
    model: Model,
    reflections: Reflections,
    tensor: OccupancyTensor,
    entries: np.ndarray,
    *,
    hkl: Int[np.ndarray, "all 3"] | None = None,
    radiation: Radiation = "xray",
    wavelength: float | None = None,
    memory: float | int = Options.memory,
    dtype=None,
) -> LinearModel:
    """Compute what each occupancy that can move adds to the structure factors, and what all else adds.

    Args:
        model: the atoms; their order is the tensor's.
        reflections: whose Miller indices to compute for.
        hkl: other indices to compute for.
        tensor: which atoms share an occupancy; its occupancies are chemical (see `Sites`), so that an atom on a
            special position of order n counts 1/n of its own. Around them the solvent is linear.
        entries: entries of collapsed space that can move, one column of the result each.
        radiation: "xray", "electron" or "neutron".
        wavelength: of the X-rays in Å, for f′; None leaves it out.
        memory: gigabytes that the columns may take. If they would take more they are computed anew in every pass.
        dtype: float32 or float64; JAX' default float when left out.

    Returns:
        The linear model with overall scale one and no solvent yet.

    Raises:
        ValueError: the model has no cell.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> model, reflections = read_example()
        >>> tensor = OccupancyTensor(model.atoms["occupancy"], model.atoms["resseq"])
        >>> linear = linear_model(model, reflections, tensor, np.array([0, 1]))
        >>> linear.amplitude(jnp.array([0.5, 0.5])).shape == (reflections.n_reflections,)
        True
    """
    if model.cell is None:
        raise ValueError(NO_CELL.format(model.path))
    groups = [np.flatnonzero(tensor.expansion_mask == entry) for entry in entries]
    moving = np.concatenate([np.zeros(0, int), *groups])
    hkl = reflections.hkl if hkl is None else hkl
    occupancies = np.asarray(tensor(), np.float64)
    beam: dict[str, Any] = {"radiation": radiation, "wavelength": wavelength}
    fixed = fixed_structure_factors(
        model.structure, hkl, refinable=moving, occupancies=occupancies * _site_weights(model), **beam
    )
    mask = solvent_structure_factors(model.structure, hkl, refinable=moving, occupancies=occupancies)
    real = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    empty, displaced = solvent_of_groups(model, hkl, tensor, entries)
    pair = jnp.result_type(real, jnp.complex64)
    n = len(hkl)
    return LinearModel(
        fixed=jnp.asarray(fixed, pair),
        mask=jnp.asarray(mask + empty, pair),
        columns=group_columns(model, hkl, groups, memory=memory, dtype=dtype, **beam),
        overall=jnp.ones(n, real),
        solvent=jnp.zeros(n, real),
        s_squared=jnp.asarray(model.cell.calculate_1_d2_array(np.array(hkl)) / 4, real),
        displaced=displaced,
        empty=jnp.asarray(empty, pair),
    )


def solvent_of_groups(
    model: Model, hkl: Int[np.ndarray, "all 3"], tensor: OccupancyTensor, entries: np.ndarray
) -> tuple[Complex[np.ndarray, " all"], DisplacedSolvent]:
    """What flows in where groups are absent, and what each keeps out, around the occupancies of the tensor."""
    opened = group_solvent_structure_factors(
        model.structure,
        hkl,
        [np.flatnonzero(tensor.expansion_mask == entry) for entry in entries],
        sets=_innermost_sets(tensor, entries),
        occupancies=np.asarray(tensor(), np.float64),
        at=np.asarray(tensor.group_occupancies, np.float64)[entries],
    )
    return opened.empty, DisplacedSolvent.from_structure_factors(opened.groups, dtype=STORED)


def group_columns(
    model: Model,
    hkl: Int[np.ndarray, "reflections 3"],
    groups: Sequence[Int[np.ndarray, " _"]],
    *,
    radiation: Radiation = "xray",
    wavelength: float | None = None,
    memory: float | int = 0,
    shifts: bool = False,
    dtype=None,
) -> Columns:
    """Structure factors of groups of atoms, with `shifts` also their derivatives by position.

    They are stored if they take no more than `memory` (GB), else they are computed in every pass.
    """
    known = (model.atoms["element"] != UNKNOWN).to_numpy()
    scatterers = group_scatterers(
        model.atoms,
        [atoms[known[atoms]] for atoms in groups],
        model.cell,  # pyright: ignore
        weights=_site_weights(model),
        radiation=radiation,
        wavelength=wavelength,
        dtype=dtype,
    )
    crystal = Crystal.from_gemmi(model.cell, model.spacegroup, dtype=dtype)  # pyright: ignore
    axes = jnp.asarray(np.array(model.cell.frac.mat.tolist()).T, dtype) if shifts else None  # pyright: ignore
    columns = Columns.computed(jnp.asarray(hkl), scatterers, crystal, len(groups), axes=axes)
    gigabytes = (8 if shifts else 2) * len(groups) * len(hkl) * jnp.dtype(STORED).itemsize / 1e9
    return _stored(columns) if gigabytes <= memory else columns


def _site_weights(model: Model) -> np.ndarray:
    """1/n of special positions; 0 for atoms of unknown element, which have no form factor."""
    return np.where(model.atoms["element"] == UNKNOWN, 0.0, 1.0 / site_orders(model.structure))


_stored = jax.jit(partial(Columns.stored, dtype=STORED))


def _innermost_sets(tensor: OccupancyTensor, entries: np.ndarray) -> np.ndarray:
    """The number of the set of each entry; an entry on its own is one."""
    own = tensor.topology.set_of_entry[entries]
    return np.where(own < 0, tensor.topology.n_sets + np.arange(len(entries)), own)


def _cell(parameters: np.ndarray) -> str:
    return " ".join(f"{value:.2f}" for value in parameters)
