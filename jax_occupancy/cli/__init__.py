"""The command line, `jax-occupancy`."""

from jax_occupancy.cli._app import app, main

__all__ = ["app", "main"]
