"""Overall and bulk-solvent scale by resolution, times one anisotropic tensor.

The idea is that of Afonine et al., Acta Cryst. D69, 625-634 (2013): the scales are free functions of resolution, not
a Gaussian each. Here they are straight lines between shells and all parameters are refined together, so that the
scales change smoothly when the model does.
"""

from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Bool, Complex, Float

from jax_occupancy.xray._checks import check_columns, checked_hkl
from jax_occupancy.xray._crystal import anisotropic_terms
from jax_occupancy.xray._shells import Interpolation, shell_nodes, smooth_mean

MAX_SHELLS = 20
SMALLEST_SHELL = 100
# The flat mask says nothing at higher resolution, where a free k_mask would only fit noise. Cut off any lower, what is
# left of the solvent biases occupancies by up to 0.01.
SOLVENT_LIMIT = 1.5
# Fewer working reflections than this do not determine an anisotropic tensor besides the other scales.
SMALLEST_ANISOTROPIC = 100
# A shell without any intensity would drive log k to −∞; a factor of 1000 from the other shells is the limit.
LARGEST_LOG_RATIO = 7.0
MAX_STEPS = 50


@dataclass(frozen=True, eq=False)
class Scale:
    """k and k_mask of every reflection: F_model = overall·(F_calc + solvent·F_mask).

    k(h) = k_overall(s)·exp(−sᵀBs/4), with s the reciprocal-lattice vector and B traceless, is real and positive, and
    k_mask(s) never negative. Log k_overall and k_mask are straight lines in 1/d² between nodes.
    """

    overall: Float[np.ndarray, " reflections"]  # k
    solvent: Float[np.ndarray, " reflections"]  # k_mask
    d_spacing: Float[np.ndarray, " nodes"]  # in Å
    k_overall: Float[np.ndarray, " nodes"]
    k_mask: Float[np.ndarray, " nodes"]  # density of the solvent, in electrons per Å³ for X-rays
    b_anisotropic: tuple[float, ...]  # on Cartesian axes (11, 22, 33, 12, 13, 23), in Å²
    fractions: tuple[float, ...] = (1.0,)  # of the domains of a twin, the first that of the model
    fraction_esds: tuple[float, ...] = (0.0,)

    def apply(self, calculated, mask):
        """Put structure factors of the atoms and of the mask, (reflections,), on the scale of the observations."""
        return self.overall * (calculated + self.solvent * mask)

    def at(self, hkl: np.ndarray, cell: gemmi.UnitCell) -> tuple[np.ndarray, np.ndarray]:
        """The scales k and k_mask of other reflections of the crystal."""
        between = Interpolation.from_nodes(self.d_spacing**-2.0, cell.calculate_1_d2_array(hkl))
        s = hkl @ np.array(cell.frac.mat.tolist())
        falloff = np.einsum("hi,ij,hj->h", s, self._tensor, s) / 4
        return np.exp(between.interpolate(np.log(self.k_overall)) - falloff), between.interpolate(self.k_mask)

    @property
    def _tensor(self) -> Float[np.ndarray, "3 3"]:
        return np.array(self.b_anisotropic)[[0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(3, 3)

    def parameters(self, tensors: Float[np.ndarray, "elements 3 3"]) -> Float[np.ndarray, " parameters"]:
        """Log k and k_mask at the nodes and the elements of the tensor in terms of others."""
        elements = np.linalg.lstsq(tensors.reshape(-1, 9).T, self._tensor.reshape(-1))[0]
        return np.concatenate([np.log(self.k_overall), self.k_mask, elements])


def fit_scale(
    hkl: np.ndarray,
    amplitude: np.ndarray,
    free: np.ndarray,
    *,
    calculated: np.ndarray,
    mask: np.ndarray,
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
    start: Scale | None = None,
) -> Scale:
    """Fit the scales to the working set, by least squares on amplitudes relative to the mean of their shell.

    A search in each shell on its own gives the start values, from which all parameters are refined together. Where a
    centric reflection changes its sign there may be two minima; a start keeps to the one of a model before. All
    amplitudes of a shell weigh the same, for errors of the model outweigh theirs in all but the last shells.

    Args:
        hkl: Miller indices, integers (reflections, 3), each once.
        free: True in the test set, which takes no part.
        calculated: F_calc of the atoms.
        spacegroup: space group; decides which elements of the tensor are free.
        start: scales of the same reflections to start from.

    Returns:
        The scales of all reflections, constant beyond the working set's limits of resolution. With fewer than 100
        working reflections there is no tensor and one shell.

    Raises:
        ValueError: arrays differ in length, hold numbers that are not finite, or no reflection of the working set has
            an observed and a calculated amplitude above zero.
    """
    hkl = checked_hkl(hkl)
    columns = {"amplitude": amplitude, "free": free, "calculated": calculated, "mask": mask}
    columns = {name: np.asarray(values) for name, values in columns.items()}
    check_columns(columns, len(hkl))
    working = ~columns["free"].astype(bool)
    observed, fc = columns["amplitude"].astype(np.float64), columns["calculated"].astype(np.complex128)
    fm = columns["mask"].astype(np.complex128)
    if not working.any():
        raise ValueError(f"free: all {len(working)} reflections are in the test set, wanted a working set to fit to")
    if not np.any(observed[working] * np.abs(fc[working]) > 0):
        raise ValueError(
            "no reflection of the working set has both an observed and a calculated amplitude above zero, wanted some "
            "to fit a scale to; are all measurements, or all occupancies, zero?"
        )

    inverse_d2 = cell.calculate_1_d2_array(hkl)
    nodes = shell_nodes(inverse_d2[working], smallest=SMALLEST_SHELL, most=MAX_SHELLS)
    between = Interpolation.from_nodes(nodes, inverse_d2)
    tensors, terms = anisotropic_terms(hkl, cell, spacegroup)
    n_tensors = len(tensors) if working.sum() >= SMALLEST_ANISOTROPIC else 0
    tensors, tensor_terms = tensors[:n_tensors], -0.25 * terms[:, :n_tensors]
    # A single shell has solvent whatever its mean resolution.
    with_solvent = (nodes <= 1 / SOLVENT_LIMIT**2) | (len(nodes) == 1)
    weight = 1 / np.sqrt(smooth_mean(observed**2, between, working))
    problem = _Problem(
        weight[working], observed[working], fc[working], fm[working],
        between.take(working), tensor_terms[working], with_solvent,
    )  # fmt: skip
    begin = _start(problem) if start is None else start.parameters(tensors)
    log_k, k_mask, elements = problem.split(_refine(problem, begin))
    tensor = np.tensordot(elements, tensors, axes=1)
    return Scale(
        overall=np.exp(between.interpolate(log_k) + tensor_terms @ elements),
        solvent=between.interpolate(k_mask),
        d_spacing=between.d_spacing,
        k_overall=np.exp(log_k),
        k_mask=k_mask,
        b_anisotropic=tuple(float(tensor[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))),
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """The working set, and the parameters (log k at nodes, k_mask at nodes, tensor elements) in one vector."""

    weight: Float[np.ndarray, " working"]
    observed: Float[np.ndarray, " working"]
    calculated: Complex[np.ndarray, " working"]
    mask: Complex[np.ndarray, " working"]
    between: Interpolation
    tensor_terms: Float[np.ndarray, "working elements"]
    with_solvent: Bool[np.ndarray, " nodes"]

    def split(self, parameters: np.ndarray) -> list[np.ndarray]:
        n = len(self.with_solvent)
        return np.split(parameters, [n, 2 * n])

    def model(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scale factor times weight, and the structure factor it multiplies."""
        log_k, k_mask, elements = self.split(parameters)
        k = np.exp(self.between.interpolate(log_k) + self.tensor_terms @ elements)
        return self.weight * k, self.calculated + self.between.interpolate(k_mask) * self.mask

    def cost(self, parameters: np.ndarray) -> float:
        k, total = self.model(parameters)
        return float(np.sum((self.weight * self.observed - k * np.abs(total)) ** 2))

    def normal_equations(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k, total = self.model(parameters)
        size = np.abs(total)
        residual = self.weight * self.observed - k * size
        along_mask = np.real(np.conj(total) * self.mask) / np.where(size > 0, size, 1)
        # columns of the Jacobian: a by log k and b by k_mask, spread over the nodes, and c by the tensor
        a, b, c = k * size, k * along_mask, (k * size)[:, None] * self.tensor_terms
        nodes = self.between
        crossed = nodes.gram(a * b)
        scales = np.block([[nodes.gram(a * a), crossed], [crossed, nodes.gram(b * b)]])
        beside = [np.concatenate([nodes.collect(a * row), nodes.collect(b * row)]) for row in c.T]
        beside = np.reshape(beside, (c.shape[1], len(scales)))
        normal = np.block([[scales, beside.T], [beside, c.T @ c]])
        return np.concatenate([nodes.collect(a * residual), nodes.collect(b * residual), residual @ c]), normal

    def limits(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds around start values: no negative solvent, and none at high resolution; k stays off zero."""
        log_k, _, elements = self.split(parameters)
        unlimited = np.full(len(elements), np.inf)
        lower = [np.full(len(log_k), np.median(log_k) - LARGEST_LOG_RATIO), np.zeros(len(log_k)), -unlimited]
        upper = [np.full(len(log_k), np.median(log_k) + LARGEST_LOG_RATIO), self.with_solvent * 1e9, unlimited]
        return np.concatenate(lower), np.concatenate(upper)


def _start(problem: _Problem) -> np.ndarray:
    """Best k and k_mask of each shell on its own; k_mask on a grid, which keeps out of side minima."""
    nearest = problem.between.nearest
    all_shells = _shell_scale(problem, np.ones(len(nearest), bool), [0.0], (0.0, 0.0))
    values = []
    for node, solvent in enumerate(problem.with_solvent):
        grid = np.linspace(0, 1, 21) if solvent else [0.0]
        values.append(_shell_scale(problem, nearest == node, grid, all_shells))
    return np.concatenate([*np.array(values).T, np.zeros(problem.tensor_terms.shape[1])])


def _shell_scale(problem: _Problem, chosen: np.ndarray, grid, otherwise: tuple[float, float]) -> tuple[float, float]:
    """Scale and k_mask of some reflections; `otherwise` if all of them are zero."""
    best, found = np.inf, otherwise
    observed, calculated, mask = problem.observed[chosen], problem.calculated[chosen], problem.mask[chosen]
    for k_mask in grid:
        size = np.abs(calculated + k_mask * mask)
        power, product = size @ size, size @ observed
        cost = observed @ observed - product**2 / power if product > 0 else np.inf
        if cost < best:
            best, found = cost, (float(np.log(product / power)), float(k_mask))
    return found


def _refine(problem: _Problem, parameters: np.ndarray) -> np.ndarray:
    """Levenberg-Marquardt with bounds."""
    lower, upper = problem.limits(parameters)
    parameters = np.clip(parameters, lower, upper)
    damping, cost = 1e-4, problem.cost(parameters)
    for _ in range(MAX_STEPS):
        descent, normal = problem.normal_equations(parameters)
        stays = ((parameters <= lower) & (descent <= 0)) | ((parameters >= upper) & (descent >= 0))
        moving = ~(stays | (lower == upper))
        while True:
            step = np.zeros_like(parameters)
            step[moving] = _damped_solve(normal[np.ix_(moving, moving)], descent[moving], damping)
            new = np.clip(parameters + step, lower, upper)
            new_cost = problem.cost(new)
            if new_cost <= cost or damping > 1e6:
                break
            damping *= 10
        if not new_cost <= cost:
            return parameters
        gain, moved = cost - new_cost, np.max(np.abs(new - parameters))
        parameters, cost, damping = new, new_cost, damping / 10
        if moved < 1e-7 or gain <= 1e-14 * cost:
            return parameters
    return parameters


def _damped_solve(normal: np.ndarray, right: np.ndarray, damping: float) -> np.ndarray:
    diagonal = np.diag(normal)
    # The last term holds parameters that no reflection depends on.
    ridge = damping * diagonal + 1e-12 * diagonal.max(initial=0) + np.finfo(float).tiny
    return np.linalg.solve(normal + np.diag(ridge), right)
