"""The files that a refinement writes: their names, and what is refused before any work is done."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from jax_occupancy.io import format_of_name

MODEL_SUFFIXES = {".gz", ".pdb", ".ent", ".cif", ".mmcif"}


@dataclass(frozen=True)
class Outputs:
    """Where results go; None for what is not wanted.

    Attributes:
        model: the refined model.
        groups: the groups, beside it.
        json: everything as JSON.
        csv: the table of groups.
        maps: coefficients of the maps, MTZ.
        plot: the picture of `plot_solution`.
        report: the report, HTML.
        omit: groups that each get a map without them, in a file next to `maps`.
        write_shifts: whether the refined model has the shifted B factors too.
    """

    model: Path | None = None
    groups: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    maps: Path | None = None
    plot: Path | None = None
    report: Path | None = None
    omit: tuple[str, ...] = ()
    write_shifts: bool = False

    def omit_map(self, name: str) -> Path:
        """The file of the map without a group: `maps.mtz` becomes `maps_omit_A-54-ARG-A.mtz`."""
        assert self.maps is not None
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
        return self.maps.with_name(f"{self.maps.stem}_omit_{plain}{self.maps.suffix}")

    def check(self, inputs: list[Path]) -> None:
        """Refuse names that could not be written in the end, or that would replace an input or each other.

        Raises:
            ValueError: a name has the wrong extension, is an input, or comes twice.
            OSError: a folder does not exist, or the name is that of a folder.
        """
        if self.model is not None and format_of_name(self.model) is None:
            raise ValueError(
                f"{self.model}: the name of the refined model must end in .pdb, .ent, .cif or .mmcif (or these + .gz)"
            )
        if self.maps is not None and self.maps.suffix.lower() != ".mtz":
            raise ValueError(f"{self.maps}: the name of the maps must end in .mtz")
        _check_pictures(self.plot, self.report)
        files = [self.model, self.groups, self.json, self.csv, self.maps, self.plot, self.report]
        named = [*files, *map(self.omit_map, self.omit)]
        paths = [path for path in named if path is not None]
        for path in paths:
            if not path.resolve().parent.is_dir():
                raise FileNotFoundError(f"the folder of {path} does not exist; make it first")
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
            if any(_same(path, one) for one in inputs):
                beside = ", beside the refined model," if path == self.groups else ""
                what = "that another name (-o)" if beside else "another name, so that it stays as it was"
                raise ValueError(f"{path}{beside} is an input; give {what}")
        for path, other in itertools.combinations(paths, 2):
            if _same(path, other):
                raise ValueError(f"{other} would be written twice, each time with something else; give another name")


def _check_pictures(plot: Path | None, report: Path | None) -> None:
    """Refuse names of pictures and reports with the wrong extension."""
    if report is not None and report.suffix.lower() not in {".html", ".htm"}:
        raise ValueError(f"{report}: the name of the report must end in .html")
    if plot is not None:
        # matplotlib takes a second to load.
        from jax_occupancy.plotting import picture_kind

        picture_kind(plot)


def refuse_inputs(out: Path, inputs: list[Path | None]) -> None:
    """Refuse to replace what was read."""
    if any(path is not None and _same(out, path) for path in inputs):
        raise ValueError(f"{out} is an input; give another name, so that it stays as it was")


def split_model_name(path: Path) -> tuple[str, str]:
    """The name of a model file and all of its extensions, `.pdb` where it has none.

    Example:
        >>> split_model_name(Path("folder/4xof.A.CIF.gz"))
        ('4xof.A', '.CIF.gz')
    """
    stem, suffixes = path.name, ""
    while (suffix := Path(stem).suffix).lower() in MODEL_SUFFIXES:
        stem, suffixes = stem.removesuffix(suffix), suffix + suffixes
    return stem, suffixes or ".pdb"


def default_output(model_path: Path) -> Path:
    """Name the refined model after the one that was read, in the folder where the command runs."""
    stem, suffixes = split_model_name(model_path)
    return Path(f"{stem}_refined{suffixes}")


def groups_output(out: Path) -> Path:
    """Name the file of groups after the refined model beside it."""
    return out.with_name(f"{split_model_name(out)[0]}_groups.toml")


def _same(path: Path, other: Path) -> bool:
    """Whether two names are one file, through links of either kind too."""
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()
