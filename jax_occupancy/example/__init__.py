"""A simulated crystal whose true occupancies are known."""

from jax_occupancy.example._simulate import Example, write_example

__all__ = ["Example", "write_example"]
