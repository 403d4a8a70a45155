"""A map around the groups as data: coefficients, their noise, and what scales and errors follow from a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Complex, Float, Int

from jax_occupancy.io import Maps, Model
from jax_occupancy.xray import (
    Box,
    Interpolation,
    Scale,
    SigmaA,
    Target,
    empty_box,
    hartley,
    shell_nodes,
    smooth_mean,
)

# Independent coefficients that a shell has at least, and how many shells there are at most.
SMALLEST_SHELL, MAX_SHELLS = 100, 20
# Where half maps agree no more than this there is no signal (Rosenthal & Henderson, J. Mol. Biol. 333, 721, 2003), and
# it is told if this is so much coarser, relative, than the resolution that was asked for.
SIGNAL, COARSER = 0.143, 1.1
# Half maps that agree more than this to the limit of resolution are one map twice, or have it in common.
INDEPENDENT = 0.99
# The scale does not fall below this part of its largest value, nor the error of the model below this part of its power.
SMALLEST_SCALE, SMALLEST_ERROR = 1e-3, 1e-6
# How often the filter is made anew that makes the noise white.
WHITENINGS = 3
# Around atoms, in Å, map and model are compared to so far.
AROUND = 2.0
# A single map that has less than this part of its voxels without atoms filled was masked.
FILLED = 0.5
# Half maps are said to be masked where more than this part of the mask around the groups is zero.
EMPTY = 0.1

Rows = Float[np.ndarray, " reflections"]
ComplexRows = Complex[np.ndarray, " reflections"]


@dataclass(frozen=True, eq=False)
class MapData:
    """The Hartley transform of a map in boxes, one number for each coefficient of each Friedel pair.

    It has the interface of `Observations`. The map was filtered before it was masked, so that its noise is nearly one
    at any resolution: the mask mixes coefficients, and a sharpened map has noise a thousand times as strong in some.

    Attributes:
        boxes: pieces of the map.
        orders: how many operations of the particle leave each atom of the model where it is.
        amplitude: the signed values.
        noise: variance of their complex coefficients that is the map's.
        share: how many of them are independent, as a part of all.
        spacing: resolution of each, in Å.
        whitening: the filter.
        half_fsc: correlation of the half maps at the nodes of `shells`; None for a single map.
        shells: nodes of 1/d² between which scale and errors are straight lines.
        paths: the files.
        outside: of each group what it lies outside of, "the map" or "the mask"; "" where there are data.
        notes: what the reader should know of.
    """

    boxes: tuple[Box, ...]
    orders: Int[np.ndarray, " atoms"]
    amplitude: Rows
    noise: Rows
    share: Rows
    spacing: Rows
    whitening: Rows
    half_fsc: Float[np.ndarray, " shells"] | None
    shells: Float[np.ndarray, " shells"]
    paths: tuple[Path, ...]
    outside: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def from_maps(
        cls,
        maps: Maps,
        boxes: tuple[Box, ...],
        places: Float[np.ndarray, "copies 3"],
        orders: Int[np.ndarray, " atoms"],
        outside: tuple[str, ...],
    ) -> "MapData":
        """Cut the boxes out of the maps; outside `places`, those of all copies in Å, is the noise of a single map.

        Raises:
            ValueError: hardly any coefficient is left, the map is zero around the groups, or a single map is zero
                everywhere outside the model.
        """
        spacing = np.concatenate([np.tile(1 / np.linalg.norm(box.vectors, axis=1), 2) for box in boxes])
        share = np.concatenate([np.full(2 * len(box.hkl), box.share) for box in boxes])
        # real and imaginary parts
        if (independent := share.sum() / 2) < SMALLEST_SHELL:
            raise ValueError(
                f"{maps.name}: around the groups there are {independent:.0f} independent Fourier coefficients between "
                f"{maps.resolution:g} and {maps.coarsest:g} Å, and scale and noise take {SMALLEST_SHELL}; give a finer "
                "resolution (resolution=...), or a wider mask (radius=..., mask=...)"
            )
        smallest = int(np.ceil(2 * SMALLEST_SHELL / np.average(share)))
        shells = shell_nodes(spacing**-2.0, smallest=smallest, most=MAX_SHELLS)
        noisy, source = maps.difference, boxes
        if noisy is None:
            noisy, source = maps.density, (empty_box(maps, places),)
            filled = noisy[source[0].overlap(noisy.shape)[0]][source[0].mask == 1] != 0
            if not filled.size:
                raise ValueError(
                    f"{maps.name}: the map has no place far from all atoms, and its noise is unknown; give two half "
                    "maps, or the map before it was cropped"
                )
            if np.mean(filled) < FILLED:
                raise ValueError(
                    f"{maps.name}: the map is zero where there are no atoms, and its noise unknown; give two half "
                    "maps, or the map before it was masked"
                )

        def cut(boxes: Sequence[Box], density: np.ndarray) -> list[np.ndarray]:
            nodes = (Interpolation.from_nodes(shells, np.sum(box.vectors**2, axis=1)) for box in boxes)
            return [box.cut(density, near.interpolate(whitening)) for box, near in zip(boxes, nodes, strict=True)]

        near = Interpolation.from_nodes(shells, np.concatenate([np.sum(box.vectors**2, axis=1) for box in source]))
        # where the map was masked there is no noise either
        filled = np.concatenate([np.full(len(box.hkl), max(box.filled(maps.density), 1e-9)) for box in source])
        whitening, power = np.ones(len(shells)), np.ones(len(shells))
        for _ in range(WHITENINGS):
            whitening = whitening / np.sqrt(power)
            noise = np.abs(np.concatenate(cut(source, noisy))) ** 2 / filled
            power = near.collect(noise) / np.maximum(near.collect(np.ones_like(noise)), 1e-9)
            if not power.min() > 0:
                raise ValueError(f"{maps.name}: there is no noise around the groups; is the model docked in this map?")
        rows, between = in_rows(cut(boxes, maps.density)), Interpolation.from_nodes(shells, spacing**-2.0)
        if not np.any(rows):
            raise ValueError(f"{maps.name}: the map is zero around all groups; is the model docked in this map?")
        fsc, notes = None, ("one map: its noise is taken from where there are no atoms; half maps tell it better",)
        if maps.difference is not None:
            other = in_rows(cut(boxes, maps.difference))
            fsc = _correlation(hartley(rows + other), hartley(rows - other), between)
            notes = _on_resolution(maps, fsc, shells)
            if (empty := 1 - np.average(filled)) > EMPTY:
                notes += (
                    f"the half maps are zero in {100 * empty:.0f} % of the mask around the groups: they were masked, "
                    "and the noise is that of what is left; give them as they were before",
                )
        values: Any = {"amplitude": hartley(rows), "noise": between.interpolate(power), "share": share}
        values |= {"spacing": spacing, "whitening": between.interpolate(whitening)}
        values |= {"half_fsc": fsc, "shells": shells, "paths": maps.paths, "outside": outside}
        return cls(boxes, orders, **values, notes=maps.notes + notes)

    @property
    def reflections(self) -> "MapData":
        """Itself: what Python calls the data."""
        return self

    @property
    def path(self) -> Path | None:
        """The first file."""
        return self.paths[0] if self.paths else None

    @property
    def labels(self) -> dict[str, str | None]:
        """The files in place of columns."""
        return {path.name: path.name for path in self.paths}

    @property
    def sigma(self) -> Rows:
        """Standard uncertainty of real and of imaginary part."""
        return np.sqrt(self.noise / 2)

    @property
    def free(self) -> Bool[np.ndarray, " reflections"]:
        """No coefficient is left out."""
        return np.zeros(self.amplitude.size, bool)

    @property
    def n_free(self) -> int:
        """None."""
        return 0

    @property
    def n_reflections(self) -> int:
        """Number of coefficients, Friedel pairs counted once."""
        return self.amplitude.size // 2

    @property
    def resolution(self) -> tuple[float, float]:
        """Low and high limit in Å."""
        return float(self.spacing.max()), float(self.spacing.min())

    @property
    def between(self) -> Interpolation:
        """Shells of resolution."""
        return Interpolation.from_nodes(self.shells, self.spacing**-2.0)

    def d_spacing(self) -> Rows:
        """Resolution of each coefficient, in Å."""
        return self.spacing

    def gather(self, values: Any) -> Any:
        """All of them were observed."""
        return values

    def spread(self, values: Any, n: int, *, fill: Any) -> Any:
        """All of them were observed."""
        return values

    def target(self, kind: type[Target], sigma_a: SigmaA | None, n: int, *, dtype: Any) -> Target:
        """The target for an error of the model."""
        return kind.from_observations(self, sigma_a, dtype=dtype)  # pyright: ignore[reportArgumentType]

    def scale(self, calculated: ComplexRows, mask: Any, *, start: Scale | None = None) -> Scale:
        """The scale that brings a model nearest to the map, a straight line in 1/d² between shells.

        Raises:
            ValueError: the model has nothing to do with the map.
        """
        model, weight, between = hartley(calculated).astype(np.float64), 1 / self.noise, self.between
        normal, right = between.gram(weight * model**2), between.collect(weight * model * self.amplitude)
        k = np.linalg.lstsq(normal + 1e-9 * np.trace(normal) * np.eye(len(right)), right)[0]
        if not k.max() > 0:
            raise ValueError(
                "the model does not correlate with the map at any resolution; is it docked in this map, and is the "
                "map the right hand?"
            )
        k, nothing = np.maximum(k, SMALLEST_SCALE * k.max()), np.zeros_like(k)
        return Scale(between.interpolate(k), np.zeros(model.size), between.d_spacing, k, nothing, (0.0,) * 6)

    def sigma_a(self, model_amplitude: Rows) -> SigmaA:
        """The error of the model: what is left over of the map beyond its noise, by resolution."""
        model, between = np.asarray(model_amplitude, np.float64), self.between
        left, power = (smooth_mean(square**2, between, ~self.free) for square in (self.amplitude - model, model))
        error = np.maximum(left - self.noise, SMALLEST_ERROR * power)
        sigma_a, ones = np.sqrt(power / (power + error)), np.ones_like(model)
        return SigmaA(
            sigma_a=sigma_a,
            shrinkage=ones,
            variance=error,
            centric=self.free,
            epsilon=ones,
            d_spacing=between.d_spacing,
            at_nodes=between.collect(sigma_a) / between.collect(ones),
            source="map",
            n_used=self.n_reflections,
        )

    def table(self, start: Rows, end: Rows) -> pd.DataFrame:
        """By shell: d (Å), coefficients that are independent, fsc_halves, fsc_start and fsc_end (map and model)."""
        between = self.between
        halves = np.full(len(self.shells), np.nan) if self.half_fsc is None else self.half_fsc
        columns = {"d": between.d_spacing, "n": between.collect(self.share) / 2, "fsc_halves": halves}
        models = {"fsc_start": start, "fsc_end": end}
        return pd.DataFrame(columns | {n: _correlation(self.amplitude, f, between) for n, f in models.items()})

    def correlations(
        self, model: Model, f_model: ComplexRows, groups: Sequence[np.ndarray]
    ) -> Float[np.ndarray, " groups"]:
        """Correlation of map and model around the atoms of groups; NaN where the boxes have none of them."""
        xyz, found = model.atoms[["x", "y", "z"]].to_numpy(np.float64), np.full(len(groups), np.nan)
        for (box, seen), (_, meant) in zip(self.densities(self.coefficients), self.densities(f_model), strict=True):
            for number, atoms in enumerate(groups):
                voxels = box.voxels(xyz[np.intersect1d(atoms, box.images[0][2])], AROUND)
                if len(voxels[0]) > 1:
                    found[number] = np.corrcoef(seen[voxels], meant[voxels])[0, 1]
        return found

    def densities(self, rows: ComplexRows) -> list[tuple[Box, Float[np.ndarray, "x y z"]]]:
        """Each box and the density in it that coefficients of all boxes stand for, on the scale of the map."""
        pieces = zip(self.boxes, self._by_box(rows / self.whitening), strict=True)
        return [(box, box.density(one) * np.sqrt(box.weight)) for box, (one, _) in pieces]

    @property
    def coefficients(self) -> ComplexRows:
        """The complex coefficients of the map that the values are made of."""
        return in_rows([(a + b) / 2 + 1j * (b - a) / 2 for a, b in self._by_box(self.amplitude)])

    def _by_box(self, rows: np.ndarray) -> list[np.ndarray]:
        """Those of each box and of the opposite indices, (2, coefficients)."""
        ends = np.cumsum([2 * len(box.hkl) for box in self.boxes])[:-1]
        return [part.reshape(2, -1) for part in np.split(rows, ends)]


def in_rows(of_boxes: list[Complex[np.ndarray, "*planes coefficients"]]) -> Complex[np.ndarray, "*planes reflections"]:
    """Coefficients of all boxes, each followed by those of the opposite indices."""
    return np.concatenate([part for one in of_boxes for part in (one, np.conj(one))], axis=-1)


def _correlation(one: Rows, other: Rows, between: Interpolation) -> Float[np.ndarray, " shells"]:
    """Fourier shell correlation of the values of two maps."""
    product, *powers = (between.collect(values) for values in (one * other, one**2, other**2))
    return product / np.sqrt(np.maximum(powers[0] * powers[1], np.finfo(float).tiny))


def _on_resolution(maps: Maps, fsc: np.ndarray, shells: np.ndarray) -> tuple[str, ...]:
    """Say so where the half maps agree as no independent ones do, or do not agree to the limit of resolution."""
    if fsc.min() > INDEPENDENT:
        return (
            f"around the groups the half maps correlate by more than {INDEPENDENT} up to {maps.resolution:g} Å: they "
            "are hardly independent, and the uncertainties too small; give those that no filter or copy made alike",
        )
    below = np.flatnonzero(fsc < SIGNAL)
    if not below.size:
        return ()
    if below[0] == 0:
        return (f"around the groups the half maps do not even agree at {shells[0] ** -0.5:.0f} Å (FSC {fsc[0]:.2f})",)
    ends = slice(below[0] - 1, below[0] + 1)
    limit = float(np.interp(-SIGNAL, -fsc[ends], shells[ends])) ** -0.5
    if limit <= COARSER * maps.resolution:
        return ()
    return (f"around the groups the half maps agree to {limit:.2f} Å only (FSC {SIGNAL}); beyond it is mostly noise",)
