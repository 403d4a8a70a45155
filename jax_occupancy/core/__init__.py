"""Occupancies in collapsed space: the module, its topology and its optax transforms."""

from jax_occupancy.core._optax import is_occupancy_tensor, refinable_only, zero_fixed
from jax_occupancy.core._tensor import OccupancyTensor
from jax_occupancy.core._topology import Topology

__all__ = ["OccupancyTensor", "Topology", "is_occupancy_tensor", "refinable_only", "zero_fixed"]
