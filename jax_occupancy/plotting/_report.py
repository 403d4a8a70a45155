"""A report of a refinement: one HTML file with tables and pictures."""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from html import escape
from typing import Any

import numpy as np

from jax_occupancy import _tables as tables
from jax_occupancy import _words as words
from jax_occupancy._words import Solution
from jax_occupancy.io import Model, atomic_writer
from jax_occupancy.plotting._correlation import plot_correlation
from jax_occupancy.plotting._figure import Figure
from jax_occupancy.plotting._occupancies import occupancy_pages
from jax_occupancy.plotting._overview import plot_fit

RESULTS = {"converged": "converged", "nothing_to_refine": "nothing to refine"}
OUTLIERS_SHOWN = 100
# Without scripts and without anything loaded from elsewhere; a browser enforces it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Columns of words, which are never broken, and of sentences, which are; the others hold numbers.
KINDS = {"group": "word", "sum": "word", "residue": "word", "note": "prose", "reason": "prose"}
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


def write_report(
    path: str | os.PathLike[str],
    solution: Solution,
    model: Model | None = None,
    *,
    notes: Sequence[str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write what a refinement found as one HTML file: what needs attention, table, pictures, crystal, notes.

    It needs no other file, no network and no JavaScript, can be printed, and is either complete or not there.

    Args:
        model: that was refined, for a solution that was loaded from a file.
        notes: what was said besides; by default what is known of groups, data and model.
        about: more that is to stand beside the crystal, such as the command and the date.

    Example:
        >>> import pathlib, tempfile
        >>> from jax_occupancy import refine
        >>> from jax_occupancy.example import read_example
        >>> model, data = read_example()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(f"{folder}/r.html", refine(model, data, starts=0), model, about={"date": "today"})
        ...     "Nothing needs attention" in pathlib.Path(folder, "r.html").read_text("utf-8")
        True
    """
    model = model or solution.model
    title = "Occupancies" if model is None else f"Occupancies of {model.path.name}"
    set_of_row = solution.table["set"].to_numpy()
    first_of_set = set(np.flatnonzero(np.diff(set_of_row, prepend=-1)).tolist())
    # Columns that say nothing take room away from those that do.
    columns = {name: cells for name, cells in tables.group_columns(solution).items() if any(cells)}
    if notes is None:
        notes = [*([] if model is None else words.model_notes(model)), *solution.data.notes, *words.notes(solution)]
    result = f"{RESULTS.get(solution.result, 'did not converge')}. {solution.message}"
    doubt, account = words.doubt(solution), {"versions": words.versions(), **(about or {})}
    parts = [
        _paragraphs([title], kind="h1"),
        _pairs({"Result": result, **words.r_values(solution)}),
        _paragraphs([] if doubt is None else [doubt]),
        _paragraphs([tables.attention_title(solution)], kind="h2"),
        _list([f"{groups}: {text}" if groups else text for text, groups in tables.attention(solution)]),
        _paragraphs(["Occupancies"], kind="h2"),
        _table(columns, starts=first_of_set),
        _pairs(tables.legend(solution, columns.keys() - {"note"})),
        *_residues(solution),
        *_pictures(solution),
        _paragraphs(["Crystal and refinement" if solution.fsc is None else "Map and refinement"], kind="h2"),
        _pairs(
            _summary(solution, model)
            | {name.capitalize().replace("_", " "): _text(one) for name, one in account.items() if one}
        ),
        *([_table(tables.scale_columns(solution))] if solution.fsc is None else _shells(solution)),
        *(_outliers(solution) if solution.fsc is None else []),
        _paragraphs(["Notes"], kind="h2"),
        _list(dict.fromkeys(notes)),
    ]
    content = _page(title, parts).encode("utf-8", "backslashreplace")
    with atomic_writer(path) as handle:
        handle.write(content)


def _summary(solution: Solution, model: Model | None) -> dict[str, str]:
    data: Any = solution.data
    source = "" if data.path is None else f"{data.path.name}: "
    entries = {} if model is None else {"Model": f"{model.path.name}: {model.n_atoms} atoms"}
    entries["Data"] = f"{source}{words.data_words(data)}"
    if left_out := words.left_out_words(data):
        entries["Left out"] = left_out
    if solution.fsc is None:
        cell = " ".join(f"{value:g}" for value in data.cell.parameters)
        entries["Data"] += f"; {data.kind}"
        entries["Crystal"] = f"{data.spacegroup.xhm()}, cell {cell} (Å, °)"
        entries |= words.scale_words(solution)
    entries["Target"] = f"{' '.join(words.target_words(solution))} (both on the final scales)"
    if solution.sigma_a_source in ("free", "working"):
        entries["Sigma A"] = f"estimated from the {solution.sigma_a_source} set"
    entries["Moved with it"] = words.priors_sentence(solution)
    entries["Other starts"] = words.minima_sentence(solution)
    seconds = ", ".join(f"{stage.replace('_', ' ')} {value:.1f}" for stage, value in solution.seconds.items())
    entries["Time"] = f"{sum(solution.seconds.values()):.1f} s ({seconds})"
    return entries


def _pictures(solution: Solution) -> list[str]:
    pages, fit = occupancy_pages(solution), "R" if solution.fsc is None else "FSC"
    caption = "Refined occupancies (points) beside the start values, part {} of {}."
    parts = [_picture(page, caption.format(i, len(pages))) for i, page in enumerate(pages, start=1)]
    parts.append(_picture(plot_fit(solution), f"Convergence, and {fit} by resolution."))
    if len(solution.correlation) > 1:
        matrix = plot_correlation(solution).get_figure(root=True)
        assert isinstance(matrix, Figure)
        parts.append(_picture(matrix, "Correlation matrix of the refined occupancies."))
    return parts


def _residues(solution: Solution) -> list[str]:
    if solution.residues.empty:
        return []
    meaning = "The occupancy that each residue would have alone, and what that would gain."
    heading = _paragraphs(["Residues of linked groups"], kind="h2")
    return [heading, _table(tables.residue_columns(solution)), _paragraphs([meaning])]


def _outliers(solution: Solution) -> list[str]:
    heading, n = _paragraphs(["Outliers"], kind="h2"), len(solution.outliers)
    if not n:
        return [heading, _paragraphs(["No reflection was left out as an outlier."])]
    shown = [heading, _table(tables.outlier_columns(solution, most=OUTLIERS_SHOWN))]
    return shown if n <= OUTLIERS_SHOWN else [*shown, _paragraphs([f"And {n - OUTLIERS_SHOWN} more."])]


def _shells(solution: Solution) -> list[str]:
    shells, heading = solution.fsc_shells, _paragraphs(["Correlation by resolution"], kind="h2")
    assert shells is not None
    titles = {"fsc_halves": "half maps", "fsc_start": "map and model before", "fsc_end": "and after"}
    columns = {"d, Å": [f"{d:.2f}" for d in shells["d"]], "coefficients": [f"{n:.0f}" for n in shells["n"]]}
    columns |= {title: [f"{one:.3f}" for one in shells[name]] for name, title in titles.items()}
    return [heading, _table(columns)]


def _page(title: str, parts: Sequence[str]) -> str:
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _table(columns: Mapping[str, Sequence[str]], *, starts: Set[int] = frozenset()) -> str:
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


def _picture(figure: Figure, caption: str) -> str:
    """A picture inside the page, as SVG, with a caption that also stands in for it where it can't be seen."""
    content = base64.b64encode(figure.to_bytes("svg")).decode()
    width = round(96 * figure.get_figwidth())
    image = f'<img width="{width}" alt="{escape(caption)}" src="data:image/svg+xml;base64,{content}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _paragraphs(texts: Sequence[str], *, kind: str = "p") -> str:
    """Escaped texts, each an element of its own."""
    return "\n".join(f"<{kind}>{escape(text)}</{kind}>" for text in texts)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _list(texts: Iterable[str]) -> str:
    """Escaped texts as items of a list; nothing if there are none."""
    items = _paragraphs([*texts], kind="li")
    return f"<ul>{items}</ul>" if items else ""


def _pairs(entries: dict[str, str]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries.items())
    return f"<dl>{items}</dl>"
