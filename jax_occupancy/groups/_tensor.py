"""From groups to the module that holds their occupancies."""

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jax_occupancy.groups._starts import tolerance, with_starts

if TYPE_CHECKING:
    import jax_occupancy.core
    import jax_occupancy.groups


RESCALED = "occupancies that exclude each other do not sum to 1 and will be made to"


def make_tensor(
    grouping: "jax_occupancy.groups.Grouping", occupancies: Any, *, dtype: Any, name: str | None
) -> "jax_occupancy.core.OccupancyTensor":
    """Make the module; see ``Grouping.to_tensor``."""
    from jax_occupancy.core import OccupancyTensor  # core loads jax, which reading a table of groups does not need

    values = _clamped(occupancies, grouping.n_atoms)
    refinable = np.zeros(grouping.n_atoms, bool)
    for group in _started(grouping, values):
        values[group.atoms] = group.start
        refinable[group.atoms] = group.refinable
    # A group that stands alone is a sharing group; one with siblings is a member of a set.
    alone = [s.groups[0] for s in grouping.sets if s.kind == "free"]
    sets = [s for s in grouping.sets if s.kind != "free"]
    place: dict[str, Any] = {group.name: number for number, group in enumerate(alone)}
    place |= {g.name: (i, j) for i, s in enumerate(sets) for j, g in enumerate(s.groups)}
    with warnings.catch_warnings():
        if _says_so_already(grouping, values):
            warnings.filterwarnings("ignore", "start values of .* normalised", UserWarning)
        return OccupancyTensor(
            values,
            [_indices(group) for group in alone],
            altloc_groups=[[_indices(group) for group in s.groups] for s in sets] or None,
            complete=[s.kind == "complete" for s in sets],
            parents=[None if s.parent is None else place[s.parent] for s in sets] or None,
            refinable_mask=refinable,
            dtype=dtype,
            name=name,
            # Entries without atoms come last in collapsed space and have no label there.
            labels=[group.name for group in alone] + [g.name for s in sets for g in s.groups if g.atoms.size],
        )


def _started(grouping: "jax_occupancy.groups.Grouping", values: np.ndarray) -> list["jax_occupancy.groups.Group"]:
    """The groups at the occupancies of these values: refinable ones at their mean, fractions with their parents."""
    sets = tuple(replace(s, groups=tuple(_at_mean(group, values) for group in s.groups)) for s in grouping.sets)
    return [group for group_set in with_starts(sets) for group in group_set.groups]


def _at_mean(group: "jax_occupancy.groups.Group", values: np.ndarray) -> "jax_occupancy.groups.Group":
    """A refinable group at the mean of its counted atoms."""
    moves = group.refinable and group.atoms.size
    return replace(group, start=float(values[group.counted].mean())) if moves else group


def _says_so_already(grouping: "jax_occupancy.groups.Grouping", values: np.ndarray) -> bool:
    """Whether the groups warn of the sums that these start values have, or all sums are 1 to rounding."""
    told = any(message.startswith(RESCALED) for message in grouping.warnings)
    sums = [(len(s.groups), sum(g.start for g in s.groups)) for s in grouping.sets if s.kind == "complete"]
    rounded = all(abs(total - 1) <= tolerance(count) for count, total in sums)
    return (told or rounded) and all(abs(values[g.atoms[0]] - g.start) <= 1e-6 for g in grouping.groups if g.atoms.size)


def _indices(group: "jax_occupancy.groups.Group") -> list[int]:
    """Positions as the plain list that core takes."""
    return group.atoms.tolist()


def _clamped(occupancies: Any, n_atoms: int) -> np.ndarray:
    """A copy of the occupancies in 0…1 with the caller's float type."""
    given = np.asarray(occupancies)
    if given.shape != (n_atoms,):
        raise ValueError(
            f"occupancies has shape {given.shape}; wanted ({n_atoms},), one occupancy per atom in file order."
        )
    floats = given if np.issubdtype(given.dtype, np.floating) else given.astype(np.float64)
    return np.clip(floats, 0, 1)
