"""A map around the groups as data: coefficients, their noise, and what scales and errors follow from a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Complex, Float

from jax_occupancy.io import Maps, Model
from jax_occupancy.xray import (
    Box,
    Interpolation,
    MapLikelihood,
    Scale,
    SigmaA,
    Target,
    hartley,
    shell_nodes,
    smooth_mean,
)

# Independent coefficients that a shell has at least, and how many shells there are at most.
SMALLEST_SHELL, MAX_SHELLS = 100, 20
# Where half maps agree no more than this there is no signal (Rosenthal & Henderson, J. Mol. Biol. 333, 721, 2003).
SIGNAL = 0.143
# The scale does not fall below this part of its largest value, nor the error of the model below this part of its power.
# Around atoms, in Å, map and model are compared to so far.
AROUND = 2.0
SMALLEST_SCALE, SMALLEST_ERROR = 1e-3, 1e-6
# Boxes without atoms that the noise of a single map is taken from: how many, and of how many voxels along an edge.
EMPTY, EMPTY_EDGE, EMPTY_DISTANCE = 12, 32, 5.0


@dataclass(frozen=True, eq=False)
class MapData:
    """The Hartley transform of a map in boxes, one number for each coefficient of each Friedel pair.

    It has the interface of `Observations`. Values are relative to `unit` and such that noise is that of a voxel.

    Attributes:
        boxes: pieces of the map.
        amplitude: the signed values, (reflections,).
        noise: variance of their complex coefficients that is the map's.
        share: how many of them are independent, as a part of all.
        spacing: resolution of each, in Å.
        unit: what a value is to be multiplied with to have it on the scale of the map.
        half_fsc: correlation of the half maps at the nodes of `shells`; None for a single map.
        shells: nodes of 1/d² between which scale and errors are straight lines.
        paths: the files.
        notes: what the reader should know of.
        label: how the noise is known.
    """

    boxes: tuple[Box, ...]
    amplitude: Float[np.ndarray, " reflections"]
    noise: Float[np.ndarray, " reflections"]
    share: Float[np.ndarray, " reflections"]
    spacing: Float[np.ndarray, " reflections"]
    unit: float
    half_fsc: Float[np.ndarray, " shells"] | None
    shells: Float[np.ndarray, " shells"]
    paths: tuple[Path, ...]
    notes: tuple[str, ...]
    label: str

    @classmethod
    def from_maps(cls, maps: Maps, boxes: tuple[Box, ...], places: Float[np.ndarray, "atoms 3"]) -> "MapData":
        """Cut the boxes out of the maps.

        Args:
            maps: what `read_maps` returned.
            boxes: around the groups.
            places: of all atoms, in Å: outside is the noise of a single map.

        Raises:
            ValueError: the map is zero around the groups, or a single map everywhere outside the model.
        """
        rows = in_rows([box.cut(maps.density) for box in boxes])
        spacing = np.concatenate([np.tile(1 / np.linalg.norm(box.vectors, axis=1), 2) for box in boxes])
        share = np.concatenate([np.full(2 * len(box.hkl), box.share) for box in boxes])
        unit = float(np.sqrt(np.mean(np.abs(rows) ** 2)))
        if not unit > 0:
            raise ValueError(f"{maps.name}: the map is zero around all groups; is the model docked in this map?")
        smallest = int(np.ceil(2 * SMALLEST_SHELL / np.average(share)))
        shells = shell_nodes(spacing**-2.0, smallest=smallest, most=MAX_SHELLS)
        between = Interpolation.from_nodes(shells, spacing**-2.0)
        fsc, everywhere = None, np.ones(len(rows), bool)
        if maps.difference is None:
            noise, label = _noise_outside(maps, places, spacing) / unit**2, "the map where there are no atoms"
        else:
            other = in_rows([box.cut(maps.difference) for box in boxes])
            noise, label = smooth_mean(np.abs(other / unit) ** 2, between, everywhere), "the half maps"
            fsc = _correlation(hartley(rows + other), hartley(rows - other), between)
        if not noise.min() > 0:
            raise ValueError(f"{maps.name}: there is no noise in {label}; give half maps, or a map that is not masked")
        return cls(
            boxes=boxes,
            amplitude=hartley(rows / unit),
            noise=noise,
            share=share,
            spacing=spacing,
            unit=unit,
            half_fsc=fsc,
            shells=shells,
            paths=maps.paths,
            notes=(*maps.notes, *_on_resolution(maps, fsc, shells)),
            label=label,
        )

    @property
    def reflections(self) -> "MapData":
        """Itself: what Python calls the data."""
        return self

    @property
    def path(self) -> Path | None:
        """The first file."""
        return self.paths[0] if self.paths else None

    @property
    def sigma(self) -> Float[np.ndarray, " reflections"]:
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
    def labels(self) -> dict[str, str | None]:
        """The files in place of columns."""
        return {path.name: path.name for path in self.paths}

    def d_spacing(self) -> Float[np.ndarray, " reflections"]:
        """Resolution of each coefficient, in Å."""
        return self.spacing

    @property
    def between(self) -> Interpolation:
        """Shells of resolution."""
        return Interpolation.from_nodes(self.shells, self.spacing**-2.0)

    def located(self) -> "MapData":
        """Itself."""
        return self

    def gather(self, values: Any) -> Any:
        """All of them were observed."""
        return values

    def spread(self, values: Any, n: int, *, fill: Any) -> Any:
        """All of them were observed."""
        return values

    def target(self, kind: type[Target], sigma_a: SigmaA | None, n: int, *, dtype: Any) -> Target:
        """The target for an error of the model."""
        return kind.from_observations(self, sigma_a, dtype=dtype)  # pyright: ignore[reportArgumentType]

    def target_class(self, wanted: Any) -> type[Target]:
        """The likelihood, or a target of the user's."""
        return MapLikelihood if wanted == "ml" else wanted

    def scale(self, calculated: Complex[np.ndarray, " reflections"], mask: Any, *, start: Scale | None = None) -> Scale:
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
        k = np.maximum(k, SMALLEST_SCALE * k.max())
        nothing = np.zeros_like(k)
        return Scale(between.interpolate(k), np.zeros(model.size), between.d_spacing, k, nothing, (0.0,) * 6)

    def sigma_a(self, model_amplitude: Float[np.ndarray, " reflections"]) -> SigmaA:
        """The error of the model: what is left over of the map beyond its noise, by resolution."""
        model, between, all_of_them = (
            np.asarray(model_amplitude, np.float64),
            self.between,
            np.ones(self.free.size, bool),
        )
        left = smooth_mean((self.amplitude - model) ** 2, between, all_of_them)
        power = smooth_mean(model**2, between, all_of_them)
        error = np.maximum(left - self.noise, SMALLEST_ERROR * power)
        sigma_a = np.sqrt(power / (power + error))
        return SigmaA(
            sigma_a=sigma_a,
            shrinkage=np.ones_like(model),
            variance=error,
            centric=self.free,
            epsilon=np.ones_like(model),
            d_spacing=between.d_spacing,
            at_nodes=between.collect(sigma_a) / between.collect(np.ones_like(model)),
            source="map",
            n_used=self.n_reflections,
        )

    def fsc(self, model: Float[np.ndarray, " reflections"]) -> Float[np.ndarray, " shells"]:
        """Correlation of the map and the values of a model by shell."""
        return _correlation(self.amplitude, model, self.between)

    def table(self, start: np.ndarray, end: np.ndarray) -> pd.DataFrame:
        """By shell: d (Å), coefficients that are independent, fsc_halves, fsc_start and fsc_end (map and model)."""
        between = self.between
        nothing = np.full(len(self.shells), np.nan)
        columns = {"d": between.d_spacing, "n": between.collect(self.share) / 2}
        columns |= {"fsc_halves": nothing if self.half_fsc is None else self.half_fsc}
        return pd.DataFrame(columns | {"fsc_start": self.fsc(start), "fsc_end": self.fsc(end)})

    def correlations(
        self, model: Model, f_model: np.ndarray, groups: Sequence[np.ndarray]
    ) -> Float[np.ndarray, " groups"]:
        """Correlation of map and model around the atoms of groups; NaN where the boxes have none of them."""
        xyz = model.atoms[["x", "y", "z"]].to_numpy(np.float64)
        found = np.full(len(groups), np.nan)
        for (box, seen), (_, meant) in zip(self.densities(self.coefficients), self.densities(f_model), strict=True):
            steps = np.stack(
                np.meshgrid(*(np.arange(-n, n + 1) for n in np.ceil(AROUND / box.pixel)), indexing="ij"), -1
            )
            steps = steps.reshape(-1, 3)[np.linalg.norm(steps.reshape(-1, 3) * box.pixel, axis=1) <= AROUND].astype(int)
            for number, atoms in enumerate(groups):
                here = np.round((xyz[np.intersect1d(atoms, box.images[0][2])] - box.place) / box.pixel).astype(int)
                voxels = np.unique((here[:, None] + steps).reshape(-1, 3), axis=0)
                voxels = tuple(voxels[np.all((voxels >= 0) & (voxels < box.mask.shape), axis=1)].T)
                if len(voxels[0]) > 1:
                    found[number] = np.corrcoef(seen[voxels], meant[voxels])[0, 1]
        return found

    def densities(self, rows: Complex[np.ndarray, " reflections"]) -> list[tuple[Box, Float[np.ndarray, "x y z"]]]:
        """Each box and the density in it that coefficients of all boxes stand for, on the scale of the map."""
        found, begin = [], 0
        for box in self.boxes:
            n = len(box.hkl)
            found.append((box, box.density(rows[begin : begin + n]) * self.unit * np.sqrt(box.weight)))
            begin += 2 * n
        return found

    @property
    def coefficients(self) -> Complex[np.ndarray, " reflections"]:
        """The complex coefficients of the map that the values are made of."""
        found, begin = [], 0
        for box in self.boxes:
            n = len(box.hkl)
            one, other = self.amplitude[begin : begin + n], self.amplitude[begin + n : begin + 2 * n]
            found.append((one + other) / 2 + 1j * (other - one) / 2)
            begin += 2 * n
        return in_rows(found)


def in_rows(of_boxes: list[Complex[np.ndarray, "*planes coefficients"]]) -> Complex[np.ndarray, "*planes reflections"]:
    """Coefficients of all boxes, each followed by those of the opposite indices."""
    return np.concatenate([part for one in of_boxes for part in (one, np.conj(one))], axis=-1)


def _correlation(one: np.ndarray, other: np.ndarray, between: Interpolation) -> Float[np.ndarray, " shells"]:
    """Fourier shell correlation of the values of two maps."""
    product, *powers = (between.collect(values) for values in (one * other, one**2, other**2))
    return product / np.sqrt(np.maximum(powers[0] * powers[1], np.finfo(float).tiny))


def _on_resolution(maps: Maps, fsc: np.ndarray | None, shells: np.ndarray) -> tuple[str, ...]:
    """Say so where the half maps do not agree to the limit of resolution, or far beyond it."""
    if fsc is None:
        return ("one map: the noise is taken from where there are no atoms; half maps tell it better",)
    if fsc.max() < SIGNAL:
        return (f"the half maps correlate nowhere around the groups (FSC at most {fsc.max():.2f})",)
    limit = resolution_of(fsc, shells)
    if limit is None:
        return ()
    if limit > 1.1 * maps.resolution:
        return (
            f"around the groups the half maps agree to {limit:.2f} Å only (FSC {SIGNAL}): beyond it there is noise, "
            "which costs nothing",
        )
    return ()


def resolution_of(fsc: np.ndarray, shells: np.ndarray) -> float | None:
    """Where the correlation of half maps falls below 0.143, in Å; None if it does not."""
    below = np.flatnonzero(fsc < SIGNAL)
    if not below.size or below[0] == 0:
        return None
    i = below[0]
    place = np.interp(-SIGNAL, -fsc[i - 1 : i + 1], shells[i - 1 : i + 1])
    return float(place**-0.5)


def _noise_outside(maps: Maps, places: np.ndarray, spacing: np.ndarray) -> Float[np.ndarray, " reflections"]:
    """Variance of coefficients, with the noise of a voxel, from pieces of the map that have no atoms."""
    edge, shape = EMPTY_EDGE, np.array(maps.density.shape)
    if np.any(shape < edge):
        edge = int(shape.min())
    taken = np.zeros(-(-shape // edge) + 1, bool)
    for shift in (-EMPTY_DISTANCE, 0.0, EMPTY_DISTANCE):
        for axis in range(3):
            moved = (places + shift * np.eye(3)[axis] - maps.origin) / maps.pixel
            inside = np.all((moved >= 0) & (moved < shape), axis=1)
            taken[tuple((moved[inside].astype(int) // edge).T)] = True
    whole = [place for place in np.ndindex(*(shape // edge)) if not taken[place]]
    centre = (places.mean(axis=0) - maps.origin) / maps.pixel / edge - 0.5
    whole.sort(key=lambda place: float(np.sum((place - centre) ** 2)))
    fall = np.hanning(edge + 2)[1:-1]
    taper = (fall[:, None, None] * fall[:, None] * fall).astype(np.float32)
    s = np.stack(np.meshgrid(*(np.fft.fftfreq(edge, d) for d in maps.pixel), indexing="ij"), axis=-1)
    s = np.linalg.norm(s, axis=-1).ravel()
    powers = []
    for place in whole:
        piece = maps.density[tuple(slice(i * edge, (i + 1) * edge) for i in place)]
        if piece.min() < piece.max():
            powers.append(np.abs(np.fft.fftn((piece - piece.mean()) * taper)).ravel() ** 2)
        if len(powers) == EMPTY:
            break
    if not powers:
        raise ValueError(
            f"{maps.name}: the map has no place without atoms that is not empty, to take its noise from; give two "
            "half maps, or the map before it was masked"
        )
    power = np.mean(powers, axis=0) / np.sum(taper.astype(float) ** 2)
    bins = np.linspace(0, s.max(), edge // 2 + 1)
    shell = np.digitize(s, bins) - 1
    mean = np.bincount(shell, power, len(bins)) / np.maximum(np.bincount(shell, minlength=len(bins)), 1)
    middle = np.append((bins[1:] + bins[:-1]) / 2, bins[-1])
    return np.interp(1 / spacing, middle, mean) * np.prod(maps.pixel) ** 2
