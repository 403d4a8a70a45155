"""Groups that the data do not speak for, and what is left of the others without them."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import Group, Grouping, GroupSet, hydrogens_on
from jax_occupancy.refinement._table import NOT_SUPPORTED, NOT_TOLD_FROM_FULL

# Occupancies that are zero take their part, too, where all others of their set go.
TINY = 1e-9
UNCHANGED = 1e-6


def unsupported_groups(table: pd.DataFrame, grouping: Grouping, atoms: pd.DataFrame) -> tuple[str, ...]:
    """The groups that a model can do without: of each set one, whose absence costs least."""
    residue = atoms.groupby(["chainid", "resseq", "icode"], sort=False).ngroup().to_numpy()
    chain = atoms["kind"].isin(["protein", "nucleic"]).to_numpy()
    lettered, staying = atoms["altloc"].to_numpy() != "", np.ones(len(atoms), bool)
    llg = dict(zip(table["name"], table["llg_absent"], strict=True))
    noted = [name for name, note in zip(table["name"], table["note"], strict=True) if NOT_SUPPORTED in note]
    noted = {name for name in noted if np.isfinite(llg[name])} - {s.parent for s in grouping.sets}
    found = []
    for s in grouping.sets:
        for group in sorted((one for one in s.groups if one.name in noted), key=lambda one: llg[one.name]):
            own, siblings = (np.isin(np.arange(len(atoms)), some) for some in (group.atoms, _atoms(s)))
            conformers = residue[staying & ~own & (lettered | siblings)]
            if _set_stays(group, s) and np.isin(residue[own & chain], conformers).all():
                found.append(group.name)
                staying &= ~own
                break  # without it another may be supported
    return tuple(found)


def full_waters(table: pd.DataFrame, grouping: Grouping, atoms: pd.DataFrame) -> tuple[str, ...]:
    """The waters that the data do not tell from full ones."""
    # across a symmetry element a full one is not at 1
    free = {s.groups[0].name for s in grouping.sets if s.kind == "free" and s.whole == 1}
    water = atoms["kind"].to_numpy() == "water"
    names = table.loc[table["note"].str.contains(NOT_TOLD_FROM_FULL, regex=False), "name"]
    return tuple(name for name in names if name in free and water[grouping[name].atoms].all())


def atoms_of_groups(grouping: Grouping, names: Collection[str], atoms: pd.DataFrame) -> Bool[np.ndarray, " atoms"]:
    """Where the atoms of some groups are, and the hydrogens on them."""
    inside = np.zeros(grouping.n_atoms, bool)
    for name in names:
        inside[grouping[name].atoms] = True
    if names:
        inside[hydrogens_on(atoms, np.flatnonzero(inside))] = True
    return inside


def occupancies_without(tensor: OccupancyTensor, gone: Bool[np.ndarray, " atoms"]) -> Float[np.ndarray, " atoms"]:
    """Occupancies of all atoms if some are gone: the others of complete sets share what these had."""
    q, counts = np.asarray(tensor.group_occupancies, np.float64), tensor.topology.atom_counts
    absent = (counts > 0) & (np.bincount(tensor.expansion_mask, gone, minlength=counts.size) == counts)
    left = np.asarray(tensor.with_group_occupancies(np.where(absent, 0, np.maximum(q, TINY)), margin=0)(), np.float64)
    before = np.asarray(tensor(), np.float64)
    return np.where(np.abs(left - before) > UNCHANGED, left, before)


def _atoms(group_set: GroupSet) -> np.ndarray:
    return np.concatenate([group.atoms for group in group_set.groups])


def _set_stays(group: Group, group_set: GroupSet) -> bool:
    """Whether what is left of a set without a group is a set, or one group that needs none."""
    others = [one for one in group_set.groups if one is not group]
    takes_over = group_set.kind != "complete" or any(one.refinable for one in others)
    return bool(group.atoms.size) and takes_over and (group_set.parent is None or len(others) > 1)
