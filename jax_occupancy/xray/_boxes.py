"""Boxes cut out of a map around what is of interest, and structure factors of atoms in them.

A box is a cell of its own with right angles. A map in it, cut off at the limit of resolution, is multiplied with a soft
mask and transformed; so is the model, so that both have lost the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Complex, Float, Int
from scipy import fft, ndimage
from scipy.spatial import KDTree

from jax_occupancy.xray._checks import check_displacements
from jax_occupancy.xray._form_factors import form_factors
from jax_occupancy.xray._scatterers import U_COLUMNS

# The mask goes around all atoms that are as near, in Å, to one whose occupancy is refined; further where these have too
# little density for the scales and the noise: fewer independent coefficients than this.
NEAR, ENOUGH = (5.0, 8.0, 12.0, 17.0, 24.0), 2000
# The mask falls to zero over this distance or the resolution, in Å, and the box goes on for this margin.
EDGE, MARGIN = 3.0, 2.0
# Coarser features are contrast with the solvent, which the model has none of.
COARSEST = 10.0
ATOMS_AT_A_TIME = 256

Image = tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"], Int[np.ndarray, " inside"]]


@dataclass(frozen=True, eq=False)
class Box:
    """A piece of a map.

    Attributes:
        corner: the voxel of the map that its first voxel is.
        place: where that is, in Å.
        pixel: edges of a voxel, in Å.
        mask: weight of each voxel, 0 to 1.
        hkl: Miller indices in its cell to the limit of resolution, one of each Friedel pair.
        images: rotation, translation and atoms of each copy of the model that has atoms in it.
    """

    corner: Int[np.ndarray, "3"]
    place: Float[np.ndarray, "3"]
    pixel: Float[np.ndarray, "3"]
    mask: Float[np.ndarray, "x y z"]
    hkl: Int[np.ndarray, "coefficients 3"]
    images: tuple[Image, ...]

    @property
    def edges(self) -> Float[np.ndarray, "3"]:
        """Of the cell, in Å."""
        return self.pixel * self.mask.shape

    @cached_property
    def vectors(self) -> Float[np.ndarray, "coefficients 3"]:
        """Reciprocal-lattice vectors, in 1/Å."""
        return self.hkl / self.edges

    @cached_property
    def weight(self) -> float:
        """Σ mask²: the noise of a masked coefficient is its root times that of a voxel."""
        return float(np.sum(np.square(self.mask, dtype=np.float64)))

    @property
    def share(self) -> float:
        """How many of the coefficients are independent, as a part of all."""
        return self.weight / self.mask.size

    @cached_property
    def _positions(self) -> tuple[tuple, tuple, np.ndarray]:
        """Where coefficients are in a transform of real values, and on the plane l = 0 also their opposites."""
        flat = np.flatnonzero(self.hkl[:, 2] == 0)
        return tuple(self.hkl.T), tuple(-self.hkl[flat].T), flat

    def coefficients(self, density: Float[np.ndarray, "x y z"]) -> Complex[np.ndarray, " coefficients"]:
        """Σ ρ·exp(2πi h·x) times the volume of a voxel."""
        return np.conj(np.asarray(fft.rfftn(density)))[self._positions[0]] * np.prod(self.pixel)

    def density(self, coefficients: Complex[np.ndarray, " coefficients"]) -> Float[np.ndarray, "x y z"]:
        """The density that has these coefficients and no others."""
        here, opposite, flat = self._positions
        nx, ny, nz = self.mask.shape
        whole = np.zeros((nx, ny, nz // 2 + 1), coefficients.dtype)
        whole[here] = np.conj(coefficients)
        whole[opposite] = coefficients[flat]
        return np.asarray(fft.irfftn(whole, self.mask.shape)) / np.prod(self.pixel)

    def masked(self, coefficients: Complex[np.ndarray, " coefficients"]) -> Complex[np.ndarray, " coefficients"]:
        """Coefficients of the density times the mask, with the noise of a voxel."""
        return self.coefficients(self.mask * self.density(coefficients)) / np.sqrt(self.weight)

    def cut(self, values: Float[np.ndarray, "mx my mz"]) -> Complex[np.ndarray, " coefficients"]:
        """Masked coefficients of a map."""
        low, high = np.maximum(self.corner, 0), np.minimum(self.corner + self.mask.shape, values.shape)
        piece = np.zeros(self.mask.shape, values.dtype)
        to, of = (tuple(slice(a, b) for a, b in zip(*ends, strict=True)) for ends in (
            (low - self.corner, high - self.corner), (low, high)
        ))  # fmt: skip
        piece[to] = values[of]
        for axis, (n, edge) in enumerate(zip(piece.shape, self.pixel, strict=True)):
            # no steps where the box ends
            away = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) * edge
            fall = 0.5 - 0.5 * np.cos(np.pi * np.clip(away / MARGIN, 0, 1))
            piece *= fall.astype(piece.dtype).reshape([-1 if i == axis else 1 for i in range(3)])
        return self.masked(self.coefficients(piece))

    def structure_factors(
        self,
        atoms: pd.DataFrame,
        groups: Sequence[Int[np.ndarray, " _"]],
        *,
        weights: Float[np.ndarray, " atoms"],
        shifts: bool = False,
        dtype: Any = np.complex128,
    ) -> Complex[np.ndarray, "planes groups coefficients"]:
        """Masked structure factors of groups for electrons, with `shifts` also their derivatives along x, y and z."""
        found = np.zeros((4 if shifts else 1, len(groups), len(self.hkl)), dtype)
        for rotation, translation, inside in self.images:
            for number, group in enumerate(groups):
                own = group[np.isin(group, inside)]
                if not own.size:
                    continue
                xyz, u = _turned(atoms.iloc[own], rotation)
                xyz = xyz + translation - self.place
                one = self._sum(atoms.iloc[own], xyz, u, weights[own])[None]
                if shifts:
                    turns = 2j * np.pi * (self.vectors @ rotation)
                    one = np.concatenate([one, turns.T * one])
                for plane, unmasked in enumerate(one):
                    found[plane, number] += self.masked(unmasked)
        return found

    def _sum(self, atoms: pd.DataFrame, xyz, u, weights) -> Complex[np.ndarray, " coefficients"]:
        """Structure factor of some atoms: along each axis a wave times a Gaussian, and products of the three."""
        charges = atoms["charge"].tolist() if "charge" in atoms else None
        amplitudes, exponents, kind = form_factors(atoms["element"].tolist(), charges, radiation="electron")
        s_squared = np.sum(self.vectors**2, axis=1) / 4
        b, is_anisotropic = atoms["tempfactor"].to_numpy(np.float64), np.any(u != 0, axis=(1, 2))
        tensors = u.reshape(-1, 9)[is_anisotropic][:, [0, 4, 8, 1, 2, 5]]
        check_displacements(b[~is_anisotropic], tensors, atoms.index.to_numpy())
        largest = np.abs(self.hkl).max(axis=0)
        indices = [np.arange(-n, n + 1) / edge for n, edge in zip(largest, self.edges, strict=True)]
        h, k, l = (self.hkl + largest).T  # noqa: E741
        total = np.zeros(len(self.hkl), complex)
        for one in np.unique(kind):
            of_kind = np.zeros(len(self.hkl), complex)
            chosen = np.flatnonzero(kind == one)
            for few in np.split(chosen, range(ATOMS_AT_A_TIME, len(chosen), ATOMS_AT_A_TIME)):
                fall = np.where(is_anisotropic[few], 0, b[few])[:, None] / 4
                x, y, z = (np.exp(2j * np.pi * xyz[few, i, None] * n - fall * n**2) for i, n in enumerate(indices))
                x = x * weights[few, None]
                plain = ~is_anisotropic[few]
                if plain.any():
                    upper = z[plain][:, largest[2] :]  # l ≥ 0
                    waves = (y[plain][:, :, None] * upper[:, None, :]).reshape(plain.sum(), -1)
                    product = (x[plain].T @ waves).reshape(len(indices[0]), len(indices[1]), -1)
                    of_kind += product[h, k, l - largest[2]]
                for i in np.flatnonzero(~plain):
                    square = np.einsum("ni,ij,nj->n", self.vectors, u[few[i]], self.vectors)
                    of_kind += x[i, h] * y[i, k] * z[i, l] * np.exp(-2 * np.pi**2 * square)
            factor = np.sum(amplitudes[one][:, None] * np.exp(-exponents[one][:, None] * s_squared), axis=0)
            total += of_kind * factor
        return total


def _turned(atoms: pd.DataFrame, rotation: np.ndarray) -> tuple[np.ndarray, Float[np.ndarray, "atoms 3 3"]]:
    """Rotated places and anisotropic U, zero for isotropic atoms."""
    xyz = atoms[["x", "y", "z"]].to_numpy(np.float64) @ rotation.T
    if not set(U_COLUMNS) <= set(atoms.columns):
        return xyz, np.zeros((len(atoms), 3, 3))
    u = np.nan_to_num(atoms[U_COLUMNS].to_numpy(np.float64))[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
    return xyz, rotation @ u @ rotation.T


def boxes_around(
    xyz: Float[np.ndarray, "atoms 3"],
    members: Int[np.ndarray, " refined"],
    operations: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    shape: Sequence[int],
    pixel: Float[np.ndarray, "3"],
    origin: Float[np.ndarray, "3"],
    resolution: float,
    radius: float,
    mask: Float[np.ndarray, "mx my mz"] | None = None,
) -> tuple[Box, ...]:
    """Cut the neighbourhood of atoms out of a map; what does not hang together gets boxes of its own.

    Args:
        xyz: places of all atoms, in Å.
        members: the atoms that the boxes go around.
        operations: rotation and translation (Å) of each copy of the model, the identity first.
        shape: voxels of the map along x, y and z.
        pixel: edges of a voxel, in Å.
        origin: where the first voxel of the map is, in Å.
        resolution: limit of the coefficients, in Å.
        radius: how far from an atom the mask is one, in Å.
        mask: weights to multiply the mask with.

    Raises:
        ValueError: none of the members is in the map, or the mask is zero around them.
    """
    copies = [xyz @ rotation.T + translation for rotation, translation in operations]
    everywhere, centre = np.concatenate(copies), KDTree(xyz[members])
    inside = np.all((everywhere > origin) & (everywhere < origin + pixel * shape), axis=1)
    if not inside[members].any():
        ends = [f"{a:.0f} to {b:.0f}" for a, b in zip(xyz.min(axis=0), xyz.max(axis=0), strict=True)]
        there = [f"{a:.0f} to {b:.0f}" for a, b in zip(origin, origin + pixel * shape, strict=True)]
        raise ValueError(
            f"the model lies outside the map: its atoms are at {', '.join(ends)} Å along x, y, z, the map is at "
            f"{', '.join(there)} Å; dock the model in the map first"
        )
    edge = max(EDGE, resolution)
    distance, _ = centre.query(everywhere, distance_upper_bound=NEAR[-1] + 1e-6)
    weights, start = np.zeros((0, 0, 0)), np.zeros(3, int)
    for reach in NEAR:
        weights, start = _around(everywhere[inside & (distance <= reach)], shape, pixel, origin, radius, edge, mask)
        volume = float(np.sum(weights**2)) * np.prod(pixel)
        if volume * 2 / 3 * np.pi / resolution**3 > ENOUGH:
            break
    if not weights.any():
        raise ValueError("the mask is zero around all atoms that are refined; is it the mask of this map?")
    labels, _ = ndimage.label(weights > 0)  # pyright: ignore
    found = []
    for number, piece in enumerate(ndimage.find_objects(labels), 1):
        own = np.where(labels[piece] == number, weights[piece], 0)
        margin = np.ceil(MARGIN / pixel).astype(int)
        sizes = [fft.next_fast_len(n + 2 * m, real=True) for n, m in zip(own.shape, margin, strict=True)]
        before = [(n - m) // 2 for n, m in zip(sizes, own.shape, strict=True)]
        pads = [(a, n - m - a) for a, n, m in zip(before, sizes, own.shape, strict=True)]
        corner = start + [one.start for one in piece] - before
        place, edges = origin + corner * pixel, pixel * sizes
        images = []
        for (rotation, translation), copy in zip(operations, copies, strict=True):
            within = np.flatnonzero(np.all((copy >= place) & (copy < place + edges), axis=1))
            if within.size:
                images.append((np.asarray(rotation, float), np.asarray(translation, float), within))
        holds = np.isin(members, images[0][2]).any() if images else False
        if holds:
            hkl = _half_sphere(edges, np.array(sizes), resolution)
            found.append(Box(corner, place, pixel, np.pad(own, pads).astype(np.float32), hkl, tuple(images)))
    return tuple(found)


def _around(places, shape, pixel, origin, radius, edge, mask) -> tuple[np.ndarray, np.ndarray]:
    """A soft mask around atoms, over the part of the map that it covers, and the first voxel of that."""
    far = radius + edge
    low = np.maximum(np.floor((places.min(axis=0) - far - origin) / pixel), 0).astype(int)
    high = np.minimum(np.ceil((places.max(axis=0) + far - origin) / pixel) + 1, shape).astype(int)
    square = np.full(np.maximum(high - low, 0), far**2, np.float32)
    axes = [origin[i] + pixel[i] * np.arange(low[i], high[i]) for i in range(3)]
    for place in places:
        ends = [np.searchsorted(axis, [x - far, x + far]) for axis, x in zip(axes, place, strict=True)]
        part = square[tuple(slice(*end) for end in ends)]
        x, y, z = ((axis[slice(*end)] - at) ** 2 for axis, end, at in zip(axes, ends, place, strict=True))
        np.minimum(part, (x[:, None, None] + y[:, None] + z).astype(np.float32), out=part)
    weights = 0.5 + 0.5 * np.cos(np.pi * np.clip((np.sqrt(square) - radius) / edge, 0, 1))
    weights[weights < 1e-3] = 0
    return weights * (1 if mask is None else mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]), low


def _half_sphere(edges: np.ndarray, sizes: np.ndarray, resolution: float) -> Int[np.ndarray, "coefficients 3"]:
    """Indices of a cell to a limit of resolution, one of each Friedel pair."""
    largest = np.minimum(np.floor(edges / resolution), (sizes - 1) // 2).astype(int)
    h, k, l = np.meshgrid(*(np.arange(-n, n + 1) for n in largest), indexing="ij")  # noqa: E741
    hkl = np.stack([h.ravel(), k.ravel(), l.ravel()], axis=1)
    s = np.linalg.norm(hkl / edges, axis=1)
    upper: Bool[np.ndarray, " all"] = (hkl @ [1e-6, 1e-3, 1.0]) > 0
    return hkl[upper & (s <= 1 / resolution) & (s >= 1 / COARSEST)].astype(np.int32)
