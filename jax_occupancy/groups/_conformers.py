"""Conformers: sets of groups that exclude each other because their atoms are there several times."""

from collections import defaultdict
from dataclasses import replace
from math import comb

import numpy as np
import pandas as pd

from jax_occupancy.groups._building import NO_LETTER, Draft, Member
from jax_occupancy.groups._linking import Links
from jax_occupancy.groups._naming import atom_name, listing, residue_label, residues_label
from jax_occupancy.groups._neighbours import close_pairs, connected, distances_to, in_touch, meetings
from jax_occupancy.groups._parts import bonded, occupancy_levels
from jax_occupancy.groups._table import SAME_PLACE, TOUCHING, AtomTable, by_number, consecutive, group_numbers

ON_TOP = 0.5  # Å; atoms of one residue this close are one atom, whatever their names


def unlettered_conformers(table: AtomTable, active: np.ndarray) -> np.ndarray:
    """Where heavy atoms without a letter are a conformer of their own: the same atoms are there again with a letter."""
    # Beside those of the same name or in the same place: what is bonded to them with their partial occupancy, and all
    # of a residue name most of whose atoms are.
    heavy = active & ~table.hydrogen
    blank, lettered = np.flatnonzero(heavy & ~table.lettered), np.flatnonzero(heavy & table.lettered)
    found = np.zeros(table.n_atoms, bool)
    named = group_numbers(table.residue, table.name)
    for key, cutoff in ((named, TOUCHING), (table.residue, ON_TOP)):
        near = close_pairs(table.xyz[blank], table.xyz[lettered], cutoff, keys=(key[blank], key[lettered]))[0]
        found[blank[near]] = True
    if not found.any():
        return found
    resname = group_numbers(table.residue, table.resname)
    all_of_name, found_of_name = np.bincount(resname[blank]), np.bincount(resname[blank], found[blank])
    alone = (found_of_name > all_of_name / 2)[resname[blank]] & ~np.isin(resname[blank], resname[lettered])
    found[blank[alone]] = True
    chosen = found.copy()
    chosen[blank[table.partial[blank]]] = True
    part = bonded(table, chosen, occupancy_levels(table, chosen & table.partial))
    return chosen & np.isin(part, part[found])


def conformer_drafts(
    table: AtomTable, chosen: np.ndarray, links: Links, moved: dict[int, int], riders: dict[int, list[int]]
) -> list[Draft]:
    """Sets of the conformers that touch, in each residue or run of linked residues."""
    atoms = np.flatnonzero(chosen)
    home = table.residue.copy()
    home[list(moved)] = table.residue[list(moved.values())]
    away = np.isin(np.arange(table.n_atoms), list(moved))
    run = links.run[home]
    label = np.where(table.mixed, table.altloc + " (" + table.resname + ")", table.altloc)
    node = group_numbers(run[atoms], label[atoms])
    component = _touching(table, atoms, node, run[atoms])
    letters: dict[int, set[str]] = defaultdict(set)
    for one, letter in zip(run[atoms].tolist(), label[atoms].tolist(), strict=True):
        letters[one].add(letter)
    drafts = []
    for rows in by_number(component):
        everything = atoms[rows]
        own = everything[~away[everything]]
        own = own if own.size else everything
        notes = [note for residue in np.unique(table.residue[own]) for note in links.notes.get(int(residue), [])]
        if far := sorted(letters[int(run[everything[0]])].difference(label[everything])):
            notes.append(f"does not touch {listing(letter or NO_LETTER for letter in far)} of the same number")
        members, where = [], _where(table, own)
        for some in (everything[of_letter].tolist() for of_letter in by_number(node[rows])):
            guests = tuple(atom for atom in some if atom in moved)
            hydrogens = [hydrogen for atom in some for hydrogen in riders.get(atom, [])]
            amides = [f"{atom_name(table, atom)} follows the carbonyl before it" for atom in guests]
            told = tuple(dict.fromkeys([*amides, *notes]))
            letter = str(table.altloc[some[0]])
            members.append(Member(np.array([*some, *hydrogens]), where, letter, str(label[some[0]]), told, guests))
        drafts.append(tuple(members))
    return drafts


def _touching(table: AtomTable, atoms: np.ndarray, node: np.ndarray, run: np.ndarray) -> np.ndarray:
    """The number of the set each atom is in: letters (nodes) of one run that touch somewhere are in one."""
    n_nodes = int(node.max(initial=-1)) + 1
    place = group_numbers(table.residue[atoms], table.name[atoms])
    first, second = consecutive(place, node)
    # also where coordinates are missing
    near = ~(np.linalg.norm(table.xyz[atoms[first]] - table.xyz[atoms[second]], axis=1) > TOUCHING)
    pairs = [(node[first[near]], node[second[near]])]
    component = connected(n_nodes, *pairs[0])[node]
    # What no two atoms of one name settle is looked at letter by letter.
    pieces = pd.DataFrame({"run": run, "component": component}).drop_duplicates()["run"]
    open_rows = np.flatnonzero(np.isin(run, pieces[pieces.duplicated()]))
    for rows in pd.Series(open_rows).groupby(table.residue[atoms[open_rows]]).indices.values():
        own = open_rows[rows]
        letters = np.unique(node[own])
        for together in in_touch([table.xyz[atoms[own[letter]]] for letter in by_number(node[own])], TOUCHING):
            pairs.append((letters[together[:-1]], letters[together[1:]]))
    return connected(n_nodes, *(np.concatenate(side) for side in zip(*pairs, strict=True)))[node]


def _where(table: AtomTable, atoms: np.ndarray) -> str:
    if np.unique(table.residue[atoms]).size > 1:
        return f"residues {residues_label(table, atoms)}, linked letter by letter"
    return f"residue {residue_label(table, atoms[0])} {' and '.join(dict.fromkeys(table.resname[atoms]))}"


def join_overlapping(table: AtomTable, drafts: list[Draft]) -> list[Draft]:
    """Make one set of those whose members all lie on top of each other with different letters, as under two numbers."""
    heavy = [[m.atoms[~table.hydrogen[m.atoms]] for m in draft] for draft in drafts]
    everything = [atoms for members in heavy for atoms in members]
    sizes = [sum(len(atoms) for atoms in members) for members in heavy]
    atoms = np.concatenate([np.empty(0, np.int64), *everything])
    number = np.repeat(np.arange(len(drafts)), sizes)
    pairs = [p for p in meetings(table.xyz[atoms], number, SAME_PLACE) if _all_exclude(table, drafts, heavy, *p)]
    component = connected(len(drafts), *np.array(pairs, np.int64).reshape(-1, 2).T)
    joined: dict[int, Draft] = {}
    for one in dict.fromkeys(component[a] for a, _ in pairs):
        members = np.flatnonzero(component == one).tolist()
        # Where one excludes two that may be there together, no set says it.
        if sum(component[a] == one for a, _ in pairs) == comb(len(members), 2):
            whole = tuple(_on_top(table, member) for n in members for member in drafts[n])
            joined |= {n: whole if n == members[0] else () for n in members}
    return [draft for n, one in enumerate(drafts) if (draft := joined.get(n, one))]


def _all_exclude(table: AtomTable, drafts: list[Draft], heavy: list[list[np.ndarray]], a: int, b: int) -> bool:
    """Whether every member of one draft lies on top of every member of another, and their letters differ."""
    letters = [{member.letter for member in drafts[number]} for number in (a, b)]
    if letters[0] & letters[1]:
        return False
    return all(
        bool(i.size and j.size and (distances_to(table.xyz[i], table.xyz[j], SAME_PLACE) < np.inf).any())
        for i in heavy[a]
        for j in heavy[b]
    )


def _on_top(table: AtomTable, member: Member) -> Member:
    note = "joined with what lies on top of it"
    if member.label is None:
        return replace(member, reason=_where(table, member.atoms), label="", notes=(note,))
    return replace(member, notes=(*member.notes, note))
