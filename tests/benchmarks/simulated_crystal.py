"""Crystals of any size to simulate data from: helices in boxes, with everything whose occupancy can be in question.

The boxes fill a brick that the space group tiles the cell with, so no two atoms clash. Each holds a helix of 24
residues with alternating side chains, waters (the first of them partly occupied) and, in turn, a linked run of two
residues with a ligand in two poses that is not always there, or a nested set: a state `bound` whose ligand splits into
two poses, against a state `apo` of waters in its place.
"""

from dataclasses import dataclass

import gemmi
import numpy as np
from simulated_box import BOX, BoxBuilder, TrueSet

from jax_occupancy.groups import UserGroups

# Bricks (fractions of the cell's edges) whose images under the space group fill the cell once.
BRICKS = {
    "P 1": (1.0, 1.0, 1.0),
    "P 1 21 1": (1.0, 0.5, 1.0),
    "C 1 2 1": (0.5, 0.5, 1.0),
    "P 21 21 21": (0.5, 0.5, 1.0),
    "P 43 21 2": (1.0, 1.0, 0.125),
}


@dataclass(frozen=True, eq=False)
class SimulatedCrystal:
    """A model to refine and its sets.

    Attributes:
        structure: the model, from even shares; `atom.serial` is the position plus one.
        sets: what excludes what; a parent comes before its children.
        user: what the automatic groups do not know, the nested sets.
        resolution: that its B factors are made for, in Å.
    """

    structure: gemmi.Structure
    sets: list[TrueSet]
    user: UserGroups
    resolution: float

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.structure[0].count_atom_sites()

    @property
    def groups(self) -> list[np.ndarray]:
        """Atoms of the members of all sets, set by set."""
        return [atoms for one in self.sets for atoms in one.members]


def build_crystal(
    boxes: tuple[int, int, int] = (2, 1, 1),
    *,
    resolution: float = 1.8,
    spacegroup: str = "P 21 21 21",
    alternating: int = 2,
    conformers: tuple[int, ...] = (2, 3),
    seed: int = 0,
) -> SimulatedCrystal:
    """Put boxes side by side in the brick of a space group.

    Args:
        boxes: how many along each axis; a box has 10 groups by default.
        resolution: in Å; decides the B factors.
        spacegroup: one of `BRICKS`.
        alternating: side chains with conformers in a box, at most 6.
        conformers: how many these have, in turn, at most 10.
        seed: of directions, torsions and the spread of B.
    """
    structure = gemmi.Structure()
    structure.name = "SIMULATED"
    edges = np.array(boxes) * BOX / BRICKS[spacegroup]
    if spacegroup == "P 43 21 2":  # a and b are one length
        edges[:2] = edges[:2].max()
    structure.cell = gemmi.UnitCell(*edges, 90, 90, 90)
    structure.spacegroup_hm = spacegroup
    builder = BoxBuilder(np.random.default_rng(seed), _b_factor(resolution), alternating, conformers)
    model = gemmi.Model(1)
    for number, corner in enumerate(np.ndindex(*boxes)):
        model.add_chain(builder.chain(_chain_name(number), corner * BOX, even=number % 2 == 0))
    structure.add_model(model)
    structure.setup_entities()
    structure.assign_serial_numbers()
    structure.setup_cell_images()
    user = UserGroups(dict(builder.groups), tuple(builder.user_sets))
    return SimulatedCrystal(structure, builder.sets, user, resolution)


def _b_factor(resolution: float) -> float:
    """Typical B of a well-ordered atom in Å²; the mobile ones get 1.4 times that."""
    return float(np.interp(resolution, [1.0, 1.2, 1.8, 2.5, 3.0], [9.0, 12.0, 20.0, 38.0, 55.0]))


def _chain_name(number: int) -> str:
    """A, B, … Z, AA, AB, …"""
    first, second = divmod(number, 26)
    return ("" if first == 0 else chr(64 + first)) + chr(65 + second)
