"""σ_A: how much of the model is right, by resolution.

σ_A is the correlation of the true and the model's normalised structure factors (Read, Acta Cryst. A42, 140-149,
1986). It is estimated by maximum likelihood from the free set, to which the model was not fitted.
"""

from dataclasses import dataclass
from typing import Literal

import gemmi
import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, i0e, i1e

from jax_occupancy.xray._checks import checked_columns, checked_hkl
from jax_occupancy.xray._crystal import epsilon_and_centric
from jax_occupancy.xray._shells import Interpolation, shell_nodes, smooth_mean
from jax_occupancy.xray._wilson import resolution_and_direction, telling

# A shell of 50 gives 1 − σ_A² to 20 %; fewer free reflections in all are not enough for one.
SMALLEST_SHELL = 50
MAX_SHELLS = 12
# Shells of the power, from the working set.
SMALLEST_POWER_SHELL, MAX_POWER_SHELLS = 100, 20
# How far logit σ_A² may bend from one shell to the next, as a standard deviation.
BEND = 0.5
# 1e-6 of the power is left as error of a perfect model, so that no variance is zero.
LARGEST_LOGIT, SMALLEST_LOGIT = 13.8, -7.0
MAX_STEPS = 200


@dataclass(frozen=True, eq=False)
class SigmaA:
    """The error of the model's structure factors, for every reflection; `estimate_sigma_a` makes it.

    The expected structure factor is D·F_model with D = σ_A·√(Σ_N/Σ_P), and the true one has the variance εΣ_N(1 − σ_A²)
    about it. Between nodes the logit of σ_A² is a straight line in 1/d².
    """

    sigma_a: Float[np.ndarray, " reflections"]
    shrinkage: Float[np.ndarray, " reflections"]  # D
    variance: Float[np.ndarray, " reflections"]
    centric: Bool[np.ndarray, " reflections"]
    epsilon: Float[np.ndarray, " reflections"]  # how often symmetry maps each onto itself, lattice centring apart
    d_spacing: Float[np.ndarray, " nodes"]  # in Å
    at_nodes: Float[np.ndarray, " nodes"]  # σ_A
    source: Literal["free", "working", "map"]  # "working" if there are fewer than 50 free ones; of a map "map"
    n_used: int  # how many reflections it was estimated from

    @property
    def power(self) -> Float[np.ndarray, " reflections"]:
        """εΣ_N, the mean intensity."""
        return self.variance / (1 - self.sigma_a**2)

    def total_variance(self, sigma: Float[np.ndarray, " reflections"]) -> Float[np.ndarray, " reflections"]:
        """Add the error of the measurement: 2σ² for acentric reflections, σ² for centric ones."""
        return self.variance + np.where(self.centric, 1, 2) * sigma**2


def estimate_sigma_a(
    hkl: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray,
    free: np.ndarray,
    *,
    model_amplitude: np.ndarray,
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
    precision: np.ndarray | None = None,
    direction: np.ndarray | None = None,
) -> SigmaA:
    """Estimate σ_A by maximum likelihood as a smooth function of resolution.

    The mean power of data and model, Σ_N (less the variance of the measurement) and Σ_P, comes from the working set,
    by resolution and times one anisotropic tensor: where a crystal diffracts weakly, the errors are small too.
    σ_A comes from the free set, in shells of at least 50, at most 12. With fewer than 50 free reflections it comes
    from the working set and is then too high by as much as the model is overfitted.

    For data that are intensities, give F_eff as the amplitudes, and D_obs, which stands for the uncertainties: the
    likelihood is then that of `MaximumLikelihood.from_intensities`.

    Args:
        hkl: Miller indices, integers (reflections, 3), systematic absences left out.
        sigma: their standard uncertainties, which are not used beside a precision.
        model_amplitude: |F_model| on the scale of the observations.
        precision: D_obs of intensities, 0 to 1; one for amplitudes.
        direction: what `strength_by_direction` finds for the same data, which takes longer than all else.

    Raises:
        ValueError: lengths differ, a value is not finite, or the working set has no reflection or only zeros.
    """
    hkl = checked_hkl(hkl)
    observed, model, sigma, precision, is_free = checked_columns(
        len(hkl),
        amplitude=amplitude,
        model_amplitude=model_amplitude,
        sigma=sigma if precision is None else np.zeros(len(hkl)),
        precision=np.ones(len(hkl)) if precision is None else precision,
        free=free,
    )
    if np.any((precision < 0) | (precision > 1)):
        raise ValueError("precision: there are values below 0 or above 1, wanted the D_obs of intensities")
    is_free = is_free != 0
    if is_free.all():
        raise ValueError(f"free: all {len(hkl)} reflections are in the free set, wanted a working set")
    for name, values in (("amplitude", observed), ("model_amplitude", model)):
        if not np.any(values[~is_free] > 0):
            raise ValueError(f"{name}: all {(~is_free).sum()} values of the working set are zero, wanted amplitudes")
    noise, weight = sigma**2, precision**2
    epsilon, centric = epsilon_and_centric(hkl, spacegroup)
    inverse_d2 = cell.calculate_1_d2_array(hkl)
    if direction is None:
        crystal = {"cell": cell, "spacegroup": spacegroup, "precision": precision}
        direction = strength_by_direction(hkl, observed, sigma, is_free, **crystal)
    powers = observed**2 / epsilon, noise / epsilon, model**2 / epsilon
    # one σ² far above the others would be all of the mean noise, and Σ_N what is left
    counted = ~is_free & telling(*powers[:2], ~is_free)
    data_power, model_power = _powers(*powers, weight, direction, inverse_d2, counted)

    source: Literal["free", "working"] = "free" if is_free.sum() >= SMALLEST_SHELL else "working"
    used = is_free if source == "free" else ~is_free
    nodes = shell_nodes(inverse_d2[used], smallest=SMALLEST_SHELL, most=MAX_SHELLS)
    between = Interpolation.from_nodes(nodes, inverse_d2)
    ratio, power = np.sqrt(data_power / model_power), epsilon * data_power
    sample = _Sample(observed, model, ratio, power, noise, weight, centric, between)
    logits = _maximise(sample.take(used))
    sigma_a2 = expit(between.interpolate(logits))
    return SigmaA(
        sigma_a=np.sqrt(sigma_a2),
        shrinkage=np.sqrt(sigma_a2) * ratio,
        variance=power * (1 - sigma_a2),
        centric=centric,
        epsilon=epsilon,
        d_spacing=between.d_spacing,
        at_nodes=np.sqrt(expit(logits)),
        source=source,
        n_used=int(used.sum()),
    )


def strength_by_direction(
    hkl: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray,
    free: Bool[np.ndarray, " reflections"],
    *,
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
    precision: np.ndarray | float = 1.0,
) -> Float[np.ndarray, " reflections"]:
    """The factor of Σ_N by direction, one on average, from the working set.

    Arguments are those of `estimate_sigma_a`, but for `sigma`, which is zero beside a precision.
    """
    hkl, observed = checked_hkl(hkl), np.asarray(amplitude, np.float64)
    centric = epsilon_and_centric(hkl, spacegroup)[1]
    noise, weight = np.asarray(sigma, np.float64), np.square(precision)
    # uncertainties of F²; the second part gives intensities their weight D_obs²
    spread = np.sqrt(np.where(centric, 2, 1) * (1 - weight) / np.maximum(weight, 1e-8)) * np.mean(observed**2)
    spread += (2 * observed + noise) * noise
    crystal = {"cell": cell, "spacegroup": spacegroup}
    return resolution_and_direction(hkl, observed**2 - noise**2, spread, ~free, **crystal)[1]


def _powers(data, noise, model, weight, direction, inverse_d2, working) -> tuple[np.ndarray, np.ndarray]:
    """Σ_N and Σ_P by resolution and direction, from the working set; arguments are divided by ε."""
    nodes = shell_nodes(inverse_d2[working], smallest=SMALLEST_POWER_SHELL, most=MAX_POWER_SHELLS)
    between = Interpolation.from_nodes(nodes, inverse_d2)
    total = smooth_mean(weight * data, between, working) / smooth_mean(weight, between, working)
    # Where noise outweighs the signal, the difference of the two is no estimate.
    signal = np.maximum(total - smooth_mean(noise, between, working), 0.1 * total)
    factor = direction / smooth_mean(direction, between, working)
    return factor * signal, factor * smooth_mean(model, between, working)


@dataclass(frozen=True, eq=False)
class _Sample:
    """What σ_A is estimated from; with w = D_obs², D_obs·D = √w·σ_A·ratio and V = power·(1 − wσ_A²) + noise."""

    observed: np.ndarray
    model: np.ndarray
    ratio: np.ndarray
    power: np.ndarray
    noise: np.ndarray
    weight: np.ndarray
    centric: np.ndarray
    between: Interpolation

    def take(self, chosen: np.ndarray) -> "_Sample":
        arrays = {name: values[chosen] for name, values in vars(self).items() if name != "between"}
        return _Sample(**arrays, between=self.between.take(chosen))

    def slope_and_curvature(self, logits: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """−log likelihood, its first and an approximate second derivative by the logits of σ_A² at the nodes."""
        p = expit(self.between.interpolate(logits))
        degrees = np.where(self.centric, 1, 2)
        v = self.power * (1 - self.weight * p) + degrees * self.noise
        m = np.sqrt(self.weight * p) * self.ratio * self.model
        x = degrees * self.observed * m / v
        square = (self.observed - m) ** 2
        merit = np.where(self.centric, np.tanh(x), i1e(x) / i0e(x))
        log_sum = np.where(self.centric, np.log1p(np.exp(-2 * x)), np.log(i0e(x)))
        value = degrees / 2 * (square / v + np.log(v)) - log_sum
        by_m = degrees / v * (m - self.observed * merit)
        by_v = degrees / 2 * (1 / v - (square + 2 * self.observed * m * (1 - merit)) / v**2)
        # derivatives of m and v by the logit of this reflection
        dm, dv = m * (1 - p) / 2, -self.weight * self.power * (1 - p) * p
        # that of a Gaussian of the radial error, which is what is left where the error is small
        curvature = degrees / v * dm**2 + 0.5 * (dv / v) ** 2
        return float(value.sum()), self.between.collect(by_m * dm + by_v * dv), self.between.gram(curvature)


def _maximise(sample: _Sample) -> np.ndarray:
    """Scoring with steps that are shortened until the likelihood goes up."""
    n = len(sample.between.nodes)
    bend = np.diff(np.eye(n), 2, axis=0) / BEND
    stiffness = bend.T @ bend

    def penalised(logits):
        value, slope, curvature = sample.slope_and_curvature(logits)
        pull = stiffness @ logits
        return value + 0.5 * logits @ pull, slope + pull, curvature + stiffness

    logits = np.full(n, 1.5)  # σ_A = 0.9
    value, slope, curvature = penalised(logits)
    for _ in range(MAX_STEPS):
        step = -np.linalg.solve(curvature + 1e-6 * np.eye(n), slope)
        step *= min(1, 2 / np.max(np.abs(step)))
        for length in 0.5 ** np.arange(20):
            new = np.clip(logits + length * step, SMALLEST_LOGIT, LARGEST_LOGIT)
            trial = penalised(new)
            if trial[0] <= value:
                break
        else:
            return logits
        moved, logits = np.max(np.abs(new - logits)), new
        value, slope, curvature = trial
        if moved < 1e-8:
            return logits
    return logits
