"""The user's groups first, then the automatic ones of what is left."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from jax_occupancy.groups._across import within_symmetry
from jax_occupancy.groups._building import Draft, Member, finish_drafts, make_group
from jax_occupancy.groups._checks import feasible, find_warnings
from jax_occupancy.groups._conformers import conformer_drafts, join_overlapping, unlettered_conformers
from jax_occupancy.groups._grouping import Group, Grouping, GroupSet, SetKind, each
from jax_occupancy.groups._hydrogens import amide_homes, exchanged_pairs, riders
from jax_occupancy.groups._linking import Links, find_links, join_contacts, polymer_bonds
from jax_occupancy.groups._naming import atom_name, atom_names, listing, residue_names, unique_names
from jax_occupancy.groups._parts import part_drafts
from jax_occupancy.groups._phenix_selection import PhenixSelections
from jax_occupancy.groups._refmac import refmac_atoms
from jax_occupancy.groups._regrouping import apply_states, with_departed
from jax_occupancy.groups._starts import with_starts
from jax_occupancy.groups._table import SAME_PLACE, AtomTable
from jax_occupancy.groups._user import Images, Select, UserGroups, Within

WATERS = ("residue", "individual", "omit")
HYDROGENS = ("carrier", "omit")


def automatic_groups(
    atoms: pd.DataFrame,
    *,
    link: bool = True,
    waters: str = "residue",
    hydrogens: str = "carrier",
    force_links: bool = False,
) -> Grouping:
    """Choose the occupancy groups of a structure, each with its reason.

    The rules are those of phenix.refine (mmtbx 2022.9) with its known mistakes put right:

    * atoms with a letter are refined, letter by letter and residue by residue; those of a residue that touch (6 Å)
      sum to 1, a lone letter is free; a ligand or water whose letters sum to less may be partly absent, rounding of two
      decimals aside; atoms without a letter that are there again with one are a conformer, too;
    * conformers of different letters under different numbers that lie on top of each other (1 Å) are one set;
    * residues of a polymer whose atoms all have letters are linked to the next one if they are bonded in every
      letter, have the same letters, and start within 0.1 of each other;
    * without letters, bonded atoms of a residue at one partial occupancy (within 0.02) share it; atoms at 0 or 1 stay
      as they are;
    * hydrogens take the occupancy of the atoms that carry them; hydrogen and deuterium that exchange on one site sum
      to 1; an amide hydrogen follows the carbonyl before it.

    Args:
        atoms: one row per atom in file order with the columns name, altloc, resname, chainid, resseq, occupancy and
            x, y, z in Å; icode, element, kind and segment are used where present. Blanks may be "", " ", None, NaN.
        link: link conformers along the chain.
        waters: "residue" treats waters as any residue; "individual" refines every water without letters, also at 0
            or 1; "omit" keeps all waters as they are.
        hydrogens: "carrier" keeps them with their conformer or the atom that carries them; "omit" as they are.
        force_links: link bonded neighbours whatever their starting occupancies.

    Raises:
        ValueError: a column is missing, an occupancy is no finite number, or an option is unknown.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> first, *_ = automatic_groups(read_example()[0].atoms)
        >>> first.kind, [group.name for group in first.groups]
        ('complete', ['A/2/SER:A', 'A/2/SER:B'])
    """
    return choose_groups(atoms, link=link, waters=waters, hydrogens=hydrogens, force_links=force_links)


def choose_groups(
    atoms: pd.DataFrame,
    user: UserGroups | None = None,
    *,
    select: Select | None = None,
    within: Within | None = None,
    images: Images | None = None,
    link: bool = True,
    waters: str = "residue",
    hydrogens: str = "carrier",
    force_links: bool = False,
    contacts: np.ndarray | None = None,
) -> Grouping:
    """Make the groups a user asks for, states and their sets, and the automatic ones of all other atoms.

    With states (models of fragment screens superpose a ground and a bound state) one set holds the states. A
    conformer alone in its state belongs to the state itself; several letters of one state make a set under it,
    residue by residue (or run by run); what has letters of one state only takes part with that state. Hydrogen and
    deuterium that exchange on one site are no part of a state, unless a group names them.

    A conformer that is removed stays in its set as a fixed member, so that its siblings share the rest. Where a group
    asked for takes a conformer, a warning names the siblings that no longer sum with it.

    What lies on top of its own symmetry images, and starts with at most 1/n because of them, goes up to 1/n: the sum
    of a set, or one free group. "Complete" is 1/n there, whoever asks for it.

    Args:
        atoms: the atom table and link, waters, hydrogens: as for ``automatic_groups``.
        select: turns a selection in gemmi's syntax into 0-based positions of atoms; those of phenix and Refmac are
            found in the table.
        within: turns positions of atoms and a distance in Å into those of all atoms that near, for ``within(3, ...)``
            in phenix' selections; None looks at distances in the table, without symmetry.
        images: turns a distance in Å into the pairs of atoms that come that near through symmetry, each with its
            operation, such as ``jax_occupancy.io.images_within`` finds; None knows of no symmetry image.
        force_links: link bonded neighbours, and join contacts, whatever their starting occupancies.
        contacts: pairs of positions of atoms that touch, (pairs, 2), such as ``jax_occupancy.io.find_contacts`` finds;
            the conformers they belong to are joined letter by letter, over residues and chains.

    Raises:
        ValueError: a selection is empty or cannot be read, two groups overlap, parents run in a circle, a residue has
            letters of a state and others or is to be both linked and separate, fixed values leave a set no valid sum,
            or a state has nothing; the message names them.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from jax_occupancy.groups import UserGroup
        >>> user = UserGroups({"ligand": UserGroup(("phenix: resname IPH and altloc A",))})
        >>> choose_groups(read_example()[0].atoms, user).groups[0].name
        'ligand'
    """
    for name, value, allowed in (("waters", waters, WATERS), ("hydrogens", hydrogens, HYDROGENS)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; wanted one of {', '.join(map(repr, allowed))}.")
    table = AtomTable(atoms)
    user = UserGroups() if user is None else user
    find = _finder(table, select, within)
    members = {name: find(group.selection, f"group {name!r}") for name, group in user.groups.items()}
    alone, removed = find(user.individual, "individual"), find(user.remove, "remove")
    alone = np.setdiff1d(alone, np.concatenate([removed, *members.values()]))
    claims = {**{f"group {name!r}": atoms for name, atoms in members.items()}, "individual": alone}
    active = ~_taken(table, {**claims, "remove": removed}) & user.automatic
    active &= ~(table.hydrogen & (hydrogens == "omit")) & ~((table.kind == "water") & (waters == "omit"))
    joined = {_as_said(text)[1]: find([text], "link") for text in user.link}
    separated = find(user.separate, "separate")
    _check_links(table, joined, separated)
    bonds = polymer_bonds(table)
    links = find_links(table, active, bonds, link=link, force=force_links, joined=joined, separated=separated)
    if contacts is not None:
        join_contacts(table, active, contacts, links, force=force_links, separated=separated)
    sets = _automatic_sets(table, active, bonds, links, every_water=waters == "individual")
    own = _user_sets(table, user, members)
    by_itself = "atom {} is refined by itself, as asked"
    singles = finish_drafts(table, [(Member(np.array([i]), by_itself.format(atom_name(table, i))),) for i in alone])
    in_states = {name: members[name] for name in user.states if name in members}
    state_sets, rest = apply_states(table, sets, user.states, in_states)
    rest, departed = with_departed(table, rest, removed, claims)
    if user.groups or user.individual:
        rest = tuple(each(s, lambda group: replace(group, reason=f"automatic: {group.reason}")) for s in rest)
    others, renamed = _renamed((*singles, *rest), (*own, *state_sets))
    grouping = Grouping(table.n_atoms, (*own, *state_sets, *others))  # refuses circles before starts follow parents
    met = () if images is None else images(SAME_PLACE)
    everything = with_starts(feasible(within_symmetry(table, grouping.sets, met, asked=len(own))))
    warnings = (*find_warnings(table, everything, own, met), *departed, *renamed)
    return replace(grouping, sets=everything, warnings=warnings)


def _automatic_sets(
    table: AtomTable, active: np.ndarray, bonds: tuple[np.ndarray, np.ndarray], links: Links, *, every_water: bool
) -> tuple[GroupSet, ...]:
    """The automatic sets of the ``active`` atoms, which are left as they are; see ``automatic_groups``."""
    active = active.copy()
    pairs = exchanged_pairs(table, active)
    active[[atom for pair in pairs for atom in pair]] = False
    conformers = active & table.lettered | unlettered_conformers(table, active)
    moved = amide_homes(table, active, bonds)
    grouped = conformers | (active & (table.partial | (table.kind == "water") & every_water))
    rest = np.setdiff1d(np.flatnonzero(active & table.hydrogen), list(moved))
    following, silent = riders(table, rest, grouped)
    active[[*silent, *(hydrogen for some in following.values() for hydrogen in some)]] = False
    drafts = conformer_drafts(table, conformers & active, links, moved, following)
    drafts += part_drafts(table, active & ~conformers, following, every_water=every_water)
    drafts = join_overlapping(table, drafts) + [_exchange_draft(table, pair) for pair in pairs]
    return finish_drafts(table, drafts)


def _exchange_draft(table: AtomTable, pair: tuple[int, int]) -> Draft:
    reason = "{} of {}, which exchanges with {} of {} on one site"
    told = [(table.element[atom], atom_name(table, atom)) for atom in pair]
    reasons = [reason.format(*one, *other) for one, other in (told, told[::-1])]
    return tuple(Member(np.array([i]), why, str(table.altloc[i])) for i, why in zip(pair, reasons, strict=True))


def _as_said(selection: str) -> tuple[str, str]:
    """The language of a selection, and the selection in the user's words."""
    language, _, rest = selection.partition(": ")
    return (language, rest) if language in ("phenix", "refmac") else ("", selection)


def _finder(
    table: AtomTable, select: Select | None, within: Within | None
) -> Callable[[Sequence[str], str], np.ndarray]:
    """A function to the sorted positions of the union of some selections; each must match something."""
    phenix = PhenixSelections(table, within)
    languages = {"phenix": phenix.select, "refmac": lambda text: refmac_atoms(table, text), "": select}

    def find(selections: Sequence[str], what: str) -> np.ndarray:
        chosen = np.zeros(table.n_atoms, bool)
        for text in selections:
            language, said = _as_said(text)
            if (look_up := languages[language]) is None:
                raise ValueError(f"the selection {said!r} of {what} cannot be read without a model: give select=.")
            try:
                positions = np.asarray(look_up(said), np.int64).reshape(-1)
            except (ValueError, RuntimeError) as error:
                raise ValueError(f"the selection {said!r} of {what} cannot be read: {error}") from error
            if positions.size == 0:
                raise ValueError(
                    f"the selection {said!r} of {what} matches no atom; look up chain, number and letter in the table "
                    "of groups, or remove it."
                )
            chosen[positions] = True
        return np.flatnonzero(chosen)

    return find


def _check_links(table: AtomTable, joined: Mapping[str, np.ndarray], separated: np.ndarray) -> None:
    apart = np.isin(table.residue, table.residue[separated]) & table.lettered
    for text, atoms in joined.items():
        both = np.unique(table.residue[atoms[apart[atoms]]])
        if both.size:
            raise ValueError(
                f"the link {text!r} and separate are both asked for {residue_names(table, both.tolist())}; wanted at "
                "most one of them for a residue."
            )


def _taken(table: AtomTable, claims: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where atoms are the user's; overlaps are errors that name both sides."""
    owner = np.full(table.n_atoms, -1)
    labels = list(claims)
    for number, atoms in enumerate(claims.values()):
        both = atoms[owner[atoms] >= 0]
        if both.size:
            raise ValueError(
                f"{labels[owner[both[0]]]} and {labels[number]} overlap in {both.size} atoms: "
                f"{atom_names(table, both)}; wanted every atom in at most one of them."
            )
        owner[atoms] = number
    return owner >= 0


def _user_sets(table: AtomTable, user: UserGroups, members: Mapping[str, np.ndarray]) -> tuple[GroupSet, ...]:
    kinds: dict[str, SetKind] = {"complete": "complete", "incomplete": "incomplete"}
    sets = [
        GroupSet(kinds[s.kind], tuple(_user_group(table, user, n, members[n], s.parent) for n in s.groups), s.parent)
        for s in user.sets
    ]
    used = {*user.states, *(name for s in user.sets for name in s.groups)}
    free = [_user_group(table, user, name, members[name]) for name in user.groups if name not in used]
    return (*sets, *(GroupSet("free", (group,)) for group in free))


def _user_group(table: AtomTable, user: UserGroups, name: str, atoms: np.ndarray, parent: str | None = None) -> Group:
    """A group asked for; under a parent a fixed value is a fraction of it."""
    fixed, letters = user.groups[name].fixed, set(table.altloc[atoms])
    said = ", ".join(_as_said(text)[1] for text in user.groups[name].selection)
    reason, letter = f"asked for: {said or 'a state without atoms'}", letters.pop() if len(letters) == 1 else ""
    if fixed is None:
        return make_group(table, atoms, name=name, letter=letter, reason=reason)
    reason = f"{reason}; fixed at {fixed:.2f}" + (f" of {parent}" if parent else "")
    group = make_group(table, atoms, name=name, letter=letter, reason=reason, refinable=False)
    return replace(group, start=float(fixed), fraction=float(fixed) if parent else None)


def _renamed(sets: tuple[GroupSet, ...], taken: tuple[GroupSet, ...]) -> tuple[tuple[GroupSet, ...], tuple[str, ...]]:
    """The automatic sets, their groups renamed where the user has the name already, and a warning of that."""
    used = {group.name for group_set in taken for group in group_set.groups}
    old = [group.name for group_set in sets for group in group_set.groups]
    new = unique_names([*used, *old])[len(used) :]
    if new == old:
        return sets, ()
    names = iter(new)
    renamed = tuple(each(group_set, lambda group: replace(group, name=next(names))) for group_set in sets)
    shown = listing(f"{a} is now {b}" for a, b in zip(old, new, strict=True) if a != b and a in used)
    message = f"automatic groups with the name of a group asked for are renamed: {shown}"
    return renamed, (message,) if shown else ()
