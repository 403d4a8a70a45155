"""Refinement of occupancies against diffraction data."""

from jax_occupancy.refinement._constraints import Constraints, constraints_of
from jax_occupancy.refinement._group_model import group_model, model_sites
from jax_occupancy.refinement._linear_model import check_same_crystal, linear_model
from jax_occupancy.refinement._quadratic import solve_on_simplexes
from jax_occupancy.refinement._refine import RefinementError, refine, solve
from jax_occupancy.refinement._solution import Solution, StartEnd
from jax_occupancy.refinement._solver import SolverResult, gauss_newton

__all__ = [
    "Constraints",
    "RefinementError",
    "Solution",
    "SolverResult",
    "StartEnd",
    "check_same_crystal",
    "constraints_of",
    "gauss_newton",
    "group_model",
    "linear_model",
    "model_sites",
    "refine",
    "solve",
    "solve_on_simplexes",
]
