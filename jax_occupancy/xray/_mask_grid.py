"""Points of a grid over the unit cell: around atoms, around each other, and where symmetry takes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import gemmi
import numpy as np
from jaxtyping import Float, Int

# Atoms whose surroundings are looked up at once; 200 with 2,000 points each take some 20 MB.
CHUNK_ATOMS = 200


@dataclass(frozen=True, eq=False)
class MaskGrid:
    """A grid that the symmetry operations map onto itself; points are integer triples, stored as flat indices.

    Attributes:
        shape: Points along a, b and c.
        cell: The unit cell.
        rotations: Rotation of each operation on grid points, (operations, 3, 3).
        translations: Its translation, in grid points.
        spacegroup: The space group.
    """

    shape: Int[np.ndarray, "3"]
    cell: gemmi.UnitCell
    rotations: Int[np.ndarray, "operations 3 3"]
    translations: Int[np.ndarray, "operations 3"]
    spacegroup: gemmi.SpaceGroup

    @classmethod
    def from_structure(cls, structure: gemmi.Structure, spacing: float) -> "MaskGrid":
        """Gemmi's own choice of grid for a spacing, in Å."""
        grid = gemmi.FloatGrid()
        grid.setup_from(structure, spacing)
        shape = np.array([grid.nu, grid.nv, grid.nw])
        spacegroup = structure.find_spacegroup() or gemmi.SpaceGroup("P 1")
        operations = list(spacegroup.operations())
        scale = shape[:, None] / shape[None, :] / gemmi.Op.DEN
        rotations = np.array([op.rot for op in operations]) * scale
        translations = np.array([op.tran for op in operations]) * shape / gemmi.Op.DEN
        return cls(shape, structure.cell, _rounded(rotations), _rounded(translations), spacegroup)

    @property
    def size(self) -> int:
        """Number of points."""
        return int(self.shape.prod())

    def points(self, flat: Int[np.ndarray, " points"]) -> Int[np.ndarray, "points 3"]:
        """Triples of flat indices."""
        return np.stack(np.unravel_index(flat, tuple(self.shape)), axis=-1)

    def flat(self, points: Int[np.ndarray, "*points 3"]) -> Int[np.ndarray, "*points"]:
        """Flat indices of triples that lie at most four cells away; a look-up is faster than a remainder."""
        a, b, c = self._wrapped
        away = 4 * self.shape
        return a[points[..., 0] + away[0]] + b[points[..., 1] + away[1]] + c[points[..., 2] + away[2]]

    @cached_property
    def _wrapped(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each index along each axis adds to the flat index, from four cells below to four above."""
        strides = (self.shape[1] * self.shape[2], self.shape[2], 1)
        a, b, c = (np.arange(-4 * n, 4 * n) % n * stride for n, stride in zip(self.shape, strides, strict=True))
        return a, b, c

    def images(self, flat: Int[np.ndarray, " points"]) -> Iterator[np.ndarray]:
        """For each operation where it takes each point."""
        points = self.points(flat).astype(float)  # floats, exact at this size, go through the fast matrix product
        for rotation, translation in zip(self.rotations, self.translations, strict=True):
            yield self.flat((points @ rotation.T + translation).astype(int))

    def box(self, radius: float) -> Int[np.ndarray, "neighbours 3"]:
        """Steps to all points of a box that holds a sphere around the origin."""
        lengths = np.linalg.norm(np.array(self.cell.frac.mat.tolist()), axis=1)
        axes = [np.arange(-n, n + 1) for n in np.ceil(radius * lengths * self.shape).astype(int)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)

    def vectors(self, steps: Float[np.ndarray, "*points 3"] | Int[np.ndarray, "*points 3"]) -> np.ndarray:
        """Cartesian vectors, in Å, of steps given in grid points."""
        return steps @ (np.array(self.cell.orth.mat.tolist()) / self.shape).T

    def near(self, flat: Int[np.ndarray, " points"], radius: float) -> Iterator[np.ndarray]:
        """For each step no longer than a radius, in Å, where it leads from each point; the points themselves too."""
        steps, points = self.box(radius), self.points(flat)
        for step in steps[np.linalg.norm(self.vectors(steps), axis=1) <= radius] % self.shape:
            yield self.flat(points + step)

    def around(self, fractional: Float[np.ndarray, "atoms 3"], radius: float) -> list[np.ndarray]:
        """Flat indices of the points within a radius of each atom, in Å."""
        nearest = np.rint(fractional * self.shape)
        beside = self.vectors(nearest - fractional * self.shape)  # from the atom to its nearest point
        steps = self.box(radius + np.linalg.norm(beside, axis=1).max(initial=0))
        vectors = self.vectors(steps)
        chosen = np.linalg.norm(vectors, axis=1) <= radius + np.linalg.norm(beside, axis=1).max(initial=0)
        steps, vectors = steps[chosen] % self.shape, vectors[chosen]
        nearest = nearest.astype(int) % self.shape
        found = []
        for start in range(0, len(fractional), CHUNK_ATOMS):
            some = slice(start, start + CHUNK_ATOMS)
            squares = 2 * beside[some] @ vectors.T + np.sum(vectors**2, axis=1)
            atom, step = np.nonzero(squares <= radius**2 - np.sum(beside[some] ** 2, axis=1)[:, None])
            flat = self.flat(nearest[some][atom] + steps[step])
            found += np.split(flat, np.searchsorted(atom, np.arange(1, len(beside[some]))))
        return found

    def symmetrised(self, counts: Int[np.ndarray, " grid"]) -> Int[np.ndarray, " grid"]:
        """Sum over all operations of what they find at the point they lead to."""
        grid = gemmi.FloatGrid()
        grid.set_size(*(int(n) for n in self.shape))
        grid.set_unit_cell(self.cell)
        grid.spacegroup = self.spacegroup
        np.asarray(grid.array)[...] = counts.reshape(tuple(self.shape))
        grid.symmetrize_sum()
        return np.rint(np.asarray(grid.array)).astype(np.int32).ravel()


@cache
def mask_radius(element: str) -> float:
    """Radius of an element in cctbx's table, in Å; 0 for hydrogen, which the mask ignores.

    gemmi has the table but does not show it: count the points of a fine row that its mask covers.
    """
    step, length = 0.001, 8.0
    row = gemmi.FloatGrid()
    row.set_size(round(length / step), 1, 1)
    row.set_unit_cell(gemmi.UnitCell(length, 50, 50, 90, 90, 90))
    row.spacegroup = gemmi.SpaceGroup("P 1")
    atom, residue, chain, model = gemmi.Atom(), gemmi.Residue(), gemmi.Chain("A"), gemmi.Model(1)
    atom.element = gemmi.Element(element)
    residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx)
    masker.rprobe = masker.rshrink = 0.0
    masker.put_mask_on_float_grid(row, model)
    covered = int((np.asarray(row.array) == 0).sum())
    return round(covered * step / 2 / 0.005) * 0.005  # the table has steps of 0.005 Å


def _rounded(values: np.ndarray) -> Int[np.ndarray, "..."]:
    return np.rint(values).astype(int)
