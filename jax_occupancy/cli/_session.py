"""What every command that refines begins and ends with."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from jax_occupancy._options import Options
from jax_occupancy.cli._cache import use_compilation_cache
from jax_occupancy.cli._console import as_options, say_note
from jax_occupancy.cli._options import Data, wrong_use
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, Reflections, agreed_radiation, atomic_writer, read_reflections
from jax_occupancy.xray import dispersion, dispersion_note

# Exit code of a refinement that did not come to rest.
NOT_CONVERGED = 3


def check_beam(options: Options) -> None:
    """Refuse a wavelength that no element has an f′ at, before anything is read."""
    with wrong_use("--wavelength"):
        dispersion([], radiation=options.radiation or "xray", wavelength=options.wavelength)


def read_data(path: Path, columns: Data, model: Model) -> Reflections:
    """The reflections that the options choose; data that state no cell or space group get those of the model."""
    return read_reflections(path, **asdict(columns), cell=model.cell, spacegroup=model.spacegroup)


def settled_beam(console: Console, model: Model, reflections: Reflections, options: Options) -> Options:
    """The options with the radiation that was asked for or that the files state, which is said unless it is plain."""
    radiation, note = agreed_radiation(model, reflections, asked=options.radiation)
    if note is not None:
        say_note(console, as_options(note))
    return replace(options, radiation=radiation)


def note_on_dispersion(
    console: Console, model: Model, grouping: Grouping, options: Options, *, stated: float | None = None
) -> None:
    """Say so if heavy atoms are refined without f′; `stated` is the wavelength in the file of the data."""
    refined = [group.atoms for s in grouping.sets for group in s.groups if group.refinable]
    elements = model.atoms["element"].iloc[np.concatenate([np.zeros(0, int), *refined])]
    radiation: Any = options.radiation or next(iter(model.radiations), "xray")
    note = dispersion_note(elements, stated=stated, radiation=radiation, wavelength=options.wavelength)
    if note is not None:
        say_note(console, note)


def set_up_jax() -> None:
    """Switch to double precision and keep what is compiled."""
    # The last digits of the occupancies need it, and arrays made before would stay in float32. The library itself
    # keeps the session's precision.
    jax.config.update("jax_enable_x64", True)
    use_compilation_cache()


@contextmanager
def warnings_as_notes(console: Console) -> Iterator[None]:
    """The user gets the sentence of a warning, not the line of code that it comes from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        # A cache folder that is full or damaged costs time and nothing else.
        warnings.filterwarnings("ignore", message=".*persistent compilation cache")
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        say_note(console, as_options(message))


def write_text(path: Path, text: str) -> None:
    """Write a text file that is either complete or not there."""
    with atomic_writer(path) as handle:
        handle.write(text.encode())
