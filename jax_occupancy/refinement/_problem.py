"""Everything that stays the same while occupancies are refined."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, Int

from jax_occupancy._options import MOST_ATOMS, Options
from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, Reflections
from jax_occupancy.refinement._constraints import Constraints
from jax_occupancy.refinement._devices import divided, shard_reflections
from jax_occupancy.refinement._linear_model import group_columns, solvent_of_groups
from jax_occupancy.refinement._map_data import MapData
from jax_occupancy.refinement._map_model import map_columns
from jax_occupancy.refinement._movers import Movers, Parts, moved_model, movers_of
from jax_occupancy.refinement._near import Near
from jax_occupancy.refinement._objective import amplitude_of, powers_of, unscaled
from jax_occupancy.refinement._observations import Observations
from jax_occupancy.refinement._starts import random_starts
from jax_occupancy.xray import (
    Columns,
    LeastSquares,
    LinearModel,
    MapLikelihood,
    MaximumLikelihood,
    Outliers,
    Scale,
    SigmaA,
    Sites,
    Target,
    TwinnedModel,
    find_outliers,
    fit_fractions,
    own_share,
)

TARGETS: dict[str, type[Target]] = {"ml": MaximumLikelihood, "ls": LeastSquares}
# A B factor is not shifted below this, in Å².
SMALLEST_B = 1.0
# Rounds of scales and fractions of a twin before the refinement.
TWIN_ROUNDS = 3
# Standard deviation of the prior of a B shift before the data are asked, see `size_of_b`.
RELATIVE_B_SPREAD = 0.3


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, its data and its groups, with all that follows from them and does not change.

    Attributes:
        model: the atoms.
        options: what was chosen.
        observations: the data, and what became of intensities.
        grouping: which atoms share an occupancy.
        sites: special positions.
        tensor: the module at the start.
        constraints: variables and equations.
        parts: the groups by residue.
        hkl: Miller indices of the linear model, which may have more reflections than were observed.
        members: positions of the atoms of each group.
        near: which groups are so near that the curvature between them counts.
        linear: structure factors, not yet scaled.
        movers: what moves as a body.
        columns: structure factors of the movers, with their derivatives by position unless these are held, for the
            same reflections; float32, which is enough for steps and curvatures.
        mean_b: mean B factor of each group in Å².
        lowest_b: lowest one, of an anisotropic atom along the direction in which it moves least.
        b_spread: standard deviation of the prior of the B shift of each group, in Å².
        b_trend: what that prior expects per unit of the change of each occupancy from that of the model, in Å².
        mesh: the devices that the reflections are divided among.
        outliers: reflections that were left out because the model makes them too unlikely.
        twin_laws: how the domains of a twin are turned against that of the model.
    """

    model: Model
    options: Options
    observations: Observations | MapData
    grouping: Grouping
    sites: Sites
    tensor: OccupancyTensor
    constraints: Constraints
    parts: Parts
    hkl: Int[np.ndarray, "reflections 3"]
    members: tuple[Int[np.ndarray, " _"], ...]
    near: Near
    linear: LinearModel
    movers: Movers
    columns: Columns
    mean_b: Float[np.ndarray, " groups"]
    lowest_b: Float[np.ndarray, " groups"]
    b_spread: Float[np.ndarray, " groups"]
    b_trend: Float[np.ndarray, "groups groups"]
    mesh: Mesh | None = None
    outliers: Outliers | None = None
    twin_laws: tuple[str, ...] = ()

    @property
    def data(self) -> Reflections | MapData:
        """The reflections, or what was cut out of a map."""
        return self.observations.reflections

    @property
    def target_class(self) -> type[Target]:
        """What is minimised."""
        wanted = self.options.target
        if isinstance(self.observations, MapData) and wanted == "ml":
            return MapLikelihood
        return TARGETS[wanted] if isinstance(wanted, str) else wanted

    @property
    def outside(self) -> tuple[str, ...]:
        """Of each group what it lies outside of, the map or the mask; "" where there are data."""
        return self.observations.outside if isinstance(self.observations, MapData) else ("",) * self.n_groups

    @property
    def n_groups(self) -> int:
        """Number of occupancies that can move."""
        return self.constraints.entries.size

    @property
    def n_variables(self) -> int:
        """Number of occupancies and vacancies."""
        return self.constraints.matrix.shape[1]

    @property
    def lowest_shifts(self) -> Float[np.ndarray, " groups"]:
        """The most negative shift of the B factors of each group, in Å²."""
        return np.minimum(SMALLEST_B - self.lowest_b, 0)

    @property
    def lowest_shifts_of_movers(self) -> Float[np.ndarray, " movers"]:
        """The same of movers, the shifts of their groups included."""
        return np.minimum(SMALLEST_B - self.movers.lowest_b, 0)

    @cached_property
    def guess(self) -> Float[Array, " groups"]:
        """The occupancies of the model, which its B factors may have been refined at."""
        return self.start("model")[: self.n_groups]

    @property
    def goes_by_atom(self) -> bool:
        """Whether atoms move on their own in the end: where that is wanted and they are not too many."""
        wanted = "atom" in (self.options.b_factors, self.options.positions)
        return wanted and 0 < sum(len(atoms) for atoms in self.parts.atoms) <= MOST_ATOMS

    @property
    def group_of_mover(self) -> Int[np.ndarray, " movers"]:
        """The group that each mover belongs to."""
        return self.parts.group[self.movers.part]

    def start(self, where: Any, *, seed: int = 0) -> Float[Array, " variables"]:
        """The solver's variables at "model", "even", "random", or at occupancies per atom: a feasible point."""
        tensor, dtype = self.tensor, self.linear.overall.dtype
        if isinstance(where, str) and where == "random":
            return jnp.asarray(random_starts(tensor, self.constraints, count=1, seed=seed)[0], dtype)
        if isinstance(where, str) and where == "even":
            # Logit zero is an even share in every kind of set.
            tensor = tensor.with_refinable_params(jnp.zeros_like(tensor.refinable_params))
        elif not isinstance(where, str):
            tensor = tensor.with_occupancies(where)
        q = np.asarray(tensor.group_occupancies, np.float64)
        return jnp.asarray(self.constraints.variables(q), dtype)

    def tensor_at(self, q: Float[ArrayLike, " groups"]) -> OccupancyTensor:
        """The module with the solver's occupancies, on a bound where the solver is on one."""
        collapsed = np.array(self.tensor.group_occupancies, np.float64)
        collapsed[self.constraints.entries] = q
        return self.tensor.with_group_occupancies(np.clip(collapsed, 0, 1), margin=0)

    def with_ties(self, ties: list[list[int]]) -> "Problem":
        """Hold the occupancies of coincident conformers equal."""
        return replace(self, constraints=self.constraints.with_ties(ties))

    def with_solvent_around(self, x: Float[Array, " variables"]) -> "Problem":
        """The same with the solvent in the places of groups linear around these occupancies."""
        linear = self.linear
        if linear.empty is None or linear.displaced.is_empty:
            return self
        tensor, entries = self.tensor_at(x[: self.n_groups]), self.constraints.entries
        empty, displaced = solvent_of_groups(self.model, self.hkl, tensor, entries)
        empty = jnp.asarray(empty, linear.mask.dtype)
        if self.mesh is not None:
            empty, displaced = divided(empty, self.mesh), shard_reflections(displaced, self.mesh)
        parts = linear.mask - linear.empty + empty, empty, displaced
        return replace(self, linear=eqx.tree_at(lambda one: (one.mask, one.empty, one.displaced), linear, parts))

    def without_outliers(self) -> "Problem":
        """Leave out reflections that are too unlikely for the model (Read, Acta Cryst. D55, 1759-1764, 1999).

        They are judged with even shares in every set, so that they do not depend on the start of the refinement. The
        linear model keeps them, a copy without them may not fit in memory.
        """
        observations = self.observations
        if isinstance(observations, MapData):
            return self
        data = observations.reflections
        q = self.start("even")[: self.n_groups]
        amplitude, sigma_a = self.scaled_amplitude(q)
        outliers = find_outliers(
            data.hkl,
            observations.amplitude,
            observations.sigma,
            sigma_a=sigma_a,
            model_amplitude=amplitude,
            cell=data.cell,
            spacegroup=data.spacegroup,
        )
        if not outliers.mask.any():
            return self
        return replace(self, observations=observations.select(~outliers.mask), outliers=outliers)

    def scales_of_all(self, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
        """The scales k and k_mask of the reflections of the linear model; of those not measured only twins count."""
        data: Any = self.data
        if self.twin_laws:
            return scale.at(self.hkl, data.cell)
        n, spread = self.linear.fixed.size, self.observations.spread
        return spread(scale.overall, n, fill=1.0), spread(scale.solvent, n, fill=0.0)

    def scaled_amplitude(self, q: Float[Array, " groups"]) -> tuple[Float[np.ndarray, " reflections"], SigmaA]:
        """Amplitudes of the model at these occupancies on the scale of the reflections, and its σ_A."""
        observations, n = self.observations, len(self.hkl)
        linear: Any = self.linear.with_solvent_share(1.0)  # as in the cycles, so that it is one program for both
        assert isinstance(observations, Observations)
        parts = unscaled(linear, q)
        calculated, mask = (observations.gather(np.asarray(part)) for part in parts)
        if not isinstance(linear, TwinnedModel):
            amplitude = np.abs(observations.scale(calculated, mask).apply(calculated, mask)).astype(np.float64)
            return amplitude, observations.sigma_a(amplitude)
        for _ in range(TWIN_ROUNDS):  # data are detwinned by the model, whose fractions follow from the data
            share = observations.gather(own_share(powers_of(linear, parts), linear.fractions))
            scale = observations.scale(calculated, mask, own_share=share)
            linear = linear.with_scale(*self.scales_of_all(scale))
            sigma_a = observations.sigma_a(observations.gather(np.asarray(amplitude_of(linear, parts), np.float64)))
            target = observations.target(MaximumLikelihood, sigma_a, n, dtype=linear.overall.dtype)
            linear = linear.with_fractions(fit_fractions(target, powers_of(linear, parts), linear.fractions)[0])
        return observations.gather(np.asarray(amplitude_of(linear, parts), np.float64)), sigma_a

    def observing(self, observations: Observations | MapData) -> "Problem":
        """The same model with other data; their `rows` say which reflections of `linear` they are."""
        return replace(self, observations=observations, outliers=None)

    def on(self, mesh: Mesh | None) -> "Problem":
        """The same with the reflections divided among devices, see `shard_reflections`."""
        if mesh is None:
            return self
        if isinstance(self.observations, MapData):
            raise ValueError("mesh: maps are refined against on one device; leave mesh out")
        if self.twin_laws:
            raise ValueError("mesh: twins are refined on one device; leave mesh out, or choose twin='none'")
        # The linear model is filled up, so the data must know their rows of it.
        linear, columns = shard_reflections((self.linear, jax.jit(Columns.stored)(self.columns)), mesh)
        return replace(self, observations=self.observations.located(), linear=linear, columns=columns, mesh=mesh)

    def moved(
        self,
        shifts: Float[np.ndarray, "movers 3"],
        delta_b: Float[np.ndarray, " movers"],
        **prior: Float[np.ndarray, "groups ..."],
    ) -> "Problem":
        """The same with the movers elsewhere and at other B factors, counted from the model, and another prior.

        Structure factors of what moves are computed anew; the solvent mask stays.
        """
        if np.array_equal(shifts, self.movers.shifts) and np.array_equal(delta_b, self.movers.delta_b):
            return replace(self, **prior)
        movers = self.movers._replace(shifts=shifts, delta_b=delta_b)
        model, dtype = moved_model(self.model, *movers.of_atoms(self.model.n_atoms)), self.linear.overall.dtype
        compute = columns_of(model, self.observations, self.hkl, self.options)
        of_groups = compute(self.members, memory=self.options.memory, dtype=dtype)
        if self.mesh is not None:
            of_groups = shard_reflections(of_groups, self.mesh)
        linear = eqx.tree_at(lambda linear: linear.columns, self.linear, of_groups)
        return replace(self, linear=linear, **prior)._with_movers(movers, model)

    def by_atom(self) -> "Problem":
        """The same with atoms for movers; hydrogens, which X-rays hardly see, move together in each residue."""
        hydrogen = self.model.atoms["element"].isin(["H", "D"]).to_numpy() & (self.options.radiation != "neutron")
        movers = movers_of(self.model, self.parts, self.sites.orders, alone=~hydrogen)
        shifts, delta_b = self.movers.of_atoms(self.model.n_atoms)
        first = np.array([atoms[0] for atoms in movers.atoms])
        movers = movers._replace(shifts=shifts[first], delta_b=delta_b[first])
        return self._with_movers(movers, moved_model(self.model, shifts, delta_b))

    def _with_movers(self, movers: Movers, model: Model) -> "Problem":
        compute = columns_of(model, self.observations, self.hkl, self.options)
        columns = compute(movers.atoms, shifts=self.columns.axes is not None, dtype=np.float32)
        if self.mesh is not None:
            columns = shard_reflections(jax.jit(Columns.stored)(columns), self.mesh)
        return replace(self, movers=movers, columns=columns)


def columns_of(model: Model, data: Observations | MapData, hkl: np.ndarray, options: Options) -> Callable[..., Columns]:
    """What computes structure factors of groups of the model."""
    if isinstance(data, MapData):
        return partial(map_columns, model, data)
    beam: Any = {"radiation": options.radiation, "wavelength": options.wavelength}
    return partial(group_columns, model, hkl, **beam)


def size_of_b(mean_b: Float[np.ndarray, " groups"]) -> Float[np.ndarray, " groups"]:
    """What errors of the B factors of groups are relative to: as much to what is usual here as to their own, in Å².

    A B factor that fell to nothing at a wrong occupancy would be taken to be known if it were its own alone.
    """
    there = mean_b[mean_b > 0]
    usual = np.median(there) if there.size else 0.0
    return np.maximum(np.sqrt((mean_b**2 + usual**2) / 2), SMALLEST_B)
