"""Files: the only part of the library that opens them.

`read_model` and `write_model` handle models (PDB, mmCIF), `read_reflections` handles reflections (MTZ, mmCIF),
`write_mtz` writes columns such as map coefficients, `read_groups` and `write_groups` handle occupancy groups (TOML,
Refmac, phenix, servalcat). `select_atoms`, `find_contacts` and `images_within` look into a model.
`from_gemmi`, `model_from_gemmi` and `to_gemmi` are for structures that are in memory already.
`save_tensor` and `load_tensor` keep an OccupancyTensor, `write_archive` and `read_archive` whatever is made of arrays,
tables and text.
"""

from jax_occupancy.io._atoms import atom_label
from jax_occupancy.io._files import atomic_writer, format_of_name
from jax_occupancy.io._groups import check_groups_name, read_groups, text_of_groups, write_groups
from jax_occupancy.io._maps import Maps, is_map, read_maps, write_map
from jax_occupancy.io._model import Model, from_gemmi, model_from_gemmi, placed_in, read_model, to_gemmi
from jax_occupancy.io._mtz import write_mtz
from jax_occupancy.io._radiation import agreed_radiation
from jax_occupancy.io._reflections import Reflections, read_reflections
from jax_occupancy.io._rounding import rounded_units
from jax_occupancy.io._saving import load_tensor, read_archive, save_tensor, write_archive
from jax_occupancy.io._selecting import atoms_within, find_contacts, images_within, select_atoms
from jax_occupancy.io._write import write_model

__all__ = [
    "Maps",
    "Model",
    "Reflections",
    "agreed_radiation",
    "atom_label",
    "atomic_writer",
    "atoms_within",
    "check_groups_name",
    "find_contacts",
    "format_of_name",
    "from_gemmi",
    "images_within",
    "is_map",
    "load_tensor",
    "model_from_gemmi",
    "placed_in",
    "read_archive",
    "read_groups",
    "read_maps",
    "read_model",
    "read_reflections",
    "rounded_units",
    "save_tensor",
    "select_atoms",
    "text_of_groups",
    "to_gemmi",
    "write_archive",
    "write_groups",
    "write_map",
    "write_model",
    "write_mtz",
]
