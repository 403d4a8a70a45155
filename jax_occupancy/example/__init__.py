"""A simulated crystal, and a simulated particle, whose true occupancies are known."""

from jax_occupancy.example._simulate import Example, read_example, write_example
from jax_occupancy.example._simulate_map import noise_at, simulated_density, write_map_example

__all__ = ["Example", "noise_at", "read_example", "simulated_density", "write_example", "write_map_example"]
