"""Structure factors: groups by direct summation, the rest by FFT, bulk solvent, scale, and the linear model of them."""

from jax_occupancy.xray._boxes import Box, boxes_around, empty_box
from jax_occupancy.xray._columns import Columns, along, of_orbits
from jax_occupancy.xray._crystal import Crystal
from jax_occupancy.xray._diagnostics import (
    completeness_by_shell,
    dispersion_note,
    hydrogen_note,
    native_patterson,
    quantity_note,
    twin_test,
)
from jax_occupancy.xray._fixed import fixed_structure_factors
from jax_occupancy.xray._form_factors import Radiation, dispersion
from jax_occupancy.xray._hartley import MapLikelihood, MapModel, hartley
from jax_occupancy.xray._intensities import FrenchWilson, amplitudes_from_intensities
from jax_occupancy.xray._linear_model import DisplacedSolvent, LinearModel
from jax_occupancy.xray._maps import map_coefficients
from jax_occupancy.xray._outliers import Outliers, find_outliers
from jax_occupancy.xray._r_factors import r_factor, random_r_factor
from jax_occupancy.xray._scale import Scale, fit_scale
from jax_occupancy.xray._scatterers import Scatterers, group_scatterers
from jax_occupancy.xray._shells import Interpolation, shell_nodes, smooth_mean
from jax_occupancy.xray._sigma_a import SigmaA, estimate_sigma_a, strength_by_direction
from jax_occupancy.xray._solvent import group_solvent_structure_factors, solvent_structure_factors
from jax_occupancy.xray._special_positions import Sites, across_symmetry, read_sites, site_orders
from jax_occupancy.xray._targets import LeastSquares, MaximumLikelihood, Target
from jax_occupancy.xray._tiles import Tiles
from jax_occupancy.xray._twinning import TwinnedModel, TwinOrbits, fit_fractions, own_share, twin_laws

__all__ = [
    "Box",
    "Columns",
    "Crystal",
    "DisplacedSolvent",
    "FrenchWilson",
    "Interpolation",
    "LeastSquares",
    "LinearModel",
    "MapLikelihood",
    "MapModel",
    "MaximumLikelihood",
    "Outliers",
    "Radiation",
    "Scale",
    "Scatterers",
    "SigmaA",
    "Sites",
    "Target",
    "Tiles",
    "TwinOrbits",
    "TwinnedModel",
    "across_symmetry",
    "along",
    "amplitudes_from_intensities",
    "boxes_around",
    "completeness_by_shell",
    "dispersion",
    "dispersion_note",
    "empty_box",
    "estimate_sigma_a",
    "find_outliers",
    "fit_fractions",
    "fit_scale",
    "fixed_structure_factors",
    "group_scatterers",
    "group_solvent_structure_factors",
    "hartley",
    "hydrogen_note",
    "map_coefficients",
    "native_patterson",
    "of_orbits",
    "own_share",
    "quantity_note",
    "r_factor",
    "random_r_factor",
    "read_sites",
    "shell_nodes",
    "site_orders",
    "smooth_mean",
    "solvent_structure_factors",
    "strength_by_direction",
    "twin_laws",
    "twin_test",
]
