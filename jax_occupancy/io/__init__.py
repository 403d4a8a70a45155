"""Files: the only part of the library that opens them.

`read_model` and `write_model` handle models (PDB, mmCIF), `read_mtz` handles reflections.
"""

from jax_occupancy.io._atomic import atomic_writer
from jax_occupancy.io._labels import atom_label
from jax_occupancy.io._model import Model, read_model
from jax_occupancy.io._mtz import read_mtz
from jax_occupancy.io._reflections import Reflections
from jax_occupancy.io._rounding import rounded_units
from jax_occupancy.io._source import format_of_name
from jax_occupancy.io._write import write_model

__all__ = [
    "Model",
    "Reflections",
    "atom_label",
    "atomic_writer",
    "format_of_name",
    "read_model",
    "read_mtz",
    "rounded_units",
    "write_model",
]
