"""A simulated crystal whose true occupancies are known."""

from jax_occupancy.example._simulate import read_example, write_example

__all__ = ["read_example", "write_example"]
