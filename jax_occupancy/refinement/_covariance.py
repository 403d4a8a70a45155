"""Standard uncertainties under constraints, and limits where an occupancy sits on a bound.

With A the equations that hold and the bounds that are met, the covariance is the upper left block of the inverse of

    [ H  Aᵀ ]
    [ A  0  ]

(Golub & Van Loan, Matrix Computations, 6.2; Aitchison & Silvey, Ann. Math. Stat. 29, 813-828, 1958).
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array
from scipy.special import log_ndtr, ndtri_exp

# Standard deviation of a prior on each occupancy, so weak that it matters only where the data say nothing.
PRIOR_OCCUPANCY = 1.0
ONE_SIDED = 0.05


def uncertainty(
    curvature: Float[np.ndarray, "variables variables"],
    gradient: Float[np.ndarray, " variables"],
    matrix: Float[np.ndarray, "equations variables"],
    at_bound: Bool[np.ndarray, " variables"],
    *,
    scores: Float[np.ndarray, "variables variables"] | None = None,
) -> tuple[Float[np.ndarray, "variables variables"], Float[np.ndarray, " variables"]]:
    """Find the covariance of variables that obey equations and are not negative.

    Args:
        curvature: information on the variables, in units of the log-likelihood.
        gradient: of minus the log-likelihood.
        matrix: the equations.
        at_bound: variables that are held at zero.
        scores: Σ of the products of first derivatives over the observations. With them the covariance is the
            sandwich C·scores·C (Huber, 1967; White, 1982), which holds where the target is not a likelihood.

    Returns:
        The covariance, zero for a variable on its bound; and for each of these the value that it stays below with 95 %
        probability (NaN for the others): the likelihood beyond the bound is cut off and what is left normalised, so
        that the limit is a Bayesian one with an even prior.

    Example:
        >>> curvature = np.diag([400.0, 100.0])  # alone they would have esds of 0.05 and 0.1, but they sum to one
        >>> covariance, _ = uncertainty(curvature, np.zeros(2), np.ones((1, 2)), np.zeros(2, bool))
        >>> np.sqrt(np.diag(covariance)).round(3).tolist()
        [0.045, 0.045]
    """
    # A vacancy that is open takes what the others of its equation leave, and tells them nothing.
    vacant = np.flatnonzero(~at_bound & (np.diagonal(curvature) == 0) & (np.count_nonzero(matrix, axis=0) == 1))
    rows, which = np.nonzero(matrix[:, vacant])
    if vacant.size:
        rows, first = np.unique(rows, return_index=True)
        vacant = vacant[which[first]]
        others = np.delete(np.arange(at_bound.size), vacant)
        some, cross = np.ix_(others, others), np.ix_(vacant, others)
        of_others = curvature[some], gradient[others], np.delete(matrix, rows, axis=0)[:, others], at_bound[others]
        covariance, limit = np.zeros_like(curvature), np.full(at_bound.size, np.nan)
        covariance[some], limit[others] = uncertainty(*of_others, scores=None if scores is None else scores[some])
        follow = -csr_array(matrix[np.ix_(rows, others)] / matrix[rows, vacant][:, None])
        covariance[cross] = follow @ covariance[some]
        covariance[cross[::-1]] = covariance[cross]
        covariance[np.ix_(vacant, vacant)] = covariance[cross] @ follow.T
        return covariance, limit
    n, m = curvature.shape[0], matrix.shape[0]
    free = ~at_bound
    both = free[:, None] & free
    # Occupancies, B factors and shifts differ by orders of magnitude: the system is solved for scaled variables.
    scale = 1 / np.sqrt(np.maximum(np.diagonal(curvature), 1e-30))
    scaled = curvature * scale[:, None]
    scaled *= scale
    system = np.zeros((n + m, n + m))
    system[:n, :n] = np.where(both, scaled, 0)
    diagonal = np.arange(n)
    system[diagonal, diagonal] += np.where(free, 1e-12, 1.0)
    sides = np.where(free, matrix * scale, 0)
    system[n:, :n], system[:n, n:] = sides, sides.T
    # Without a free variable an equation says nothing; the same size keeps the system regular.
    empty = ~np.any(sides != 0, axis=1)
    system[n + np.arange(m), n + np.arange(m)] = np.where(empty, 1.0, -1e-14)
    inverse = np.linalg.inv(system)
    limit = _limits(scaled, gradient * scale, matrix * scale, at_bound, inverse) * scale
    block = np.where(both, inverse[:n, :n], 0)
    block *= scale[:, None]
    block *= scale
    return (block if scores is None else block @ scores @ block), limit


def _limits(curvature, gradient, matrix, at_bound, inverse) -> Float[np.ndarray, " variables"]:
    """95 % limits, from the curvature and the slope that each bound variable has when all free ones follow it."""
    free, bound = ~at_bound, np.flatnonzero(at_bound)
    # one column per variable on its bound
    beside = np.concatenate([np.where(free[:, None], curvature[:, bound], 0), matrix[:, bound]])
    pull_of_free = np.concatenate([np.where(free, gradient, 0), np.zeros(matrix.shape[0])])
    followed = inverse @ beside
    stiffness = np.diagonal(curvature)[bound] - np.sum(beside * followed, axis=0)
    pull = gradient[bound] - followed.T @ pull_of_free
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = 1 / np.sqrt(np.where(stiffness > 0, stiffness, np.nan))
        middle = np.minimum(-pull * spread**2, 0)
        # the quantile of a normal distribution that is cut off below zero, in logarithms: the bound may be far
        limit = middle - spread * ndtri_exp(np.log(ONE_SIDED) + log_ndtr(middle / spread))
    found = np.full(at_bound.size, np.nan)
    found[bound] = limit
    return found
