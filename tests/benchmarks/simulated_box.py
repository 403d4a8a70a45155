"""One box of a simulated crystal: a helix, a ligand or two states, and waters, with what is true of their sets."""

from dataclasses import dataclass, field

import gemmi
import numpy as np
from simulated_geometry import SIDE_CHAINS, build_backbone, build_ring, build_side_chain

from jax_occupancy.groups import UserGroup, UserSet

BOX = np.array([15.0, 15.0, 48.0])
NAMES = {"A": "ALA", "G": "GLY", "L": "LEU", "Q": "GLN", "S": "SER", "V": "VAL"}
SEQUENCE = [NAMES[letter] for letter in "ASLAVQASLGASVAQLASLAAQAS"]
ALTERNATING = (2, 6, 16, 19, 22, 9)
RUN = (11, 12)
N_CHIS = {"ALA": 0, "GLY": 0, "SER": 1, "LEU": 2, "VAL": 1, "GLN": 3}
N_TRIALS = 10
SITE = np.array([7.5, 7.5, 44.2])  # of the ligand, above the helix
OTHER_POSE = np.array([0.6, 0.4, 0.3])
LETTERS = "ABCDEFGHIJ"
N_WATERS = 12


@dataclass(frozen=True, eq=False)
class TrueSet:
    """Atoms (positions in the file) of each member; `whole` is (set, member) of the parent, None for 1."""

    complete: bool
    members: list[np.ndarray]
    whole: tuple[int, int] | None = None


@dataclass
class BoxBuilder:
    """Builds one box after the other and keeps count of the atoms, the sets and what the user must say of them."""

    random: np.random.Generator
    b_iso: float
    alternating: int
    conformers: tuple[int, ...]
    n_atoms: int = 0
    trace: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # backbone of the present box
    sets: list[TrueSet] = field(default_factory=list)
    groups: dict[str, UserGroup] = field(default_factory=dict)
    user_sets: list[UserSet] = field(default_factory=list)

    def chain(self, name: str, corner: np.ndarray, *, even: bool) -> gemmi.Chain:
        """One box: a helix with a ligand (even) or states (odd) above it, and waters."""
        chain = gemmi.Chain(name)
        backbone = self._helix(corner)
        self.trace = np.array([xyz for residue in backbone for xyz in residue.values()])
        turning = (ALTERNATING if even else ALTERNATING[::-1])[: self.alternating]
        for index, resname in enumerate(SEQUENCE, start=1):
            residue = _residue(resname, index)
            if even and index in RUN:
                self._moving_residue(residue, backbone[index - 1], first=index == RUN[0])
            else:
                n = self.conformers[turning.index(index) % len(self.conformers)] if index in turning else 1
                self._residue(residue, backbone[index - 1], n)
            chain.add_residue(residue)
        (self._ligand if even else self._states)(chain, corner)
        self._waters(chain, corner)
        return chain

    def _helix(self, corner: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Along z, turned about its axis at random."""
        backbone = build_backbone(len(SEQUENCE))
        trace = np.array([residue["CA"] for residue in backbone])
        axis = np.linalg.svd(trace - trace.mean(axis=0))[2][0]
        axis *= np.sign(axis @ (trace[-1] - trace[0]))
        across = np.cross(axis, self.random.normal(size=3))
        across /= np.linalg.norm(across)
        rotation = np.array([across, np.cross(axis, across), axis])
        shift = corner + BOX / 2 - [0, 0, 3.0] - rotation @ trace.mean(axis=0)
        return [{name: rotation @ xyz + shift for name, xyz in residue.items()} for residue in backbone]

    def _turned(self, resname: str, backbone: dict[str, np.ndarray], turn: float) -> dict[str, np.ndarray]:
        """The side chain with χ1 near where it is to be and the other torsions where most room is left."""
        best, room = {}, -1.0
        others = self.trace[np.linalg.norm(self.trace - backbone["CA"], axis=1) > 2.6]
        for _ in range(N_TRIALS if N_CHIS[resname] else 1):
            chis = self.random.uniform(-180, 180, 3)
            chis[0] = -65 + turn + self.random.uniform(-8, 8)
            placed = build_side_chain(resname, backbone, tuple(chis))
            atoms = np.array(list(placed.values())).reshape(-1, 1, 3)
            clearance = np.linalg.norm(atoms - others, axis=2).min(initial=np.inf)
            if clearance > room:
                best, room = placed, clearance
        return best

    def _residue(self, residue: gemmi.Residue, backbone: dict[str, np.ndarray], n: int) -> None:
        for name, xyz in backbone.items():
            self._add(residue, name, name[0], xyz)
        members = [self._side_chain(residue, backbone, i, n) for i in range(n)]
        if n > 1:
            self.sets.append(TrueSet(True, members))

    def _side_chain(self, residue: gemmi.Residue, backbone: dict, conformer: int, n: int) -> np.ndarray:
        letter = LETTERS[conformer] if n > 1 else ""
        elements = {site.name: site.element for site in SIDE_CHAINS[residue.name]}
        placed = self._turned(residue.name, backbone, 360 / n * conformer)
        return np.array([self._add(residue, name, elements[name], xyz, letter, n) for name, xyz in placed.items()], int)

    def _moving_residue(self, residue: gemmi.Residue, backbone: dict, *, first: bool) -> None:
        """Backbone and all in two places; the next residue goes along."""
        shift = np.array([0.5, -0.5, 0.3])
        members = []
        for i, letter in enumerate("AB"):
            moved = {name: xyz + i * shift for name, xyz in backbone.items()}
            atoms = [self._add(residue, name, name[0], xyz, letter, 2) for name, xyz in moved.items()]
            members.append(np.concatenate([atoms, self._side_chain(residue, moved, i, 2)]).astype(int))
        if not first:
            members = [np.concatenate(pair) for pair in zip(self.sets.pop().members, members, strict=True)]
        self.sets.append(TrueSet(True, members))

    def _pose(self, residue: gemmi.Residue, centre: np.ndarray, turn: float, letter: str, share: int) -> np.ndarray:
        first = np.array([np.cos(turn), np.sin(turn), 0.1])
        ring = build_ring(centre, first, np.array([-np.sin(turn), np.cos(turn), 0.3]))
        return np.array([self._add(residue, name, name[0], xyz, letter, share) for name, xyz in ring.items()])

    def _poses(self, corner: np.ndarray, share: int) -> tuple[gemmi.Residue, list[np.ndarray]]:
        residue, centre = _residue("IPH", 201, het=True), corner + SITE
        first = self._pose(residue, centre, 0.3, "C", share)
        return residue, [first, self._pose(residue, centre + OTHER_POSE, 1.9, "D", share)]

    def _ligand(self, chain: gemmi.Chain, corner: np.ndarray) -> None:
        residue, members = self._poses(corner, 3)
        chain.add_residue(residue)
        self.sets.append(TrueSet(False, members))

    def _states(self, chain: gemmi.Chain, corner: np.ndarray) -> None:
        """Apo, two waters where the ligand would be; bound, a water beside it and the ligand in either pose."""
        name = chain.name
        residue, poses = self._poses(corner, 4)
        chain.add_residue(residue)
        apo = [self._water(chain, 202 + i, corner + SITE + [2.8 * i - 1.4, 0, 0.2], "A", 2) for i in range(2)]
        bound = [self._water(chain, 204, corner + SITE + [0.3, -5.2, -0.5], "B", 2)]
        self.groups |= {
            f"apo {name}": UserGroup((f"//{name}/202-203",)),
            f"bound {name}": UserGroup((f"//{name}/204",)),
            f"pose C {name}": UserGroup((f"//{name}/201/*:C",)),
            f"pose D {name}": UserGroup((f"//{name}/201/*:D",)),
        }
        self.user_sets += [
            UserSet((f"apo {name}", f"bound {name}")),
            UserSet((f"pose C {name}", f"pose D {name}"), "complete", f"bound {name}"),
        ]
        self.sets += [TrueSet(True, [np.array(apo), np.array(bound)]), TrueSet(True, poses, (len(self.sets), 1))]

    def _waters(self, chain: gemmi.Chain, corner: np.ndarray) -> None:
        """On a lattice inside the box, where they touch what is there; the first one is partly occupied."""
        atoms = np.array([atom.pos.tolist() for residue in chain for atom in residue])
        axes = (np.arange(1.5, edge - 1.4, 1.4) for edge in BOX)
        lattice = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        points = self.random.permutation(lattice) + corner
        distance = np.linalg.norm(points[:, None] - atoms, axis=2).min(axis=1)
        placed: list[np.ndarray] = []
        for point in points[(distance > 2.7) & (distance < 3.4)]:
            if len(placed) < N_WATERS and all(np.linalg.norm(point - other) > 2.7 for other in placed):
                position = self._water(chain, 301 + len(placed), point, "", 1 if placed else 2)
                if not placed:
                    self.sets.append(TrueSet(False, [np.array([position])]))
                placed.append(point)

    def _water(self, chain: gemmi.Chain, number: int, xyz: np.ndarray, letter: str, share: int) -> int:
        residue = _residue("HOH", number, het=True)
        position = self._add(residue, "O", "O", xyz, letter, share, mobile=True)
        chain.add_residue(residue)
        return position

    def _add(self, residue, name, element, xyz, letter="", share=1, *, mobile=False) -> int:
        """Add an atom at an even share and say its position."""
        atom = gemmi.Atom()
        atom.name, atom.element, atom.altloc = name, gemmi.Element(element), letter or "\0"
        atom.pos = gemmi.Position(*np.round(xyz, 3))
        mobility = 1.4 if letter or mobile or share > 1 else 1.0
        atom.b_iso = round(self.b_iso * mobility * self.random.uniform(0.85, 1.15), 2)
        atom.occ = round(1 / share, 3)
        residue.add_atom(atom)
        self.n_atoms += 1
        return self.n_atoms - 1


def _residue(name: str, number: int, *, het: bool = False) -> gemmi.Residue:
    residue = gemmi.Residue()
    residue.name, residue.seqid = name, gemmi.SeqId(number, " ")
    residue.het_flag = "H" if het else "A"
    return residue
