"""What moves together: the residues of groups as bodies, or their atoms, and the model once they have moved."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from jax_occupancy.io import Model


class Parts(NamedTuple):
    """Groups cut into residues, by which their links are judged.

    Attributes:
        atoms: positions of the atoms of each part.
        group: the group each part belongs to, ascending.
        residue: the residue each part lies in, such as "A/54/ARG"; conformers of one residue share it.
    """

    atoms: tuple[Int[np.ndarray, " _"], ...]
    group: Int[np.ndarray, " parts"]
    residue: tuple[str, ...]


class Movers(NamedTuple):
    """What moves as a body: the parts, or their atoms.

    Attributes:
        atoms: positions of the atoms of each.
        part: the part each belongs to, ascending.
        b: the mean B factor of each, in Å².
        lowest_b: the lowest of its atoms, of an anisotropic one along the direction in which it moves least.
        may_shift: those that have no atom on a special position.
        shifts: how far each has been moved, in Å, (movers, 3).
        delta_b: what was added to its B factors beside the shift of its group, in Å².
        by_atom: whether they are single atoms, but for hydrogens.
    """

    atoms: tuple[Int[np.ndarray, " _"], ...]
    part: Int[np.ndarray, " movers"]
    b: Float[np.ndarray, " movers"]
    lowest_b: Float[np.ndarray, " movers"]
    may_shift: Bool[np.ndarray, " movers"]
    shifts: Float[np.ndarray, "movers 3"]
    delta_b: Float[np.ndarray, " movers"]
    by_atom: bool

    def of_atoms(self, n_atoms: int) -> tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, " atoms"]]:
        """The shift and what was added to the B factor of each atom of the model."""
        shifts, delta_b = np.zeros((n_atoms, 3)), np.zeros(n_atoms)
        for atoms, shift, b in zip(self.atoms, self.shifts, self.delta_b, strict=True):
            shifts[atoms], delta_b[atoms] = shift, b
        return shifts, delta_b


def parts_of(atoms: pd.DataFrame, groups: Sequence[Int[np.ndarray, " _"]]) -> Parts:
    """Cut groups into residues; microheterogeneity (several residue names in one place) is one residue."""
    place = atoms["chainid"].astype(str) + "/" + atoms["resseq"].astype(str) + atoms["icode"].astype(str)
    # The name that comes first in the file stands for the place.
    name = atoms["resname"].astype(str).groupby(place, sort=False).transform("first")
    labels = (place + "/" + name).to_numpy(str)
    parts = [
        (members[labels[members] == label], index, label)
        for index, members in enumerate(groups)
        for label in dict.fromkeys(labels[members].tolist())
    ]
    found, group, residue = zip(*parts, strict=True) if parts else ((), (), ())
    return Parts(tuple(found), np.array(group, np.int64), tuple(residue))


def movers_of(
    model: Model, parts: Parts, orders: Int[np.ndarray, " atoms"], *, alone: Bool[np.ndarray, " atoms"] | None = None
) -> Movers:
    """What moves as a body, not moved yet: parts, or those atoms of theirs that go `alone` and the rest of each."""
    b, lowest = equivalent_and_lowest_b(model)
    single = np.zeros(b.size, bool) if alone is None else alone
    bodies = [[*part[single[part]][:, None], part[~single[part]]] for part in parts.atoms]
    bodies = [[body for body in one if body.size] for one in bodies]
    atoms = [body for one in bodies for body in one]
    return Movers(
        atoms=tuple(atoms),
        part=np.repeat(np.arange(len(bodies)), [len(one) for one in bodies]),
        b=np.array([b[one].mean() for one in atoms]),
        lowest_b=np.array([lowest[one].min() for one in atoms]),
        may_shift=np.array([bool(np.all(orders[one] == 1)) for one in atoms], bool),
        shifts=np.zeros((len(atoms), 3)),
        delta_b=np.zeros(len(atoms)),
        by_atom=alone is not None,
    )


def moved_model(model: Model, shifts: Float[np.ndarray, "atoms 3"], delta_b: Float[np.ndarray, " atoms"]) -> Model:
    """The model with its atoms elsewhere (Å) and with other B factors (Å²): to be computed with, its file stays."""
    added = dict(zip(("x", "y", "z"), shifts.T, strict=True)) | {"tempfactor": delta_b}
    if "u11" in model.atoms:
        added |= dict.fromkeys(("u11", "u22", "u33"), delta_b / (8 * np.pi**2))
    atoms = model.atoms.assign(**{name: model.atoms[name] + more for name, more in added.items()})
    return replace(model, atoms=atoms)


def equivalent_and_lowest_b(model: Model) -> tuple[Float[np.ndarray, " atoms"], Float[np.ndarray, " atoms"]]:
    """B factor of each atom and along the direction in which it moves least, in Å²; the same for an isotropic atom."""
    b = model.atoms["tempfactor"].to_numpy(np.float64).copy()
    lowest = b.copy()
    columns = ["u11", "u22", "u33", "u12", "u13", "u23"]
    if set(columns) <= set(model.atoms.columns):
        u = model.atoms[columns].to_numpy(np.float64)
        there = np.isfinite(u).all(axis=1) & (u != 0).any(axis=1)
        tensors = u[there][:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
        principal = 8 * np.pi**2 * np.linalg.eigvalsh(tensors)
        b[there], lowest[there] = principal.mean(axis=1), principal[:, 0]
    return b, lowest
