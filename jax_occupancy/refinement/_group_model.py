"""From a model that was read and what the user asks for to its groups."""

import os
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from jax_occupancy.groups import Group, Grouping, UserGroups, choose_groups, listing, owners
from jax_occupancy.io import Model, atom_label, atoms_within, find_contacts, images_within, read_groups, select_atoms
from jax_occupancy.xray import Sites, across_symmetry, read_sites


def group_model(
    model: Model,
    groups: Grouping | UserGroups | str | os.PathLike[str] | None = None,
    *,
    states: Mapping[str, tuple[str, ...]] | None = None,
    link: bool = True,
    waters: str = "residue",
    hydrogens: str = "carrier",
    force_links: bool = False,
    contact_distance: float | int | None = None,
) -> Grouping:
    """Choose the groups of a model: the user's, and automatic ones of all other atoms.

    Starting occupancies are chemical: an atom on a special position whose occupancy in the file has 1/n inside starts
    from n times that, and the reasons and warnings say so. What counts as partly occupied is decided by the file, as in
    phenix.refine: a water at 0.50 on a 2-fold axis is refined, from 1.

    Args:
        model: what `read_model` returned.
        groups: what the user asks for, or a file of it (see `read_groups`); a grouping is returned as it is.
        states: letters by state, beside those of ``groups``; see `choose_groups`.
        link: link conformers along the chain; False treats every residue by itself.
        waters: "residue", "individual" or "omit"; see `automatic_groups`.
        hydrogens: "carrier" or "omit"; see `automatic_groups`.
        force_links: link neighbours and join contacts whatever their starting occupancies.
        contact_distance: join conformers that come this close, in Å, letter by letter, over chains and symmetry
            images (ligand, side chain and water); None joins none.

    Returns:
        The groups.

    Raises:
        ValueError: an option is unknown, or the groups asked for cannot be made; the message names them.

    Example:
        >>> import tempfile
        >>> from jax_occupancy import read_model, write_example
        >>> from jax_occupancy.groups import UserGroups
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = read_model(write_example(folder).model)
        >>> grouping = group_model(model, UserGroups(remove=("//A",)))
        >>> [group.name for group in grouping.groups]
        ['B/201/IPH:A', 'B/201/IPH:B', 'W/301/HOH']
    """
    if isinstance(groups, Grouping):
        return groups
    file = groups if isinstance(groups, str | os.PathLike) else None
    user = read_groups(groups) if isinstance(groups, str | os.PathLike) else groups or UserGroups()
    contacts = None if contact_distance is None else find_contacts(model, contact_distance)
    sites, across = model_sites(model), across_symmetry(model.structure)
    try:
        grouping = choose_groups(
            model.atoms.assign(
                occupancy=sites.chemical,
                in_file=np.where(across > 1, sites.chemical, sites.in_file),
                across=across,
                site=np.maximum(sites.orders, across),
            ),
            replace(user, states={**user.states, **(states or {})}),
            select=lambda text: select_atoms(model, text),
            within=lambda atoms, distance: atoms_within(model, atoms, distance),
            images=lambda distance: _other_sites(images_within(model, distance), sites),
            link=link,
            waters=waters,
            hydrogens=hydrogens,
            force_links=force_links,
            contacts=contacts,
        )
    except ValueError as error:
        raise error if file is None else ValueError(f"{file}: {error}") from error
    if contacts is not None and (model.cell is None or model.spacegroup is None):
        grouping = grouping.with_warnings(
            "the model has no cell or no space group: contacts with symmetry images were ignored"
        )
    return _with_sites_told(grouping, model, sites, across > 1)


def _other_sites(images: list[tuple[int, int, str]], sites: Sites) -> list[tuple[int, int, str]]:
    """Those images that are not of an atom on its own special position, a little off which they may be 1 Å apart."""
    return [(one, other, operation) for one, other, operation in images if one != other or sites.orders[one] == 1]


def model_sites(model: Model) -> Sites:
    """The special positions of a model, and what its occupancies mean there."""
    return read_sites(model.structure, model.atoms["occupancy"].to_numpy(np.float64))


def _with_sites_told(grouping: Grouping, model: Model, sites: Sites, across: np.ndarray) -> Grouping:
    """The same groups; reasons and a warning say which atoms lie on special positions and how the file counts them."""
    if not (across | (sites.orders > 1)).any():
        return grouping
    sets = tuple(replace(s, groups=tuple(_with_site_told(g, sites, across) for g in s.groups)) for s in grouping.sets)
    divided = np.flatnonzero(sites.crystallographic & (sites.in_file > 0))
    told = replace(grouping, sets=sets).with_warnings(*_molecules_in_parts(grouping, model, sites, across))
    if not divided.size:
        return told
    shown = listing(
        f"{atom_label(model.atoms, p)} ({sites.in_file[p]:.2f} is {sites.chemical[p]:.2f} of the site)"
        for p in divided.tolist()
    )
    return told.with_warnings(
        f"occupancies on special positions with 1/n inside, refined without it and written with it: {shown}"
    )


def _molecules_in_parts(grouping: Grouping, model: Model, sites: Sites, across: np.ndarray) -> list[str]:
    """A warning of molecules on special positions of which not all heavy atoms are in one group."""
    atoms, owner = model.atoms, owners(model.n_atoms, grouping.groups)
    heavy = ~atoms["element"].isin(["H", "D"]) & (atoms["kind"] == "other") & (sites.in_file > 0)
    special, names, found = across | (sites.orders > 1), atoms["name"].to_numpy(), []
    keys = ["chainid", "resseq", "icode", "segment", "resname", "altloc"]
    for _, own in atoms.assign(row=range(model.n_atoms))[heavy].groupby(keys, sort=False)["row"]:
        rows = own.to_numpy()
        numbers = np.unique(owner[rows]).tolist()
        if len(numbers) == 1 or not special[rows].any():
            continue
        parts = []
        for number, part in ((number, rows[owner[rows] == number]) for number in numbers):
            kept = f"kept at {sites.chemical[part[0]]:.2f}"
            parts.append(f"{', '.join(names[part])} {kept if number < 0 else f'in {grouping.groups[number].name}'}")
        found.append(f"{atom_label(atoms, int(rows[0])).rpartition('/')[0]} ({'; '.join(parts)})")
    way_out = "look at their occupancies, and make one group of them"
    return [f"molecules on special positions are refined in parts: {listing(found)}; {way_out}"] if found else []


def _with_site_told(group: Group, sites: Sites, across: np.ndarray) -> Group:
    """A group whose reason speaks of its special positions."""
    if across[group.atoms].any():
        told = "its occupancy has 1/n inside, as in the file"
        if np.greater(sites.counted, 1)[group.atoms].any():
            told += " but for atoms on it, which have n times that there"
        group = replace(group, reason=f"{group.reason}; {told}")
    special = group.atoms[sites.orders[group.atoms] > 1]
    if not special.size:
        return group
    orders = sorted(set(sites.orders[special].tolist()))
    where = f"{special.size} of {group.atoms.size} atoms on {' and '.join(f'{n}-fold' for n in orders)} sites"
    divided = special[sites.crystallographic[special]]
    if not divided.size:
        return replace(group, reason=f"{group.reason}; {where}, occupancy in the file is that of the site")
    q = f"{sites.in_file[divided[0]]:.2f} in the file is {sites.chemical[divided[0]]:.2f} of the site"
    full = group.refinable and (sites.chemical[divided] >= 1 - 1e-9).any()
    why = "; refined because the file's value is partial" if full else ""
    return replace(group, reason=f"{group.reason}; {where}, {q}{why}")
