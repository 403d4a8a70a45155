"""Fourier sums over a few points of a grid and their images."""

from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from jax_occupancy.xray._mask_grid import MaskGrid


@dataclass(frozen=True, eq=False)
class GridWaves:
    """Fourier sums at given reflections over few points of a grid, by one short matrix product for each axis.

    Attributes:
        grid: The grid.
        index: Miller index along each axis of the box of plane waves that all images of the reflections lie in;
            l is not negative.
        place: For each operation and reflection, where its image is in the box.
        conjugate: Where the box holds the Friedel mate instead.
        phase: exp(2πi h·t) of each operation times the number of lattice points that scatter together.
    """

    grid: MaskGrid
    index: tuple[np.ndarray, np.ndarray, np.ndarray]
    place: Int[np.ndarray, "operations reflections"]
    conjugate: Bool[np.ndarray, "operations reflections"]
    phase: Complex[np.ndarray, "operations reflections"]

    @classmethod
    def at(cls, grid: MaskGrid, hkl: Int[np.ndarray, "reflections 3"]) -> "GridWaves":
        """Prepare the sums at reflections of a crystal."""
        operations = grid.spacegroup.operations()
        rotations = np.array([op.rot for op in operations.sym_ops]) // gemmi.Op.DEN
        translations = np.array([op.tran for op in operations.sym_ops]) / gemmi.Op.DEN
        centring = np.array(list(operations.cen_ops)) / gemmi.Op.DEN
        images = np.einsum("nj,ojk->onk", hkl.astype(int), rotations)
        conjugate = images[..., 2] < 0
        images = np.where(conjugate[..., None], -images, images)
        low, high = images.min(axis=(0, 1), initial=0), images.max(axis=(0, 1), initial=0)
        place = np.ravel_multi_index(tuple(np.moveaxis(images - low, -1, 0)), tuple(high - low + 1))
        lattice = np.exp(2j * np.pi * hkl @ centring.T).sum(axis=1)
        phase = np.exp(2j * np.pi * (translations @ hkl.T)) * lattice
        index = tuple(np.arange(a, b + 1) for a, b in zip(low, high, strict=True))
        return cls(grid, index, place, conjugate, phase.astype(np.complex64))  # pyright: ignore[reportArgumentType]

    def sum(
        self, flat: Int[np.ndarray, " points"], values: Float[np.ndarray, " points"]
    ) -> Complex[np.ndarray, " reflections"]:
        """V/N Σ values·exp(2πi h·x) over the points and all their images, in single precision."""
        if not len(flat):
            return np.zeros(self.phase.shape[1], np.complex64)
        used, block = [], []
        for axis in self.grid.points(flat).T:
            unique, inverse = np.unique(axis, return_inverse=True)
            used.append(unique)
            block.append(inverse)
        box = np.zeros([len(axis) for axis in used], np.complex64)
        np.add.at(box, tuple(block), values * self.grid.cell.volume / self.grid.size)
        # last axis first: it has half as many waves as the others
        for wave, axis, n in reversed(list(zip(self.index, used, self.grid.shape, strict=True))):
            turns = np.outer(axis, wave) % n / n
            box = np.moveaxis(np.tensordot(box, np.exp(2j * np.pi * turns).astype(np.complex64), (2, 0)), -1, 0)
        found = box.ravel()[self.place]
        return np.sum(np.where(self.conjugate, found.conj(), found) * self.phase, axis=0)
