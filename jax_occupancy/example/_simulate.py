"""Simulated data of the example, written to files as a user's would be."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np
from jaxtyping import Float

from jax_occupancy.io import Model, Reflections, atomic_writer, read_model, read_reflections
from jax_occupancy.xray import group_solvent_structure_factors, solvent_structure_factors

# Ideal geometry (Engh & Huber, Acta Cryst. A47, 392-400, 1991) and the true occupancies.
CRYSTAL = Path(__file__).with_name("crystal.pdb")
D_MIN = 1.3
K_SOL, B_SOL = 0.35, 46.0
NOISE = 0.03
FREE_FRACTION = 0.08


@dataclass(frozen=True, eq=False)
class Example:
    """Files of the simulated crystal, and what is true."""

    model: Path  # PDB file with even shares in place of the true occupancies
    reflections: Path  # MTZ file with FP, SIGFP and FreeR_flag
    truth: Float[np.ndarray, " atoms"]  # true occupancy of each atom, in file order


def write_example(folder: str | os.PathLike[str], *, seed: int = 0) -> Example:
    """Simulate a crystal and write its model and data, `example.pdb` and `example.mtz`.

    A helix with residues in two and three conformers, a ligand in two poses that is absent from every third cell, a
    partly occupied water; bulk solvent and 3 % noise, 1.3 Å. The structure factors are gemmi's, by direct summation.
    The model starts from even shares, so that the refinement has to find the truth.

    Args:
        folder: where to write; it must exist.
        seed: of the noise and of the choice of the free set.

    Returns:
        The paths `model` and `reflections`, and `truth`, the true occupancy of each atom in file order.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     example = write_example(folder)
        >>> example.model.name, round(float(example.truth.min()), 2)
        ('example.pdb', 0.19)
    """
    structure = read_model(CRYSTAL).structure
    truth = np.array([site.atom.occ for site in structure[0].all()])
    model, reflections = Path(folder, "example.pdb"), Path(folder, "example.mtz")
    _simulate(structure, np.random.default_rng(seed)).write_to_file(str(reflections))
    write_start(structure, model)
    return Example(model, reflections, truth)


def read_example(*, seed: int = 0) -> tuple[Model, Reflections]:
    """Simulate the same crystal in memory: what `read_model` and `read_reflections` make of these files.

    Example:
        >>> model, reflections = read_example()
        >>> model.n_atoms, round(reflections.resolution[1], 2)
        (128, 1.3)
    """
    with tempfile.TemporaryDirectory() as folder:
        files = write_example(folder, seed=seed)
        model, reflections = read_model(files.model), read_reflections(files.reflections)
    # The folder is gone.
    return replace(model, path=Path("example.pdb")), replace(reflections, path=Path("example.mtz"))


def _simulate(structure: gemmi.Structure, random: np.random.Generator) -> gemmi.Mtz:
    """Amplitudes of the true structure with solvent and noise."""
    spacegroup = structure.find_spacegroup()
    hkl = gemmi.make_miller_array(structure.cell, spacegroup, D_MIN, 100.0, unique=True)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    calculated = np.array([calculator.calculate_sf_from_model(structure[0], index) for index in hkl.tolist()])
    mask = _solvent(structure, hkl)
    stol2 = structure.cell.calculate_1_d2_array(hkl) / 4
    amplitude = np.abs(calculated + K_SOL * np.exp(-B_SOL * stol2) * mask)
    sigma = NOISE * (amplitude + amplitude.mean()) / 2
    measured = np.maximum(amplitude + sigma * random.standard_normal(len(hkl)), 0.01)
    free = np.where(random.random(len(hkl)) < FREE_FRACTION, 0, random.integers(1, 20, len(hkl)))

    mtz = gemmi.Mtz(with_base=True)
    mtz.title, mtz.cell, mtz.spacegroup = "jax_occupancy example", structure.cell, spacegroup
    mtz.add_dataset("simulated")
    for label, kind in (("FP", "F"), ("SIGFP", "Q"), ("FreeR_flag", "I")):
        mtz.add_column(label, kind)
    mtz.set_data(np.column_stack([hkl, measured, sigma, free]).astype(np.float32))
    return mtz


def _solvent(structure: gemmi.Structure, hkl: np.ndarray) -> np.ndarray:
    """F_mask on average: a cell without a conformer has solvent where nothing else is."""
    occupancies, groups = np.array([site.atom.occ for site in structure[0].all()]), {}
    for site in structure[0].all():
        if site.atom.occ < 1:
            residue = (site.chain.name, str(site.residue.seqid))
            groups.setdefault((residue, site.atom.altloc), []).append(site.atom.serial - 1)
    residues = [residue for residue, _ in groups]
    sets = [residues.index(residue) for residue in residues]
    members = list(groups.values())
    mask = solvent_structure_factors(structure, hkl, refinable=np.concatenate(members))
    q = occupancies[[atoms[0] for atoms in members]]
    opened = group_solvent_structure_factors(structure, hkl, members, sets=sets, at=q)
    return mask + opened.empty + q @ opened.groups


def write_start(structure: gemmi.Structure, path: Path) -> None:
    """Write even shares in place of the truth: 1/n in a residue, a third for a pose of the ligand, ½ for the water."""
    for chain in structure[0]:
        for residue in chain:
            letters = {atom.altloc for atom in residue} - {"\0"}
            for atom in residue:
                if atom.occ < 1:
                    atom.occ = 1 / 3 if residue.name == "IPH" else 1 / max(len(letters), 2)
    with atomic_writer(path) as handle:
        handle.write(structure.make_pdb_string().encode())
