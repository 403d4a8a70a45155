"""What is printed is text as it is: names of files, columns and groups may look like rich's markup."""

import sys

from rich.console import Console
from rich.text import Text

# Wide enough for reasons on one line where no terminal sets the width.
PIPE_WIDTH = 200


def make_console() -> Console:
    """The console of standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def say(console: Console, text: str) -> None:
    """Print a line, whatever brackets and colons it has."""
    console.print(Text(text), soft_wrap=True)


def say_note(console: Console, text: str) -> None:
    """Print a line that begins with a coloured "Note"."""
    console.print(Text.assemble(("Note", "yellow"), " ", text), soft_wrap=True)


def plain_row(*cells: str) -> list[Text]:
    """Cells of a table."""
    return [Text(cell) for cell in cells]
