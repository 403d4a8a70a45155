"""What may be chosen about a refinement: names, defaults and help of the command's options and of Python's.

The help of the command answers at once: nothing heavy is imported here.
"""

import re
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

TARGETS = ("ml", "ls")
LEVELS = ("atom", "group", "held")
# More atoms in groups than this do not move each on its own: the work grows with the square of their number.
MOST_ATOMS = 1500
# Domains of a twin that are a smaller part than this are as good as none.
SMALLEST_FRACTION = 0.02
STARTS = ("model", "even", "random")
# One or several, with semicolons between.
TWIN_LAWS = re.compile(r"([-+*/\dhkl ]+(,[-+*/\dhkl ]+){2}(;|$))+", re.IGNORECASE)


def option(default: Any, help: str, *names: str, panel: str | None = "Refinement", **settings: Any) -> Any:
    """A field that is an option of the command; its name there is that of the field where none is given."""
    return field(default=default, metadata={"help": help, "names": names, "rich_help_panel": panel, **settings})


@dataclass(frozen=True, eq=False, kw_only=True)
class Options:
    """Options of `refine` and `refine_series`, which take them by name: `refine(model, data, starts=20)`.

    Attributes:
        target: "ml", maximum likelihood on amplitudes or intensities; "ls", least squares on amplitudes, for
            comparison: it lets the reflections with the largest errors decide and can have several minima; or a
            target of your own, a subclass of `jax_occupancy.xray.Target`.
        b_factors: what is refined with the occupancies: "group", one shift of the B factors of each group; "atom",
            one of each atom besides; "held", none: the answer then takes the B factors of the model for right, and
            stays near the occupancies that they were refined at.
        positions: the same of positions: "group", a shift of each residue of a group as a body; "atom", then one of
            each atom; "held", none. B factors by atom do not go with positions by group. Groups of more than 1,500
            atoms in all stay bodies.
        position_error: how wrong coordinates may be, a standard deviation along each axis in Å; None asks the data.
        b_error: how wrong B factors of groups, and of atoms besides, may be, a standard deviation in Å²; None asks the
            data.
        starts: how many random starts check the answer.
        seed: of the random starts.
        start: start from the occupancies of the "model", from "even" shares in every set (a half for a free group),
            from a "random" point, or from occupancies given per atom, shape (atoms,); on special positions those of
            the site (see `Sites`).
        outliers: leave out reflections that are too unlikely for the model (Read, Acta Cryst. D55, 1759, 1999).
        twin: "auto" refines the fractions of twin laws that the data support, "none" takes the crystal for single; a
            law, what becomes of h, k, l ("k,h,-l"), or several with semicolons between, is refined in any case.
        radiation: "xray", "electron" or "neutron"; None takes what the files say (see `agreed_radiation`), else X-rays.
        wavelength: of the X-rays in Å, for f′; None leaves it out.
        memory: gigabytes that the structure factors of the groups may take; above it they are computed in passes
            (which a mesh of devices does not do).

    Raises:
        ValueError: a value is none of those above.

    Example:
        >>> Options(starts=-1)
        Traceback (most recent call last):
        ...
        ValueError: starts must be the number of random starts, 0 or more, not -1
    """

    target: Any = option("ml", "Maximum likelihood, or least squares for comparison.", choices=TARGETS)
    b_factors: str = option(
        "atom",
        "atom: shift the B factors of each group, and of each atom besides; group: of each group; held: none.",
        choices=LEVELS,
    )
    positions: str = option(
        "atom",
        "atom: shift each residue of a group, then each of its atoms; group: each residue; held: none.",
        choices=LEVELS,
    )
    position_error: float | None = option(
        None, "How wrong coordinates may be. Default: what the data say.", metavar="Å"
    )
    b_error: float | None = option(
        None, "How wrong B factors may be, of groups and of atoms besides. Default: what the data say.", metavar="Å²"
    )
    starts: int = option(8, "Random starts that check the answer.", metavar="N", min=0)
    seed: int = option(0, "Seed of the random starts.", metavar="N", min=0)
    start: Any = "model"
    radiation: Literal["xray", "electron", "neutron"] | None = option(
        None, "What the crystal was measured with. Default: what the files say, else X-rays.", panel="Data"
    )
    wavelength: float | None = option(
        None,
        "Wavelength of the X-rays, which adds f' of every element. Default: f' is left out.",
        panel="Data",
        metavar="Å",
    )
    outliers: bool = option(
        True, "Leave out reflections that are too unlikely for the model, or keep them.", panel="Data"
    )
    twin: str = option(
        "auto",
        "Refine the twin laws that the data support, none, or a law: what becomes of h,k,l, such as k,h,-l.",
        panel="Data",
        metavar="auto|none|LAW",
    )
    memory: float | int = option(
        4.0,
        "Memory for the structure factors of the groups; beyond it they are computed in passes.",
        metavar="GB",
        min=0,
    )

    def __post_init__(self):
        if isinstance(self.target, str) and self.target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)} or a target of your own, not {self.target!r}")
        for name in ("b_factors", "positions"):
            if getattr(self, name) not in LEVELS:
                raise ValueError(f"{name} must be one of {', '.join(LEVELS)}, not {getattr(self, name)!r}")
        if (self.b_factors, self.positions) == ("atom", "group"):
            raise ValueError("b_factors by atom do not go with positions by group: choose 'group' for both, or 'atom'")
        for name, unit in (("position_error", "Å"), ("b_error", "Å²")):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a standard deviation in {unit}, above 0, not {value}")
        if self.twin not in ("auto", "none") and not TWIN_LAWS.fullmatch(str(self.twin)):
            raise ValueError(
                f"twin must be auto, none, or what becomes of h, k, l, such as k,h,-l, not {self.twin!r}; several laws "
                "have semicolons between"
            )
        if self.starts < 0:
            raise ValueError(f"starts must be the number of random starts, 0 or more, not {self.starts}")
        if isinstance(self.start, str) and self.start not in STARTS:
            raise ValueError(f"start must be 'model', 'even', 'random' or one occupancy per atom, not {self.start!r}")
        if not isinstance(self.start, str):
            import numpy as np

            object.__setattr__(self, "start", np.asarray(self.start))

    def for_maps(self) -> "Options":
        """The same for maps of cryo-EM; `outliers` and a `twin` of none ask for what is done with them anyway.

        Raises:
            ValueError: an option makes no sense for a map.
        """
        wrong = {"radiation": self.radiation not in (None, "electron"), "wavelength": self.wavelength is not None}
        wrong |= {"target": isinstance(self.target, str) and self.target != "ml"}
        wrong |= {"twin": self.twin not in ("auto", "none")}
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise ValueError(
                f"{name}={getattr(self, name)} makes no sense for a map: it is of electrons, of no twin, and refined "
                "against by maximum likelihood; leave it out"
            )
        return replace(self, radiation="electron")

    @classmethod
    def of(cls, given: dict[str, Any], *, function: str) -> "Options":
        """Options from the keyword arguments of a function, which the message about an unknown one names."""
        known = [one.name for one in fields(cls)]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise TypeError(f"{function} has no option {unknown[0]!r}; there are {', '.join(known)}")
        return cls(**given)
