"""The options of the commands: each is a field of a dataclass, declared once for every command that has it."""

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from jax_occupancy._options import Options, option


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take dataclasses whose fields are its options."""
    parameters = inspect.signature(command).parameters.values()
    kinds: dict[str, Any] = {p.name: p.annotation for p in parameters if dataclasses.is_dataclass(p.annotation)}
    flat = []
    for parameter in parameters:
        flat += _parameters(kinds[parameter.name]) if parameter.name in kinds else [parameter]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        made = {}
        for name, kind in kinds.items():
            with wrong_use():
                made[name] = kind(**{parameter.name: given.pop(parameter.name) for parameter in _parameters(kind)})
        command(**given, **made)

    flat = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in flat]
    run.__signature__ = inspect.Signature(flat)  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return run


def _parameters(kind: Any) -> list[inspect.Parameter]:
    """The options that the fields of a dataclass are; those without a help are none."""
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=_annotation(field)
        )
        for field in dataclasses.fields(kind)
        if field.metadata
    ]


def _annotation(field: dataclasses.Field) -> Any:
    """The type that typer makes a value of, and its option."""
    settings = dict(field.metadata)
    names, choices = settings.pop("names"), settings.pop("choices", None)
    # Of unions typer knows those with None.
    kind: Any = Literal[choices] if choices else float if field.type == float | int else field.type
    return Annotated[kind, typer.Option(*names, **settings)]


@contextmanager
def wrong_use(option: str | None = None) -> Iterator[None]:
    """What is wrong with the value of an option ends in exit code 2; 1 is for bad files."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def named(what: str, *endings: str) -> Callable[[Path | None], Path | None]:
    """Refuse the name of a file to write that does not say what is wanted in it."""

    def check(path: Path | None) -> Path | None:
        if path is not None and not path.name.lower().endswith(endings):
            raise typer.BadParameter(f"{path}: the name of {what} must end in {', '.join(endings)}")
        return path

    return check


ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Model, PDB or mmCIF (also .gz).", show_default=False)]
ModelNumber = Annotated[int | None, typer.Option(metavar="N", help="Which model of a file that holds several.")]


_data = functools.partial(option, None, panel="Data")
_groups = functools.partial(option, panel="Groups")


@dataclasses.dataclass(frozen=True)
class Data:
    """What to read of a file of reflections: arguments of `read_reflections`."""

    amplitude: str | None = _data("Column of the amplitudes.", metavar="LABEL")
    intensity: str | None = _data("Column of the intensities, in place of amplitudes.", metavar="LABEL")
    sigma: str | None = _data("Column of their sigmas.", metavar="LABEL")
    free: str | None = _data("Column of the free flags.", metavar="LABEL")
    free_value: int | None = _data("Flag of the free set. Default: found from the data.", metavar="N")
    block: str | None = _data("Data block of an mmCIF file of reflections.", metavar="NAME")
    d_min: float | None = _data("Leave out reflections of higher resolution.", metavar="Å")
    d_max: float | None = _data("Leave out reflections of lower resolution.", metavar="Å")

    def __post_init__(self) -> None:
        limits = [0.0, *(limit for limit in (self.d_min, self.d_max) if limit is not None)]
        if not all(low < high for low, high in itertools.pairwise(limits)):
            raise ValueError(
                f"resolution limits --d-min {self.d_min}, --d-max {self.d_max}; wanted 0 < --d-min < --d-max in Å"
            )


_map = functools.partial(option, None, panel="Maps")


@dataclasses.dataclass(frozen=True)
class MapChoice:
    """How to read maps: arguments of `read_maps`."""

    resolution: float | None = _map("Resolution to which the map is used; needed with a map.", metavar="Å")
    mask: Path | None = _map("Mask on the grid of the map, besides that around the atoms.", metavar="FILE")
    radius: float | None = _map("Radius of the mask around the atoms. Default: 4.", metavar="Å")
    symmetry: str | None = _map(
        "Symmetry of the particle about the centre of the map: C4, D2, T, O, I; the main axis along z, a 2-fold axis "
        "of D along x, those of I along x, y and z. Default: what the model says.",
        metavar="NAME",
    )


@dataclasses.dataclass(frozen=True)
class Groups:
    """Which atoms share an occupancy: arguments of `group_model`."""

    groups: Path | None = _groups(
        None,
        "Your own groups: .toml, Refmac (.refmac, .txt), phenix (.eff, .params) or servalcat (.yaml).",
        metavar="FILE",
    )
    state: list[str] | None = _groups(
        None,
        "A state and its letters; two or more states: --state ground=A,B --state bound=C,D refines one ratio.",
        metavar="NAME=LETTERS",
        show_default=False,
    )
    link: bool = _groups(True, "Link conformers along the chain, or refine each residue by itself.", "--link/--no-link")
    force_links: bool = _groups(False, "Link neighbours even if their start occupancies differ.", "--force-links")
    waters: Literal["residue", "individual", "omit"] = _groups(
        "residue", "residue: as any residue; individual: refine every water; omit: leave them as they are."
    )
    hydrogens: Literal["carrier", "omit"] = _groups(
        "carrier", "carrier: with the atom that carries them; omit: leave them as they are."
    )
    contact_distance: float | None = _groups(
        None,
        "Join conformers of one letter that come this close, over chains and symmetry: ligand, side chain, water.",
        metavar="Å",
    )

    def __post_init__(self) -> None:
        if self.force_links and not self.link:
            raise ValueError("--no-link and --force-links exclude each other; choose one")
        if self.contact_distance is not None and not 0 < self.contact_distance <= 20:
            raise ValueError(
                f"--contact-distance {self.contact_distance}; wanted Å, more than 0 and at most 20 (4 is usual)"
            )


# Arguments of the library that are options of the command under the same names.
ARGUMENTS = {parameter.name for kind in (Data, MapChoice, Options) for parameter in _parameters(kind)} | {
    "model_number"
}
