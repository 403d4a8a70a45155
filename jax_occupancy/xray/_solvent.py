"""The flat bulk solvent: its mask, and how that changes when a group is not there."""

from collections.abc import Sequence
from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Complex, Int

from jax_occupancy.xray._bare_model import atoms_in_file, bare_model, occupancies_of
from jax_occupancy.xray._checks import SPACING, check_grid, check_places, checked_hkl, checked_positions
from jax_occupancy.xray._mask_grid import GridWaves, MaskGrid

# Probe and shrinkage of cctbx's mask, in Å.
PROBE, SHRINKAGE = 1.1, 0.9
# Beyond it, in Å, the solvent of groups is a few per cent of what it is at low resolution.
DIFFERENCE_LIMIT = 2.0
NO_POINTS = np.zeros(0, np.int64)
# Radii in cctbx's table, in Å, that are not gemmi's van der Waals radii; its masks use the table but don't show it.
CCTBX_RADII = {
    "Be": 0.63, "B": 1.75, "C": 1.775, "N": 1.5, "O": 1.45, "Al": 1.5, "P": 1.9, "Ca": 1.95, "Sc": 1.32, "Ge": 1.48,
    "As": 0.83, "Rb": 2.65, "Sr": 2.02, "Sb": 1.12, "Te": 1.26, "Cs": 3.01, "Ba": 2.41, "Pt": 1.72, "Bi": 1.73,
    "Po": 1.21, "At": 1.12, "Rn": 2.3, "Fr": 3.24, "Ra": 2.57, "U": 1.75,
}  # fmt: skip


class SolventDifference(NamedTuple):
    """F_mask(q) = F_mask + empty + Σ_g q_g·groups[g]."""

    empty: Complex[np.ndarray, " reflections"]  # of the solvent that flows in where all groups of every set are absent
    groups: Complex[np.ndarray, "groups reflections"]  # minus the part that each keeps out when alone of its set there


def solvent_structure_factors(
    structure: gemmi.Structure,
    hkl: np.ndarray,
    *,
    refinable: Sequence[int] | np.ndarray,
    occupancies: np.ndarray | None = None,
) -> Complex[np.ndarray, " reflections"]:
    """Transform the mask of the solvent, 1 electron per Å³ outside the molecules, with single precision.

    Every refinable atom is inside the molecule whatever its occupancy; others at occupancy zero are ignored. Radii,
    probe and shrinkage are those of cctbx (1.1 and 0.9 Å), hydrogens do not count (Jiang & Brünger, J. Mol. Biol. 243,
    100-115, 1994).

    Args:
        structure: its `atom.serial` is the position in the file plus one. It is not changed.
        hkl: Miller indices, integers (reflections, 3).
        refinable: positions of the refinable atoms.
        occupancies: occupancy of each atom, by position; those of the structure when left out.

    Raises:
        ValueError: an argument does not match the structure, an atom has a coordinate that is not finite, or memory
            does not hold a grid over the cell.
    """
    hkl = checked_hkl(hkl)
    inside = occupancies_of(structure, occupancies) != 0
    inside[checked_positions(refinable, len(inside), "refinable")] = True
    if len(hkl) == 0:
        return np.zeros(0, dtype=np.complex128)
    spacing = min(SPACING, float(1 / np.sqrt(structure.cell.calculate_1_d2_array(hkl).max()) / 3))
    check_grid(structure.cell, spacing)
    mask = _mask(structure, inside, spacing, shrinkage=SHRINKAGE)
    return gemmi.transform_map_to_f_phi(mask, half_l=True).get_value_by_hkl(hkl).astype(np.complex128)


def _mask(structure: gemmi.Structure, inside: np.ndarray, spacing: float, *, shrinkage: float) -> gemmi.FloatGrid:
    """One in the solvent, zero where the chosen atoms are."""
    masker, mask = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx), gemmi.FloatGrid()
    masker.rshrink = shrinkage
    mask.setup_from(structure, spacing)
    masker.put_mask_on_float_grid(mask, bare_model(structure, inside))
    return mask


def group_solvent_structure_factors(
    structure: gemmi.Structure,
    hkl: np.ndarray,
    groups: Sequence[Sequence[int] | np.ndarray],
    *,
    sets: Sequence[int] | np.ndarray | None = None,
    occupancies: np.ndarray | None = None,
) -> SolventDifference:
    """Transform the solvent, 1 electron per Å³, that takes the place of each group where the group is absent.

    `solvent_structure_factors` leaves no solvent where any refinable atom may be, but a cell without the group has some
    there. Groups of one set exclude each other (Σq ≤ 1), so with S the atoms of the set the mask is, on average,

        M(q) = M_all + Σ_sets [ D(S) − Σ_(g in S) q_g·(D(S) − D(S∖g)) ],   D(X) = (mask without X) − M_all,

    which is linear in q and exact for one set, the shrinkage of the mask included. With k_mask the density of the
    solvent, F_mask + empty takes the place of F_mask, and G_g + k_mask·groups[g] that of G_g.

    A point that two sets cover never opens: both would have to be absent, which is not linear. A row is zero when the
    others of the crystal leave no room for solvent in the group's place, and beyond 2 Å.

    Args:
        structure, hkl, occupancies: as for `solvent_structure_factors`.
        groups: positions of the atoms of each group, of all that are refined; no atom is in two sets.
        sets: for each group the number of its (innermost) set, any integers; each group is its own when left out.

    Raises:
        ValueError: an argument does not match the structure, which has no cell or a coordinate that is not finite.
    """
    hkl = checked_hkl(hkl)
    if not structure.cell.is_crystal():
        raise ValueError(f"structure: got the cell {structure.cell}, wanted that of a crystal: add a CRYST1 record")
    inside = occupancies_of(structure, occupancies) != 0
    members = [checked_positions(group, len(inside), "groups") for group in groups]
    inside[np.concatenate([NO_POINTS, *members])] = True
    labels = np.arange(len(members)) if sets is None else np.asarray(sets)
    if labels.shape != (len(members),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"sets: got {labels.dtype} of shape {labels.shape}, wanted ({len(members)},) integers: one per group"
        )
    near = structure.cell.calculate_1_d2_array(hkl) <= DIFFERENCE_LIMIT**-2
    empty, rows = np.zeros(len(hkl), np.complex64), np.zeros((len(members), len(hkl)), np.complex64)
    if not near.any() or not members:
        return SolventDifference(empty, rows)
    grid = MaskGrid.from_structure(structure, SPACING)
    waves = GridWaves.at(grid, hkl[near])
    moving = np.isin(np.arange(len(inside)), np.concatenate(members))
    held = _mask(structure, inside & ~moving, SPACING, shrinkage=0.0)
    opening = _Opening(grid, *_places_and_radii(structure, moving), np.ravel(np.asarray(held.array) == 0, "F"))
    for label in np.unique(labels):
        of_set = np.flatnonzero(labels == label)
        region, kept_out = opening.of_set([members[group] for group in of_set])
        empty[near] += waves.sum(region, opening.weights(region))
        for group, points in zip(of_set, kept_out, strict=True):
            rows[group, near] = -waves.sum(points, opening.weights(points))
    return SolventDifference(empty, rows)


class _Opening:
    """Finds the points that open when groups leave; keeps one array over the grid to mark points in.

    Radii are those of the atoms of groups, zero for all others, which shut the points that are `held`.
    """

    def __init__(self, grid: MaskGrid, fractional: np.ndarray, radii: np.ndarray, held: np.ndarray):
        self.grid, self.held = grid, held
        self.covered = [NO_POINTS] * len(radii)
        for radius in np.unique(radii[radii > 0]):
            chosen = np.flatnonzero(radii == radius)
            for atom, points in zip(chosen, grid.around(fractional[chosen], radius + PROBE), strict=True):
                self.covered[atom] = points
        self.count = grid.counts(self.covered)
        self.solvent = (self.count == 0) & ~held
        self.marks = np.zeros(grid.size, np.int32)

    def of_set(self, groups: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Points that open without the set, in the copy in the file, and those that each group alone keeps shut."""
        points, counts = np.unique(self._covered_by(np.concatenate(groups)), return_counts=True)
        self.marks[points] = counts
        uncovered = points[(self._marks_of_images(points) == self.count[points]) & ~self.held[points]]
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


def _places_and_radii(structure: gemmi.Structure, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractional coordinates and radius in the mask of each atom, by position; 0 for atoms that it does not know."""
    atoms, cell = atoms_in_file(structure), structure.cell
    place = np.reshape([atom.pos.tolist() for atom in atoms], (-1, 3))
    check_places(place, np.arange(len(atoms)))
    radius = [CCTBX_RADII.get(atom.element.name, round(atom.element.vdw_r, 3)) for atom in atoms]
    known = inside & ~np.array([atom.is_hydrogen() for atom in atoms], bool)
    return place @ np.array(cell.frac.mat.tolist()).T + cell.frac.vec.tolist(), np.where(known, radius, 0)
