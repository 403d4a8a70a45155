"""Atoms of a structure in the order of its file, and a copy of some of them with other occupancies."""

import gemmi
import numpy as np
from jaxtyping import Float

from jax_occupancy.xray._checks import check_places, checked_occupancies


def atoms_in_file(structure: gemmi.Structure) -> list[gemmi.Atom]:
    """The atoms in the order of the file; their serial numbers must be their positions in it plus one."""
    if len(structure) != 1:
        raise ValueError(f"structure: got {len(structure)} models, wanted one: keep a single model of the file")
    atoms = [site.atom for site in structure[0].all()]
    found = np.array([atom.serial for atom in atoms], dtype=np.int64)
    if (np.sort(found) != np.arange(len(found)) + 1).any():
        raise ValueError(
            f"structure: the serial numbers of the {len(found)} atoms must be their positions in the file, 1 to "
            f"{len(found)} in any order; first serials are {found[:5].tolist()}: read the file with `read_model`"
        )
    return [atoms[place] for place in np.argsort(found)]


def occupancies_of(structure: gemmi.Structure, occupancies: np.ndarray | None) -> Float[np.ndarray, " atoms"]:
    """A copy of the occupancies given, or those of the structure, by position; its atoms must be all there are."""
    in_file = np.array([atom.occ for atom in atoms_in_file(structure)])
    if any(not operation.given for operation in structure.ncs):
        raise ValueError(
            f"structure: {len(structure.ncs)} strict NCS operations generate atoms that are not in the file: write "
            "them out first, with `structure.expand_ncs(gemmi.HowToNameCopiedChain.Short)`"
        )
    return checked_occupancies(in_file if occupancies is None else occupancies, len(in_file), "occupancies").copy()


def bare_model(structure: gemmi.Structure, occupancies: np.ndarray) -> gemmi.Model:
    """The atoms whose occupancy is not zero, at finite places, in a model of one residue; the structure stays as is."""
    model, chain, residue = gemmi.Model(1), gemmi.Chain("A"), gemmi.Residue()
    atoms = [site.atom for site in structure[0].all() if occupancies[site.atom.serial - 1] != 0]
    for atom in atoms:
        residue.add_atom(atom).occ = float(occupancies[atom.serial - 1])
    places = np.reshape([atom.pos.tolist() for atom in atoms], (-1, 3))
    check_places(places, np.array([atom.serial - 1 for atom in atoms]))
    chain.add_residue(residue)
    model.add_chain(chain)
    return model
