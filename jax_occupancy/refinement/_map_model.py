"""From a model and maps to the linear problem: what of the map depends on which occupancy."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import gemmi
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.spatial import KDTree

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.io import Maps, Model, atom_label
from jax_occupancy.refinement._linear_model import UNKNOWN
from jax_occupancy.refinement._map_data import MapData, in_rows
from jax_occupancy.xray import Box, Columns, DisplacedSolvent, MapModel, boxes_around

Operation = tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]
# An atom that is brought this near to itself, in Å, lies on an axis.
ON_AXIS = 0.8
# Atoms of copies are farther apart than this, in Å.
TOO_NEAR = 1.5
# No particle has an axis of a higher order; the elements of a group are compared with each other.
LARGEST_ORDER = 100
# Generators of the point groups beside the axis along z: directions and orders.
OTHER_AXES = {"D": ((1, 0, 0), 2), "T": ((1, 1, 1), 3), "O": ((1, 1, 1), 3), "I": ((0, 1, (1 + 5**0.5) / 2), 5)}


def in_map(model: Model, maps: Maps) -> Model:
    """The model in the cell of the map, without the symmetry of a crystal."""
    structure = model.structure.clone()
    structure.cell = gemmi.UnitCell(*(maps.pixel * maps.density.shape).tolist(), 90.0, 90.0, 90.0)  # pyright: ignore
    structure.spacegroup_hm = "P 1"
    structure.ncs = gemmi.NcsOpList()
    structure.setup_cell_images()
    return replace(model, structure=structure, cell=structure.cell, spacegroup=gemmi.SpaceGroup("P 1"))


def particle_operations(model: Model, maps: Maps) -> list[Operation]:
    """Rotation and translation, in Å, of each copy of the model; the identity first.

    From the name of a point group, about the centre of the map, else from MTRIX records or `_struct_ncs_oper`.

    Raises:
        ValueError: there is no such point group.
    """
    if maps.symmetry is None:
        given = [one.tr for one in model.structure.ncs if not one.given]
        found = [(np.array(one.mat.tolist()), np.array(one.vec.tolist())) for one in given]
        return [(np.eye(3), np.zeros(3)), *found]
    centre = maps.origin + maps.pixel * (np.array(maps.density.shape) // 2)
    return [(rotation, centre - rotation @ centre) for rotation in point_group(maps.symmetry)]


def point_group(name: str) -> list[Float[np.ndarray, "3 3"]]:
    """Rotations of a point group, its main axis along z, 2-fold axes of D along x, those of I along x, y and z.

    Raises:
        ValueError: there is no such point group.

    Example:
        >>> [len(point_group(name)) for name in ("C4", "D2", "T", "O", "I")]
        [4, 4, 12, 24, 60]
    """
    kind, number = name[:1].upper(), name[1:]
    orders = {"T": 2, "O": 4, "I": 2}
    numbered = kind in ("C", "D") and number.isdecimal() and len(number) < 4 and 0 < int(number) <= LARGEST_ORDER
    if not numbered and not (kind in orders and number in ("", "1")):
        wanted = f"C1, C2, ... D2, D3, ... to {LARGEST_ORDER}, T, O or I"
        raise ValueError(f"symmetry {name!r} is no point group of particles; wanted {wanted}")
    generators = [_rotation((0, 0, 1), orders.get(kind) or int(number))]
    if kind in OTHER_AXES:
        generators.append(_rotation(*OTHER_AXES[kind]))
    found = [np.eye(3)]
    for rotation in found:  # it grows while it is gone through
        for generator in generators:
            new = generator @ rotation
            if not any(np.allclose(new, one, atol=1e-6) for one in found):
                found.append(new)
    return found


def _rotation(axis: Sequence[float | int], order: int) -> Float[np.ndarray, "3 3"]:
    unit, angle = np.array(axis) / np.linalg.norm(axis), 2 * np.pi / order
    cross = np.cross(np.eye(3), unit)
    return np.eye(3) * np.cos(angle) + (1 - np.cos(angle)) * np.outer(unit, unit) - np.sin(angle) * cross


def map_data(model: Model, maps: Maps, members: Sequence[Int[np.ndarray, " _"]]) -> MapData:
    """Cut out what is around the groups.

    Raises:
        ValueError: the model lies outside the map, or the map has nothing there.
    """
    operations, xyz = particle_operations(model, maps), model.atoms[["x", "y", "z"]].to_numpy(np.float64)
    refined = np.unique(np.concatenate([np.zeros(0, int), *members]))
    try:
        boxes = boxes_around(maps, xyz, refined if refined.size else np.arange(len(xyz)), operations)
    except ValueError as error:
        raise ValueError("; ".join([f"{model.path} and {maps.name}: {error}", *maps.notes])) from error
    copies = [xyz @ rotation.T + translation for rotation, translation in operations]
    orders = np.sum([np.linalg.norm(copy - xyz, axis=1) < ON_AXIS for copy in copies], axis=0)
    _refuse_whole_particle(model, xyz, copies[1:])
    maps = replace(maps, notes=(*maps.notes, *_on_copies(model, maps, xyz, copies[1:])))
    if "charge" in model.atoms and np.any(model.atoms["charge"].to_numpy()):
        maps = replace(maps, notes=(*maps.notes, "charged atoms scatter electrons as neutral ones here"))
    return MapData.from_maps(maps, boxes, np.concatenate(copies), orders, _outside(maps, boxes, xyz, members))


def _outside(
    maps: Maps, boxes: Sequence[Box], xyz: Float[np.ndarray, "atoms 3"], members: Sequence[Int[np.ndarray, " _"]]
) -> tuple[str, ...]:
    """Of each group without any atom where the boxes have data what it lies outside of, of others nothing."""
    seen, end = np.zeros(len(xyz), bool), maps.origin + maps.pixel * maps.density.shape
    for box in boxes:
        for rotation, translation, atoms in box.images:
            voxels = np.round((xyz[atoms] @ rotation.T + translation - box.place) / box.pixel).astype(int)
            seen[atoms] |= box.mask[tuple(np.minimum(voxels, np.array(box.mask.shape) - 1).T)] > 0
    inside = np.all((xyz > maps.origin) & (xyz < end), axis=1)
    return tuple(
        "" if seen[atoms].any() or not atoms.size else "the mask" if inside[atoms].any() else "the map"
        for atoms in members
    )


def _on_copies(model: Model, maps: Maps, xyz: np.ndarray, copies: list[np.ndarray]) -> list[str]:
    """How many copies there are and where they are from, and which atoms come too near to them."""
    if not copies:
        return []
    source = "the operations in the model" if maps.symmetry is None else f"symmetry={maps.symmetry}"
    notes = [f"the particle is {1 + len(copies)} copies of the model, by {source}"]
    atoms, own, q = KDTree(xyz), np.arange(len(xyz))[:, None], model.atoms["occupancy"].to_numpy(np.float64)
    clashing = np.zeros(len(xyz), bool)
    for copy in copies:
        away, nearest = atoms.query(copy, k=4, distance_upper_bound=TOO_NEAR)
        together = q[:, None] + np.append(q, 0)[nearest] > 1.01  # alternatives may be on either side of an axis
        on_axis = (nearest == own) & (away < ON_AXIS)
        clashing |= np.any(np.isfinite(away) & together & ~on_axis, axis=1)
    if clashing.any():
        first, more = atom_label(model.atoms, int(np.argmax(clashing))), int(clashing.sum()) - 1
        which = f"{first} and {more} more atoms come" if more else f"{first} comes"
        notes.append(f"{which} closer than {TOO_NEAR} Å to a copy of the model: is the symmetry right, by {source}?")
    return notes


def _refuse_whole_particle(model: Model, xyz: np.ndarray, copies: list[np.ndarray]) -> None:
    """ValueError if the copies that symmetry makes are in the file already."""
    atoms = KDTree(xyz)
    for copy in copies:
        away, nearest = atoms.query(copy)
        if np.mean((away < ON_AXIS) & (nearest != np.arange(len(xyz)))) > 0.5:
            raise ValueError(
                f"{model.path}: the symmetry of the particle brings most atoms onto others: the file holds more than "
                "one asymmetric unit; take the symmetry away, or all copies but one"
            )


def map_structure_factors(
    model: Model, data: MapData, groups: Sequence[Int[np.ndarray, " _"]], weights: np.ndarray, **settings: Any
) -> Complex[np.ndarray, "planes groups reflections"]:
    """Structure factors of groups in the boxes; see `Box.structure_factors`."""
    groups, weights = _known(model, groups), weights / data.orders
    return in_rows([box.structure_factors(model.atoms, groups, weights=weights, **settings) for box in data.boxes])


def _known(model: Model, groups: Sequence[Int[np.ndarray, " _"]]) -> list[Int[np.ndarray, " _"]]:
    """The groups without atoms of unknown element, which have no form factor."""
    known = (model.atoms["element"] != UNKNOWN).to_numpy()
    return [atoms[known[atoms]] for atoms in groups]


def map_columns(
    model: Model,
    data: MapData,
    groups: Sequence[Int[np.ndarray, " _"]],
    *,
    shifts: bool = False,
    memory: float | int = 0,
    dtype: Any = None,
) -> Columns:
    """Structure factors of groups at occupancy one, with `shifts` also their derivatives by position.

    They are kept whatever the `memory` allowed (GB): masks can't be applied in passes.
    """
    pair, pieces = np.result_type(jnp.result_type(float) if dtype is None else dtype, np.complex64), []
    scatterers, weights = _known(model, groups), 1 / data.orders
    for box in data.boxes:
        inside = np.zeros(model.n_atoms, bool)
        inside[np.concatenate([atoms for _, _, atoms in box.images])] = True
        own = np.flatnonzero([inside[atoms].any() for atoms in groups])
        some = [scatterers[i] for i in own.tolist()]
        found = box.structure_factors(model.atoms, some, weights=weights, shifts=shifts, dtype=pair)
        found = found if shifts else found[0]
        pieces += [(own, found), (own, np.conj(found))]  # the opposite indices
    return Columns.from_pieces(pieces, len(groups))


def map_model(model: Model, data: MapData, tensor: OccupancyTensor, members: Any, *, dtype: Any) -> MapModel:
    """What each occupancy that can move adds to the map, and what all else adds."""
    held = np.ones(model.n_atoms, bool)
    held[np.concatenate([np.zeros(0, int), *members])] = False
    n, pair = data.amplitude.size, jnp.result_type(dtype, jnp.complex64)
    fixed = map_structure_factors(model, data, [np.flatnonzero(held)], np.asarray(tensor(), np.float64))
    nothing, ones = np.zeros(n), np.ones(n)
    few = jnp.zeros((0, n), pair)
    found = MapModel.from_structure_factors(fixed[0, 0], nothing, few, ones, nothing, s_squared=data.spacing**-2.0 / 4)
    empty = DisplacedSolvent.nothing(len(members), n, dtype=dtype)
    columns = map_columns(model, data, members, dtype=dtype)
    return eqx.tree_at(lambda one: (one.columns, one.displaced), found, (columns, empty))


def indices_in_map(data: MapData, model: Model) -> Int[np.ndarray, "reflections 3"]:
    """The coefficients of all boxes as indices of the whole map, rounded."""
    edges = np.array(model.cell.parameters[:3])  # pyright: ignore[reportOptionalMemberAccess]
    vectors = [part for box in data.boxes for part in (box.vectors, -box.vectors)]
    return np.round(np.concatenate(vectors) * edges).astype(np.int32)
