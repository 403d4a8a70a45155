"""One model, many data sets: time points, temperatures, a titration, a fragment campaign."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jax.sharding import Mesh

from jax_occupancy.groups import Grouping, UserGroups
from jax_occupancy.io import Model, Reflections
from jax_occupancy.refinement._clock import Clock
from jax_occupancy.refinement._group_model import group_model
from jax_occupancy.refinement._linear_model import MEMORY, check_same_crystal
from jax_occupancy.refinement._refine import RefinementError, check_options, model_of, refine_setup, reflections_of
from jax_occupancy.refinement._series_shared import by_cell, share
from jax_occupancy.refinement._series_solution import SeriesSolution
from jax_occupancy.refinement._solution import Solution
from jax_occupancy.xray import Radiation

DataSet = Reflections | str | os.PathLike
Name = str | float | int


def refine_series(
    model: Model | str | os.PathLike,
    datasets: Sequence[DataSet],
    *,
    names: Sequence[Name] | None = None,
    groups: Grouping | UserGroups | str | os.PathLike | None = None,
    start: str | np.ndarray = "model",
    target: Literal["ml", "ls"] | str = "ml",
    b_factors: Literal["held", "group"] | str = "group",
    starts: int = 8,
    seed: int = 0,
    outliers: bool = True,
    radiation: Radiation = "xray",
    wavelength: float | None = None,
    memory: float | int = MEMORY,
    mesh: Mesh | None = None,
    throw: bool = False,
    progress: Callable[[str], None] | None = None,
) -> SeriesSolution:
    """Refine the occupancies of one model against many data sets.

    Each data set gets what `refine` would give it, with its own scales, σ_A and outliers. Groups are chosen once.
    Structure factors are computed once for all data sets whose cells agree (within 0.02 % and 0.02°, the rounding of
    files); where a cell differs by more, they are computed again with the model in that cell at the same fractional
    coordinates. A data set that can't be refined is reported and the others go on.

    Args:
        model: what `read_model` returned, or a path to a PDB or mmCIF file.
        datasets: what `read_reflections` returned, or paths to MTZ or mmCIF files.
        names: of the data sets, or the numbers they stand for (times, temperatures, concentrations), which plots draw
            to scale; by default the names of their files without extensions.
        groups: as in `refine`, like all that follow but the last three.
        start: where to start from.
        target: "ml" or "ls".
        b_factors: "group" or "held".
        starts: number of random starts.
        seed: of the random starts.
        outliers: leave out unlikely reflections.
        radiation: "xray", "electron" or "neutron".
        wavelength: in Å, for f′.
        memory: gigabytes for the structure factors, which are twice there: of groups and, with derivatives, of parts.
        mesh: devices to divide the reflections among (see `shard_reflections`); None uses one.
        throw: raise at the first data set that can't be refined, in place of going on without it.
        progress: called with the name of each data set as its refinement begins.

    Returns:
        The occupancies of all data sets in one table, the solutions, and what could not be refined.

    Raises:
        RefinementError: no occupancy is refinable, or not one data set could be refined.
        ValueError: the model can't be read, or an argument is wrong; with `throw` also what is wrong with a data set.

    Example:
        >>> import tempfile
        >>> from jax_occupancy.example import write_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     example = write_example(folder)
        ...     series = refine_series(example.model, [example.reflections, "lost.mtz"], starts=0)
        >>> list(series.solutions), list(series.failed)
        (['example'], ['lost'])
    """
    if isinstance(datasets, str | os.PathLike | Reflections):
        raise ValueError(f"datasets is a single {type(datasets).__name__}; wanted a list of data sets")
    if isinstance(datasets, Mapping):
        raise TypeError("datasets is a mapping; give its values, and names=list(datasets)")
    check_options(target, b_factors, starts, mesh)
    given = dict(zip(_names(names, datasets), datasets, strict=True))
    model = model_of(model)
    grouping = group_model(model, groups)
    failed: dict[Name, str] = {}
    attempt = partial(_attempt, failed=failed, throw=throw)
    usable: dict[Name, Reflections] = {}
    for name, data in given.items():
        with attempt(name):
            usable[name] = _read(model, data)
    options: dict[str, Any] = {"start": start, "target": target, "b_factors": b_factors, "starts": starts, "seed": seed}
    solutions: dict[Name, Solution] = {}
    for placed, members in by_cell(model, usable) if usable else ():
        data = [usable[name] for name in members]
        shared = share(placed, data, grouping, memory=memory, radiation=radiation, wavelength=wavelength)
        shared = shared if mesh is None else shared.on(mesh)
        if shared.setup.n_groups == 0:
            raise RefinementError(f"{model.path}: no occupancy to refine; see `refine` for what is refined")
        for index, name in enumerate(members):
            if progress is not None:
                progress(str(name))
            with attempt(name):
                clock = Clock(None)
                clock.begin("read")
                setup = shared.setup_of(index, data[index])
                solutions[name] = refine_setup(setup, shared.columns, **options, outliers=outliers, clock=clock)
    if not solutions:
        messages = "".join(f"\n  {name}: {message}" for name, message in failed.items())
        raise RefinementError(f"none of {len(given)} data sets could be refined:{messages}")
    return SeriesSolution.from_solutions({name: solutions[name] for name in given if name in solutions}, failed)


@contextmanager
def _attempt(name: Name, failed: dict[Name, str], *, throw: bool) -> Iterator[None]:
    """Write down why a data set failed, or let the error through."""
    try:
        yield
    except (ValueError, OSError) as error:
        if throw:
            raise
        failed[name] = str(error)


def _read(model: Model, data: DataSet) -> Reflections:
    reflections = reflections_of(data)
    check_same_crystal(model, reflections)
    return reflections


def _names(names: Sequence[Name] | None, datasets: Sequence[DataSet]) -> list[Name]:
    """A name for each data set, each another."""
    if names is None:
        paths = [data.path if isinstance(data, Reflections) else Path(data) for data in datasets]
        plain = [f"data {i}" if path is None else path.name.split(".")[0] for i, path in enumerate(paths, 1)]
        full = [name if path is None else str(path) for name, path in zip(plain, paths, strict=True)]
        names = [long if plain.count(short) > 1 else short for short, long in zip(plain, full, strict=True)]
    names = list(names)
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if len(names) != len(datasets) or twice:
        raise ValueError(
            f"names has {len(names)} names for {len(datasets)} data sets, {len(twice)} of them more than once "
            f"{twice[:5]}; give each data set one of its own"
        )
    if not names:
        raise ValueError("datasets is empty; wanted at least one data set")
    return names
