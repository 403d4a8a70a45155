"""Points of a grid over the unit cell: around atoms and each other, where symmetry takes them, and sums of waves."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gemmi
import numpy as np
from jaxtyping import Complex, Float, Int

from jax_occupancy.xray._checks import check_grid

# Atoms whose surroundings are looked up at once; 200 with 2,000 points each take some 20 MB.
CHUNK_ATOMS = 200


@dataclass(frozen=True, eq=False)
class MaskGrid:
    """A grid that the symmetry operations map onto itself; points are integer triples, stored as flat indices.

    The first axis runs fastest, as in gemmi's grids.
    """

    shape: Int[np.ndarray, "3"]
    cell: gemmi.UnitCell
    spacegroup: gemmi.SpaceGroup
    rotations: Int[np.ndarray, "operations 3 3"]  # of grid points
    translations: Int[np.ndarray, "operations 3"]  # in grid points

    @classmethod
    def from_structure(cls, structure: gemmi.Structure, spacing: float) -> "MaskGrid":
        """Gemmi's own choice of grid for a spacing, in Å."""
        check_grid(structure.cell, spacing)
        grid = gemmi.FloatGrid()
        grid.setup_from(structure, spacing)
        shape = np.array([grid.nu, grid.nv, grid.nw])
        spacegroup = structure.find_spacegroup() or gemmi.SpaceGroup("P 1")
        operations = list(spacegroup.operations())
        rotations = np.array([op.rot for op in operations]) * (shape[:, None] / shape[None, :] / gemmi.Op.DEN)
        translations = np.array([op.tran for op in operations]) * shape / gemmi.Op.DEN
        whole = (np.rint(values).astype(int) for values in (rotations, translations))
        return cls(shape, structure.cell, spacegroup, *whole)

    @property
    def size(self) -> int:
        return int(self.shape.prod())

    def points(self, flat: Int[np.ndarray, " points"]) -> Int[np.ndarray, "points 3"]:
        """Triples of flat indices."""
        return np.stack(np.unravel_index(flat, tuple(self.shape), "F"), axis=-1)

    def flat(self, points: Int[np.ndarray, "*points 3"]) -> Int[np.ndarray, "*points"]:
        """Flat indices of triples that lie at most four cells away; a look-up is faster than a remainder."""
        a, b, c = self._wrapped
        away = 4 * self.shape
        return a[points[..., 0] + away[0]] + b[points[..., 1] + away[1]] + c[points[..., 2] + away[2]]

    @cached_property
    def _wrapped(self) -> list[np.ndarray]:
        """What each index along each axis adds to the flat index, from four cells below to four above."""
        strides = (1, self.shape[0], self.shape[0] * self.shape[1])
        return [np.arange(-4 * n, 4 * n) % n * stride for n, stride in zip(self.shape, strides, strict=True)]

    def images(self, flat: Int[np.ndarray, " points"]) -> Iterator[np.ndarray]:
        """For each operation where it takes each point."""
        points = self.points(flat).astype(float)  # floats, exact at this size, go through the fast matrix product
        for rotation, translation in zip(self.rotations, self.translations, strict=True):
            yield self.flat((points @ rotation.T + translation).astype(int))

    def near(self, flat: Int[np.ndarray, " points"], radius: float) -> Iterator[np.ndarray]:
        """For each step no longer than a radius, in Å, where it leads from each point; the points themselves too."""
        steps, points = self._steps(radius)[0], self.points(flat)
        for step in steps:
            yield self.flat(points + step)

    def around(self, fractional: Float[np.ndarray, "atoms 3"], radius: float) -> list[np.ndarray]:
        """Flat indices of the points within a radius of each atom, in Å."""
        nearest = np.rint(fractional * self.shape)
        beside = self._vectors(nearest - fractional * self.shape)  # from the atom to its nearest point
        steps, vectors = self._steps(radius + np.linalg.norm(beside, axis=1).max(initial=0))
        nearest = nearest.astype(int) % self.shape
        found = []
        for start in range(0, len(fractional), CHUNK_ATOMS):
            some = slice(start, start + CHUNK_ATOMS)
            squares = 2 * beside[some] @ vectors.T + np.sum(vectors**2, axis=1)
            atom, step = np.nonzero(squares <= radius**2 - np.sum(beside[some] ** 2, axis=1)[:, None])
            flat = self.flat(nearest[some][atom] + steps[step])
            found += np.split(flat, np.searchsorted(atom, np.arange(1, len(beside[some]))))
        return found

    def with_images(self, values: Float[np.ndarray, " grid"], combined: Any) -> Float[np.ndarray, " grid"]:
        """At each point the `sum` or the `max` of the values of all its images."""
        grid = self.grid(values)
        {sum: grid.symmetrize_sum, max: grid.symmetrize_max}[combined]()
        return np.ravel(np.asarray(grid.array), "F")

    def grid(self, values: Float[np.ndarray, " grid"]) -> gemmi.FloatGrid:
        """The values as a grid of gemmi's, in single precision."""
        return gemmi.FloatGrid(
            np.reshape(values, tuple(self.shape), "F").astype(np.float32), self.cell, self.spacegroup
        )

    def _steps(self, radius: float) -> tuple[Int[np.ndarray, "steps 3"], Float[np.ndarray, "steps 3"]]:
        """Steps between points no longer than a radius, within one cell, and their Cartesian vectors in Å."""
        lengths = np.linalg.norm(np.array(self.cell.frac.mat.tolist()), axis=1)
        axes = [np.arange(-n, n + 1) for n in np.ceil(radius * lengths * self.shape).astype(int)]
        steps = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        vectors = self._vectors(steps)
        short = np.linalg.norm(vectors, axis=1) <= radius
        return steps[short] % self.shape, vectors[short]

    def _vectors(self, steps: np.ndarray) -> Float[np.ndarray, "steps 3"]:
        return steps @ (np.array(self.cell.orth.mat.tolist()) / self.shape).T


@dataclass(frozen=True, eq=False)
class GridWaves:
    """Fourier sums over few points of a grid, one short matrix product an axis, at a box of plane waves with l ≥ 0."""

    grid: MaskGrid
    index: list[np.ndarray]  # Miller index along each axis of the box
    place: Int[np.ndarray, "operations reflections"]  # where the image of each reflection is in the box
    sign: Float[np.ndarray, "operations reflections"]  # of the imaginary part, -1 where the box holds its Friedel mate
    phase: Complex[np.ndarray, "operations reflections"]  # exp(2πi h·t), times the lattice points that scatter together

    @classmethod
    def at(cls, grid: MaskGrid, hkl: Int[np.ndarray, "reflections 3"]) -> "GridWaves":
        """Prepare the sums at reflections of a crystal."""
        operations = grid.spacegroup.operations()
        rotations = np.array([op.rot for op in operations.sym_ops]) // gemmi.Op.DEN
        translations = np.array([op.tran for op in operations.sym_ops]) / gemmi.Op.DEN
        centring = np.array(list(operations.cen_ops)) / gemmi.Op.DEN
        images = np.einsum("nj,ojk->onk", hkl.astype(int), rotations)
        sign = np.where(images[..., 2] < 0, -1, 1)
        images = images * sign[..., None]
        low, high = images.min(axis=(0, 1), initial=0), images.max(axis=(0, 1), initial=0)
        place = np.asarray(np.ravel_multi_index(tuple(np.moveaxis(images - low, -1, 0)), tuple(high - low + 1)))
        lattice = np.exp(2j * np.pi * hkl @ centring.T).sum(axis=1)
        phase = np.exp(2j * np.pi * (translations @ hkl.T)) * lattice
        index = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        return cls(grid, index, place, sign.astype(np.float32), phase.astype(np.complex64))

    def sum(
        self, flat: Int[np.ndarray, " points"], values: Float[np.ndarray, " points"]
    ) -> Complex[np.ndarray, " reflections"]:
        """V/N Σ values·exp(2πi h·x) over the points and all their images, in single precision."""
        if not len(flat):
            return np.zeros(self.phase.shape[1], np.complex64)
        axes = [np.unique(axis, return_inverse=True) for axis in self.grid.points(flat).T]
        box = np.zeros([len(used) for used, _ in axes], np.complex64)
        np.add.at(box, tuple(place for _, place in axes), values * self.grid.cell.volume / self.grid.size)
        of_a, of_b, of_c = (
            np.exp(2j * np.pi * (np.outer(wave, used) % n / n)).astype(np.complex64)
            for wave, (used, _), n in zip(self.index, axes, self.grid.shape, strict=True)
        )
        # last axis first: it has half as many waves as the others; in this order no product is copied
        box = of_b @ (box @ of_c.T)
        box = of_a @ box.reshape(len(box), -1)
        found = box.ravel().take(self.place)
        found.imag *= self.sign
        return np.sum(found * self.phase, axis=0)  # four times as fast as a contraction
