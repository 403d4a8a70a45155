"""Which twin laws the data support."""

import warnings

import numpy as np
from jaxtyping import Float

from jax_occupancy.refinement._map_data import MapData
from jax_occupancy.refinement._observations import Observations
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.xray import MaximumLikelihood, TwinOrbits, fit_fractions, twin_laws

# A law is refined if it makes the data more likely by more than this, in units of log-likelihood, and if its domains
# are no smaller than this.
SUPPORTED, SMALLEST_FRACTION = 10.0, 0.02
# Fewer reflections that were measured with their mates do not tell.
FEWEST = 300
# σ_A and fractions in turn.
ROUNDS = 3


def supported_twin_laws(problem: Problem) -> list[str]:
    """The twin laws that the lattice allows, `Options.twin` wants and the data support, the most important first.

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
    data = observations.reflections
    crystal = {"cell": data.cell, "spacegroup": data.spacegroup}
    left = twin_laws(**crystal) if wanted == "auto" else [law.strip() for law in wanted.split(";")]
    if not left:
        return []
    amplitude, _ = problem.scaled_amplitude(problem.start("even")[: problem.n_groups])
    powers = {law: TwinOrbits.of(data.hkl, [law], **crystal).powers(amplitude**2)[1] for law in left}
    chosen: list[str] = []
    while left:
        gains = {law: _gain(observations, [amplitude**2, *(powers[one] for one in [*chosen, law])]) for law in left}
        law, (gain, fraction) = max(gains.items(), key=lambda one: one[1][0])
        if wanted == "auto" and not (gain > SUPPORTED and fraction > SMALLEST_FRACTION):
            break
        if fraction <= SMALLEST_FRACTION:
            warnings.warn(f"twin law {law} is not refined: the fraction of its domains is {fraction:.3f}", stacklevel=3)
        else:
            chosen.append(law)
        left.remove(law)
    return chosen


def _gain(observations: Observations, powers: list[Float[np.ndarray, " reflections"]]) -> tuple[float, float]:
    """The log-likelihood that the last domain gains, and its fraction."""
    there: np.ndarray = np.all(np.isfinite(powers), axis=0)
    if there.sum() < FEWEST or observations.free[there].all():
        return 0.0, 0.0
    some, of_domains = observations.select(there), np.array(powers)[:, there]
    without, _ = _fitted(some, of_domains[:-1])
    value, fractions = _fitted(some, of_domains)
    return without - value, fractions[-1]


def _fitted(observations: Observations, powers: Float[np.ndarray, "domains reflections"]):
    fractions, value = tuple(np.full(len(powers), 1 / len(powers))), 0.0
    for _ in range(ROUNDS):
        sigma_a = observations.sigma_a(np.sqrt(np.array(fractions) @ powers))
        target = MaximumLikelihood.from_observations(observations, sigma_a)
        fractions, _, value = fit_fractions(target, powers, fractions)
    return value, fractions
