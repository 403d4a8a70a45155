"""Refinement of occupancies against diffraction data.

`refine` does it all, `refine_series` for many data sets of one model; `save_solution` and `save_series` keep what they
found. Their steps can be used alone: `make_setup` brings model, data and groups together, `run_cycles` fits scales and
occupancies in turn, `search` makes sure of the answer, `assess` finds uncertainties and evidence. Below them `Problem`
is the target as a function of everything refined, `solve` minimises it at fixed scales, and `gauss_newton` and
`solve_on_simplexes` know nothing of crystals; these go through jit, grad and vmap.
"""

from jax_occupancy.refinement._assess import Assessment, assess
from jax_occupancy.refinement._constraints import Constraints, constraints_of
from jax_occupancy.refinement._covariance import Uncertainty, uncertainty
from jax_occupancy.refinement._cycles import Fit, run_cycles
from jax_occupancy.refinement._devices import replicate, shard_columns, shard_reflections, shard_target
from jax_occupancy.refinement._group_model import group_model, model_sites
from jax_occupancy.refinement._linear_model import check_same_crystal, linear_model, shifted_columns
from jax_occupancy.refinement._model_error import ModelError, model_error
from jax_occupancy.refinement._numbers import at_bound, with_esd
from jax_occupancy.refinement._problem import BShifts, Problem, solve
from jax_occupancy.refinement._quadratic import solve_on_simplexes
from jax_occupancy.refinement._refine import RefinementError, refine
from jax_occupancy.refinement._saving import load_series, load_solution, save_series, save_solution
from jax_occupancy.refinement._search import Found, search
from jax_occupancy.refinement._series import refine_series
from jax_occupancy.refinement._series_solution import SeriesSolution
from jax_occupancy.refinement._setup import Setup, make_setup, start_values, without_outliers
from jax_occupancy.refinement._solution import Solution, StartEnd
from jax_occupancy.refinement._solver import SolverResult, gauss_newton
from jax_occupancy.refinement._starts import Minimum
from jax_occupancy.refinement._targets import Observations, target_maker

__all__ = [
    "Assessment",
    "BShifts",
    "Constraints",
    "Fit",
    "Found",
    "Minimum",
    "ModelError",
    "Observations",
    "Problem",
    "RefinementError",
    "SeriesSolution",
    "Setup",
    "Solution",
    "SolverResult",
    "StartEnd",
    "Uncertainty",
    "assess",
    "at_bound",
    "check_same_crystal",
    "constraints_of",
    "gauss_newton",
    "group_model",
    "linear_model",
    "load_series",
    "load_solution",
    "make_setup",
    "model_error",
    "model_sites",
    "refine",
    "refine_series",
    "replicate",
    "run_cycles",
    "save_series",
    "save_solution",
    "search",
    "shard_columns",
    "shard_reflections",
    "shard_target",
    "shifted_columns",
    "solve",
    "solve_on_simplexes",
    "start_values",
    "target_maker",
    "uncertainty",
    "with_esd",
    "without_outliers",
]
