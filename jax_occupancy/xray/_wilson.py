"""The mean intensity that Wilson's distribution needs: by resolution, and by direction.

A crystal that diffracts better along one axis than along another has strong reflections in that direction that are no
outliers, and weak ones elsewhere that are no wonder.
"""

import gemmi
import numpy as np

from jax_occupancy.xray._crystal import Flags, Values, anisotropic_terms, epsilon_and_centric
from jax_occupancy.xray._shells import Interpolation, shell_nodes

SMALLEST_SHELL, MAX_SHELLS = 100, 20
# Fewer reflections than this do not determine a tensor.
SMALLEST_ANISOTROPIC = 300
# A reflection this much less precise than the median, and weaker than its error, says nothing of the mean intensity.
IMPRECISE = 100
# An intensity of more than 15 times the mean (3e-7 of all acentric reflections have one) and σ counts as just that, or
# an outlier would hide itself.
LARGEST = 15
# Shells and directions are fitted in turn, for they hardly depend on each other.
ROUNDS, MAX_STEPS = 4, 30


def mean_intensity(
    hkl: np.ndarray, intensity: Values, sigma: Values, *, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> Values:
    """εΣ_N around each reflection, a smooth function of resolution times one anisotropic tensor."""
    everything = np.ones(len(hkl), bool)
    power, direction = resolution_and_direction(hkl, intensity, sigma, everything, cell=cell, spacegroup=spacegroup)
    return epsilon_and_centric(hkl, spacegroup)[0] * power * direction


def resolution_and_direction(
    hkl: np.ndarray,
    intensity: Values,
    sigma: Values,
    chosen: Flags,
    *,
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
) -> tuple[Values, Values]:
    """The two factors of Σ_N around all reflections, from the chosen ones.

    By resolution it is the mean of a shell, negative intensities included, or its standard error where that is larger,
    and a straight line in the logarithm between shells. The tensor, of 300 reflections or more, is the most likely one.
    """
    epsilon, centric = epsilon_and_centric(hkl, spacegroup)
    value, error = intensity / epsilon, sigma / epsilon
    counted = chosen & telling(value, error, chosen)
    inverse_d2 = cell.calculate_1_d2_array(hkl)
    nodes = shell_nodes(inverse_d2[counted], smallest=SMALLEST_SHELL, most=MAX_SHELLS)
    between = Interpolation.from_nodes(nodes, inverse_d2)
    # as a temperature factor of an intensity, exp(−sᵀBs/2)
    terms = -0.5 * anisotropic_terms(hkl, cell, spacegroup)[1]
    terms = terms[:, : None if counted.sum() >= SMALLEST_ANISOTROPIC else 0]
    direction, elements = np.ones(len(hkl)), np.zeros(terms.shape[1])
    power = _by_resolution(value, error, direction, between, counted)
    for _ in range(ROUNDS):
        capped = np.minimum(value, LARGEST * (power * direction + error))
        ratios = (values[counted] / power[counted] for values in (capped, error))
        elements = _fit_direction(elements, *ratios, centric[counted], terms[counted])
        direction = np.exp(terms @ elements)
        power = _by_resolution(capped, error, direction, between, counted)
    return power, direction


def telling(value: Values, error: Values, chosen: Flags) -> Flags:
    """Which reflections are precise enough to say something of the mean of those that are chosen."""
    return (error <= IMPRECISE * np.median(error[chosen])) | (value > error)


def _by_resolution(value, error, direction, between: Interpolation, counted) -> np.ndarray:
    inside = between.take(counted)
    count = inside.collect(direction[counted])
    mean = inside.collect(value[counted]) / count
    mean_error = np.sqrt(inside.collect(error[counted] ** 2)) / count
    smallest = 1e-6 * np.mean(np.abs(value[counted]))
    return np.exp(between.interpolate(np.log(np.maximum(np.maximum(mean, mean_error), smallest))))


def _fit_direction(elements: np.ndarray, ratio, error, centric, terms: np.ndarray) -> np.ndarray:
    """Scoring with the variance of Wilson's distribution and of the noise; log k is linear in the elements."""
    for _ in range(MAX_STEPS if elements.size else 0):
        k = np.exp(terms @ elements)
        weight = k / (np.where(centric, 2, 1) * k**2 + error**2)
        slope = terms.T @ (weight * (ratio - k))
        step = np.linalg.lstsq((terms.T * (weight * k)) @ terms, slope, rcond=None)[0]
        step /= max(1, np.max(np.abs(terms @ step)))
        elements = elements + step
        if np.max(np.abs(terms @ step)) < 1e-6:
            break
    return elements
