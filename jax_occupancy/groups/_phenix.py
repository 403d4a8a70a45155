"""phenix.refine's parameters of occupancy groups."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from jax_occupancy.groups._foreign import Piece, check_sayable, fixed_lines, pieces_of
from jax_occupancy.groups._grouping import Grouping, GroupSet
from jax_occupancy.groups._phenix_selection import translate_selection
from jax_occupancy.groups._table import AtomTable, read_table
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet

_SCOPE = "refinement.refine.occupancies"
_PLAIN = re.compile(r"[A-Za-z0-9']+")
_WORDS = re.compile(r"""\{|\}|[;\n]|#[^\n]*|"[^"]*"|'[^']*'|[^\s{};#]+""")


def parse_phenix(text: str) -> UserGroups:
    """Read occupancy groups from phenix parameters.

    phenix.refine chooses groups automatically for all other atoms, and so does the result.

    Args:
        text: parameters with ``refinement.refine.occupancies``, in it ``constrained_group { selection = ... }``,
            ``individual = ...`` and ``remove_selection = ...``; other parameters are left alone.

    Returns:
        Groups named "1:1", "1:2" for the first and second selection of the first constrained group, and so on.

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
        (('//A/45./*:B',), ('//S/*/*',))
    """
    members: dict[int, list[str]] = {}
    other: dict[str, list[str]] = {"individual": [], "remove_selection": []}
    for path, block, value in _definitions(text):
        if not path.startswith(f"{_SCOPE}.") or value in ("None", "Auto", ""):
            continue
        key = path[len(_SCOPE) + 1 :]
        if key == "constrained_group.selection":
            members.setdefault(block, []).append(value)
        elif key in other:
            other[key].append(value)
        else:
            raise ValueError(
                f"the parameter {path} is not understood; wanted constrained_group.selection, individual or "
                "remove_selection."
            )
    groups: dict[str, UserGroup] = {}
    sets: list[UserSet] = []
    for i, selections in enumerate(members.values(), 1):
        named = {f"{i}:{j}": UserGroup(translate_selection(one)) for j, one in enumerate(selections, 1)}
        groups |= named
        sets += [UserSet(tuple(named))] if len(named) > 1 else []
    single, removed = (tuple(s for text in other[key] for s in translate_selection(text)) for key in other)
    return UserGroups(groups, tuple(sets), individual=single, remove=removed)


def format_phenix(grouping: Grouping, atoms: pd.DataFrame) -> str:
    """Write groups as phenix parameters.

    Atoms that phenix.refine would refine by itself (with a letter, or partly occupied) but that are in no refinable
    group are removed from refinement.

    Args:
        grouping: the groups; of fixed groups at the occupancies the model has there is only a comment and, where
            phenix.refine would refine them, their removal.
        atoms: the atom table they were made from.

    Returns:
        The parameters.

    Raises:
        ValueError: the format cannot say it: sets that may be partly empty, sets under a parent, fixed members beside
            refined ones, groups fixed at an occupancy the model does not have. The message names the groups.

    Example:
        >>> from jax_occupancy.groups import automatic_groups
        >>> atom = {"name": "O", "resname": "HOH", "chainid": "A", "resseq": 7, "x": 0.0, "y": 0.0, "z": 0.0}
        >>> rows = [atom | {"altloc": "A", "occupancy": 0.6}, atom | {"altloc": "B", "occupancy": 0.4}]
        >>> atoms = pd.DataFrame(rows)
        >>> print(format_phenix(automatic_groups(atoms), atoms), end="")
        refinement.refine.occupancies {
          constrained_group {
            selection = (chain A and resid 7 and resname HOH and altloc A)
            selection = (chain A and resid 7 and resname HOH and altloc B)
          }
        }
    """
    table = read_table(atoms)
    check_sayable(grouping, table, "phenix's parameters", kinds=("complete", "free"))
    left = table.partial | table.lettered
    lines = [f"  {line}" for line in fixed_lines(grouping)]
    for group_set in grouping:
        if group_set.refinable:
            lines += _constrained_group(table, group_set)
            for group in group_set.groups:
                left[group.atoms] = False
    kept = np.flatnonzero(left)
    if kept.size:
        lines.append(f"  remove_selection = {_selection(table, 'remove', kept)}")
    return "\n".join([f"{_SCOPE} {{", *lines, "}"]) + "\n"


def _constrained_group(table: AtomTable, group_set: GroupSet) -> list[str]:
    """The lines of one set."""
    selections = [f"    selection = {_selection(table, g.name, g.atoms)}" for g in group_set.groups]
    return ["  constrained_group {", *selections, "  }"]


def _selection(table: AtomTable, name: str, atoms: np.ndarray) -> str:
    """The phenix selection of some atoms."""
    pieces = pieces_of(table, name, atoms, by_resname=True, blank=True)
    return " or ".join(f"({_clause(piece)})" for piece in pieces)


def _clause(piece: Piece) -> str:
    """One residue and letter."""
    words = [f"chain {_value(piece.chain)}", f"resid {piece.resseq}{piece.icode}", f"resname {_value(piece.resname)}"]
    words.append(f"altloc {_value(piece.altloc)}")
    names = " or ".join(f"name {_value(name)}" for name in piece.names)
    return " and ".join([*words, f"({names})"] if names else words)


def _value(text: str) -> str:
    """A value, quoted where it is not plain; blanks are asked for by a space."""
    return text if _PLAIN.fullmatch(text) and "'" not in text else f'"{text or " "}"'


def _definitions(text: str) -> Iterator[tuple[str, int, str]]:
    """Every ``path = value`` with the number of the block it stands in."""
    scopes: list[tuple[str, int]] = []
    statement: list[str] = []
    opened = 0
    for word in [*_WORDS.findall(re.sub(r"\\[ \t]*\n", " ", text)), "\n"]:
        if word == "{":
            opened += 1
            scopes.append((".".join(statement), opened))
            statement = []
        elif word in ("}", ";", "\n"):
            if word == "}" and not scopes:
                raise ValueError("the parameters have a closing brace too many; every { needs one }.")
            if "=" in statement:
                at = statement.index("=")
                path = ".".join([*(name for name, _ in scopes), *statement[:at]])
                yield path, scopes[-1][1] if scopes else 0, _unquoted(statement[at + 1 :])
                statement = []
            # A name on a line of its own opens the scope of the next line.
            if word == "}":
                scopes.pop()
                statement = []
        elif not word.startswith("#"):
            statement += (
                [part for part in re.split("(=)", word, maxsplit=1) if part] if "=" not in statement else [word]
            )
    if scopes:
        raise ValueError(f"the scope {scopes[-1][0]!r} of the parameters is not closed; every {{ needs one }}.")


def _unquoted(words: list[str]) -> str:
    """The value; a single quoted word loses its quotes, as in phenix."""
    return words[0][1:-1] if len(words) == 1 and words[0][0] in "\"'" else " ".join(words)
