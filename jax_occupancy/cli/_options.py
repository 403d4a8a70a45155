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

from jax_occupancy._options import Options


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
    """The options that the fields of a dataclass are; in one of the library those that have a help."""
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    found = {field: _annotation(field) for field in dataclasses.fields(kind)}
    return [
        inspect.Parameter(field.name, keyword_only, default=field.default, annotation=annotation)
        for field, annotation in found.items()
        if annotation is not None
    ]


def _annotation(field: dataclasses.Field) -> Any:
    """A field's type and option, put together from what its metadata say where it brings no option."""
    if hasattr(field.type, "__metadata__"):
        return field.type
    settings = dict(field.metadata)
    if not settings:
        return None
    choices, panel = settings.pop("choices", None), settings.pop("panel", "Refinement")
    kind: Any = Literal[choices] if choices else type(field.default)
    kind = kind if field.default is not None else field.type
    return Annotated[kind, typer.Option(rich_help_panel=panel, **settings)]


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


def option(panel: str, *names: str, **settings: Any) -> Any:
    """An option in a panel of the help; its name is that of its field where none is given."""
    return typer.Option(*names, rich_help_panel=panel, **settings)


_data, _groups = (functools.partial(option, panel) for panel in ("Data", "Groups"))

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Model, PDB or mmCIF (also .gz).", show_default=False)]
ModelNumber = Annotated[int | None, typer.Option(metavar="N", help="Which model of a file that holds several.")]


@dataclasses.dataclass(frozen=True)
class Data:
    """What to read of a file of reflections: arguments of `read_reflections`."""

    amplitude: Annotated[str | None, _data(metavar="LABEL", help="Column of the amplitudes.")] = None
    intensity: Annotated[
        str | None, _data(metavar="LABEL", help="Column of the intensities, in place of amplitudes.")
    ] = None
    sigma: Annotated[str | None, _data(metavar="LABEL", help="Column of their sigmas.")] = None
    free: Annotated[str | None, _data(metavar="LABEL", help="Column of the free flags.")] = None
    free_value: Annotated[
        int | None, _data(metavar="N", help="Flag of the free set. Default: found from the data.")
    ] = None
    block: Annotated[str | None, _data(metavar="NAME", help="Data block of an mmCIF file of reflections.")] = None
    d_min: Annotated[float | None, _data(metavar="Å", help="Leave out reflections of higher resolution.")] = None
    d_max: Annotated[float | None, _data(metavar="Å", help="Leave out reflections of lower resolution.")] = None

    def __post_init__(self) -> None:
        limits = [0.0, *(limit for limit in (self.d_min, self.d_max) if limit is not None)]
        if not all(low < high for low, high in itertools.pairwise(limits)):
            raise ValueError(
                f"resolution limits --d-min {self.d_min}, --d-max {self.d_max}; wanted 0 < --d-min < --d-max in Å"
            )


@dataclasses.dataclass(frozen=True)
class Groups:
    """Which atoms share an occupancy: arguments of `group_model`."""

    groups: Annotated[
        Path | None,
        _groups(
            metavar="FILE",
            help="Your own groups: .toml, Refmac keywords (.refmac, .txt) or phenix parameters (.eff, .params).",
        ),
    ] = None
    state: Annotated[
        list[str] | None,
        _groups(
            metavar="NAME=LETTERS",
            help="A state and its letters, at least two states: --state ground=A,B --state bound=C,D refines one "
            "ratio.",
            show_default=False,
        ),
    ] = None
    link: Annotated[
        bool, _groups("--link/--no-link", help="Link conformers along the chain, or residue by residue.")
    ] = True
    force_links: Annotated[
        bool, _groups("--force-links", help="Link neighbours even if their start occupancies differ.")
    ] = False
    waters: Annotated[
        Literal["residue", "individual", "omit"], _groups(help="As any residue, each one refined, or left as they are.")
    ] = "residue"
    hydrogens: Annotated[
        Literal["carrier", "omit"], _groups(help="With the atom that carries them, or left as they are.")
    ] = "carrier"
    contact_distance: Annotated[
        float | None,
        _groups(
            metavar="Å",
            help="Join conformers of one letter that come this close, over chains and symmetry: ligand, side chain, "
            "water.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.force_links and not self.link:
            raise ValueError("--no-link and --force-links exclude each other; choose one")
        if self.contact_distance is not None and not 0 < self.contact_distance <= 20:
            raise ValueError(
                f"--contact-distance {self.contact_distance}; wanted Å, more than 0 and at most 20 (4 is usual)"
            )


# Arguments of the library that are options of the command under the same names.
ARGUMENTS = {parameter.name for kind in (Data, Options) for parameter in _parameters(kind)} | {"model_number"}
