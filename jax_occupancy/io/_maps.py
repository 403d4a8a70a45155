"""Maps of cryo-EM, in CCP4/MRC format."""

import contextlib
import gzip
import os
import tempfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import gemmi
import numpy as np
from jaxtyping import Float

from jax_occupancy.io._files import PathLike, atomic_writer, check_file, is_gzipped

Density = Float[np.ndarray, "x y z"]

# Pixels of maps that belong together may differ by this much, relative.
SAME_PIXEL = 1e-4
# So may their first voxels, in voxels.
SAME_PLACE = 0.01
# How the machine stamp begins and what numpy calls that order of bytes; modes of values that are real numbers.
BYTE_ORDERS, MODES = {0x44: "<", 0x11: ">"}, (0, 1, 2, 6, 12)
# Distance from the atoms to where the mask begins to fall, in Å.
RADIUS = 4.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Maps:
    """A map, the mean of two half maps where there are two, and what is to be known of it.

    Attributes:
        density: the map, axes along x, y and z.
        difference: half the difference of the half maps, whose noise is that of their mean; None for a single map.
        pixel: edges of a voxel, in Å.
        origin: where the first voxel is, in Å.
        resolution: to which Fourier coefficients are used, in Å.
        mask: weights of the voxels, 0 to 1, to be multiplied with the mask around the atoms; None for this alone.
        radius: of the mask around the atoms, in Å; beyond it falls to zero.
        symmetry: of the particle about the centre of the map, such as "D2"; None takes what the model says.

    Raises:
        ValueError: a size, resolution, radius or value is impossible.
    """

    # Coarser features, in Å, are contrast with the solvent, which the model has none of.
    coarsest: ClassVar[float] = 10.0

    density: Density
    difference: Density | None = None
    pixel: Float[np.ndarray, "3"]
    origin: Float[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))
    resolution: float
    mask: Density | None = None
    radius: float = RADIUS
    symmetry: str | None = None
    paths: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        name, finest = self.name, 2 * float(np.max(self.pixel))
        if not self.resolution > 0 or not 0 < self.radius < 100:
            raise ValueError(
                f"resolution {self.resolution} Å, radius {self.radius} Å; wanted numbers above 0, the radius below 100"
            )
        if self.resolution >= self.coarsest:
            raise ValueError(
                f"{name}: the resolution is {self.resolution:g} Å, and of a map nothing coarser than "
                f"{self.coarsest:g} Å is used; occupancies need a finer one"
            )
        if self.resolution < finest * (1 - 1e-3):
            raise ValueError(
                f"{name}: voxels of {finest / 2:.3f} Å hold nothing beyond {finest:.2f} Å, and the resolution is "
                f"{self.resolution:g} Å; give that of the map"
            )
        for label, values in (("the map", self.density), ("the difference of the half maps", self.difference)):
            if values is None:
                continue
            if values.shape != self.density.shape:
                raise ValueError(f"difference has the shape {values.shape}, the map {self.density.shape}")
            if not np.isfinite(low := values.min()) or not np.isfinite(high := values.max()):
                raise ValueError(f"{name}: {label} has values that are no finite numbers; write the map again")
            if low == high:
                same = "; give two half maps, not one map twice" if values is self.difference else ""
                raise ValueError(f"{name}: {label} is {low:zg} everywhere{same}")

    @property
    def path(self) -> Path | None:
        """The first file."""
        return self.paths[0] if self.paths else None

    @property
    def name(self) -> str:
        """The names of the files."""
        return " and ".join(path.name for path in self.paths) or "the map"

    def __repr__(self) -> str:
        kind = "a map" if self.difference is None else "half maps"
        return f"Maps({kind}, {' x '.join(map(str, self.density.shape))} voxels, to {self.resolution:g} Å)"


def is_map(path: PathLike) -> bool:
    """Whether a file is a CCP4/MRC map, plain or gzipped, by its name or its content."""
    named = Path(path).name.lower().removesuffix(".gz").endswith((".mrc", ".map", ".ccp4"))
    return named or _header(path)[208:212] == b"MAP "


def _header(path: PathLike) -> bytes:
    """The words of a header up to the machine stamp, fewer of a file that is too short."""
    start = b""
    if os.path.isfile(path):
        opener = gzip.open if is_gzipped(path) else open
        with opener(path, "rb") as handle, contextlib.suppress(EOFError, OSError, zlib.error):
            start = handle.read(216)
    return start


def _check_header(path: PathLike) -> None:
    """ValueError if a map is not one that can be read, by what its header says."""
    header = _header(path)
    if len(header) < 216:
        return  # it is cut short
    if header[208:212] != b"MAP ":
        raise ValueError(f"{path} is no map in CCP4/MRC format: it lacks the word MAP in its header")
    if header[212] not in BYTE_ORDERS:
        raise ValueError(
            f"{path}: the machine stamp in its header is {header[212:].hex(' ')} (hexadecimal), where 44 41 or 11 11 "
            "says the order of the bytes; write the map again with another program"
        )
    *voxels, mode = np.frombuffer(header, f"{BYTE_ORDERS[header[212]]}i4", 4).tolist()
    if mode not in MODES:
        raise ValueError(
            f"{path} has values of mode {mode} by its header; wanted real numbers, mode {', '.join(map(str, MODES))} "
            "(3 and 4 are complex)"
        )
    if min(voxels) <= 0:
        raise ValueError(f"{path} has {' x '.join(map(str, voxels))} voxels by its header; write the map again")


def read_maps(
    half1: PathLike,
    half2: PathLike | None = None,
    *,
    resolution: float | int,
    mask: PathLike | None = None,
    radius: float | int = RADIUS,
    symmetry: str | None = None,
) -> Maps:
    """Read two half maps, or one map, of cryo-EM.

    Args:
        half1: the first half map, or the only map, in CCP4/MRC format, also .gz.
        half2: the second; without it the noise is taken from where there are no atoms.
        resolution: to which Fourier coefficients are used, in Å.
        mask: a map of weights, 0 to 1, on the same grid.
        radius: of the mask around the atoms, in Å.
        symmetry: of the particle about the centre of the map: C4, D2, T, O, I; by default what the model says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is no map, damaged, empty or of another grid; the message says in what.

    Example:
        >>> import tempfile
        >>> from jax_occupancy.example import write_map_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = write_map_example(folder)
        ...     read_maps(files.half1, files.half2, resolution=2.0)
        Maps(half maps, 56 x 56 x 56 voxels, to 2 Å)
    """
    settings = {"resolution": float(resolution), "radius": float(radius), "symmetry": symmetry}
    values, pixel, origin, notes = _read(half1)
    maps = Maps(density=values, pixel=pixel, origin=origin, paths=(Path(half1),), notes=notes, **settings)
    if mask is not None:
        weights = _read_beside(maps, mask)
        if weights.min() < -0.05 or weights.max() > 1.05 or not weights.max() > 0:
            raise ValueError(f"{mask}: a mask has values from 0 to 1, not {weights.min():g} to {weights.max():g}")
        maps = replace(maps, mask=np.clip(weights, 0, 1))
    if half2 is None:
        return maps
    other = _read_beside(maps, half2)
    replace(maps, density=other, paths=(Path(half2),))  # is it a map by itself?
    mean = (values + other) / 2
    return replace(maps, density=mean, difference=values - mean, paths=(Path(half1), Path(half2)))


def _read(path: PathLike) -> tuple[Density, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Values along x, y, z, edges of a voxel, where the first one is, and notes."""
    check_file(path)
    _check_header(path)
    try:
        # gemmi looks at the name to tell gzipped files
        file = gemmi.read_ccp4_map(str(path))
        start = np.array([file.header_i32(word) for word in (5, 6, 7)])[file.axis_positions()]
        file.setup(float("nan"), gemmi.MapSetup.ReorderOnly)
    except (RuntimeError, ValueError, OSError, EOFError) as error:
        if is_gzipped(path) and not str(path).lower().endswith(".gz"):
            raise ValueError(f"{path} is a gzipped map; let its name end in .gz") from error
        raise ValueError(f"{path} is damaged or cut short ({error}); copy it again") from error
    cell = file.grid.unit_cell
    points = np.array([file.header_i32(word) for word in (8, 9, 10)])
    if not all(abs(angle - 90) < 1e-3 for angle in cell.parameters[3:]):
        raise ValueError(f"{path} has a cell with the angles {cell.parameters[3:]}; wanted a map with right angles")
    if not np.all(points > 0) or not np.all(np.array(cell.parameters[:3]) > 0):
        raise ValueError(f"{path} has no cell: edges {cell.parameters[:3]}, {points.tolist()} voxels along them")
    pixel = np.array(cell.parameters[:3]) / points
    moved = np.array([file.header_float(word) for word in (50, 51, 52)])
    by_origin = np.isfinite(moved).all() and np.any(moved != 0)
    said = [", ".join(f"{x:.2f}" for x in place) for place in (start * pixel, moved)]
    notes, first = [], f"{Path(path).name}: the first voxel is at"
    if by_origin and not start.any():
        notes.append(f"{first} {said[1]} Å, as ORIGIN in its header says")
    elif by_origin and not np.allclose(start * pixel, moved, atol=SAME_PLACE * float(np.min(pixel))):
        notes.append(f"{first} {said[0]} Å, as NSTART in its header says; ORIGIN says {said[1]} Å and was not used")
    origin = start * pixel if start.any() or not by_origin else moved
    return np.array(file.grid.array, np.float32), pixel, origin, tuple(notes)


def _read_beside(maps: Maps, path: PathLike) -> Density:
    """The values of a map, which must lie on the grid of the first."""
    values, pixel, origin, _ = _read(path)
    differences = []
    if values.shape != maps.density.shape:
        sizes = [" x ".join(map(str, one.shape)) for one in (values, maps.density)]
        differences.append(f"{sizes[0]} voxels, not {sizes[1]}")
    if not np.allclose(pixel, maps.pixel, rtol=SAME_PIXEL):
        differences.append(f"voxels of {_triple(pixel)} Å, not {_triple(maps.pixel)}")
    if not np.allclose(origin, maps.origin, atol=SAME_PLACE * float(np.min(maps.pixel))):
        differences.append(f"its first voxel at {_triple(origin)} Å, not {_triple(maps.origin)}")
    if differences:
        raise ValueError(f"{path} is on another grid than {maps.paths[0]}: it has {' and '.join(differences)}")
    return values


def _triple(values: np.ndarray) -> str:
    # as many digits as SAME_PIXEL tells apart
    return " ".join(f"{value:.5f}" for value in values)


def write_map(
    path: PathLike, values: Density, *, pixel: Float[np.ndarray, "3"], origin: Float[np.ndarray, "3"]
) -> None:
    """Write a map in CCP4/MRC format, values along x, y and z; it appears under its name only when it is complete.

    Args:
        pixel: edges of a voxel, in Å.
        origin: where the first voxel is, in Å; whole voxels go to NSTART, anything else to ORIGIN.
    """
    file = gemmi.Ccp4Map()
    file.grid = gemmi.FloatGrid(np.ascontiguousarray(values, np.float32))
    file.grid.set_unit_cell(gemmi.UnitCell(*(pixel * values.shape).tolist(), 90.0, 90.0, 90.0))  # pyright: ignore
    file.grid.spacegroup = gemmi.SpaceGroup("P 1")
    file.update_ccp4_header(2, True)
    start = np.round(origin / pixel)
    whole = bool(np.allclose(start * pixel, origin, atol=1e-3))
    for axis in range(3):
        if whole:
            file.set_header_i32(5 + axis, int(start[axis]))
        else:
            file.set_header_float(50 + axis, float(origin[axis]))
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "map.ccp4")
        file.write_ccp4_map(name)
        data = Path(name).read_bytes()
    with atomic_writer(path) as handle:
        handle.write(gzip.compress(data, mtime=0) if str(path).lower().endswith(".gz") else data)
