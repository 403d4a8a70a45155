"""Everything that stays the same while occupancies are refined."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, Reflections
from jax_occupancy.refinement._constraints import Constraints, constraints_of
from jax_occupancy.refinement._cycles import scaled_amplitudes
from jax_occupancy.refinement._devices import shard_reflections
from jax_occupancy.refinement._group_model import group_model, model_sites
from jax_occupancy.refinement._linear_model import MEMORY, check_same_crystal, linear_model
from jax_occupancy.refinement._parts import Parts, parts_of
from jax_occupancy.refinement._problem import BShifts
from jax_occupancy.refinement._starts import random_starts
from jax_occupancy.refinement._targets import Observations, sigma_a_of
from jax_occupancy.xray import LinearModel, Outliers, Sites, find_outliers

# A B factor is not shifted below this, in Å².
SMALLEST_B = 1.0
# Standard deviation of the prior of a B shift, relative to the mean B of the group.
RELATIVE_B_SPREAD = 0.3


@dataclass(frozen=True, eq=False)
class Setup:
    """The problem before its solution.

    What `make_setup` returns.

    Attributes:
        model: the atoms.
        observations: the data, and what became of intensities.
        grouping: which atoms share an occupancy.
        sites: special positions.
        tensor: the module at the start.
        constraints: variables and equations.
        parts: the groups by residue.
        linear: structure factors, not yet scaled.
        mean_b: mean B factor of each group in Å².
        lowest_b: lowest one, of an anisotropic atom along the direction in which it moves least.
        outliers: reflections that were left out because the model makes them too unlikely.
    """

    model: Model
    observations: Observations
    grouping: Grouping
    sites: Sites
    tensor: OccupancyTensor
    constraints: Constraints
    parts: Parts
    linear: LinearModel
    mean_b: Float[np.ndarray, " groups"]
    lowest_b: Float[np.ndarray, " groups"]
    outliers: Outliers | None = None

    @property
    def data(self) -> Reflections:
        """The reflections."""
        return self.observations.reflections

    @property
    def n_groups(self) -> int:
        """Number of occupancies that can move."""
        return self.constraints.entries.size

    def variables(self, tensor: OccupancyTensor) -> Float[Array, " variables"]:
        """The solver's variables at the occupancies of a module."""
        q = np.asarray(tensor.group_occupancies, np.float64)
        return jnp.asarray(self.constraints.variables(q), self.linear.overall.dtype)

    def with_ties(self, ties: list[list[int]]) -> "Setup":
        """Hold the occupancies of coincident conformers equal."""
        return replace(self, constraints=self.constraints.with_ties(ties))

    def without(self, outliers: Outliers) -> "Setup":
        """Leave reflections out of the data; the linear model keeps them, a copy without them may not fit in memory."""
        return replace(self, observations=self._located().select(~outliers.mask), outliers=outliers)

    def observing(self, observations: Observations) -> "Setup":
        """The same model with other data; their `rows` say which reflections of `linear` they are."""
        return replace(self, observations=observations, outliers=None)

    def on(self, mesh: Mesh) -> "Setup":
        """The same with the reflections of the linear model divided among devices, see `shard_reflections`."""
        # The linear model is filled up, so the data must know their rows of it.
        return replace(self, observations=self._located(), linear=shard_reflections(self.linear, mesh))

    def b_shifts(self, weight: float | Array) -> BShifts:
        """Bounds and prior for the shifts of B factors."""
        dtype = self.linear.overall.dtype
        spread = RELATIVE_B_SPREAD * np.maximum(self.mean_b, SMALLEST_B)
        lowest = np.minimum(SMALLEST_B - self.lowest_b, 0)
        return BShifts(jnp.asarray(lowest, dtype), jnp.asarray(spread, dtype), jnp.asarray(weight, dtype))

    def _located(self) -> Observations:
        rows = self.observations.rows
        return self.observations._replace(rows=np.arange(self.data.n_reflections) if rows is None else rows)


def make_setup(
    model: Model,
    reflections: Reflections,
    groups: Any = None,
    *,
    radiation: Any = "xray",
    wavelength: float | None = None,
    memory: float | int = MEMORY,
    dtype: Any = None,
    stage: Callable[[str], Any] = lambda name: None,
) -> Setup:
    """Bring model, data and groups together and compute the structure factors.

    Args:
        model: what `read_model` returned.
        reflections: what `read_reflections` returned.
        groups: as for `group_model`.
        radiation: "xray", "electron" or "neutron".
        wavelength: of the X-rays in Å, for f′.
        memory: gigabytes for the structure factors of the groups.
        dtype: float32 or float64.
        stage: called with "groups" and "structure_factors" as these begin.

    Returns:
        The problem.

    Raises:
        ValueError: model and data do not belong together.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> setup = make_setup(*read_example())
        >>> setup.linear.n_groups == setup.n_groups
        True
    """
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    check_same_crystal(model, reflections)
    stage("groups")
    grouping = group_model(model, groups)
    sites = model_sites(model)
    tensor = grouping.to_tensor(sites.chemical, dtype=dtype)
    constraints = constraints_of(tensor.topology, np.asarray(tensor.group_occupancies, np.float64))
    members = [np.flatnonzero(tensor.expansion_mask == entry) for entry in constraints.entries]
    b, lowest = equivalent_and_lowest_b(model)
    stage("structure_factors")
    linear = linear_model(
        model,
        reflections,
        tensor,
        constraints.entries,
        radiation=radiation,
        wavelength=wavelength,
        memory=memory,
        dtype=dtype,
    )
    jax.block_until_ready(linear)
    return Setup(
        model=model,
        observations=Observations.from_reflections(reflections),
        grouping=grouping,
        sites=sites,
        tensor=tensor,
        constraints=constraints,
        parts=parts_of(model.atoms, members),
        linear=linear,
        mean_b=np.array([b[atoms].mean() if atoms.size else 0.0 for atoms in members]),
        lowest_b=np.array([lowest[atoms].min() if atoms.size else 0.0 for atoms in members]),
    )


def without_outliers(setup: Setup) -> Setup:
    """Leave out reflections that are too unlikely for the model (Read, Acta Cryst. D55, 1759-1764, 1999).

    They are judged with even shares in every set, so that they do not depend on the start of the refinement.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> setup = make_setup(*read_example())
        >>> without_outliers(setup).data.n_reflections <= setup.data.n_reflections
        True
    """
    observations, data = setup.observations, setup.data
    amplitude = scaled_amplitudes(setup.linear, start_values(setup, "even"), observations)
    outliers = find_outliers(
        data.hkl,
        observations.amplitude,
        observations.sigma,
        sigma_a=sigma_a_of(observations, amplitude),
        model_amplitude=amplitude,
        cell=data.cell,
        spacegroup=data.spacegroup,
    )
    return setup.without(outliers) if outliers.mask.any() else setup


def equivalent_and_lowest_b(model: Model) -> tuple[Float[np.ndarray, " atoms"], Float[np.ndarray, " atoms"]]:
    """B factor of each atom and along the direction in which it moves least, in Å²; the same for an isotropic atom."""
    b = model.atoms["tempfactor"].to_numpy(np.float64).copy()
    lowest = b.copy()
    columns = ["u11", "u22", "u33", "u12", "u13", "u23"]
    if set(columns) <= set(model.atoms.columns):
        u = model.atoms[columns].to_numpy(np.float64)
        there = np.isfinite(u).all(axis=1) & (u != 0).any(axis=1)
        tensors = u[there][:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
        principal = 8 * np.pi**2 * np.linalg.eigvalsh(tensors)
        b[there], lowest[there] = principal.mean(axis=1), principal[:, 0]
    return b, lowest


def start_values(setup: Setup, start: Any, *, seed: int = 0) -> Float[Array, " variables"]:
    """The solver's variables at the start that the user asked for.

    Args:
        setup: the problem.
        start: "model", "even", "random", or occupancies per atom, shape (atoms,).
        seed: of a random start.

    Returns:
        A feasible point.

    Raises:
        ValueError: the start is something else.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> setup = make_setup(*read_example())
        >>> x = start_values(setup, "random", seed=1)
        >>> bool(np.allclose(setup.constraints.matrix @ x, setup.constraints.total))
        True
    """
    tensor = setup.tensor
    if isinstance(start, str):
        if start == "random":
            drawn = random_starts(tensor, setup.constraints, count=1, seed=seed)[0]
            return jnp.asarray(drawn, setup.linear.overall.dtype)
        if start == "even":
            # Logit zero is an even share in every kind of set.
            tensor = tensor.with_refinable_params(jnp.zeros_like(tensor.refinable_params))
        elif start != "model":
            raise ValueError(f"start must be 'model', 'even', 'random' or one occupancy per atom, not {start!r}")
        return setup.variables(tensor)
    return setup.variables(tensor.with_occupancies(start))
