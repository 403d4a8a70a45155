"""The pieces of a page that is one HTML file: texts, tables and pictures, all of them escaped."""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from html import escape
from typing import Any

from jax_occupancy.io import atomic_writer
from jax_occupancy.plotting._figure import Figure

# Without scripts and without anything loaded from elsewhere; a browser enforces it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Columns of words, which are never broken, and of sentences, which are; the others hold numbers.
KINDS: dict[str, str] = dict.fromkeys(
    ("group", "sum", "residue", "data set", "group, by data set", "result", "columns"), "word"
)
KINDS |= {"note": "prose", "reason": "prose"}
STYLE = """
body { font: 11pt/1.4 sans-serif; color: #000; background: #fff; max-width: 60em; margin: 1.5em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.15em; margin-top: 1.8em; }
table { border-collapse: collapse; font-size: 0.8em; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.1em 0.8em 0.1em 0; }
th { border-bottom: 1px solid #000; } td.number, th.number { text-align: right; }
td.number, td.word { white-space: nowrap; }
tr.first td { border-top: 1px solid #ccc; } .wide { overflow-x: auto; }
img { max-width: 100%; height: auto; } figure { margin: 1em 0; } figcaption { font-size: 0.8em; }
dt { font-weight: bold; float: left; clear: left; width: 9em; } dd { margin-left: 9.5em; }
@page { margin: 15mm; }
@media print {
  body { font-size: 9pt; max-width: none; margin: 0; padding: 0; } .wide { overflow: visible; }
  h2 { break-after: avoid; } thead { display: table-header-group; }
  tr, figure { break-inside: avoid; } img { max-height: 225mm; }
}
"""


def write_page(path: str | os.PathLike[str], title: str, parts: Sequence[str]) -> None:
    """Write a page that is either complete or not there."""
    content = _page(title, parts).encode("utf-8", "backslashreplace")
    with atomic_writer(path) as handle:
        handle.write(content)


def _page(title: str, parts: Sequence[str]) -> str:
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def table(columns: Mapping[str, Sequence[str]], *, starts: Set[int] = frozenset()) -> str:
    """A table of escaped cells from its columns; rows that start something get a line above them."""
    kinds = [f' class="{KINDS.get(column, "number")}"' for column in columns]
    head = "".join(f"<th{kind}>{escape(column)}</th>" for kind, column in zip(kinds, columns, strict=True))
    lines = []
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        line_above = ' class="first"' if i in starts else ""
        lines.append(f"<tr{line_above}>{cells}</tr>")
    rows_of_table = "\n".join(lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{rows_of_table}\n</tbody></table></div>'


def picture(figure: Figure, caption: str) -> str:
    """A picture inside the page, as SVG, with a caption that also stands in for it where it can't be seen."""
    content = base64.b64encode(figure.to_bytes("svg")).decode()
    width = round(96 * figure.get_figwidth())
    image = f'<img width="{width}" alt="{escape(caption)}" src="data:image/svg+xml;base64,{content}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def paragraphs(texts: Sequence[str], *, kind: str = "p") -> str:
    """Escaped texts, each an element of its own."""
    return "\n".join(f"<{kind}>{escape(text)}</{kind}>" for text in texts)


def bullets(texts: Iterable[str]) -> str:
    """Escaped texts as items of a list; nothing if there are none."""
    items = paragraphs([*texts], kind="li")
    return f"<ul>{items}</ul>" if items else ""


def pairs(entries: dict[str, str]) -> str:
    """Escaped names and what is said of each."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries.items())
    return f"<dl>{items}</dl>"


def account(about: Mapping[str, Any]) -> dict[str, str]:
    """What stands beside a result, such as the command and versions, for `pairs`; nothing that is empty."""
    return {name.capitalize().replace("_", " "): _text(one) for name, one in about.items() if one}


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
