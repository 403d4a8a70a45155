"""The user's groups as a TOML file, read and written."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet

LISTS = ("remove", "link", "separate", "individual")


def parse_toml(text: str) -> UserGroups:
    """Read the user's groups.

    ``[groups]`` gives each group a selection, a list of selections (their union), or a table with ``selection`` and
    ``fixed``; ``[[sets]]`` have ``groups``, ``kind`` ("complete" or "incomplete") and ``parent``; ``[states]`` gives
    each state its letters; ``remove``, ``link``, ``separate`` and ``individual`` are selections and ``automatic`` is
    true or false, before the first table.

    Raises:
        ValueError: the text is no TOML, or a key is unknown or of the wrong kind; the message names it.

    Example:
        >>> user = parse_toml('''
        ... remove = "//S"
        ... [groups]
        ... apo = "//W/7"
        ... bound = ["//L/1", "//A/54/*:B"]
        ... half = { selection = "//M/1", fixed = 0.5 }
        ... [[sets]]
        ... groups = ["apo", "bound"]
        ... kind = "incomplete"
        ... ''')
        >>> user.groups["half"], user.sets[0].kind, user.remove
        (UserGroup(selection=('//M/1',), fixed=0.5), 'incomplete', ('//S',))
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the groups are no valid TOML: {error}.") from error
    except RecursionError as error:
        raise ValueError("the groups are no valid TOML: lists or tables are nested too deeply.") from error
    _check_keys(content, {*LISTS, "groups", "sets", "states", "automatic"}, "the file")
    return UserGroups(
        automatic=_get(content, "automatic", True, "true or false"),
        groups={name: _group(name, value) for name, value in _get(content, "groups", {}, "a table [groups]").items()},
        sets=tuple(_set(number, value) for number, value in enumerate(_get(content, "sets", [], "tables [[sets]]"), 1)),
        states={name: _letters(name, value) for name, value in _get(content, "states", {}, "a table [states]").items()},
        **{key: _texts(key, content.get(key, [])) for key in LISTS},
    )


def format_toml(user: UserGroups) -> str:
    """Write groups as TOML that ``parse_toml`` reads back as the same groups.

    Example:
        >>> print(format_toml(UserGroups({"pose A": UserGroup(("//L/1/*:A",))}, remove=("//S",))), end="")
        remove = ["//S"]
        <BLANKLINE>
        [groups]
        "pose A" = ["//L/1/*:A"]
    """
    top = [] if user.automatic else ["automatic = false"]
    blocks = [[*top, *(f"{key} = {_quote(getattr(user, key))}" for key in LISTS if getattr(user, key))]]
    if user.groups:
        blocks.append(["[groups]", *(_group_line(name, group) for name, group in user.groups.items())])
    if user.states:
        blocks.append(["[states]", *(f"{_quote(name)} = {_quote(letters)}" for name, letters in user.states.items())])
    for one in user.sets:
        parent = [] if one.parent is None else [f"parent = {_quote(one.parent)}"]
        blocks.append(["[[sets]]", f"groups = {_quote(one.groups)}", f"kind = {_quote(one.kind)}", *parent])
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def _group_line(name: str, group: UserGroup) -> str:
    selection = _quote(group.selection)
    if group.fixed is None:
        return f"{_quote(name)} = {selection}"
    return f"{_quote(name)} = {{ selection = {selection}, fixed = {float(group.fixed)!r} }}"


def _quote(value: Any) -> str:
    """A string or strings as TOML; JSON's escapes are TOML's, but for the delete character."""
    plain = list(value) if isinstance(value, tuple) else value
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def _check_keys(content: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse unknown keys, which are most often misspelt."""
    unknown = sorted(content.keys() - known)
    if unknown:
        raise ValueError(f"{where} has the unknown keys {unknown[:5]}; wanted {', '.join(sorted(known))}.")


def _get(content: Mapping[str, Any], key: str, default: Any, wanted: str) -> Any:
    """A value of the file, which must be of the same type as the default; a list has tables only."""
    value = content.get(key, default)
    if type(value) is not type(default) or (isinstance(value, list) and not all(isinstance(v, dict) for v in value)):
        raise ValueError(f"{key} is {value!r}; wanted {wanted}.")
    return value


def _texts(key: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ValueError(f"{key} is {value!r}; wanted a string or a list of strings.")
    return tuple(values)


def _group(name: str, value: Any) -> UserGroup:
    if not isinstance(value, dict):
        return UserGroup(_texts(f"group {name!r}", value))
    _check_keys(value, {"selection", "fixed"}, f"group {name!r}")
    fixed = value.get("fixed")
    if fixed is not None and (isinstance(fixed, bool) or not isinstance(fixed, int | float)):
        raise ValueError(f"group {name!r} is fixed at {fixed!r}; wanted a number from 0 to 1.")
    return UserGroup(_texts(f"the selection of group {name!r}", value.get("selection", [])), fixed)


def _set(number: int, value: Mapping[str, Any]) -> UserSet:
    _check_keys(value, {"groups", "kind", "parent"}, f"set {number}")
    parent = value.get("parent")
    kind = value.get("kind", "complete")
    if not isinstance(kind, str) or not isinstance(parent, str | None):
        raise ValueError(f"set {number} has kind {kind!r} and parent {parent!r}; wanted strings.")
    return UserSet(_texts(f"groups of set {number}", value.get("groups", [])), kind, parent)


def _letters(name: str, value: Any) -> tuple[str, ...]:
    """Letters of a state: a list, or a string such as "A,B"."""
    if isinstance(value, str):
        value = [letter.strip() for letter in value.split(",") if letter.strip()]
    return _texts(f"state {name!r}", value)
