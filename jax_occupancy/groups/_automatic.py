"""The groups a structure asks for by itself."""

from collections.abc import Mapping

import numpy as np

from jax_occupancy.groups._building import Draft, Member, finish_drafts
from jax_occupancy.groups._conformers import conformer_drafts, join_overlapping, unlettered_conformers
from jax_occupancy.groups._grouping import GroupSet
from jax_occupancy.groups._hydrogens import amide_homes, exchanged_pairs, riders
from jax_occupancy.groups._linking import find_links, join_contacts, polymer_bonds
from jax_occupancy.groups._naming import atom_name
from jax_occupancy.groups._parts import part_drafts
from jax_occupancy.groups._table import AtomTable

WATERS = ("residue", "individual", "omit")
HYDROGENS = ("carrier", "omit")


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
    conformers = active & table.lettered | unlettered_conformers(table, active)
    every_water = waters == "individual"
    moved = amide_homes(table, active, bonds)
    grouped = conformers | (active & (table.partial | (table.kind == "water") & every_water))
    rest = np.setdiff1d(np.flatnonzero(active & table.hydrogen), list(moved))
    following, silent = riders(table, rest, grouped)
    active[[*silent, *(hydrogen for some in following.values() for hydrogen in some)]] = False
    drafts = conformer_drafts(table, conformers & active, links, moved, following)
    drafts += part_drafts(table, active & ~conformers, following, every_water=every_water)
    drafts = join_overlapping(table, drafts) + [_exchange_draft(table, pair) for pair in pairs]
    return finish_drafts(table, drafts)


def check_options(*, waters: str, hydrogens: str) -> None:
    for name, value, allowed in (("waters", waters, WATERS), ("hydrogens", hydrogens, HYDROGENS)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; wanted one of {', '.join(map(repr, allowed))}.")


def _exchange_draft(table: AtomTable, pair: tuple[int, int]) -> Draft:
    names = [atom_name(table, atom) for atom in pair]
    return tuple(
        Member(
            np.array([atom]),
            f"{table.element[atom]} of {name}, which exchanges with {table.element[other]} of {partner} on one site",
            str(table.altloc[atom]),
        )
        for atom, name, other, partner in zip(pair, names, pair[::-1], names[::-1], strict=True)
    )
