"""phenix.refine's parameters of occupancy groups."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from jax_occupancy.groups import _saying as saying
from jax_occupancy.groups._grouping import Grouping
from jax_occupancy.groups._phenix_selection import PhenixSelections
from jax_occupancy.groups._table import AtomTable, empty_table
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet

_SCOPE = "refinement.refine.occupancies"
_OURS = re.compile(r"(?:refinement\.)?(?:refine\.)?occupancies\.(.+)")
_PLAIN = re.compile(r"[A-Za-z0-9]['A-Za-z0-9]*")
_WORD = re.compile(r"""#[^\n]*|"[^"]*"|'[^']*'|[^\s{};#]+""")
_STATEMENT = re.compile(rf"((?:{_WORD.pattern}|[^\S\n]+)*)([{{}};\n])")
_NAMED = re.compile(r"(selection) = ")


def parse_phenix(text: str) -> UserGroups:
    """Read ``refinement.refine.occupancies`` of phenix parameters; all other atoms get automatic groups, as there.

    ``constrained_group { selection = ... }`` makes groups named "1:1", "1:2" for the first and second selection of the
    first, and so on, or as the comments of `format_phenix` say; ``individual`` and ``remove_selection`` are read, too.

    Raises:
        ValueError: a selection or a parameter of the occupancies is not understood, or braces do not match.

    Example:
        >>> user = parse_phenix('''
        ... refinement.refine.occupancies {
        ...   constrained_group {
        ...     selection = chain A and resid 45 and altloc A
        ...     selection = chain A and resid 45 and altloc B
        ...   }
        ...   remove_selection = chain S
        ... }
        ... ''')
        >>> user.groups["1:2"].selection, user.remove
        (('phenix: chain A and resid 45 and altloc B',), ('phenix: chain S',))
    """
    members: dict[int, list[str]] = {}
    other: dict[str, list[str]] = {"individual": [], "remove_selection": []}
    for path, block, value in _definitions(text):
        match = _OURS.fullmatch(path)
        if match is None or value in ("None", "Auto", ""):
            continue
        if match[1] == "constrained_group.selection":
            members.setdefault(block, []).append(_checked(value))
        elif match[1] in other:
            other[match[1]].append(_checked(value))
        else:
            raise ValueError(
                f"the parameter {path} is not understood; wanted constrained_group.selection, individual or "
                "remove_selection."
            )
    groups: dict[str, UserGroup] = {}
    sets: list[UserSet] = []
    for i, selections in enumerate(members.values(), 1):
        named = {f"{i}:{j}": UserGroup((one,)) for j, one in enumerate(selections, 1)}
        groups |= named
        sets += [UserSet(tuple(named))] if len(named) > 1 else []
    user = UserGroups(
        groups, tuple(sets), individual=tuple(other["individual"]), remove=tuple(other["remove_selection"])
    )
    names = [name for _, name in saying.names_above(text, _NAMED)]
    return saying.rename(user, dict(zip(groups, names, strict=True))) if len(names) == len(groups) else user


def _checked(text: str) -> str:
    PhenixSelections(empty_table()).select(text)
    return f"phenix: {text}"


def format_phenix(grouping: Grouping, atoms: pd.DataFrame) -> str:
    """Write groups as phenix parameters; ``atoms`` is the table that the groups were made from.

    Atoms that phenix.refine would refine by itself (with a letter, or partly occupied) but that are in no refinable
    group are removed from refinement; of fixed groups at the occupancies the model has there is a comment besides.

    Raises:
        ValueError: the format cannot say it: sets that may be partly empty, sets under a parent, fixed members beside
            refined ones, groups fixed at an occupancy the model does not have. The message names the groups.
    """
    table = saying.sayable_table(grouping, atoms, "phenix's parameters", kinds=("complete", "free"))
    left = table.partial | table.lettered
    lines = [f"  {line}" for line in saying.fixed_lines(grouping)]
    for group_set in grouping:
        if group_set.refinable:
            lines.append("  constrained_group {")
            for group in group_set.groups:
                selection = _selection(table, group.name, group.atoms)
                lines += [f"    {saying.comment_line(group.name)}", f"    selection = {selection}"]
                left[group.atoms] = False
            lines.append("  }")
    kept = np.flatnonzero(left)
    if kept.size:
        lines.append(f"  remove_selection = {_selection(table, 'remove', kept)}")
    return "\n".join([saying.NAMES_ABOVE, f"{_SCOPE} {{", *lines, "}"]) + "\n"


def _selection(table: AtomTable, name: str, atoms: np.ndarray) -> str:
    clauses = []
    for piece in saying.pieces(table, name, atoms):
        labels = {"chain": piece.chain, "resid": f"{piece.resseq}{piece.icode}", "resname": piece.resname}
        labels["altloc"] = piece.altloc
        words = [f"{key} {value if key == 'resid' else _value(value)}" for key, value in labels.items()]
        names = " or ".join(f"name {_value(name)}" for name in piece.names)
        clauses.append(f"({' and '.join([*words, f'({names})'] if names else words)})")
    return " or ".join(clauses)


def _value(text: str) -> str:
    """A value; what is not plain is quoted or escaped, blanks are asked for by a space."""
    if _PLAIN.fullmatch(text):
        return text
    # quoted values are compared with the blanks of the file's columns, so only one character is sure to be the same
    return f'"{text or " "}"' if len(text) < 2 else re.sub(r"([*?\[\]\\])", r"\\\1", text)


def _definitions(text: str) -> Iterator[tuple[str, int, str]]:
    """Every ``path = value`` with the number of the block it stands in; values as they are written."""
    scopes: list[tuple[str, int]] = []
    names: list[str] = []
    opened = 0
    for statement, end in _STATEMENT.findall(re.sub(r"[ \t]*\\[ \t]*\n[ \t]*", " ", text) + "\n"):
        words = [word for word in _WORD.finditer(statement) if not word[0].startswith("#")]
        equals = next((n for n, word in enumerate(words) if "=" in word[0]), None)
        names += [word[0] for word in words[:equals]]
        begin = 0
        if equals is not None:
            name = words[equals][0].partition("=")[0]
            names += [name] if name else []
            begin = words[equals].start() + len(name) + 1
        if equals is not None and names and names[-1].lstrip("!").startswith("."):
            # an attribute such as .type, of the definition above or of the scope that is about to open
            names.pop()
        elif equals is not None:
            path = [*(name for name, _ in scopes), *names]
            # an exclamation mark switches off a definition or a whole scope
            if not any(name.startswith("!") for name in path):
                value = _unquoted(statement[begin : words[-1].end()].strip())
                yield ".".join(path), scopes[-1][1] if scopes else 0, value
            names = []
        # A name on a line of its own opens the scope of the next line.
        if end == "{":
            opened += 1
            scopes.append((".".join(names), opened))
        elif end == "}" and not scopes:
            raise ValueError("the parameters have a closing brace too many; every { needs one }.")
        elif end == "}":
            scopes.pop()
        names = [] if end in ("{", "}") else names
    if scopes:
        raise ValueError(f"the scope {scopes[-1][0]!r} of the parameters is not closed; every {{ needs one }}.")


def _unquoted(value: str) -> str:
    """A value; one that is nothing but quoted words loses its quotes, as in phenix."""
    if not re.fullmatch(r"""(("[^"]*"|'[^']*')\s*)+""", value):
        return value
    return " ".join(word[1:-1] for word in re.findall(r""""[^"]*"|'[^']*'""", value))
