"""One model, many data sets: time points, temperatures, a titration, a fragment campaign.

All data sets of one cell are handled as measurements of the same reflections, those that any of them has; what a data
set lacks does not count in its target. So structure factors are computed once, and JAX compiles every step once.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from jax_occupancy._options import Options
from jax_occupancy.groups import Grouping, UserGroups
from jax_occupancy.io import Maps, Model, Reflections, placed_in
from jax_occupancy.refinement._clock import Clock
from jax_occupancy.refinement._group_model import group_model
from jax_occupancy.refinement._linear_model import check_same_crystal
from jax_occupancy.refinement._observations import Observations
from jax_occupancy.refinement._prepare import decided, prepare
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.refinement._refine import (
    NOTHING,
    RefinementError,
    check_mesh,
    model_of,
    refine_problem,
    reflections_of,
)
from jax_occupancy.refinement._series_solution import SeriesSolution
from jax_occupancy.refinement._solution import Solution
from jax_occupancy.refinement._twins import supported_twin_laws

DataSet = Reflections | Maps | gemmi.Mtz | pd.DataFrame | str | os.PathLike | ValueError | OSError
Name = str | float | int

# Cells are the same within this: relative for lengths, degrees for angles. It is what rounding in files makes.
SAME_LENGTH = 2e-4
SAME_ANGLE = 0.02


def refine_series(
    model: Model | gemmi.Structure | str | os.PathLike,
    datasets: Sequence[DataSet],
    *,
    names: Sequence[Name] | None = None,
    groups: Grouping | UserGroups | str | os.PathLike | None = None,
    mesh: Mesh | None = None,
    throw: bool = True,
    progress: Callable[[str], Any] | None = None,
    **options: Any,
) -> SeriesSolution:
    """Refine the occupancies of one model against many data sets.

    Each data set gets what `refine` would give it, with its own scales, σ_A and outliers. Groups are chosen once.
    Structure factors are computed once for all data sets whose cells agree (within 0.02 % and 0.02°, the rounding of
    files); where a cell differs by more, they are computed again with the model in that cell at the same fractional
    coordinates. A data set that can't be refined is reported and the others go on.

    Args:
        model: as in `refine`.
        datasets: as in `refine`, or, with names, what `read_reflections` or `read_maps` raised.
        names: of the data sets, or the numbers they stand for (times, temperatures, concentrations), which plots draw
            to scale; by default the names of their files without extensions.
        groups: as in `refine`.
        mesh: as in `refine`.
        throw: raise where there is no answer for any data set; otherwise the series says why.
        progress: called with the name of each stage as it begins, after that of the data set: "warm: scale".
        options: as in `refine`; `memory` holds for the structure factors of groups and, with derivatives, of parts.

    Returns:
        The occupancies of all data sets in one table, the solutions, and what could not be refined.

    Raises:
        RefinementError: no occupancy is refinable, or not one data set could be refined (not with `throw=False`).
        FileNotFoundError: there is no such model.
        ValueError: the model can't be read, an option is wrong, or the data sets are no list or lack own names.
        TypeError: the data sets are a mapping, or there is no such option.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> model, reflections = read_example()
        >>> series = refine_series(model, [reflections, "lost.mtz"], names=["here", "lost"], starts=0)
        >>> list(series.solutions), list(series.failed)
        (['here'], ['lost'])
    """
    if isinstance(datasets, str | os.PathLike | Reflections | Maps | gemmi.Mtz | pd.DataFrame):
        raise ValueError(f"datasets is a single {type(datasets).__name__}; wanted a list of data sets")
    if isinstance(datasets, Mapping):
        raise TypeError("datasets is a mapping; give its values, and names=list(datasets)")
    chosen = Options.of(options, function="refine_series")
    check_mesh(mesh)
    given = dict(zip(_names(names, datasets), datasets, strict=True))
    model = model_of(model)
    tell = progress or (lambda stage: None)
    failed: dict[Name, str] = {}
    usable: dict[Name, Any] = {}
    radiations: dict[Name, Any] = {}
    for name, data in given.items():
        try:
            if isinstance(data, ValueError | OSError):
                raise data
            usable[name] = reflections_of(data, model)
            if not isinstance(usable[name], Maps):
                model = placed_in(model, usable[name])
                check_same_crystal(model, usable[name])
            radiations[name] = decided(chosen, model, usable[name]).radiation
        except (ValueError, OSError) as error:
            usable.pop(name, None)
            failed[name] = str(error)
    for name, radiation in radiations.items():
        chosen = replace(chosen, radiation=chosen.radiation or radiation)
        if radiation != chosen.radiation:
            del usable[name]
            failed[name] = f"measured with {radiation}, and the series with {chosen.radiation}: refine it by itself"
    solutions: dict[Name, Solution] = {}
    grouping = group_model(model, groups)
    crystals = {name: data for name, data in usable.items() if not isinstance(data, Maps)}
    shares = [([name], None) for name in usable if name not in crystals]
    shares += [(members, placed) for placed, members in (_by_cell(model, crystals) if crystals else ())]
    for members, placed in shares:
        try:
            shared, rows = _share([usable[name] for name in members], placed or model, grouping, chosen)
            shared = shared.on(mesh)
        except (ValueError, OSError) as error:
            if placed is not None:
                raise
            failed[members[0]] = str(error)
            continue
        if throw and shared.n_groups == 0:
            raise RefinementError(NOTHING.format(model.path))
        for name, row in zip(members, rows, strict=True):
            clock = Clock(lambda stage, name=name: tell(f"{name}: {stage}"))
            clock.begin("read")
            try:
                if row is not None:
                    shared = shared.observing(replace(Observations.from_reflections(usable[name]), rows=row))
                solutions[name] = refine_problem(shared, clock, model)
            except (ValueError, OSError) as error:
                failed[name] = str(error)
    if throw and not solutions:
        messages = "".join(f"\n  {name}: {message}" for name, message in failed.items())
        raise RefinementError(f"none of {len(given)} data sets could be refined:{messages}")
    return SeriesSolution.from_solutions({name: solutions[name] for name in given if name in solutions}, failed)


def names_of(paths: Sequence[Path | None]) -> list[str]:
    """Names of data sets after their files, without extensions where these tell them apart."""
    plain = [f"data {i}" if path is None else path.name.split(".")[0] for i, path in enumerate(paths, 1)]
    full = [name if path is None else str(path) for name, path in zip(plain, paths, strict=True)]
    return [long if plain.count(short) > 1 else short for short, long in zip(plain, full, strict=True)]


def _names(names: Sequence[Name] | None, datasets: Sequence[Any]) -> list[Name]:
    """A name for each data set, each another."""
    if names is None:
        paths = [Path(one) if isinstance(one, str | os.PathLike) else getattr(one, "path", None) for one in datasets]
        names = [*names_of(paths)]
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


def _share(datasets: Sequence[Any], model: Model, grouping: Grouping, options: Options) -> tuple[Problem, list[Any]]:
    """The problem for all reflections that any data set of one cell has, and where those of each are among them.

    Each map is a problem by itself.
    """
    if isinstance(datasets[0], Maps):
        return prepare(model, datasets[0], grouping, options), [None]
    hkl, inverse = np.unique(np.concatenate([data.hkl for data in datasets]), axis=0, return_inverse=True)
    ones, first = np.ones(len(hkl)), datasets[0]
    everything = Reflections(
        hkl=hkl, free=ones < 0, amplitude=ones, sigma=ones, cell=first.cell, spacegroup=first.spacegroup
    )
    ends = np.cumsum([data.n_reflections for data in datasets])[:-1]
    rows = np.split(inverse.reshape(-1), ends)
    problem, laws = prepare(model, everything, grouping, options, store=True), []
    for data, row in zip(datasets, rows, strict=True):
        of_one = problem.observing(replace(Observations.from_reflections(data), rows=row))
        laws += [law for law in supported_twin_laws(of_one) if law not in laws]
    if not laws:
        return problem, rows
    problem = prepare(model, everything, grouping, options, twin_laws=laws, store=True)
    return problem, [problem.observations.gather(np.arange(len(problem.hkl)))[row] for row in rows]


def _by_cell(model: Model, datasets: Mapping[Any, Reflections]) -> list[tuple[Model, list]]:
    """For each cell the model in it, at the same fractional coordinates, and the names of its data sets."""
    cells: list[Any] = [model.cell]
    members: list[list] = [[]]
    for name, data in datasets.items():
        found = next((i for i, cell in enumerate(cells) if _same_cell(cell, data.cell)), len(cells))
        if found == len(cells):
            cells.append(data.cell)
            members.append([])
        members[found].append(name)
    models = [model, *(_in_cell(model, cell) for cell in cells[1:])]
    return [(one, names) for one, names in zip(models, members, strict=True) if names]


def _same_cell(one: gemmi.UnitCell, other: gemmi.UnitCell) -> bool:
    ours, theirs = np.array(one.parameters), np.array(other.parameters)
    return bool(np.all(np.abs(ours - theirs) <= np.concatenate([SAME_LENGTH * ours[:3], [SAME_ANGLE] * 3])))


def _in_cell(model: Model, cell: gemmi.UnitCell) -> Model:
    """The model with other Cartesian coordinates: to be computed with, it keeps the bytes of its file."""
    structure = model.structure.clone()
    structure.cell = cell
    structure.setup_cell_images()
    xyz = np.zeros((model.n_atoms, 3))
    for site in structure[0].all():
        site.atom.pos = cell.orthogonalize(model.cell.fractionalize(site.atom.pos))  # pyright: ignore
        xyz[site.atom.serial - 1] = site.atom.pos.tolist()
    atoms = model.atoms.assign(x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2])
    return replace(model, structure=structure, atoms=atoms, cell=cell)
