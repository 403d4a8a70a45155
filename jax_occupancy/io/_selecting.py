"""Atoms by gemmi's selection syntax."""

import gemmi
import numpy as np
from jaxtyping import Int

from jax_occupancy.io._model import Model


def select_atoms(model: Model | gemmi.Structure, text: str) -> Int[np.ndarray, " selected"]:
    """Find the atoms that a selection in gemmi's syntax matches, such as "//A/45-47/CA,CB:A" or "(HOH)".

    Args:
        model: What `read_model` returned, or a structure whose `atom.serial` is the position in the file plus one.
        text: The selection: /model/chain/residues(names)/atoms[elements]:altloc, all parts optional; "*" is anything
            and ":" without a letter after it means atoms without one.

    Returns:
        0-based positions in the file, increasing; none where nothing matches.

    Raises:
        ValueError: If the selection cannot be read.

    Example:
        >>> import pathlib, tempfile
        >>> from jax_occupancy.io import read_model
        >>> line = "ATOM      1  CA  ALA A   1      11.000  12.000  13.000  0.50 10.00           C"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "one.pdb")
        ...     _ = file.write_text(line)
        ...     model = read_model(file)
        >>> select_atoms(model, "//A/1/CA").tolist(), select_atoms(model, "//B").tolist()
        ([0], [])
    """
    structure = model.structure if isinstance(model, Model) else model
    try:
        selection = gemmi.Selection(text)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{text!r} is no selection in gemmi's syntax, such as //A/45/CA:A ({error})") from error
    found = [
        atom.serial - 1
        for one in selection.models(structure)
        for chain in selection.chains(one)
        for residue in selection.residues(chain)
        for atom in selection.atoms(residue)
    ]
    return np.sort(np.array(found, np.int64))
