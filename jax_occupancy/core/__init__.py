"""Occupancies in collapsed space: the module, its topology, its optax transforms, many tensors as one."""

from jax_occupancy.core._optax import is_occupancy_tensor, refinable_only, zero_fixed
from jax_occupancy.core._stack import concatenate, split, stack, unstack
from jax_occupancy.core._tensor import OccupancyTensor
from jax_occupancy.core._topology import Topology

__all__ = [
    "OccupancyTensor",
    "Topology",
    "concatenate",
    "is_occupancy_tensor",
    "refinable_only",
    "split",
    "stack",
    "unstack",
    "zero_fixed",
]
