"""A simulated crystal, and a simulated particle, whose true occupancies are known."""

from jax_occupancy.example._simulate import Example, read_example, write_example
from jax_occupancy.example._simulate_map import write_map_example

__all__ = ["Example", "read_example", "write_example", "write_map_example"]
