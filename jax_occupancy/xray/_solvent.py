"""The flat bulk solvent: its mask, and how that changes when a group is not there."""

from collections.abc import Sequence
from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Complex, Float, Int

from jax_occupancy.xray._bare_model import atoms_in_file, bare_model, occupancies_of
from jax_occupancy.xray._checks import SPACING, check_grid, check_places, checked_hkl, checked_positions
from jax_occupancy.xray._mask_grid import GridWaves, MaskGrid

# Probe and shrinkage of cctbx's mask, in Å.
PROBE, SHRINKAGE = 1.1, 0.9
# Beyond it, in Å, the solvent of groups is a few per cent of what it is at low resolution.
DIFFERENCE_LIMIT = 2.0
NO_POINTS = np.zeros(0, np.int64)
# Points whose surroundings are held in memory at once, some 50 of each.
CHUNK_POINTS = 100_000
# No set is taken to be there more than this: what others do in its place is divided by the rest.
MOST = 1 - 1e-5
# Radii in cctbx's table, in Å, that are not gemmi's van der Waals radii; its masks use the table but don't show it.
CCTBX_RADII = {
    "Be": 0.63, "B": 1.75, "C": 1.775, "N": 1.5, "O": 1.45, "Al": 1.5, "P": 1.9, "Ca": 1.95, "Sc": 1.32, "Ge": 1.48,
    "As": 0.83, "Rb": 2.65, "Sr": 2.02, "Sb": 1.12, "Te": 1.26, "Cs": 3.01, "Ba": 2.41, "Pt": 1.72, "Bi": 1.73,
    "Po": 1.21, "At": 1.12, "Rn": 2.3, "Fr": 3.24, "Ra": 2.57, "U": 1.75,
}  # fmt: skip


class SolventDifference(NamedTuple):
    """F_mask(q) = F_mask + empty + Σ_g q_g·groups[g]."""

    empty: Complex[np.ndarray, " reflections"]  # of the solvent that flows in where all groups are absent
    groups: Complex[np.ndarray, "groups reflections"]  # minus the part that each keeps out


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
    at: np.ndarray | None = None,
) -> SolventDifference:
    """Transform the solvent, 1 electron per Å³, that takes the place of each group where the group is absent.

    `solvent_structure_factors` leaves no solvent where any refinable atom may be, but a cell without the group has some
    there. Groups of one set exclude each other and know nothing of those of others. A point p' that no held atom covers
    is left free by other sets t in so many cells, and p is solvent if any point p' within the shrinkage of it is free:

        W_s(p') = Π_(t≠s) (1 − Q_t(p')),   M(p | g) = max_(p' not covered by g) W_s(p'),

    with Q_t the occupancies of the groups of a set that cover the point, for a cell in which of the set s the group g
    is there, or none. With Q_s ≤ 1 the mean over these is linear in the occupancies of the set, and exact if no other
    is near. What comes out is linear in all: the mask and its derivatives at the occupancies `at`. With k_mask the
    density of the solvent, F_mask + empty takes the place of F_mask, and G_g + k_mask·groups[g] that of G_g. A row is
    zero when the others of the crystal leave no room for solvent in the group's place, and beyond 2 Å.

    Args:
        structure, hkl, occupancies: as for `solvent_structure_factors`.
        groups: positions of the atoms of each group, of all that are refined; no atom is in two sets.
        sets: for each group the number of its (innermost) set, any integers; each group is its own when left out.
        at: occupancies of the groups; even shares of one in each set when left out.

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
    held, shut_by_all = (
        np.ravel(np.asarray(_mask(structure, there, SPACING, shrinkage=shrinkage).array) == 0, "F")
        for there, shrinkage in ((inside & ~moving, 0.0), (inside, SHRINKAGE))
    )
    by_set = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    q = np.array([1 / np.sum(labels == label) for label in labels]) if at is None else np.asarray(at, np.float64)
    cover = _Cover(grid, *_places_and_radii(structure, moving), held)
    covered = [[cover.by(members[group]) for group in of_set] for of_set in by_set]
    free = cover.left_free([(own, q[of_set]) for own, of_set in zip(covered, by_set, strict=True)])
    mask, taken = np.full(grid.size, -np.inf, np.float32), np.zeros(grid.size, np.float32)
    for of_set, own in zip(by_set, covered, strict=True):
        points, weights, by_none, lost = cover.solvent(free, own, q[of_set])
        mask[points] = np.maximum(mask[points], by_none - q[of_set] @ lost)
        taken[points] += weights * (q[of_set] @ lost)
        for group, one in zip(of_set, lost, strict=True):
            some = one > 0
            rows[group, near] = -waves.sum(points[some], weights[some] * one[some])
    opened = grid.with_images(mask, max) + grid.with_images(taken, sum)
    opened = np.where(shut_by_all & np.isfinite(opened), opened, 0)
    empty[near] = gemmi.transform_map_to_f_phi(grid.grid(opened), half_l=True).get_value_by_hkl(hkl[near])
    return SolventDifference(empty, rows)


class _Cover:
    """Which points the atoms that move cover, and what is left free; `held` are those that others cover.

    Radii are those of the atoms that move, zero for all others.
    """

    def __init__(self, grid: MaskGrid, fractional: np.ndarray, radii: np.ndarray, held: np.ndarray):
        self.grid, self.held = grid, held
        self.covered = [NO_POINTS] * len(radii)
        for radius in np.unique(radii[radii > 0]):
            chosen = np.flatnonzero(radii == radius)
            for atom, points in zip(chosen, grid.around(fractional[chosen], radius + PROBE), strict=True):
                self.covered[atom] = points
        self.marks = np.zeros(grid.size, np.int8)

    def by(self, atoms: np.ndarray) -> Int[np.ndarray, " points"]:
        """Points that the atoms in the file cover and nothing held."""
        points = np.unique(np.concatenate([NO_POINTS, *(self.covered[atom] for atom in atoms)]))
        return points[~self.held[points]]

    def left_free(self, sets: list[tuple[list[np.ndarray], np.ndarray]]) -> Float[np.ndarray, " grid"]:
        """How often each point is free: the product over sets, each with what its groups cover, and how often."""
        logarithm = np.zeros(self.grid.size, np.float32)
        for own, q in sets:
            points = np.unique(np.concatenate(own))
            logarithm[points] += self._weights(points) * np.log1p(-self._occupied(points, own, q))
        return np.where(self.held, 0, np.exp(self.grid.with_images(logarithm, sum)))

    def solvent(self, free: np.ndarray, own: list[np.ndarray], q: np.ndarray) -> tuple[np.ndarray, ...]:
        """Around a set: points, their weights, how often they are solvent without it, and what each group takes.

        A weight is one over how often the sum over all symmetry operations counts the point.
        """
        points = np.unique(np.concatenate(own))
        without = free[points] / (1 - self._occupied(points, own, q))
        before = free[points]
        for images in self.grid.images(points):
            free[images] = without
        reached = self._grown(points)
        by_none, lost = np.zeros(reached.size, np.float32), np.zeros((len(own), reached.size), np.float32)
        for begin in range(0, reached.size, CHUNK_POINTS):
            some = slice(begin, begin + CHUNK_POINTS)
            beside = np.array(list(self.grid.near(reached[some], SHRINKAGE)))
            by_none[some] = free[beside].max(axis=0)
            for row, of in zip(lost, own, strict=True):
                kept = free[of]
                for images in self.grid.images(of):
                    free[images] = 0
                row[some] = by_none[some] - free[beside].max(axis=0)
                for images in self.grid.images(of):
                    free[images] = kept
        for images in self.grid.images(points):
            free[images] = before
        return reached, self._weights(reached), by_none, lost

    def _grown(self, points: np.ndarray) -> Int[np.ndarray, " more"]:
        """The points and all within the shrinkage of them."""
        grown = [NO_POINTS]
        for beside in self.grid.near(points, SHRINKAGE):
            grown.append(beside[self.marks[beside] == 0])  # one step leads to different points
            self.marks[grown[-1]] = 1
        found = np.concatenate(grown)
        self.marks[found] = 0
        return found

    def _occupied(self, points: np.ndarray, own: list[np.ndarray], q: np.ndarray) -> Float[np.ndarray, " points"]:
        """How often one of the groups, in the file or an image, covers each point; at most nearly always."""
        total = np.zeros(points.size)
        for of, often in zip(own, q, strict=True):
            for images in self.grid.images(of):
                self.marks[images] = 1
            total += often * self.marks[points]
            for images in self.grid.images(of):
                self.marks[images] = 0
        return np.minimum(total, MOST)

    def _weights(self, region: Int[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        self.marks[region] = 1
        total = np.sum([self.marks[points] for points in self.grid.images(region)], axis=0, dtype=int)
        self.marks[region] = 0
        return 1 / total


def _places_and_radii(structure: gemmi.Structure, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractional coordinates and radius in the mask of each atom, by position; 0 for atoms that it does not know."""
    atoms, cell = atoms_in_file(structure), structure.cell
    place = np.reshape([atom.pos.tolist() for atom in atoms], (-1, 3))
    check_places(place, np.arange(len(atoms)))
    radius = [CCTBX_RADII.get(atom.element.name, round(atom.element.vdw_r, 3)) for atom in atoms]
    known = inside & ~np.array([atom.is_hydrogen() for atom in atoms], bool)
    return place @ np.array(cell.frac.mat.tolist()).T + cell.frac.vec.tolist(), np.where(known, radius, 0)
