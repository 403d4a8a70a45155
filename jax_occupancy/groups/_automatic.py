"""The groups a structure asks for by itself."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from jax_occupancy.groups._building import Draft, finish_drafts
from jax_occupancy.groups._departed import NO_SIBLING
from jax_occupancy.groups._grouping import GroupSet
from jax_occupancy.groups._hydrogens import amide_homes, carriers, exchanged_pairs
from jax_occupancy.groups._linking import Links, find_links, join_contacts, polymer_bonds
from jax_occupancy.groups._naming import atom_name, listing, residue_label, residue_name, residues_label
from jax_occupancy.groups._table import AtomTable

WATERS = ("residue", "individual", "omit")
HYDROGENS = ("carrier", "omit")
SAME_START = 0.02  # a whole residue within this spread has one occupancy, written with rounding


def automatic_sets(
    table: AtomTable,
    *,
    link: bool,
    waters: str,
    hydrogens: str,
    force_links: bool,
    taken: np.ndarray,
    joined: Mapping[str, np.ndarray],
    separated: np.ndarray,
    contacts: np.ndarray | None,
) -> tuple[GroupSet, ...]:
    """The automatic sets of the atoms that are not ``taken``; see ``automatic_groups``."""
    active = ~taken
    if hydrogens == "omit":
        active &= ~table.hydrogen
    if waters == "omit":
        active &= table.kind != "water"
    bonds = polymer_bonds(table)
    links = find_links(table, active, bonds, link=link, force=force_links, joined=joined, separated=separated)
    if contacts is not None:
        join_contacts(table, active, contacts, links, force=force_links, separated=separated)
    pairs = exchanged_pairs(table, active)
    active[[atom for pair in pairs for atom in pair]] = False
    drafts = _lettered_drafts(table, active, bonds, links) + [_exchange_draft(table, pair) for pair in pairs]
    drafts += _plain_drafts(table, active & ~table.lettered, every_water=waters == "individual")
    return finish_drafts(table, drafts)


def check_options(*, waters: str, hydrogens: str) -> None:
    """Refuse unknown options."""
    for name, value, allowed in (("waters", waters, WATERS), ("hydrogens", hydrogens, HYDROGENS)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; wanted one of {', '.join(map(repr, allowed))}.")


def _lettered_drafts(
    table: AtomTable, active: np.ndarray, bonds: tuple[np.ndarray, np.ndarray], links: Links
) -> list[Draft]:
    """Sets of conformers."""
    home = table.residue.copy()
    moved = amide_homes(table, active, bonds)
    home[list(moved)] = table.residue[list(moved.values())]
    members: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for atom in np.flatnonzero(active & table.lettered):
        members[int(links.run[home[atom]])][_conformer_label(table, int(atom))].append(int(atom))
    return [_conformer_draft(table, letters, links, moved) for letters in members.values()]


def _conformer_draft(table: AtomTable, letters: dict[str, list[int]], links: Links, moved: dict[int, int]) -> Draft:
    """The conformers of one residue or of one run of linked residues."""
    members = tuple(np.array(atoms) for atoms in letters.values())
    own = [atom for atoms in letters.values() for atom in atoms if atom not in moved]
    everything = np.array(own or [atom for atoms in letters.values() for atom in atoms])
    where = _where(table, everything)
    notes = dict.fromkeys(
        note for residue in np.unique(table.residue[everything]) for note in links.notes.get(int(residue), [])
    )
    reasons = []
    ordered = sorted(letters)
    place = {letter: i for i, letter in enumerate(ordered)}
    for letter, atoms in letters.items():
        others = listing(ordered[: place[letter]] + ordered[place[letter] + 1 :])
        if others:
            reason = f"conformer {letter} of {where}; excludes {others}"
        else:
            reason = f"the only conformer {letter} of {where}{NO_SIBLING}"
        amides = [f"{atom_name(table, atom)} follows the carbonyl before it" for atom in atoms if atom in moved]
        reasons.append("; ".join([reason, *amides, *notes]))
    guests = tuple(atom for atoms in letters.values() for atom in atoms if atom in moved)
    return Draft(members, tuple(reasons), tuple(str(table.altloc[atoms[0]]) for atoms in letters.values()), guests)


def _conformer_label(table: AtomTable, atom: int) -> str:
    """The letter, with the residue name where one letter stands for two residue names."""
    return f"{table.altloc[atom]} ({table.resname[atom]})" if table.mixed[atom] else str(table.altloc[atom])


def _where(table: AtomTable, atoms: np.ndarray) -> str:
    """The residue, or the linked residues, in words."""
    if np.unique(table.residue[atoms]).size > 1:
        return f"residues {residues_label(table, atoms)}, linked letter by letter"
    names = dict.fromkeys(table.resname[atoms])
    return f"residue {residue_label(table, atoms[0])} {' and '.join(names)}"


def _exchange_draft(table: AtomTable, pair: tuple[int, int]) -> Draft:
    """Hydrogen and deuterium on one site."""
    names = [atom_name(table, atom) for atom in pair]
    reasons = tuple(
        f"{table.element[atom]} of {name}, which exchanges with {table.element[other]} of {partner} on one site"
        for atom, name, other, partner in zip(pair, names, pair[::-1], names[::-1], strict=True)
    )
    return Draft(tuple(np.array([atom]) for atom in pair), reasons, tuple(table.altloc[list(pair)]))


def _plain_drafts(table: AtomTable, plain: np.ndarray, *, every_water: bool) -> list[Draft]:
    """Groups of atoms without letters: waters one by one, whole residues, single atoms."""
    chosen = plain & (table.kind == "water") if every_water else np.zeros_like(plain)
    drafts = [
        _free_draft(atoms, f"water {residue_name(table, atoms[0])}; every water is refined by itself")
        for atoms in _by_residue(table, chosen)
    ]
    whole = plain & ~chosen & _in_whole_residue(table, plain)
    for atoms in _by_residue(table, whole):
        drafts.append(_free_draft(atoms, f"the whole residue {residue_name(table, atoms[0])} is partly occupied"))
    return drafts + _single_drafts(table, plain & ~chosen & ~whole & table.partial)


def _in_whole_residue(table: AtomTable, plain: np.ndarray) -> np.ndarray:
    """Where an atom's residue has no letters, several atoms, and one partial occupancy up to rounding."""
    n_residues = int(table.residue.max(initial=-1)) + 1
    low, high = np.full(n_residues, np.inf), np.full(n_residues, -np.inf)
    np.minimum.at(low, table.residue[plain], table.occupancy[plain])
    np.maximum.at(high, table.residue[plain], table.occupancy[plain])
    whole = (low > 0) & (high < 1) & (high - low <= SAME_START + 1e-9)
    whole &= np.bincount(table.residue[plain], minlength=n_residues) > 1
    whole[table.residue[table.lettered]] = False
    return whole[table.residue]


def _single_drafts(table: AtomTable, partial: np.ndarray) -> list[Draft]:
    """One group per partly occupied atom, hydrogens with the atom that carries them."""
    hydrogens = np.flatnonzero(partial & table.hydrogen)
    heavy = np.flatnonzero(partial & ~table.hydrogen)
    carrier = carriers(table, hydrogens, heavy)
    riders = defaultdict(list)
    for hydrogen, atom in carrier.items():
        riders[atom].append(hydrogen)
    drafts = []
    for atom in np.flatnonzero(partial):
        if int(atom) in carrier:
            continue
        reason = f"atom {atom_name(table, int(atom))} has a partial occupancy"
        also = [str(table.name[hydrogen]) for hydrogen in sorted(riders[int(atom)])]
        reason += f", which its hydrogens {listing(also)} share" if also else ""
        drafts.append(_free_draft(np.array([atom, *riders[int(atom)]]), reason))
    return drafts


def _free_draft(atoms: np.ndarray, reason: str) -> Draft:
    """A group that stands alone."""
    return Draft((atoms,), (reason,), ("",))


def _by_residue(table: AtomTable, chosen: np.ndarray) -> list[np.ndarray]:
    """The chosen atoms, residue by residue."""
    atoms = np.flatnonzero(chosen)
    order = np.argsort(table.residue[atoms], kind="stable")
    atoms = atoms[order]
    cuts = np.flatnonzero(np.diff(table.residue[atoms])) + 1
    return [piece for piece in np.split(atoms, cuts) if piece.size]
