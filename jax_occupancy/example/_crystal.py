"""The crystal of the example: what is in it, and how much of each conformer."""

import gemmi
import numpy as np

from jax_occupancy.example._geometry import SIDE_CHAINS, build_backbone, build_ring, build_side_chain

CELL = (24.0, 27.0, 31.0, 90.0, 90.0, 90.0)
SPACE_GROUP = "P 21 21 21"
SEQUENCE = ("ALA", "SER", "LEU", "ALA", "VAL", "GLN", "ALA", "SER", "LEU", "GLY", "VAL", "ALA")

# Residue number: letters with their side-chain torsions (degrees) and true occupancies.
CONFORMERS = {
    2: {"A": ((62.0,), 0.65), "B": ((-63.0,), 0.35)},
    3: {"A": ((-65.0, 175.0), 0.72), "B": ((-178.0, 63.0), 0.28)},
    5: {"A": ((175.0,), 0.58), "B": ((-60.0,), 0.42)},
    6: {"A": ((-65.0, 178.0, 0.0), 0.50), "B": ((-175.0, 65.0, 20.0), 0.30), "C": ((64.0, -175.0, 10.0), 0.20)},
    8: {"A": ((-63.0,), 0.81), "B": ((178.0,), 0.19)},
    11: {"A": ((175.0,), 0.45), "B": ((63.0,), 0.33), "C": ((-60.0,), 0.22)},
}
PLAIN_TORSIONS = {"SER": (62.0,), "LEU": (-65.0, 175.0), "VAL": (175.0,), "GLN": (-65.0, 178.0, 0.0)}
LIGAND = {"A": 0.42, "B": 0.27}
PARTIAL_WATER = 0.55
HEAVY_B, MOBILE_B = 11.0, 17.0


def build_crystal() -> gemmi.Structure:
    """Build the example with its true occupancies: a helix, a ligand in two poses, waters; isotropic B in Å²."""
    backbone = build_backbone(len(SEQUENCE))
    middle = np.mean([residue["CA"] for residue in backbone], axis=0)
    shift = np.array([12.0, 13.5, 15.5]) - middle
    structure = gemmi.Structure()
    structure.name = "EXAMPLE"
    structure.cell = gemmi.UnitCell(*CELL)
    structure.spacegroup_hm = SPACE_GROUP
    model = gemmi.Model(1)
    chain = gemmi.Chain("A")
    for number, (resname, atoms) in enumerate(zip(SEQUENCE, backbone, strict=True), start=1):
        residue = _residue(resname, number)
        for name, xyz in atoms.items():
            _add(residue, name, name[0], xyz + shift, 1.0, HEAVY_B)
        conformers = CONFORMERS.get(number, {"": (PLAIN_TORSIONS.get(resname, ()), 1.0)})
        elements = {site.name: site.element for site in SIDE_CHAINS[resname]}
        for letter, (chis, occupancy) in conformers.items():
            b_iso = MOBILE_B if letter else HEAVY_B
            for name, xyz in build_side_chain(resname, atoms, chis).items():
                _add(residue, name, elements[name], xyz + shift, occupancy, b_iso, letter)
        chain.add_residue(residue)
    model.add_chain(chain)
    model.add_chain(_ligand())
    model.add_chain(_waters(model, structure.cell))
    structure.add_model(model)
    structure.setup_entities()
    structure.assign_serial_numbers()
    structure.setup_cell_images()  # gemmi's calculators take the symmetry from these
    return structure


def _ligand() -> gemmi.Chain:
    residue = _residue("IPH", 201, het=True)
    centre = np.array([4.0, 13.0, 8.0])
    poses = {
        "A": build_ring(centre, np.array([1.0, 0.2, 0.0]), np.array([0.0, 1.0, 0.4])),
        "B": build_ring(centre + np.array([0.5, 0.3, 0.2]), np.array([-0.4, 1.0, 0.3]), np.array([1.0, 0.0, 0.8])),
    }
    for letter, atoms in poses.items():
        for name, xyz in atoms.items():
            _add(residue, name, name[0], xyz, LIGAND[letter], MOBILE_B, letter)
    chain = gemmi.Chain("B")
    chain.add_residue(residue)
    return chain


def _waters(model: gemmi.Model, cell: gemmi.UnitCell) -> gemmi.Chain:
    """Put waters on a lattice where they are 2.8 to 4 Å from the rest, the first of them partly occupied."""
    placed = [np.array(site.atom.pos.tolist()) for site in model.all()]
    images = [np.array(op.rot) / 24 for op in gemmi.SpaceGroup(SPACE_GROUP).operations()]
    shifts = [np.array(op.tran) / 24 for op in gemmi.SpaceGroup(SPACE_GROUP).operations()]
    edges = np.array(cell.parameters[:3])

    def distance(point: np.ndarray) -> float:
        others = np.array(placed) / edges
        near = np.inf
        for rotation, shift in zip(images, shifts, strict=True):
            apart = (others @ rotation.T + shift) - point / edges
            apart -= np.round(apart)
            near = min(near, float(np.linalg.norm(apart * edges, axis=1).min()))
        return near

    chain = gemmi.Chain("W")
    grid = np.stack(np.meshgrid(*(np.arange(1.0, edge / 2, 2.9) for edge in edges), indexing="ij"), -1).reshape(-1, 3)
    number = 301
    for point in grid:
        if 2.8 < distance(point) < 4.0:
            residue = _residue("HOH", number, het=True)
            _add(residue, "O", "O", point, PARTIAL_WATER if number == 301 else 1.0, MOBILE_B)
            chain.add_residue(residue)
            placed.append(point)
            number += 1
        if number > 312:
            break
    return chain


def _residue(name: str, number: int, *, het: bool = False) -> gemmi.Residue:
    residue = gemmi.Residue()
    residue.name, residue.seqid = name, gemmi.SeqId(number, " ")
    residue.het_flag = "H" if het else "A"
    return residue


def _add(
    residue: gemmi.Residue, name: str, element: str, xyz: np.ndarray, occupancy: float, b_iso: float, letter: str = ""
) -> None:
    atom = gemmi.Atom()
    atom.name, atom.element = name, gemmi.Element(element)
    atom.pos = gemmi.Position(*(round(float(value), 3) for value in xyz))
    atom.occ, atom.b_iso, atom.altloc = occupancy, b_iso, letter or "\0"
    residue.add_atom(atom)
