"""From a model, its data and its groups to the problem that a refinement solves."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_occupancy._options import Options
from jax_occupancy.io import Maps, Model, Reflections, agreed_radiation
from jax_occupancy.refinement._constraints import constraints_of
from jax_occupancy.refinement._group_model import group_model, model_sites
from jax_occupancy.refinement._linear_model import check_same_crystal, linear_model
from jax_occupancy.refinement._map_model import in_map, indices_in_map, map_data, map_model
from jax_occupancy.refinement._movers import equivalent_and_lowest_b, movers_of, parts_of
from jax_occupancy.refinement._near import near_groups
from jax_occupancy.refinement._observations import Observations
from jax_occupancy.refinement._problem import RELATIVE_B_SPREAD, Problem, columns_of, size_of_b
from jax_occupancy.xray import TwinnedModel, TwinOrbits


def prepare(
    model: Model,
    reflections: Reflections | Maps,
    groups: Any = None,
    options: Options | None = None,
    *,
    twin_laws: Sequence[str] = (),
    stage: Callable[[str], Any] = lambda name: None,
    store: bool = False,
) -> Problem:
    """Bring model, data and groups together and compute the structure factors.

    Args:
        model: what `read_model` returned.
        reflections: what `read_reflections` or `read_maps` returned.
        groups: as for `group_model`.
        options: what is chosen; the defaults when left out.
        twin_laws: how the domains of a twin are turned against that of the model, such as "k,h,-l".
        stage: called with "groups" and "structure_factors" as these begin.
        store: keep the structure factors of the parts too, for many data sets, if they fit in the memory allowed.

    Returns:
        The problem, in JAX' default float type.

    Raises:
        ValueError: model and data do not belong together.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> problem = prepare(*read_example())
        >>> x = problem.start("random", seed=1)
        >>> bool(np.allclose(problem.constraints.matrix @ x, problem.constraints.total, atol=1e-6))
        True
    """
    options = decided(options or Options(), model, reflections)
    dtype = jnp.result_type(float)
    in_file = model
    if isinstance(reflections, Maps):
        model = in_map(model, reflections)
    else:
        check_same_crystal(model, reflections)
    stage("groups")
    grouping = group_model(model, groups)
    sites = model_sites(model)
    tensor = grouping.to_tensor(sites.chemical, dtype=dtype)
    constraints = constraints_of(tensor.topology, np.asarray(tensor.group_occupancies, np.float64))
    members = tuple(np.flatnonzero(tensor.expansion_mask == entry) for entry in constraints.entries)
    parts = parts_of(model.atoms, members)
    stage("structure_factors")
    entries, memory = constraints.entries, options.memory
    beam: Any = {"radiation": options.radiation, "wavelength": options.wavelength}
    if isinstance(reflections, Maps):
        observations = map_data(in_file, reflections, members)
        hkl, linear = indices_in_map(observations, model), map_model(model, observations, tensor, members, dtype=dtype)
    else:
        observations, hkl = Observations.from_reflections(reflections), reflections.hkl
        if twin_laws:
            orbits = TwinOrbits.of(hkl, twin_laws, cell=reflections.cell, spacegroup=reflections.spacegroup)
            observations, hkl = replace(observations, rows=orbits.rows), orbits.hkl.copy()
            hkl[orbits.rows] = reflections.hkl  # whose phases are wanted
        # Even shares, so that the answer does not depend on the start.
        even = tensor.with_refinable_params(jnp.zeros_like(tensor.refinable_params))
        linear = linear_model(model, reflections, even, entries, hkl=hkl, memory=memory, dtype=dtype, **beam)
        if twin_laws:
            domains = 1 + len(twin_laws)
            linear = TwinnedModel.of(linear, orbits.domains, np.full(domains, 1 / domains))
    jax.block_until_ready(linear)
    b, lowest = equivalent_and_lowest_b(model)
    movers = movers_of(model, parts, sites.orders)
    shifts = options.positions != "held"
    mean_b = np.array([b[atoms].mean() if atoms.size else 0.0 for atoms in members])
    return Problem(
        model=model,
        options=options,
        observations=observations,
        grouping=grouping,
        sites=sites,
        tensor=tensor,
        constraints=constraints,
        parts=parts,
        hkl=hkl,
        members=members,
        near=near_groups(model, hkl, members, constraints.family[: entries.size]),
        linear=linear,
        movers=movers,
        columns=columns_of(model, observations, hkl, options)(
            movers.atoms, memory=memory if store else 0, shifts=shifts, dtype=np.float32
        ),
        mean_b=mean_b,
        lowest_b=np.array([lowest[atoms].min() if atoms.size else 0.0 for atoms in members]),
        b_spread=np.full_like(mean_b, options.b_error)
        if options.b_error is not None
        else RELATIVE_B_SPREAD * size_of_b(mean_b),
        b_trend=np.zeros((mean_b.size, mean_b.size)),
        twin_laws=tuple(twin_laws),
    )


def decided(options: Options, model: Model, reflections: Reflections | Maps) -> Options:
    """The options with the radiation that the files state if none was asked for; a warning where it is not plain."""
    if isinstance(reflections, Maps):
        return options.for_maps()
    if options.radiation is not None:
        return options
    radiation, note = agreed_radiation(model, reflections)
    if note is not None:
        warnings.warn(note, stacklevel=3)
    return replace(options, radiation=radiation)
