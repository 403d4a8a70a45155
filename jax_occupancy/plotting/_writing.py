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


def write_plot(path: str | os.PathLike[str], picture: Solution | Figure) -> list[Path]:
    """Write a picture to a file that is either complete or not there; returns the files.

    Args:
        path: its extension, .png, .svg or .pdf, says what is written.
        picture: what one of the functions of `jax_occupancy.plotting` returned; or a solution, for that of
            `plot_solution` and, where that page does not hold all sets, `occupancy_pages`: in one PDF file, or in
            files of their own, `plot_2.png` and so on.

    Raises:
        ValueError: `path` has another extension.
        OSError: the file can't be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = write_plot(pathlib.Path(folder, "empty.pdf"), Figure(figsize=(1, 1)))
        ...     pathlib.Path(folder, "empty.pdf").read_bytes()[:4]
        b'%PDF'
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise ValueError(f"{path}: the name of a picture must end in {', '.join('.' + kind for kind in KINDS)}")
    pages = [picture if isinstance(picture, Figure) else plot_solution(picture)]
    if not isinstance(picture, Figure) and not shows_every_set(picture):
        pages += occupancy_pages(picture)
    contents = [_pdf_of_pages(pages)] if kind == "pdf" and len(pages) > 1 else [page.to_bytes(kind) for page in pages]
    files = [path, *(path.with_name(f"{path.stem}_{i}{path.suffix}") for i in range(2, len(contents) + 1))]
    for file, content in zip(files, contents, strict=True):
        with atomic_writer(file) as handle:
            handle.write(content)
    return files


def _pdf_of_pages(figures: list[Figure]) -> bytes:
    buffer = io.BytesIO()
    with PdfPages(buffer, metadata={"CreationDate": None}) as pages:
        for figure in figures:
            pages.savefig(figure)
    return buffer.getvalue()
