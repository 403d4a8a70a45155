"""The files that are written: their names, and what is refused before any work is done."""

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from jax_occupancy._options import option
from jax_occupancy.cli._options import named

MODELS = (".pdb", ".ent", ".cif", ".mmcif")
MAPS = (".mrc", ".map", ".ccp4", ".mrc.gz", ".map.gz", ".ccp4.gz")
PICTURES = (".png", ".svg", ".pdf")

_file = functools.partial(option, None, panel="Output", metavar="FILE")
_flag = functools.partial(option, False, panel="Output")


@dataclass(frozen=True)
class Outputs:
    """What `refine` writes; None for what is not wanted."""

    prefix: Path | None = _file(
        "Write everything: NAME.pdb or .cif, as the model, NAME_groups.toml, NAME.json, .csv, .html and .log, "
        "NAME_maps.mtz, and NAME_coot.py and NAME_chimerax.cxc, which open it.",
        metavar="NAME",
    )
    out: Path | None = _file(
        "Refined model, .pdb or .cif (also .gz). Default: MODEL_refined, in the format of MODEL.",
        "-o",
        "--out",
        callback=named("the refined model", *MODELS, *(f"{kind}.gz" for kind in MODELS)),
    )
    write_shifts: bool = _flag(
        "Write the refined B factors and coordinates, too; without it only occupancies change.", "--write-shifts"
    )
    prune: bool = _flag(
        "Leave groups out of the refined model that the data do not support: waters, ligands, and one conformer of a "
        "set; the others share what it had. Refine again.",
        "--prune",
    )
    full_waters: bool = _flag(
        "Write waters that the data do not tell from fully occupied ones with 1.00.", "--full-waters"
    )
    json: Path | None = _file("Write all results as JSON.")
    csv: Path | None = _file("Write the table of occupancies.")
    maps: Path | None = _file(
        "Write map coefficients: FWT, PHWT, DELFWT, PHDELWT, FOM; or, from a map, FILE.mrc (also .gz) with the "
        "difference map.",
        metavar="FILE.mtz",
        callback=named("the maps", ".mtz", *MAPS),
    )
    plot: Path | None = _file(
        "Draw occupancies with error bars, convergence, R by resolution, correlations: .png, .svg or .pdf.",
        callback=named("a picture", *PICTURES),
    )
    report: Path | None = _file(
        "Write a report with the table and the pictures, one file for any browser.",
        metavar="FILE.html",
        callback=named("the report", ".html", ".htm"),
    )
    coot: Path | None = _file(
        "Write a script that opens model and maps in Coot and lists the groups, the worst first.",
        metavar="FILE.py",
        callback=named("a script for Coot", ".py"),
    )
    chimerax: Path | None = _file(
        "Write commands that open model and maps in ChimeraX and colour atoms by occupancy.",
        metavar="FILE.cxc",
        callback=named("commands for ChimeraX", ".cxc"),
    )
    write: Path | None = _file(
        "Write the groups for the next cycle of Refmac (.refmac), servalcat (.refmac, .yaml) or phenix (.eff), which "
        "start from the refined model.",
        callback=named("the groups", ".refmac", ".yaml", ".eff", ".toml"),
    )
    log: Path | None = _file("Write all that is printed, the command and versions.")
    omit: list[str] | None = _file(
        "Also a map without this group (A/54/ARG:A) or all its conformers (A/54/ARG), FILE_omit_NAME.mtz; may be "
        "repeated.",
        metavar="NAME",
        show_default=False,
    )
    brief: bool = _flag("Print what needs attention, without the table.", "--brief")
    quiet: bool = _flag("Print nothing unless something is wrong.", "-q", "--quiet")

    def __post_init__(self) -> None:
        if self.omit and self.maps is None and self.prefix is None:
            raise ValueError(
                "--omit adds a map; name the file of the maps, such as --maps maps.mtz, or from a map maps.mrc"
            )

    def with_names(self, model: Path, *, of_map: bool) -> "Outputs":
        """The same with the names that the prefix gives to all that has none of its own."""
        if self.prefix is None:
            return self
        if self.prefix.name in ("", "..") or self.prefix.is_dir():
            raise typer.BadParameter(f"{str(self.prefix)!r} is a folder; give the beginning of the names in it, too")
        endings = {"out": split_model_name(model)[1].lower(), "maps": "_maps.mrc" if of_map else "_maps.mtz"}
        endings |= {"json": ".json", "csv": ".csv", "report": ".html", "log": ".log"}
        endings |= {"coot": "_coot.py", "chimerax": "_chimerax.cxc"}
        name = self.prefix.name
        files = {what: getattr(self, what) or self.prefix.with_name(name + end) for what, end in endings.items()}
        return replace(self, **files)

    def omit_map(self, name: str) -> Path:
        """The file of the map without a group: `maps.mtz` becomes `maps_omit_A-54-ARG-A.mtz`."""
        assert self.maps is not None
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
        packed = ".gz" if self.maps.suffix.lower() == ".gz" else ""
        first = self.maps.with_suffix("") if packed else self.maps
        return self.maps.with_name(f"{first.stem}_omit_{plain}{first.suffix}{packed}")

    def check_maps(self, *, of_map: bool) -> None:
        """Refuse a kind of map that can't be made of the data."""
        name = "" if self.maps is None else self.maps.name.lower()
        if name and name.endswith(MAPS) != of_map:
            wanted = "from a map comes a difference map, .mrc" if of_map else "from reflections come coefficients, .mtz"
            raise typer.BadParameter(f"{self.maps}: {wanted}", param_hint="--maps")

    def check(self, inputs: Sequence[Path | None], *, groups: Path | None = None) -> None:
        """Refuse names that could not be written in the end; `groups` is the file of groups beside the model."""
        files = [self.out, groups, self.json, self.csv, self.maps, self.plot, self.report, self.log]
        files += [self.write, self.coot, self.chimerax, *map(self.omit_map, self.omit or ())]
        check_files(files, inputs, beside=groups)
        if self.out is None and (self.coot or self.chimerax):
            raise typer.BadParameter(f"{self.coot or self.chimerax} is to open the refined model: name it, too (-o)")
        if self.out is None and (self.prune or self.full_waters):
            raise typer.BadParameter("--prune and --full-waters change the refined model that is written: name it (-o)")


@dataclass(frozen=True)
class SeriesOutputs:
    """What `series` writes; None for what is not wanted."""

    out: Path | None = _file(
        "Write a refined model for each data set into this folder.", "-o", "--out", metavar="FOLDER"
    )
    json: Path | None = _file("Write all results as JSON.")
    csv: Path | None = _file("Write the table of occupancies.")
    plot: Path | None = _file(
        "Draw occupancies against data sets: .png, .svg or .pdf.", callback=named("a picture", *PICTURES)
    )
    report: Path | None = _file(
        "Write a report with the tables and pictures, one file for any browser.",
        metavar="FILE.html",
        callback=named("the report", ".html", ".htm"),
    )
    quiet: bool = _flag("Print nothing unless something is wrong.", "-q", "--quiet")

    def check(self, inputs: Sequence[Path | None]) -> None:
        """Refuse names that could not be written in the end, and make the folder."""
        check_files([self.json, self.csv, self.plot, self.report], inputs)
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)

    def model(self, model: Path, name: str) -> Path:
        """The file of one refined model: `model.pdb` refined against `t1.mtz` becomes `model_t1.pdb`."""
        assert self.out is not None
        stem, suffixes = split_model_name(model)
        return self.out / f"{stem}_{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}{suffixes}"


def check_files(files: Sequence[Path | None], inputs: Sequence[Path | None], *, beside: Path | None = None) -> None:
    """Refuse files whose folder is not there, and such as would replace an input or each other."""
    paths = [path for path in files if path is not None]
    for path in paths:
        if not path.resolve().parent.is_dir():
            raise FileNotFoundError(f"the folder of {path} does not exist; make it first")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
        if any(one is not None and _same(path, one) for one in inputs):
            where, what = "", "another name, so that it stays as it was"
            if path == beside:
                where, what = ", beside the refined model,", "that another name (-o)"
            raise typer.BadParameter(f"{path}{where} is an input; give {what}")
    for path, other in itertools.combinations(paths, 2):
        if _same(path, other):
            raise typer.BadParameter(
                f"{other} would be written twice, each time with something else; give another name"
            )


def split_model_name(path: Path) -> tuple[str, str]:
    """The name of a model file and all of its extensions, `.pdb` where it has none.

    >>> split_model_name(Path("folder/4xof.A.CIF.gz")), split_model_name(Path("4xof.gz"))
    (('4xof.A', '.CIF.gz'), ('4xof', '.pdb.gz'))
    """
    stem, suffixes = path.name, ""
    while (suffix := Path(stem).suffix).lower() in (".gz", *MODELS):
        stem, suffixes = stem.removesuffix(suffix), suffix + suffixes
    return stem, suffixes if suffixes.lower() not in ("", ".gz") else f".pdb{suffixes}"


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
