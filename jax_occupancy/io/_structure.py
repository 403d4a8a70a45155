"""From and to gemmi's structures in memory."""

import tempfile
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from jax_occupancy.io._atoms import atom_table, walk
from jax_occupancy.io._model import Model, read_model


def from_gemmi(structure: gemmi.Structure) -> pd.DataFrame:
    """Make the atom table of a structure that is in memory already.

    Returns:
        One row for each atom in gemmi's order, with the columns of `Model.atoms`: coordinates in Å, B in Å², U in Å².
        `automatic_groups` and `OccupancyTensor.from_residue_groups` take it.

    Raises:
        ValueError: If there are several models or no atoms, or an atom has no residue number or a
            number that is not finite.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> model, _ = read_example()
        >>> from_gemmi(model.structure)[["resname", "resseq", "altloc", "occupancy"]].values[9].tolist()
        ['SER', 2, 'A', 0.5]
    """
    copy = _one_model(structure).clone()
    rows = list(walk(copy))
    pieces: dict[tuple[str, str], int] = {}
    for number, (_, _, atom) in enumerate(rows, start=1):
        atom.serial = number
    text = {
        "record": ["HETATM" if residue.het_flag == "H" else "ATOM" for _, residue, _ in rows],
        "occupancy": [_decimal(atom.occ) for _, _, atom in rows],
        "tempfactor": [_decimal(atom.b_iso) for _, _, atom in rows],
        **{axis: [getattr(atom.pos, axis) for _, _, atom in rows] for axis in "xyz"},
        "segment": [pieces.setdefault((chain.name, residue.subchain), len(pieces)) for chain, residue, _ in rows],
    }
    return atom_table(copy, text=text, path=f"the structure {structure.name!r}")


def model_from_gemmi(structure: gemmi.Structure) -> Model:
    """Make a model of a structure that is in memory already, as if it were read from an mmCIF file of it.

    Raises:
        ValueError: As `read_model`.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> model, _ = read_example()
        >>> model_from_gemmi(model.structure).atoms["occupancy"].equals(model.atoms["occupancy"])
        True
    """
    copy = structure.clone()
    copy.setup_entities()
    name = Path(Path(structure.name).name or "structure").with_suffix(".cif")
    with tempfile.TemporaryDirectory() as folder:
        copy.make_mmcif_document().write_file(str(folder / name))
        return replace(read_model(folder / name), path=name)


def to_gemmi(model: Model | gemmi.Structure, occupancies: ArrayLike) -> gemmi.Structure:
    """Make a copy of a structure that has new occupancies.

    Args:
        model: It, or a structure of one model, which stays as it is.
        occupancies: One for each atom, in the order of `model.atoms`; for a structure in that of `from_gemmi`. gemmi
            keeps them in single precision.

    Raises:
        ValueError: If the number of occupancies is not the number of atoms, one is not finite, or the structure has
            several models.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> model, _ = read_example()
        >>> to_gemmi(model, model.atoms["occupancy"] / 2)[0]["A"][0][0].occ
        0.5
    """
    copy = model.structure.clone() if isinstance(model, Model) else _one_model(model).clone()
    atoms = [atom for _, _, atom in walk(copy)]
    values = np.asarray(occupancies, np.float64)
    if values.shape != (len(atoms),) or not np.isfinite(values).all():
        raise ValueError(
            f"occupancies has shape {values.shape} and {int((~np.isfinite(values)).sum())} values that are not finite; "
            f"wanted ({len(atoms)},), one finite number for each atom"
        )
    for position, atom in enumerate(atoms):
        atom.occ = values[atom.serial - 1 if isinstance(model, Model) else position]
    return copy


def _decimal(value: float) -> float:
    """The shortest decimal that gemmi's single precision stands for: 0.33 and not 0.33000001."""
    return float(str(np.float32(value)))


def _one_model(structure: gemmi.Structure) -> gemmi.Structure:
    if len(structure) != 1:
        raise ValueError(f"the structure {structure.name!r} has {len(structure)} models; give a structure of one")
    if structure[0].count_atom_sites() == 0:
        raise ValueError(f"the structure {structure.name!r} holds no atoms")
    return structure
