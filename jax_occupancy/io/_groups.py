"""Files of occupancy groups: our own TOML, Refmac's keywords, phenix's parameters, servalcat's YAML."""

import re
from pathlib import Path

import pandas as pd

from jax_occupancy.groups import (
    Grouping,
    UserGroups,
    describe_groups,
    format_phenix,
    format_refmac,
    format_servalcat,
    format_toml,
    parse_phenix,
    parse_refmac,
    parse_servalcat,
    parse_toml,
)
from jax_occupancy.io._files import PathLike, atomic_writer, read_source

_EXTENSIONS = {
    ".toml": "toml",
    **dict.fromkeys((".refmac", ".keywords", ".com", ".txt"), "refmac"),
    **dict.fromkeys((".params", ".eff", ".phil", ".def"), "phenix"),
    **dict.fromkeys((".yaml", ".yml"), "servalcat"),
}
# The keywords of these are easily told; everything else is taken for TOML.
_TELLING = {
    "refmac": re.compile(r"^\s*occu\w*\s+(grou\w*|refi\w*)\b", re.MULTILINE | re.IGNORECASE),
    "servalcat": re.compile(r"^\s*occ_groups\s*:", re.MULTILINE),
    "phenix": re.compile(r"^[^#\n]*(constrained_group|occupancies)[^=\n]*(\{|$)", re.MULTILINE),
}
_WRITE = {
    "toml": lambda *made: format_toml(describe_groups(*made)),
    "refmac": format_refmac,
    "phenix": format_phenix,
    "servalcat": format_servalcat,
}
_PARSE = {"toml": parse_toml, "refmac": parse_refmac, "phenix": parse_phenix, "servalcat": parse_servalcat}
_NOTHING = (UserGroups(), UserGroups(automatic=False))


def read_groups(path: PathLike) -> UserGroups:
    r"""Read the user's groups from TOML, Refmac keywords, phenix parameters or servalcat's YAML.

    The extension says which (.toml; .refmac, .keywords, .com, .txt; .params, .eff, .phil, .def; .yaml, .yml); for any
    other the content does. A line ``@file`` of Refmac keywords stands for the lines of that file.

    Raises:
        FileNotFoundError, IsADirectoryError: If there is no such file, or it is a folder.
        ValueError: If it is empty, no text, or something in it is not understood; the message names the file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "groups.toml")
        ...     _ = file.write_text('[groups]\nligand = "//L/1"')
        ...     read_groups(file).groups["ligand"].selection
        ('//L/1',)
    """
    text = _text(path)
    by_content = next((name for name, words in _TELLING.items() if words.search(text)), "toml")
    file_format = _EXTENSIONS.get(Path(path).suffix.lower(), by_content)
    if file_format == "refmac":
        text = _with_included(text, Path(path), ())
    try:
        user = _PARSE[file_format](text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if user in _NOTHING:
        why = "; what would is switched off by ! or #: take these away" if _is_off(text, file_format) else ""
        raise ValueError(f"{path} asks for no groups{why or '; is it the right file?'}")
    return user


def _is_off(text: str, file_format: str) -> bool:
    """Whether a file that asks for nothing would ask for groups without its comments and exclamation marks."""
    try:
        return _PARSE[file_format](re.sub("[!#]", "", text)) not in _NOTHING
    except ValueError:
        return False


def write_groups(path: PathLike, grouping: Grouping, atoms: pd.DataFrame) -> None:
    """Write groups as TOML, Refmac keywords, phenix parameters or servalcat's YAML; the extension says which.

    `atoms` is the table they were made from. The file appears under its name only when it is complete.

    Raises:
        ValueError: If the extension is unknown, or the format cannot say what the groups are; the message names both.
        FileNotFoundError: If the folder of `path` does not exist.

    Example:
        >>> import pathlib, tempfile
        >>> from jax_occupancy import automatic_groups
        >>> from jax_occupancy.example import read_example
        >>> atoms = read_example()[0].atoms
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "groups.refmac")
        ...     write_groups(file, automatic_groups(atoms), atoms)
        ...     file.read_text().splitlines()[2]
        'occupancy group id 1 chain A residue 2 alt A'
    """
    text = text_of_groups(path, grouping, atoms)
    with atomic_writer(path) as handle:
        handle.write(text.encode())


def text_of_groups(path: PathLike, grouping: Grouping, atoms: pd.DataFrame) -> str:
    """What `write_groups` writes, and its errors but those of the folder."""
    check_groups_name(path)
    try:
        return _WRITE[_EXTENSIONS[Path(path).suffix.lower()]](grouping, atoms)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_groups_name(path: PathLike) -> None:
    """Refuse, by a ValueError, a name whose extension does not say in which format to write groups."""
    written = [extension for extension, name in _EXTENSIONS.items() if name in _WRITE]
    if Path(path).suffix.lower() not in written:
        raise ValueError(f"{path}: the extension must be one of {', '.join(written)}")


def _text(path: PathLike) -> str:
    try:
        return read_source(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text file in UTF-8; groups are TOML, Refmac keywords, phenix or servalcat files"
        ) from error


def _with_included(text: str, path: Path, above: tuple[Path, ...]) -> str:
    """Refmac keywords with the lines of other files in the place of ``@file``."""
    lines = []
    for line in text.splitlines():
        name = re.sub(r"[#!].*", "", line).strip()
        if not name.startswith("@"):
            lines.append(line)
            continue
        file = path.parent / name[1:].strip()
        if file in (path, *above):
            raise ValueError(f"{path}: the file {file} includes itself; take out the line {name!r}")
        if not file.is_file():
            raise FileNotFoundError(f"{path}: there is no file {file}, which the line {name!r} asks for")
        # END in an included file ends that file only
        included = _with_included(_text(file), file, (path, *above)).splitlines()
        ends = [n for n, one in enumerate(included) if one.split()[:1] and one.split()[0].lower() == "end"]
        lines += included[: ends[0]] if ends else included
    return "\n".join(lines) + "\n"
