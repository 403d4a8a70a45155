"""What is printed is text as it is: names of files, columns and groups may look like rich's markup."""

import io
import os
import re
import sys
import textwrap
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import rich.console
from rich.table import Table
from rich.text import Text

from jax_occupancy.cli._options import ARGUMENTS

# Wide enough for reasons on one line where neither a terminal nor the user sets the width.
PIPE_WIDTH = 200
# What the command takes from elsewhere.
ELSEWHERE = {"cell": "a model that has it", "spacegroup": "a model that has it"}


class Console(rich.console.Console):
    """Standard output, which remembers of what (see `provenance`) and what was said: all, notes, files written."""

    def __init__(self, *, quiet: bool = False):
        known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
        super().__init__(width=None if known else PIPE_WIDTH, quiet=quiet)
        self.memory = io.StringIO()
        self.copy = rich.console.Console(
            file=self.memory, width=self.width, force_terminal=False, force_interactive=False, color_system=None
        )
        self.about: dict[str, Any] = {}
        self.notes: list[str] = []
        self.written: list[Path] = []

    def print(self, *objects: Any, **style: Any) -> None:
        """Print, and remember; a progress bar prints nothing."""
        if objects:
            self.copy.print(*objects, **style)
        super().print(*objects, **style)

    @property
    def text(self) -> str:
        return self.memory.getvalue()


def say(console: Console, text: str, *, indent: int = 0) -> None:
    """Print a line, whatever brackets and colons it has.

    A terminal gets it wrapped between words, with `indent` blanks before all but the first line; in a pipe or file it
    stays one line, which other programs can find.
    """
    console.print(Text(_wrapped(console, text, indent)), soft_wrap=True)


def say_note(console: Console, text: str) -> None:
    """Print a line that begins with a coloured "Note", in the language of the command."""
    console.notes.append(as_options(text))
    wrapped = _wrapped(console, f"Note {console.notes[-1]}", 5)
    console.print(Text.assemble(("Note", "yellow"), wrapped.removeprefix("Note")), soft_wrap=True)


def say_written(console: Console, what: str, *paths: Path) -> None:
    """Say what is in files that were written."""
    console.written += paths
    say(console, f"Wrote {', '.join(map(str, paths))}{what}", indent=6)


def as_options(text: str) -> str:
    """Name options in place of the library's arguments: "choose one with free_value=..." names --free-value."""
    for argument, way in ELSEWHERE.items():
        text = text.replace(f"{argument}=...", way)
    return re.sub(r"\b(" + "|".join(sorted(ARGUMENTS)) + ")=", lambda m: f"--{m[1].replace('_', '-')} ", text)


def print_columns(
    console: Console,
    columns: Mapping[str, list[str]],
    *,
    numbers: Set[str],
    sections: Set[int] = frozenset(),
    min_width: Mapping[str, int] | None = None,
    **style: Any,
) -> None:
    """Print a table from its columns, those of numbers aligned to the right, with a line below some of the rows."""
    table = Table(**style)
    for name in columns:
        justify = "right" if name in numbers else "left"
        table.add_column(name, justify=justify, overflow="fold", min_width=(min_width or {}).get(name))
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        table.add_row(*map(Text, row), end_section=i in sections)
    console.print(table)


def _wrapped(console: Console, text: str, indent: int) -> str:
    if not console.is_terminal:
        return text
    return textwrap.fill(
        text,
        max(console.width, 2 * indent + 20),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
