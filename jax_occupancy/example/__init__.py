"""A simulated crystal whose true occupancies are known."""

from jax_occupancy.example._simulate import Example, read_example, write_example

__all__ = ["Example", "read_example", "write_example"]
