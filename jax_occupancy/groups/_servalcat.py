"""servalcat's occupancy groups in YAML."""

import json
import re
from typing import Any

import pandas as pd
import yaml  # pyright: ignore[reportMissingModuleSource]

from jax_occupancy.groups import _saying as saying
from jax_occupancy.groups._grouping import Grouping
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet

_NAMED = re.compile(r"- id: (\d+)")
_READ = ("occ_groups", "occ_group_constraints", "atom_selection")
# How servalcat refines, not what.
_SETTINGS = tuple(f"occ_group_const_mu{end}" for end in ("", "_update_factor", "_update_tol_rel", "_update_tol_abs"))


def parse_servalcat(text: str) -> UserGroups:
    """Read occupancy groups from the YAML of servalcat; other settings are left alone.

    ``occ_groups`` (``id``, ``selections`` in gemmi's syntax), ``occ_group_constraints`` (``ids``, ``complete``) and
    ``atom_selection.occ`` (``include`` makes a group of each atom that is in none, ``exclude`` keeps atoms as they
    are) are read, alone or under ``refine``. Groups are named by their ids, or as the comments of `format_servalcat`
    say, whose files alone leave the other atoms without automatic groups.

    Raises:
        ValueError: the text is no YAML, one of these is of the wrong kind, or what it says of occupancies elsewhere
            would not be heard; the message quotes it.

    Example:
        >>> user = parse_servalcat('''
        ... occ_groups:
        ...   - {id: 1, selections: [//A/45/*:A]}
        ...   - {id: 2, selections: [//A/45/*:B, //W/7]}
        ... occ_group_constraints:
        ...   - {ids: [1, 2], complete: false}
        ... ''')
        >>> user.groups["2"].selection, user.sets[0].kind
        (('//A/45/*:B', '//W/7'), 'incomplete')
    """
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"the groups are no valid YAML: {' '.join(str(error).split())[:300]}") from error
    content = _given(content, dict, "the file")
    content = _given(content["refine"], dict, "refine") if "refine" in content else content
    _check_read(content)
    groups: dict[str, UserGroup] = {}
    for one in _given(content.get("occ_groups"), list, "occ_groups"):
        entry = _known(one, "each of occ_groups", ("id", "selections"))
        name = str(entry.get("id"))
        if "id" not in entry or name in groups:
            raise ValueError(f"occ_groups has {one!r}; wanted an id that no other group has.")
        groups[name] = UserGroup(_texts(entry.get("selections"), f"selections of group {name}"))
    sets = []
    for one in _given(content.get("occ_group_constraints"), list, "occ_group_constraints"):
        entry = _known(one, "each of occ_group_constraints", ("ids", "complete"))
        ids = tuple(str(name) for name in _given(entry.get("ids"), list, "ids of occ_group_constraints"))
        complete = entry.get("complete", True)
        if not isinstance(complete, bool):
            raise ValueError(f"complete of the constraint of {', '.join(ids)} is {complete!r}; wanted true or false.")
        # one group that may be absent is free, whatever set it is in
        if len(ids) != 1 or complete or ids[0] not in groups:
            sets.append(UserSet(ids, "complete" if complete else "incomplete"))
    chosen = _given(content.get("atom_selection"), dict, "atom_selection").get("occ")
    chosen = _known(chosen, "atom_selection.occ", ("include", "exclude", "exclude_restraint"))
    alone, kept = (_texts(chosen.get(key), f"atom_selection.occ.{key}") for key in ("include", "exclude"))
    user = UserGroups(groups, tuple(sets), individual=alone, remove=kept, automatic=not saying.says_all(text))
    return saying.rename(user, dict(saying.names_above(text, _NAMED)))


def format_servalcat(grouping: Grouping, atoms: pd.DataFrame) -> str:
    r"""Write groups as the YAML that servalcat takes by ``--config``; ``atoms`` is the table they were made from.

    Of fixed groups at the occupancies the model has there is only a comment.

    Raises:
        ValueError: as `format_refmac`, of what YAML can't say; labels need be no words.

    Example:
        >>> from jax_occupancy.groups import automatic_groups
        >>> from jax_occupancy.example import read_example
        >>> atoms = read_example()[0].atoms
        >>> print(*format_servalcat(automatic_groups(atoms), atoms).splitlines()[4:8], sep="\n")
          occ_groups:
          # A/2/SER:A
          - id: 1
            selections: ["//A/2.(SER)/*:A"]
    """
    saying.sayable_table(grouping, atoms, "servalcat's YAML", kinds=("complete", "incomplete", "free"))
    said, groups, constraints, include = saying.describe_groups(grouping, atoms), [], [], []
    for group_set in (one for one in grouping if one.refinable):
        ids = range(len(groups) + 1, len(groups) + 1 + len(group_set.groups))
        for number, group in zip(ids, group_set.groups, strict=True):
            selections = list(said.groups[group.name].selection)
            include += selections
            quoted = json.dumps(selections, ensure_ascii=False)
            groups.append(f"  {saying.comment_line(group.name)}\n  - id: {number}\n    selections: {quoted}")
        if group_set.kind != "free":
            complete = json.dumps(group_set.kind == "complete")
            constraints.append(f"  - {{ids: {[*ids]}, complete: {complete}}}")
    lines = [f"{saying.NAMES_ABOVE}; {saying.NOTHING_ELSE}", *saying.fixed_lines(grouping), "refine:"]
    lines += ["  atom_selection:", f"    occ: {{include: {json.dumps(include, ensure_ascii=False)}}}"]
    lines += ["  occ_groups:", *groups] if groups else []
    lines += ["  occ_group_constraints:", *constraints] if constraints else []
    return "\n".join(lines) + "\n"


def _check_read(content: dict[str, Any]) -> None:
    """Refuse what is said of occupancies and not read: misspelt or in another place, and start values."""
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    elsewhere = [f"{key}.{inner}" for key, table in tables.items() for inner in table if inner in _READ]
    unknown = [key for key in content if str(key).startswith("occ") and key not in (*_READ, *_SETTINGS)]
    if elsewhere or unknown:
        wanted = "wanted occ_groups, occ_group_constraints and atom_selection, alone or under refine"
        raise ValueError(f"{', '.join(map(str, elsewhere + unknown))} is not read; {wanted}.")
    if starts := _given(content.get("initialisation"), dict, "initialisation").get("occ"):
        raise ValueError(
            f"initialisation.occ is {str(starts)[:60]}, which is not read; write these occupancies into the model and "
            "take the line out."
        )


def _known(value: Any, what: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """A mapping of the file that has these keys at most."""
    entry = _given(value, dict, what)
    if unknown := [key for key in entry if key not in keys]:
        raise ValueError(f"{what} has the key {unknown[0]!r}; wanted {', '.join(keys)}.")
    return entry


def _given(value: Any, kind: type, what: str) -> Any:
    """What the file has there, a mapping or a list; empty where there is nothing."""
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{what} is {str(value)[:60]!r}; wanted {'a list' if kind is list else 'keys and values'}.")
    return value or kind()


def _texts(value: Any, what: str) -> tuple[str, ...]:
    values = _given(value, list, what)
    if not all(isinstance(one, str) for one in values):
        raise ValueError(f"{what} are {values!r}; wanted selections in gemmi's syntax.")
    return tuple(values)
