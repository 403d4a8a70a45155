"""Simulated half maps of the example, written to files as a user's would be."""

import os
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from jaxtyping import Float

from jax_occupancy.example._simulate import CRYSTAL, write_start
from jax_occupancy.io import read_model, write_map

PIXEL, VOXELS = 0.75, 56
RESOLUTION = 2.0
# B factors of the example are those of a crystal at 1.3 Å; a map at 2 Å has higher ones, in Å².
MORE_B = 20.0


@dataclass(frozen=True, eq=False)
class MapExample:
    """Files of a simulated particle, and what is true."""

    model: Path  # PDB file with even shares in place of the true occupancies
    half1: Path  # half maps, MRC
    half2: Path
    truth: Float[np.ndarray, " atoms"]  # true occupancy of each atom, in file order


def write_map_example(folder: str | os.PathLike[str], *, seed: int = 0) -> MapExample:
    """Simulate a particle and write its model and two half maps, `example.pdb`, `half1.mrc` and `half2.mrc`.

    The atoms of `write_example` without their crystal, scattering electrons; white noise, as strong as the signal
    allows for the half maps to correlate by 0.143 at 2.0 Å. The density is gemmi's.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_map_example(folder).half1.name
        'half1.mrc'
    """
    structure, random = read_model(CRYSTAL).structure, np.random.default_rng(seed)
    edge = PIXEL * VOXELS
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(edge, edge, edge, 90, 90, 90), "P 1"
    structure.setup_cell_images()
    places = np.array([site.atom.pos.tolist() for site in structure[0].all()])
    to_centre = gemmi.Position(*(edge / 2 - (places.min(axis=0) + places.max(axis=0)) / 2))  # pyright: ignore
    for site in structure[0].all():
        site.atom.pos += to_centre
        site.atom.b_iso += MORE_B
    truth = np.array([site.atom.occ for site in structure[0].all()])
    density = simulated_density(structure, (VOXELS, VOXELS, VOXELS))
    noise = noise_at(density, places, PIXEL, RESOLUTION)
    model, half1, half2 = (Path(folder, name) for name in ("example.pdb", "half1.mrc", "half2.mrc"))
    for half in (half1, half2):
        values = density + noise * random.standard_normal(density.shape)
        write_map(half, values.astype(np.float32), pixel=np.full(3, PIXEL), origin=np.zeros(3))
    write_start(structure, model)
    return MapExample(model, half1, half2, truth)


def simulated_density(structure: gemmi.Structure, shape: tuple[int, int, int]) -> Float[np.ndarray, "x y z"]:
    """Density of a structure in its cell, by gemmi, to the limit of resolution that a grid can hold."""
    calculator = gemmi.DensityCalculatorE()
    calculator.d_min = 2 * max(edge / n for edge, n in zip(structure.cell.parameters[:3], shape, strict=True))
    calculator.rate = 2.0
    calculator.set_refmac_compatible_blur(structure[0])
    calculator.set_grid_cell_and_spacegroup(structure)
    calculator.put_model_density_on_grid(structure[0])
    transform = gemmi.transform_map_to_f_phi(calculator.grid, half_l=True)
    coefficients = transform.prepare_asu_data(dmin=calculator.d_min, unblur=calculator.blur)
    return np.array(coefficients.transform_f_phi_to_map(exact_size=shape).array, np.float64)


def noise_at(density: np.ndarray, places: np.ndarray, pixel: float, resolution: float) -> float:
    """Standard deviation of white noise of a voxel with which half maps, masked around the atoms, agree to a limit.

    There the power of the noise is six times that of the signal, which is in the part of the box that has atoms.
    """
    power = np.abs(np.fft.fftn(density)) ** 2
    s = np.linalg.norm(np.stack(np.meshgrid(*(np.fft.fftfreq(n, pixel) for n in density.shape), indexing="ij")), axis=0)
    shell = np.abs(s * resolution - 1) < 0.05
    inside = min(1.0, len(places) * 50.0 / (density.size * pixel**3))  # 50 Å³ an atom, as in a mask 3 Å around them
    return float(np.sqrt(6 * power[shell].mean() / inside / density.size))
