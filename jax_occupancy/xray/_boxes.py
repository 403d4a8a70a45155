"""Boxes cut out of a map around what is of interest, and structure factors of atoms in them.

A box is a cell of its own with right angles. A map in it, cut off at the limit of resolution, is multiplied with a soft
mask and transformed; so is the model, so that both have lost the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Complex, Float, Int
from scipy import fft, ndimage
from scipy.spatial import KDTree

from jax_occupancy.xray._checks import check_displacements, full_tensors
from jax_occupancy.xray._form_factors import form_factors
from jax_occupancy.xray._scatterers import U_COLUMNS

# The mask goes around all atoms that are as near, in Å, to one whose occupancy is refined; further where these have too
# little density for the scales and the noise: fewer independent coefficients than this.
NEAR, ENOUGH = (5.0, 8.0, 12.0, 17.0, 24.0), 2000
# The mask falls to zero over this distance or the resolution, in Å, and the box goes on for this margin.
EDGE, MARGIN = 3.0, 2.0
# Empty is what has no atoms so near, in Å, and as far as this from the model.
EMPTY, OUTSKIRTS = 6.0, 20.0
ATOMS_AT_A_TIME = 256

Density = Float[np.ndarray, "x y z"]
Coefficients = Complex[np.ndarray, " coefficients"]
Vector = Float[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class Box:
    """A piece of a map."""

    corner: Int[np.ndarray, "3"]  # the voxel of the map that its first voxel is
    place: Vector  # where that is, in Å
    pixel: Vector  # edges of a voxel, in Å
    mask: Density  # weight of each voxel, 0 to 1
    hkl: Int[np.ndarray, "coefficients 3"]  # in its cell to the limit of resolution, one of each Friedel pair
    # rotation, translation (Å) and atoms of each copy of the model that has atoms in it
    images: tuple[tuple[Float[np.ndarray, "3 3"], Vector, Int[np.ndarray, " _"]], ...] = ()

    @cached_property
    def vectors(self) -> Float[np.ndarray, "coefficients 3"]:
        """Reciprocal-lattice vectors, in 1/Å."""
        return self.hkl / (self.pixel * self.mask.shape)

    @cached_property
    def weight(self) -> float:
        """Σ mask²: the noise of a masked coefficient is its root times that of a voxel."""
        return float(np.sum(np.square(self.mask, dtype=np.float64)))

    @property
    def share(self) -> float:
        """How many of the coefficients are independent, as a part of all."""
        return self.weight / self.mask.size

    def coefficients(self, density: Density) -> Coefficients:
        """Σ ρ·exp(2πi h·x) times the volume of a voxel."""
        return np.conj(np.asarray(fft.rfftn(density))[tuple(self.hkl.T)]) * np.prod(self.pixel)

    def density(self, coefficients: Coefficients) -> Density:
        """The density that has these coefficients and no others."""
        nx, ny, nz = self.mask.shape
        whole = np.zeros((nx, ny, nz // 2 + 1), coefficients.dtype)
        whole[tuple(self.hkl.T)] = np.conj(coefficients)
        flat = np.flatnonzero(self.hkl[:, 2] == 0)
        whole[tuple(-self.hkl[flat].T)] = coefficients[flat]
        return np.asarray(fft.irfftn(whole, self.mask.shape)) / np.prod(self.pixel)

    def masked(self, coefficients: Coefficients) -> Coefficients:
        """Coefficients of the density times the mask, with the noise of a voxel."""
        return self.coefficients(self.mask * self.density(coefficients)) / np.sqrt(self.weight)

    def overlap(self, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The part of a map of so many voxels that is in the box, and where in the box it is."""
        ends = [(max(a, 0), min(a + n, m)) for a, n, m in zip(self.corner, self.mask.shape, shape, strict=True)]
        inside = [slice(a - c, b - c) for (a, b), c in zip(ends, self.corner, strict=True)]
        return tuple(slice(*end) for end in ends), tuple(inside)

    def filled(self, density: Float[np.ndarray, "mx my mz"]) -> float:
        """The part of the weight that is where a map is not zero."""
        of_map, of_box = self.overlap(density.shape)
        return float(np.sum(np.square(self.mask[of_box], dtype=np.float64), where=density[of_map] != 0)) / self.weight

    def cut(self, density: Float[np.ndarray, "mx my mz"], filtered: Float[np.ndarray, " coefficients"]) -> Coefficients:
        """Masked coefficients of a map that is filtered before."""
        of_map, of_box = self.overlap(density.shape)
        piece = np.zeros(self.mask.shape, density.dtype)
        # of a constant the edges would leave a step
        piece[of_box] = density[of_map] - np.mean(density[of_map], dtype=np.float64).astype(density.dtype)
        for axis, (n, edge) in enumerate(zip(piece.shape, self.pixel, strict=True)):
            # no steps where the box ends
            away = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) * edge
            piece *= _fall(1 - away / MARGIN).astype(piece.dtype).reshape([-1 if i == axis else 1 for i in range(3)])
        return self.masked(self.coefficients(piece) * filtered)

    def voxels(self, places: Float[np.ndarray, "atoms 3"], radius: float) -> tuple[np.ndarray, ...]:
        """Indices of the voxels around places."""
        most = np.ceil(radius / self.pixel).astype(int)
        steps = np.indices(tuple(2 * most + 1)).reshape(3, -1).T - most
        steps = steps[np.linalg.norm(steps * self.pixel, axis=1) <= radius]
        here = np.round((places - self.place) / self.pixel).astype(int)
        found = np.unique((here[:, None] + steps).reshape(-1, 3), axis=0)
        return tuple(found[np.all((found >= 0) & (found < self.mask.shape), axis=1)].T)

    def structure_factors(
        self,
        atoms: pd.DataFrame,
        groups: Sequence[Int[np.ndarray, " _"]],
        *,
        weights: Float[np.ndarray, " atoms"],
        shifts: bool = False,
        dtype: Any = np.complex128,
    ) -> Complex[np.ndarray, "planes groups coefficients"]:
        """Masked structure factors of groups for electrons, with `shifts` also their derivatives along x, y and z.

        The derivatives are as if the mask moved along: at its edge atoms have little density, and a mask takes a
        hundred times as long as a product.
        """
        found = np.zeros((4 if shifts else 1, len(groups), len(self.hkl)), dtype)
        for rotation, translation, inside in self.images:
            turns = (2j * np.pi * self.vectors @ rotation).T.astype(dtype)
            for number, group in enumerate(groups):
                own = group[np.isin(group, inside)]
                if own.size:
                    whole = self._sum(atoms.iloc[own], weights[own], rotation, translation).astype(dtype)
                    whole = self.masked(whole)
                    found[0, number] += whole
                    found[1:, number] += turns[: 3 * shifts] * whole
        return found

    def _sum(self, atoms: pd.DataFrame, weights: np.ndarray, rotation: np.ndarray, translation: Vector) -> Coefficients:
        """Structure factor of some atoms: along each axis a wave times a Gaussian, and products of the three."""
        xyz = atoms[["x", "y", "z"]].to_numpy(np.float64) @ rotation.T + translation - self.place
        b, u = atoms["tempfactor"].to_numpy(np.float64), np.zeros((len(atoms), 3, 3))
        if set(U_COLUMNS) <= set(atoms.columns):
            six = np.nan_to_num(atoms[U_COLUMNS].to_numpy(np.float64))
            u = rotation @ full_tensors(six) @ rotation.T
        anisotropic = np.any(u != 0, axis=(1, 2))
        tensors = u[anisotropic].reshape(-1, 9)[:, [0, 4, 8, 1, 2, 5]]
        check_displacements(b[~anisotropic], tensors, atoms.index.to_numpy())
        amplitudes, exponents, kind = form_factors(atoms["element"].tolist(), radiation="electron")
        falls, sizes = exponents[kind] + b[:, None], amplitudes[kind] * weights[:, None]
        largest = np.abs(self.hkl).max(axis=0)
        lines = [np.arange(-n, n + 1) / edge for n, edge in zip(largest, self.pixel * self.mask.shape, strict=True)]
        lines[2] = lines[2][largest[2] :]  # l ≥ 0
        h, k, l = (self.hkl + np.append(largest[:2], 0)).T  # noqa: E741
        total, plain = np.zeros(len(self.hkl), complex), np.flatnonzero(~anisotropic)
        for few in np.split(plain, range(ATOMS_AT_A_TIME, len(plain), ATOMS_AT_A_TIME)):
            x, y, z = (
                np.exp(2j * np.pi * xyz[few, i, None, None] * n - falls[few][..., None] * n**2 / 4).reshape(-1, n.size)
                for i, n in enumerate(lines)
            )
            waves = (y[:, :, None] * z[:, None]).reshape(len(y), lines[1].size * lines[2].size)
            product = (x * sizes[few].reshape(-1, 1)).T @ waves
            total += product.reshape([line.size for line in lines])[h, k, l]
        for i in np.flatnonzero(anisotropic):
            square = np.einsum("ni,ij,nj->n", self.vectors, u[i], self.vectors)
            factor = sizes[i] @ np.exp(-exponents[kind[i]][:, None] * np.sum(self.vectors**2, axis=1) / 4)
            total += factor * np.exp(2j * np.pi * (self.vectors @ xyz[i]) - 2 * np.pi**2 * square)
        return total


def boxes_around(
    maps: Any,
    xyz: Float[np.ndarray, "atoms 3"],
    members: Int[np.ndarray, " refined"],
    operations: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[Box, ...]:
    """Cut the neighbourhood of atoms out of a map; what does not hang together gets boxes of its own.

    Args:
        maps: what `read_maps` returned.
        xyz: places of all atoms, in Å; the boxes go around the `members` among them.
        operations: rotation and translation (Å) of each copy of the model, the identity first.

    Raises:
        ValueError: none of the members is in the map, or the mask is zero around them.
    """
    copies = [xyz @ rotation.T + translation for rotation, translation in operations]
    everywhere, end = np.concatenate(copies), maps.origin + maps.pixel * maps.density.shape
    inside = np.all((everywhere > maps.origin) & (everywhere < end), axis=1)
    if not inside[members].any():
        there, here = (
            ", ".join(f"{a:.0f} to {b:.0f}" for a, b in zip(*ends, strict=True))
            for ends in ((xyz.min(axis=0), xyz.max(axis=0)), (maps.origin, end))
        )
        raise ValueError(
            f"the model lies outside the map: its atoms are at {there} Å along x, y, z, the map is at {here} Å; dock "
            "the model in the map first"
        )
    distance, _ = KDTree(xyz[members]).query(everywhere, distance_upper_bound=NEAR[-1] + 1e-6)
    weights, start, edge = np.zeros((0, 0, 0)), np.zeros(3, int), max(EDGE, maps.resolution)
    for reach in NEAR:
        weights, start = _around(maps, everywhere[inside & (distance <= reach)], maps.radius, edge)
        if maps.mask is not None:
            weights = weights * maps.mask[tuple(slice(a, a + n) for a, n in zip(start, weights.shape, strict=True))]
        if np.sum(weights**2) * np.prod(maps.pixel) * 2 / 3 * np.pi / maps.resolution**3 > ENOUGH:
            break
    labels, _ = ndimage.label(weights > 0)  # pyright: ignore
    found = []
    for number, piece in enumerate(ndimage.find_objects(labels), 1):
        own = np.where(labels[piece] == number, weights[piece], 0)
        margin = np.ceil(MARGIN / maps.pixel).astype(int)
        sizes = np.array([fft.next_fast_len(n + 2 * m, real=True) for n, m in zip(own.shape, margin, strict=True)])
        before = (sizes - own.shape) // 2
        own = np.pad(own, np.transpose([before, sizes - own.shape - before]))
        box = _box(maps, start + [one.start for one in piece] - before, own)
        ends = (box.place, box.place + maps.pixel * sizes)
        within = [np.flatnonzero(np.all((copy >= ends[0]) & (copy < ends[1]), axis=1)) for copy in copies]
        if np.isin(members, within[0]).any():
            images = zip(*zip(*operations, strict=True), within, strict=True)
            found.append(replace(box, images=tuple(image for image in images if image[2].size)))
    if not found:
        raise ValueError("the mask is zero around all atoms that are refined; is it the mask of this map?")
    return tuple(found)


def empty_box(maps: Any, xyz: Float[np.ndarray, "atoms 3"]) -> Box:
    """A box around the whole model that is masked where there are no atoms."""
    low = np.maximum((xyz.min(axis=0) - OUTSKIRTS - maps.origin) // maps.pixel, 0).astype(int)
    high = np.minimum((xyz.max(axis=0) + OUTSKIRTS - maps.origin) // maps.pixel + 1, maps.density.shape).astype(int)
    margin, (around, start) = np.ceil(MARGIN / maps.pixel).astype(int), _around(maps, xyz, EMPTY, EDGE)
    mask = np.pad(np.ones(high - low - 2 * margin), np.transpose([margin, margin]))
    box = _box(maps, start, around)
    inside, there = replace(box, corner=start - low).overlap(mask.shape)
    mask[inside] = np.maximum(mask[inside] - around[there], 0)
    return _box(maps, low, mask)


def _box(maps: Any, corner: np.ndarray, mask: np.ndarray) -> Box:
    sizes, edges = np.array(mask.shape), maps.pixel * mask.shape
    largest = np.minimum(edges // maps.resolution, (sizes - 1) // 2).astype(int)
    hkl = (np.indices(tuple(2 * largest + 1)).reshape(3, -1).T - largest).astype(np.int32)
    s, upper = np.linalg.norm(hkl / edges, axis=1), hkl @ [1e-8, 1e-4, 1.0] > 0  # one of each Friedel pair
    hkl = hkl[upper & (s <= 1 / maps.resolution) & (s >= 1 / maps.coarsest)]
    return Box(corner, maps.origin + corner * maps.pixel, maps.pixel, mask.astype(np.float32), hkl)


def _around(maps: Any, places: np.ndarray, radius: float, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """A soft mask around atoms, over the part of the map that it covers, and the first voxel of that."""
    far, pixel, origin, shape = radius + edge, maps.pixel, maps.origin, maps.density.shape
    low = np.clip((places.min(axis=0) - far - origin) // pixel, 0, shape).astype(int)
    high = np.clip((places.max(axis=0) + far - origin) // pixel + 2, low, shape).astype(int)
    square = np.full(high - low, far**2, np.float32)
    axes = [origin[i] + pixel[i] * np.arange(low[i], high[i]) for i in range(3)]
    for place in places:
        ends = [slice(*np.searchsorted(axis, [at - far, at + far])) for axis, at in zip(axes, place, strict=True)]
        x, y, z = ((axis[end] - at) ** 2 for axis, end, at in zip(axes, ends, place, strict=True))
        part = square[tuple(ends)]
        np.minimum(part, (x[:, None, None] + y[:, None] + z).astype(np.float32), out=part)
    weights = _fall((np.sqrt(square) - radius) / edge)
    weights[weights < 1e-3] = 0
    return weights, low


def _fall(part: np.ndarray) -> np.ndarray:
    """From one at 0 to zero at 1, along a cosine."""
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(part, 0, 1))
