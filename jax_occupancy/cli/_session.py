"""What every command that refines begins and ends with."""

import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import typer

from jax_occupancy import io
from jax_occupancy._options import Options
from jax_occupancy._words import versions
from jax_occupancy.cli._console import Console, as_options, say_note
from jax_occupancy.cli._options import Data, MapChoice, wrong_use
from jax_occupancy.groups import Grouping
from jax_occupancy.refinement import Solution
from jax_occupancy.xray import dispersion, dispersion_note

# Exit code of a refinement that did not come to rest, or only where the model is no better.
NOT_CONVERGED = 3
# What compiles faster than this many seconds is not worth a file.
WORTH_KEEPING = 0.2
STAGES = {
    "start": "starting",
    "simulate": "simulating",
    "read": "reading",
    "groups": "choosing groups",
    "structure_factors": "computing structure factors",
    "scale": "scaling",
    "solve": "solving for the occupancies",
    "starts": "trying other starts",
    "settle": "moving B factors and positions",
    "assess": "standard uncertainties",
    "finish": "finishing",
    "write": "writing",
}


class Stopwatch:
    """Wall-clock time of the stages of a command that began at a time of `time.perf_counter`; they add up to it all."""

    def __init__(self, begin: float):
        self.begin = self.since = begin
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def lap(self, stage: str, *, parts: Mapping[str, float] | None = None) -> None:
        """End a stage that began with the end of the one before; parts that were timed already do not count in it."""
        now = time.perf_counter()
        spent = dict(parts or {})
        rest = now - self.since - sum(spent.values())
        for name, seconds in [*spent.items(), (stage, rest)]:
            self.seconds[name] += seconds
        self.since = now

    @property
    def total(self) -> float:
        """Seconds from the beginning to the last lap."""
        return self.since - self.begin

    def report(self) -> str:
        """Say how long each stage took."""
        stages = ", ".join(f"{STAGES[stage]} {seconds:.1f}" for stage, seconds in self.seconds.items() if seconds)
        return f"Seconds: {stages}; in all {self.total:.1f}"


def start(options: Options, *, quiet: bool, begin: float) -> tuple[Console, Stopwatch]:
    """Refuse a wavelength that no element has an f′ at and set JAX up, before anything is read."""
    with wrong_use("--wavelength"):
        dispersion([], radiation=options.radiation or "xray", wavelength=options.wavelength)
    # The last digits of the occupancies need double precision, and arrays made before would stay in float32. The
    # library itself keeps the session's precision.
    jax.config.update("jax_enable_x64", True)
    _keep_compiled_programs()
    watch = Stopwatch(begin)
    watch.lap("start")
    console = Console(quiet=quiet)
    console.about = provenance()
    return console, watch


def failure(solution: Solution) -> str:
    """What a refinement that is no success is called; "" for one that is."""
    if solution.result != "converged":
        return "not converged"
    return "no better than the start" if solution.risen else ""


def provenance() -> dict[str, Any]:
    """The command line, when it ran, and versions."""
    command = shlex.join(["jax-occupancy", *sys.argv[1:]])
    return {"command": command, "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}", "versions": versions()}


def _keep_compiled_programs() -> None:
    """Keep them between runs, for compiling takes most of the time of a small refinement; where it can't, not."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        # Relative paths are to be ignored (XDG base directory specification).
        folder = (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "jax-occupancy"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # Path.home() finds no home
        return
    if os.access(folder, os.W_OK | os.X_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)


def read_data(
    path: Path, columns: Data, model: io.Model, choice: MapChoice, other: Path | None = None
) -> io.Reflections | io.Maps:
    """The maps, or the reflections that the options choose; without cell or space group these get the model's."""
    of_maps, of_reflections = (
        [f"--{name.replace('_', '-')}" for name, value in vars(one).items() if value is not None]
        for one in (choice, columns)
    )
    if io.is_map(path):
        if of_reflections:
            raise typer.BadParameter(f"{path} is a map, and {', '.join(of_reflections)} for reflections; leave it out")
        if choice.resolution is None:
            raise typer.BadParameter(f"{path} is a map: say to which resolution it is to be used, --resolution 2.0")
        return io.read_maps(path, other, **{name: value for name, value in vars(choice).items() if value is not None})
    if other is not None:
        raise typer.BadParameter(f"{path} is no map, and a second file is for half maps; `series` takes many data sets")
    if of_maps:
        raise typer.BadParameter(f"{path} is no map, and {', '.join(of_maps)} for maps; leave it out")
    return io.read_reflections(path, **asdict(columns), cell=model.cell, spacegroup=model.spacegroup)


def settled_beam(console: Console, model: io.Model, reflections: io.Reflections | io.Maps, options: Options) -> Options:
    """The options with the radiation that was asked for or that the files state, which is said unless it is plain."""
    if isinstance(reflections, io.Maps):
        try:
            return options.for_maps()
        except ValueError as error:
            raise typer.BadParameter(as_options(str(error))) from None
    radiation, note = io.agreed_radiation(model, reflections, asked=options.radiation)
    if note is not None:
        say_note(console, note)
    return replace(options, radiation=radiation)


def note_on_dispersion(
    console: Console, model: io.Model, grouping: Grouping, options: Options, *, stated: float | None = None
) -> None:
    """Say so if heavy atoms are refined without f′; `stated` is the wavelength in the file of the data."""
    refined = [group.atoms for s in grouping.sets for group in s.groups if group.refinable]
    elements = model.atoms["element"].iloc[np.concatenate([np.zeros(0, int), *refined])]
    radiation: Any = options.radiation or next(iter(model.radiations), "xray")
    note = dispersion_note(elements, stated=stated, radiation=radiation, wavelength=options.wavelength)
    if note is not None:
        say_note(console, note)


@contextmanager
def warnings_as_notes(console: Console) -> Iterator[None]:
    """The user gets the sentence of a warning, not the line of code that it comes from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        # A cache folder that is full or damaged costs time and nothing else.
        warnings.filterwarnings("ignore", message=".*persistent compilation cache")
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        say_note(console, message)


def write_text(path: Path, text: str) -> None:
    """Write a text file that is either complete or not there."""
    with io.atomic_writer(path) as handle:
        handle.write(text.encode(errors="backslashreplace"))  # file names need not be UTF-8
