"""Coordinates of a small peptide, a ligand and waters from ideal internal geometry."""

from typing import NamedTuple

import numpy as np


class Site(NamedTuple):
    """One atom by its internal coordinates: placed from three atoms that stand before it.

    Attributes:
        name: atom name.
        element: chemical element.
        references: names of the atoms it is bonded to, makes an angle with and a torsion with.
        bond: length in Å.
        angle: in degrees.
        torsion: in degrees; a side chain's χ is added where `chi` says which.
        chi: number of the side-chain torsion that turns this atom, 0 for none.
    """

    name: str
    element: str
    references: tuple[str, str, str]
    bond: float
    angle: float
    torsion: float
    chi: int = 0


# Bond lengths and angles rounded from Engh & Huber, Acta Cryst. A47, 392-400 (1991).
CB = Site("CB", "C", ("CA", "N", "C"), 1.53, 110.5, -122.5)
SIDE_CHAINS = {
    "GLY": (),
    "ALA": (CB,),
    "SER": (CB, Site("OG", "O", ("CB", "CA", "N"), 1.42, 111.0, 0.0, 1)),
    "VAL": (
        CB,
        Site("CG1", "C", ("CB", "CA", "N"), 1.52, 110.5, 0.0, 1),
        Site("CG2", "C", ("CB", "CA", "N"), 1.52, 110.5, 122.0, 1),
    ),
    "LEU": (
        CB,
        Site("CG", "C", ("CB", "CA", "N"), 1.53, 116.0, 0.0, 1),
        Site("CD1", "C", ("CG", "CB", "CA"), 1.52, 110.5, 0.0, 2),
        Site("CD2", "C", ("CG", "CB", "CA"), 1.52, 110.5, 122.0, 2),
    ),
    "GLN": (
        CB,
        Site("CG", "C", ("CB", "CA", "N"), 1.52, 114.0, 0.0, 1),
        Site("CD", "C", ("CG", "CB", "CA"), 1.52, 112.5, 0.0, 2),
        Site("OE1", "O", ("CD", "CG", "CB"), 1.23, 121.0, 0.0, 3),
        Site("NE2", "N", ("CD", "CG", "CB"), 1.33, 116.5, 180.0, 3),
    ),
}
BACKBONE = ("N", "CA", "C", "O")


def place(a: np.ndarray, b: np.ndarray, c: np.ndarray, bond: float, angle: float, torsion: float) -> np.ndarray:
    """Put an atom at a bond length from c, an angle with b-c and a torsion with a-b-c (Å, degrees)."""
    angle, torsion = np.radians(angle), np.radians(torsion)
    along = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, along)
    return c + bond * (-np.cos(angle) * along + np.sin(angle) * (np.cos(torsion) * across + np.sin(torsion) * normal))


def build_backbone(n_residues: int, phi: float = -63.0, psi: float = -42.0) -> list[dict[str, np.ndarray]]:
    """Build N, CA, C and O of a regular chain (by default an α-helix), coordinates in Å."""
    n, ca = np.zeros(3), np.array([1.46, 0.0, 0.0])
    c = place(np.array([0.0, 1.0, 0.0]), n, ca, 1.53, 111.0, -60.0)
    residues = []
    for _ in range(n_residues):
        following = place(n, ca, c, 1.33, 117.0, psi)
        oxygen = place(following, ca, c, 1.23, 120.5, 180.0)
        residues.append({"N": n, "CA": ca, "C": c, "O": oxygen})
        next_ca = place(ca, c, following, 1.46, 121.5, 180.0)
        n, ca, c = following, next_ca, place(c, following, next_ca, 1.53, 111.0, phi)
    return residues


def build_side_chain(resname: str, backbone: dict[str, np.ndarray], chis: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Build the side chain of a residue on its backbone, with torsions χ1, χ2, ... in degrees."""
    placed = dict(backbone)
    for site in SIDE_CHAINS[resname]:
        c, b, a = (placed[name] for name in site.references)
        torsion = site.torsion + (chis[site.chi - 1] if site.chi else 0.0)
        placed[site.name] = place(a, b, c, site.bond, site.angle, torsion)
    return {name: xyz for name, xyz in placed.items() if name not in BACKBONE}


def build_ring(centre: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Build phenol, six carbons and an oxygen, in the plane of two directions, coordinates in Å."""
    first = first / np.linalg.norm(first)
    second = second - first * (second @ first)
    second /= np.linalg.norm(second)
    turn = np.radians(60.0 * np.arange(6))
    ring = centre + 1.39 * (np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second)
    atoms = {f"C{i + 1}": xyz for i, xyz in enumerate(ring)}
    return atoms | {"O1": centre + (1.39 + 1.37) * first}
