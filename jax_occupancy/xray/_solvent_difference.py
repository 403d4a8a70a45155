"""How the mask of the bulk solvent changes when a group is not there."""

from collections.abc import Sequence
from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Complex, Int

from jax_occupancy.xray._bare_model import occupancies_by_position, positions
from jax_occupancy.xray._checks import check_places, checked_hkl, checked_occupancies, checked_positions
from jax_occupancy.xray._grid_waves import GridWaves
from jax_occupancy.xray._mask_grid import MaskGrid, mask_radius

# Probe and shrinkage of cctbx's mask, in Å.
PROBE, SHRINKAGE = 1.1, 0.9
# Beyond it the solvent is a few per cent of what it is at low resolution.
DIFFERENCE_LIMIT = 2.0
NO_POINTS = np.zeros(0, np.int64)


class SolventDifference(NamedTuple):
    """What to add to F_mask: F_mask(q) = F_mask + empty + Σ_g q_g·groups[g].

    What `group_solvent_structure_factors` returns.

    Attributes:
        empty: Transform of the solvent that flows in where every set is empty (all its groups absent).
        groups: For each group minus the transform of the part of it that the group keeps out when it alone of its
            set is present.
    """

    empty: Complex[np.ndarray, " reflections"]
    groups: Complex[np.ndarray, "groups reflections"]


def group_solvent_structure_factors(
    structure: gemmi.Structure,
    hkl: np.ndarray,
    groups: Sequence[Sequence[int] | np.ndarray],
    *,
    sets: Sequence[int] | np.ndarray | None = None,
    refinable: Sequence[int] | np.ndarray | None = None,
    occupancies: np.ndarray | None = None,
    spacing: float = 0.4,
    d_min: float = DIFFERENCE_LIMIT,
) -> SolventDifference:
    r"""Transform the solvent that takes the place of each group where the group is absent.

    `solvent_structure_factors` leaves no solvent where any refinable atom may be. In truth a cell without the group
    has solvent there. Groups of one set exclude each other (conformers of a residue, poses of a ligand: Σq ≤ 1), so a
    cell holds one of them (with probability q_g) or none, and with S the atoms of the set the mask is, on average,

        M(q) = M_all + Σ_sets [ D(S) − Σ_(g in S) q_g·(D(S) − D(S∖g)) ],   D(X) = (mask without X) − M_all,

    which is linear in q and exact for one set, the shrinkage of the mask included. A complete set needs no other
    treatment. So the caller uses, with k_mask the density of the solvent,

        F_mask + empty          in place of F_mask,   and
        G_g + k_mask·groups[g]  in place of G_g.

    Nothing changes for a group on its own at q = 1. A point that two sets cover never opens: both would have to be
    absent, which is not linear. Nested sets: give the innermost set of each group. A row is zero when the others
    of the crystal leave no room for solvent in the group's place.

    Args:
        structure: Structure whose `atom.serial` is the position in the file plus one. It is not changed.
        hkl: Miller indices, integers (reflections, 3).
        groups: Positions of the atoms of each group. Groups of different sets have no atoms in common.
        sets: For each group the number of its set, any integers; each group is a set of its own when left out.
        refinable: Positions of all refinable atoms, inside the molecule whatever their occupancy; those of the groups
            when left out. Give it when `groups` is only a part of them.
        occupancies: Occupancy of each atom, by position; those of the structure when left out. An atom at zero that
            is not refinable is ignored.
        spacing: Largest distance between grid points, in Å. That of F_mask by default: on 1G8A both are 10 %
            (relative RMS, weighted as solvent scatters) from those on a grid of 0.2 Å, and 30 % at 0.7 Å.
        d_min: Reflections beyond this resolution, in Å, get zero: the scale has no solvent there.

    Returns:
        The two parts, at density 1 electron per Å³, in single precision (complex64).

    Raises:
        ValueError: An argument does not match the structure, which has no cell or a coordinate that is not finite.

    Example:
        >>> import gemmi, numpy as np
        >>> structure = gemmi.read_pdb_string(
        ...     "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1\n"
        ...     "HETATM    1  O   HOH A   1       0.000   0.000   0.000  0.50 10.00           O\n"
        ... )
        >>> hkl = np.array([[0, 0, 1]])
        >>> from jax_occupancy.xray import solvent_structure_factors
        >>> mask = solvent_structure_factors(structure, hkl, refinable=[0])
        >>> difference = group_solvent_structure_factors(structure, hkl, [[0]])
        >>> bool(abs(mask + difference.empty)[0] < 1), bool(abs(mask - difference.groups[0])[0] < 1)
        (True, True)
    """
    hkl = checked_hkl(hkl)
    if not structure.cell.is_crystal():
        raise ValueError(f"structure: got the cell {structure.cell}, wanted that of a crystal: add a CRYST1 record")
    atoms = _MaskAtoms.from_structure(structure, groups, refinable, occupancies)
    labels = np.arange(len(atoms.groups)) if sets is None else _checked_sets(sets, len(atoms.groups))
    near = structure.cell.calculate_1_d2_array(hkl) <= d_min**-2 if len(hkl) else np.zeros(0, bool)
    empty, rows = np.zeros(len(hkl), np.complex64), np.zeros((len(atoms.groups), len(hkl)), np.complex64)
    if not near.any() or not len(rows):
        return SolventDifference(empty, rows)
    grid = MaskGrid.from_structure(structure, spacing)
    waves = GridWaves.at(grid, hkl[near])
    opening = _Opening(grid, atoms)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        region, kept_out = opening.of_set([atoms.groups[member] for member in members])
        empty[near] += waves.sum(region, opening.weights(region))
        for member, points in zip(members, kept_out, strict=True):
            rows[member, near] = -waves.sum(points, opening.weights(points))
    return SolventDifference(empty, rows)


class _MaskAtoms(NamedTuple):
    """Atoms that the mask knows, by position."""

    fractional: np.ndarray
    radius: np.ndarray  # 0: not in the mask
    groups: list[np.ndarray]

    @classmethod
    def from_structure(cls, structure, groups, refinable, occupancies) -> "_MaskAtoms":
        n_atoms = len(positions(structure))
        members = [checked_positions(group, n_atoms, "groups") for group in groups]
        moving = np.concatenate([NO_POINTS, *members]) if refinable is None else refinable
        found = occupancies_by_position(structure) if occupancies is None else occupancies
        inside = checked_occupancies(found, n_atoms, "occupancies") != 0
        inside[checked_positions(moving, n_atoms, "refinable")] = True
        inside[np.concatenate([NO_POINTS, *members])] = True
        place, radius = np.zeros((n_atoms, 3)), np.zeros(n_atoms)
        for site in structure[0].all():
            at = site.atom.serial - 1
            place[at] = site.atom.pos.tolist()
            radius[at] = mask_radius(site.atom.element.name) if inside[at] else 0.0
        check_places(place, np.arange(n_atoms))
        fractional = np.array(structure.cell.frac.mat.tolist())
        return cls(place @ fractional.T + structure.cell.frac.vec.tolist(), radius, members)


class _Opening:
    """Finds the points that open when groups leave; keeps one array over the grid to mark points in."""

    def __init__(self, grid: MaskGrid, atoms: _MaskAtoms):
        self.grid = grid
        self.covered = [NO_POINTS] * len(atoms.radius)
        for radius in np.unique(atoms.radius[atoms.radius > 0]):
            chosen = np.flatnonzero(atoms.radius == radius)
            for atom, points in zip(chosen, grid.around(atoms.fractional[chosen], radius + PROBE), strict=True):
                self.covered[atom] = points
        self.count = grid.symmetrised(np.bincount(np.concatenate([NO_POINTS, *self.covered]), minlength=grid.size))
        self.solvent = self.count == 0
        self.marks = np.zeros(grid.size, np.int32)

    def of_set(self, groups: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Points that open without the set, and those of them that each of its groups alone keeps shut.

        All of them belong to the copy of the groups in the file; `weights` accounts for the images.
        """
        points, counts = np.unique(self._covered_by(np.concatenate(groups)), return_counts=True)
        self.marks[points] = counts
        uncovered = points[self._marks_of_images(points) == self.count[points]]
        self.marks[points] = 0
        region = self._grown(uncovered)
        region = region[~self._near(region, self.solvent)]
        return region, [self._kept_out(uncovered, region, self._covered_by(group)) for group in groups]

    def weights(self, region: Int[np.ndarray, " points"]) -> np.ndarray:
        """One over how often the sum over all operations of the region counts each point."""
        self.marks[region] = 1
        weights = 1 / self._marks_of_images(region)
        self.marks[region] = 0
        return weights

    def _covered_by(self, atoms: np.ndarray) -> np.ndarray:
        return np.concatenate([NO_POINTS, *(self.covered[atom] for atom in np.unique(atoms))])

    def _kept_out(self, uncovered: np.ndarray, region: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Points of the region that stay shut when of the set only the atoms that cover `own` are there."""
        own = np.unique(own)
        self._mark_images(own, 1)
        still_uncovered = uncovered[self.marks[uncovered] == 0]
        self._mark_images(own, 0)
        self._mark_images(still_uncovered, 1)
        kept_out = region[~self._near(region, self.marks)]
        self._mark_images(still_uncovered, 0)
        return kept_out

    def _grown(self, flat: np.ndarray) -> np.ndarray:
        """The points and all within the shrinkage of them."""
        grown = [NO_POINTS]
        for points in self.grid.near(flat, SHRINKAGE):
            grown.append(points[self.marks[points] == 0])  # one step leads to different points
            self.marks[grown[-1]] = 1
        found = np.concatenate(grown)
        self.marks[found] = 0
        return found

    def _near(self, flat: np.ndarray, marked: np.ndarray) -> np.ndarray:
        """Whether a marked point lies within the shrinkage of each point."""
        found = np.zeros(len(flat), bool)
        for points in self.grid.near(flat, SHRINKAGE):
            found |= marked[points] != 0
        return found

    def _marks_of_images(self, flat: np.ndarray) -> np.ndarray:
        """Sum of the marks at all images of each point."""
        total = np.zeros(len(flat), np.int32)
        for points in self.grid.images(flat):
            total += self.marks[points]
        return total

    def _mark_images(self, flat: np.ndarray, mark: int) -> None:
        for points in self.grid.images(flat):
            self.marks[points] = mark


def _checked_sets(sets: Sequence[int] | np.ndarray, n_groups: int) -> np.ndarray:
    labels = np.asarray(sets)
    if labels.shape != (n_groups,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"sets: got {labels.dtype} of shape {labels.shape}, wanted ({n_groups},) integers: one per group"
        )
    return labels
