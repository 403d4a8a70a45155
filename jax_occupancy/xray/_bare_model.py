"""Atoms of a structure by position in the file, and a copy of some of them with other occupancies."""

import gemmi
import numpy as np
from jaxtyping import Float, Int

from jax_occupancy.xray._checks import check_places, checked_occupancies


def file_positions(structure: gemmi.Structure) -> Int[np.ndarray, " atoms"]:
    """Position in the file (serial − 1) of each atom, in the order of the structure; they must be 0 to n − 1."""
    if len(structure) != 1:
        raise ValueError(f"structure: got {len(structure)} models, wanted one: keep a single model of the file")
    found = np.array([site.atom.serial - 1 for site in structure[0].all()], dtype=np.int64)
    wrong = found[np.sort(found) != np.arange(len(found))]
    if wrong.size:
        raise ValueError(
            f"structure: the serial numbers of the {len(found)} atoms must be their positions in the file, 1 to "
            f"{len(found)} in any order; first serials are {(found[:5] + 1).tolist()}: read the file with `read_model`"
        )
    return found


def file_occupancies(structure: gemmi.Structure) -> Float[np.ndarray, " atoms"]:
    """Occupancies as in the structure, by position."""
    occupancies = np.zeros(len(file_positions(structure)))
    for site in structure[0].all():
        occupancies[site.atom.serial - 1] = site.atom.occ
    return occupancies


def occupancies_of(structure: gemmi.Structure, occupancies: np.ndarray | None) -> Float[np.ndarray, " atoms"]:
    """A copy of the occupancies given, or those of the structure, by position; its atoms must be all there are."""
    found = file_positions(structure)
    if any(not operation.given for operation in structure.ncs):
        raise ValueError(
            f"structure: {len(structure.ncs)} strict NCS operations generate atoms that are not in the file: write "
            "them out first, with `structure.expand_ncs(gemmi.HowToNameCopiedChain.Short)`"
        )
    occupancies = file_occupancies(structure) if occupancies is None else occupancies
    return checked_occupancies(occupancies, len(found), "occupancies").copy()


def bare_model(structure: gemmi.Structure, occupancies: np.ndarray) -> gemmi.Model:
    """The atoms whose occupancy is not zero, at finite places, in a model of one residue; the structure stays as is."""
    model, chain, residue = gemmi.Model(1), gemmi.Chain("A"), gemmi.Residue()
    places, position = [], []
    for site in structure[0].all():
        occupancy = float(occupancies[site.atom.serial - 1])
        if occupancy != 0.0:
            residue.add_atom(site.atom).occ = occupancy
            places.append(site.atom.pos.tolist())
            position.append(site.atom.serial - 1)
    check_places(np.reshape(places, (-1, 3)), np.array(position))
    chain.add_residue(residue)
    model.add_chain(chain)
    return model
