"""Refinement of occupancies against diffraction data.

`refine` does it all, `refine_series` for many data sets of one model; `save_solution` and `save_series` keep what they
found. What happens in between: `prepare` brings model, data and groups together (a `Problem`, what stays), `search`
fits scales and occupancies in turn and makes sure of the answer (a `State`, what moves), `settle` moves B factors and
positions with them (a `Posterior`), `assess` finds uncertainties and evidence. `Objective` is the target as a function
of occupancies and B shifts and `minimise` minimises it at fixed scales; `gauss_newton` and `solve_on_simplexes` know
nothing of crystals. These go through jit, grad and vmap.
"""

from jax_occupancy._options import Options
from jax_occupancy.refinement._assess import assess
from jax_occupancy.refinement._constraints import Constraints, constraints_of
from jax_occupancy.refinement._covariance import uncertainty
from jax_occupancy.refinement._cycles import State, run_cycles
from jax_occupancy.refinement._devices import shard_reflections
from jax_occupancy.refinement._group_model import group_model
from jax_occupancy.refinement._linear_model import check_same_crystal, linear_model
from jax_occupancy.refinement._map_data import MapData
from jax_occupancy.refinement._map_model import map_structure_factors
from jax_occupancy.refinement._movers import moved_model
from jax_occupancy.refinement._objective import Objective, minimise
from jax_occupancy.refinement._posterior import Posterior, posterior_at
from jax_occupancy.refinement._prepare import prepare
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.refinement._pruning import atoms_of_groups
from jax_occupancy.refinement._quadratic import solve_on_simplexes
from jax_occupancy.refinement._refine import RefinementError, refine
from jax_occupancy.refinement._saving import load_series, load_solution, save_series, save_solution
from jax_occupancy.refinement._search import search
from jax_occupancy.refinement._series import DataSet, names_of, refine_series
from jax_occupancy.refinement._series_solution import SeriesSolution
from jax_occupancy.refinement._settle import settle
from jax_occupancy.refinement._solution import Solution
from jax_occupancy.refinement._solver import Result, gauss_newton

__all__ = [
    "Constraints",
    "DataSet",
    "MapData",
    "Objective",
    "Options",
    "Posterior",
    "Problem",
    "RefinementError",
    "Result",
    "SeriesSolution",
    "Solution",
    "State",
    "assess",
    "atoms_of_groups",
    "check_same_crystal",
    "constraints_of",
    "gauss_newton",
    "group_model",
    "linear_model",
    "load_series",
    "load_solution",
    "map_structure_factors",
    "minimise",
    "moved_model",
    "names_of",
    "posterior_at",
    "prepare",
    "refine",
    "refine_series",
    "run_cycles",
    "save_series",
    "save_solution",
    "search",
    "settle",
    "shard_reflections",
    "solve_on_simplexes",
    "uncertainty",
]
