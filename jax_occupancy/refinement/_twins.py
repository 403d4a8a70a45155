"""Which twin laws the data support."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jax_occupancy._options import SMALLEST_FRACTION
from jax_occupancy.refinement._map_data import MapData
from jax_occupancy.refinement._observations import Observations
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.xray import MaximumLikelihood, TwinOrbits, fit_fractions, twin_laws, twin_test

# A law is refined if it makes the data more likely by more than this, in units of log-likelihood.
SUPPORTED = 10.0
# Two copies of a molecule that a law maps onto each other have errors of the model that cancel in a sum of both: any
# data are then more likely of a twin. So mean |L| of the data must have fallen at least half way from that of the model
# to that of its twin, and these must differ by this.
HALF_WAY, TELLING = 0.5, 0.005
# Fewer reflections that were measured with their mates do not tell.
FEWEST = 300
# More than so many say no more: they know a fraction to half a percent.
MOST = 30_000
# σ_A and fractions in turn.
ROUNDS = 3

Powers = list[Float[np.ndarray, " reflections"]]


def supported_twin_laws(problem: Problem) -> list[str]:
    """The twin laws that `Options.twin` names, or of those that the lattice allows the ones that the data support.

    They are asked at even shares in every set, one law after the other, of reflections that were measured with all
    their mates.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from jax_occupancy.refinement import prepare
        >>> supported_twin_laws(prepare(*read_example()))
        []
    """
    observations, wanted = problem.observations, problem.options.twin
    if isinstance(observations, MapData) or wanted == "none":
        return []
    if wanted != "auto":
        return [law for law in wanted.replace(" ", "").lower().split(";") if law]
    data, chosen = observations.reflections, []
    crystal = {"cell": data.cell, "spacegroup": data.spacegroup}
    left = twin_laws(**crystal)
    if not left:
        return []
    amplitude, _ = problem.scaled_amplitude(problem.start("even")[: problem.n_groups])
    powers = {law: TwinOrbits.of(data.hkl, [law], **crystal).powers(amplitude**2)[1] for law in left}
    while left:
        of_laws = {law: [amplitude**2, *(powers[one] for one in [*chosen, law])] for law in left}
        tried = {law: _gain(observations, of_law) for law, of_law in of_laws.items()}
        law, (gain, fractions, there) = max(tried.items(), key=lambda one: one[1][0])
        if not (gain > SUPPORTED and fractions[-1] > SMALLEST_FRACTION):
            break
        seen, single, twin = _mean_l(observations, of_laws[law], fractions, there)
        if not (single - twin > TELLING and single - seen > HALF_WAY * (single - twin)):
            warnings.warn(
                f"as a twin by {law}, fraction {fractions[-1]:.2f}, the model explains the data better, but they do "
                f"not look twinned: their mean |L| is {seen:.3f}, that of the model {single:.3f}, of its twin "
                f"{twin:.3f}. Molecules that the law maps onto each other do that. The law is not refined; "
                f"twin='{law}' refines it all the same",
                stacklevel=3,
            )
            break
        chosen.append(law)
        left.remove(law)
    return chosen


def _gain(observations: Observations, powers: Powers) -> tuple[float, Any, Bool[np.ndarray, " reflections"]]:
    """The log-likelihood that the last domain gains, the fractions of all, and which reflections told them."""
    there: np.ndarray = np.all(np.isfinite(powers), axis=0)
    if there.sum() < FEWEST or observations.free[there].all():
        return 0.0, np.zeros(len(powers)), there
    counted = np.random.default_rng(0).permutation(np.flatnonzero(there))[:MOST]
    asked = np.isin(np.arange(there.size), counted)
    some, of_domains = observations.select(asked), np.array(powers)[:, asked]
    without, _ = _fitted(some, of_domains[:-1])
    value, fractions = _fitted(some, of_domains)
    return without - value, fractions, there


def _fitted(observations: Observations, powers: Float[np.ndarray, "domains reflections"]):
    fractions, value = tuple(np.full(len(powers), 1 / len(powers))), 0.0
    for _ in range(ROUNDS):
        sigma_a = observations.sigma_a(np.sqrt(np.array(fractions) @ powers))
        target = MaximumLikelihood.from_observations(observations, sigma_a)
        fractions, _, value = fit_fractions(target, powers, fractions)
    return value, fractions


def _mean_l(observations: Observations, powers: Powers, fractions: Any, there: np.ndarray) -> list[float]:
    """Mean |L| of the data, of the model, and of its twin."""
    data, of_domains = observations.reflections, np.array(powers)[:, there]
    amplitudes = observations.amplitude[there], np.sqrt(of_domains[0]), np.sqrt(np.array(fractions) @ of_domains)
    crystal: Any = {"cell": data.cell, "spacegroup": data.spacegroup}
    tests = (twin_test(data.hkl[there], one, observations.sigma[there], **crystal) for one in amplitudes)
    return [test.mean_l for test in tests]
