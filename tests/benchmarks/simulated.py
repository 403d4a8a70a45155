"""Data simulated from a crystal of known occupancies: `python tests/benchmarks/simulated.py FOLDER` writes it to files.

The truth is drawn for each data set: occupancies from 0.05 to 0.95 in every set and, if asked for, coordinates and B
factors that differ from the model's, so that the model is as wrong as real models are. Structure factors come from
gemmi's FFT on a fine grid and a flat solvent that fills what a cell leaves empty. Measurement goes as it does for real:
Gaussian noise on intensities, then the amplitudes that French & Wilson (Acta Cryst. A34, 517-525, 1978) expect, so that
none is negative.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from simulated_crystal import BRICKS, SimulatedCrystal, build_crystal

from jax_occupancy.groups import format_toml
from jax_occupancy.io import Model, Reflections, read_model
from jax_occupancy.xray import (
    fixed_structure_factors,
    group_solvent_structure_factors,
    site_orders,
    solvent_structure_factors,
)

K_SOL, B_SOL = 0.35, 46.0
SCALE = 3.7
RELATIVE_NOISE = 0.03  # of an intensity
LAST_SHELL = 2.0  # mean I over its noise, near the limit of resolution
FREE_FRACTION = 0.08
EXACT = 1e-3  # what is left of σ without noise
SMALLEST, SMALLEST_STATE = 0.05, 0.15
# Grid points per d_min/2; 1e-5 from direct summation.
RATE = 2.5


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of one data set.

    Attributes:
        occupancies: of each atom, (atoms,).
        structure: with the true occupancies, coordinates and B.
    """

    occupancies: np.ndarray
    structure: gemmi.Structure


def draw_truth(
    crystal: SimulatedCrystal, random: np.random.Generator, *, coordinates: float = 0.0, b_factors: float = 0.0
) -> Truth:
    """Draw occupancies, and errors of the model.

    Args:
        crystal: the model.
        random: where the draws come from.
        coordinates: how far each atom is from the model's, root mean square, in Å.
        b_factors: how far its B is, relative to the model's B, root mean square.
    """
    occupancies = draw_occupancies(crystal, random)
    structure = crystal.structure.clone()
    shifts = random.normal(scale=coordinates / np.sqrt(3), size=(crystal.n_atoms, 3))
    factors = np.maximum(1 + random.normal(scale=b_factors, size=crystal.n_atoms), 0.3)
    for site, q, shift, factor in zip(structure[0].all(), occupancies, shifts, factors, strict=True):
        site.atom.pos += gemmi.Position(*shift)
        site.atom.occ, site.atom.b_iso = q, site.atom.b_iso * factor
    return Truth(occupancies, structure)


def draw_occupancies(crystal: SimulatedCrystal, random: np.random.Generator) -> np.ndarray:
    """Share out each set evenly over what is possible: a pair is uniform from 0.05 to 0.95."""
    occupancies = np.ones(crystal.n_atoms)
    parents = {one.whole[0] for one in crystal.sets if one.whole}
    shares: list[np.ndarray] = []
    for index, one in enumerate(crystal.sets):
        n = len(one.members) + (not one.complete)  # what is absent takes a share too
        whole = 1.0 if one.whole is None else shares[one.whole[0]][one.whole[1]]
        smallest = SMALLEST_STATE if index in parents else SMALLEST
        shares.append(smallest + (whole - n * smallest) * random.dirichlet(np.ones(n)))
        for atoms, q in zip(one.members, shares[-1], strict=False):
            occupancies[atoms] = q
    return occupancies


@dataclass(frozen=True, eq=False)
class Experiment:
    """Measures true crystals to some resolution.

    Attributes:
        crystal: the model.
        hkl: Miller indices of all unique reflections.
    """

    crystal: SimulatedCrystal
    hkl: np.ndarray

    @classmethod
    def to(cls, crystal: SimulatedCrystal, d_min: float) -> "Experiment":
        """Measure to d_min, in Å."""
        structure = crystal.structure
        hkl = gemmi.make_miller_array(structure.cell, structure.find_spacegroup(), d_min, 1e4, unique=True)
        return cls(crystal, hkl)

    def structure_factors(self, truth: Truth) -> np.ndarray:
        """Atoms and bulk solvent on the scale of the data."""
        hkl, structure = self.hkl, truth.structure
        everything = np.arange(truth.occupancies.size)
        occupancies = truth.occupancies / site_orders(structure)
        atoms = fixed_structure_factors(structure, hkl, refinable=[], occupancies=occupancies, rate=RATE)
        q = truth.occupancies[[group[0] for group in self.crystal.groups]]
        sets = np.repeat(np.arange(len(self.crystal.sets)), [len(one.members) for one in self.crystal.sets])
        opened = group_solvent_structure_factors(structure, hkl, self.crystal.groups, sets=sets, at=q)
        mask = solvent_structure_factors(structure, hkl, refinable=everything) + opened.empty + q @ opened.groups
        stol2 = structure.cell.calculate_1_d2_array(hkl) / 4
        return SCALE * (atoms + K_SOL * np.exp(-B_SOL * stol2) * mask)

    def measure(
        self, truth: Truth, random: np.random.Generator, *, noise: bool = True, intensities: bool = False
    ) -> Reflections:
        """Measure intensities or the amplitudes that follow from them; without noise they are exact, with a tiny σ."""
        hkl, cell = self.hkl, self.crystal.structure.cell
        spacegroup = self.crystal.structure.find_spacegroup()
        amplitude = np.abs(self.structure_factors(truth))
        operations = spacegroup.operations()
        epsilon = operations.epsilon_factor_without_centering_array(hkl)
        centric = operations.centric_flag_array(hkl)
        shell = _shells(cell.calculate_1_d2_array(hkl))
        intensity = amplitude**2
        mean = (np.bincount(shell, intensity / epsilon) / np.bincount(shell))[shell]
        sigma = np.hypot(RELATIVE_NOISE * intensity, mean[shell == shell.max()][0] / LAST_SHELL)
        sigma = sigma if noise else EXACT * sigma
        observed = intensity + noise * sigma * random.normal(size=len(hkl))
        if intensities:
            data = {"intensity": observed, "intensity_sigma": sigma}
        else:
            expected, spread = french_wilson(observed, sigma, epsilon * mean, centric)
            data = {"amplitude": expected if noise else amplitude, "sigma": spread}
        free = random.random(len(hkl)) < FREE_FRACTION
        return Reflections(hkl=hkl, free=free, cell=cell, spacegroup=spacegroup, **data)


def french_wilson(
    intensity: np.ndarray, sigma: np.ndarray, mean: np.ndarray, centric: np.ndarray, *, points: int = 160
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the amplitude given its intensity and Wilson's distribution, by quadrature."""
    low = np.sqrt(np.maximum(intensity - 6 * sigma, 0))
    high = np.sqrt(np.maximum(intensity, 0) + 6 * sigma)
    f = low + (high - low) * (np.arange(points)[:, None] + 0.5) / points
    power = f**2 / mean
    prior = np.where(centric, -power / 2, np.log(f) - power)
    log_density = prior - (f**2 - intensity) ** 2 / (2 * sigma**2)
    density = np.exp(log_density - log_density.max(axis=0))
    density /= density.sum(axis=0)
    first = (density * f).sum(axis=0)
    return first, np.sqrt((density * (f - first) ** 2).sum(axis=0))


def as_model(crystal: SimulatedCrystal) -> Model:
    """The crystal as `read_model` gives it."""
    with tempfile.TemporaryDirectory() as folder:
        return read_model(_write_model(crystal, Path(folder)))


def write_files(crystal: SimulatedCrystal, truth: Truth, reflections: Reflections, folder: Path) -> None:
    """Write `model.cif`, `data.mtz`, `groups.toml` (the nested sets) and `truth.json` (occupancies in file order)."""
    _write_model(crystal, folder)
    (folder / "groups.toml").write_text(format_toml(crystal.user))
    (folder / "truth.json").write_text(json.dumps(truth.occupancies.round(4).tolist()))
    mtz = gemmi.Mtz(with_base=True)
    mtz.cell, mtz.spacegroup = reflections.cell, reflections.spacegroup
    mtz.add_dataset("simulated")
    for label, kind in (("FP", "F"), ("SIGFP", "Q"), ("FreeR_flag", "I")):
        mtz.add_column(label, kind)
    columns = [reflections.hkl, reflections.amplitude, reflections.sigma, np.where(reflections.free, 0, 1)]
    mtz.set_data(np.column_stack(columns).astype(np.float32))
    mtz.write_to_file(str(folder / "data.mtz"))


def _write_model(crystal: SimulatedCrystal, folder: Path) -> Path:
    path = folder / "model.cif"
    crystal.structure.make_mmcif_document().write_file(str(path))
    return path


def _shells(inverse_d2: np.ndarray, smallest: int = 100, most: int = 20) -> np.ndarray:
    """The number of each reflection's shell, all of one size."""
    rank = np.argsort(np.argsort(inverse_d2))
    n = max(1, min(most, len(inverse_d2) // smallest))
    return rank * n // len(inverse_d2)


def main() -> None:
    """Write one data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--boxes", type=int, nargs=3, default=(2, 1, 1))
    parser.add_argument("--d-min", type=float, default=1.8)
    parser.add_argument("--spacegroup", choices=BRICKS, default="P 21 21 21")
    parser.add_argument("--coordinates", type=float, default=0.0, help="error of the model, Å")
    parser.add_argument("--b-factors", type=float, default=0.0, help="error of the model, relative")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    crystal = build_crystal(tuple(given.boxes), resolution=given.d_min, spacegroup=given.spacegroup, seed=given.seed)
    truth = draw_truth(crystal, random, coordinates=given.coordinates, b_factors=given.b_factors)
    reflections = Experiment.to(crystal, given.d_min).measure(truth, random)
    given.folder.mkdir(parents=True, exist_ok=True)
    write_files(crystal, truth, reflections, given.folder)
    print(f"{crystal.n_atoms} atoms, {len(crystal.sets)} sets, {reflections!r}")


if __name__ == "__main__":
    main()
