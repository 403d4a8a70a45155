"""Pictures as files."""

import io
import os
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages

from jax_occupancy._words import Solution
from jax_occupancy.io import atomic_writer
from jax_occupancy.plotting._figure import Figure
from jax_occupancy.plotting._occupancies import occupancy_pages
from jax_occupancy.plotting._overview import plot_solution, shows_every_set

KINDS = ("png", "svg", "pdf")


def write_plot(path: str | os.PathLike[str], solution: Solution) -> None:
    """Write the picture of `plot_solution`; otherwise as `write_figure`.

    A PDF file also gets the pages of `occupancy_pages` if the first page does not hold all sets.

    Example:
        ```python
        write_plot("refined.svg", refine("model.pdb", "data.mtz"))
        ```
    """
    kind, overview = _kind(path), plot_solution(solution)
    if kind == "pdf" and not shows_every_set(solution):
        _write(path, _pdf_of_pages([overview, *occupancy_pages(solution)]))
    else:
        write_figure(path, overview)


def write_figure(path: str | os.PathLike[str], figure: Figure) -> None:
    """Write a picture to a file that is either complete or not there.

    Args:
        path: the file; its extension, .png, .svg or .pdf, says what is written.
        figure: what one of the functions of `jax_occupancy.plotting` returned.

    Raises:
        ValueError: `path` has another extension.
        OSError: the file can't be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_figure(pathlib.Path(folder, "empty.pdf"), Figure(figsize=(1, 1)))
        ...     pathlib.Path(folder, "empty.pdf").read_bytes()[:4]
        b'%PDF'
    """
    _write(path, figure.to_bytes(_kind(path)))


def _kind(path: str | os.PathLike[str]) -> str:
    """The kind of picture that a name asks for."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise ValueError(f"{path}: the name of a picture must end in {', '.join('.' + kind for kind in KINDS)}")
    return kind


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    with atomic_writer(path) as handle:
        handle.write(content)


def _pdf_of_pages(figures: list[Figure]) -> bytes:
    buffer = io.BytesIO()
    with PdfPages(buffer, metadata={"CreationDate": None}) as pages:
        for figure in figures:
            pages.savefig(figure)
    return buffer.getvalue()
