"""Crystallographic occupancies in JAX."""

from jax_occupancy.core import OccupancyTensor, is_occupancy_tensor, refinable_only, zero_fixed

__all__ = ["OccupancyTensor", "is_occupancy_tensor", "refinable_only", "zero_fixed"]
