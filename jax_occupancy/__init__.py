"""Crystallographic occupancies in JAX.

The occupancy of an atom is the fraction of unit cells in which it is present. Many atoms share one, conformers of a
residue compete for the same place, and some values are known and must not move.

**For your own JAX program**

* `OccupancyTensor` holds the occupancies of a structure as one small array of logits; calling it gives one occupancy
  per atom, and what must sum to one does. It goes through `jax.jit`, `jax.grad`, `jax.vmap` and optax as it is.
* `stack` and `unstack` handle many models of one structure, `concatenate` and `split` different structures in one.
* `refinable_only(optimizer)` makes any optax optimiser keep the fixed entries exactly where they are;
  `is_occupancy_tensor` finds the tensors in a pytree and `zero_fixed` is the bare transform.
* `save_tensor` and `load_tensor` keep a tensor in a file.

>>> from jax_occupancy import OccupancyTensor
>>> occ = OccupancyTensor([1.0, 0.6, 0.6, 0.4], altloc_groups=[[[1, 2], [3]]], refinable_mask=[False, True, True, True])
>>> occ.shape, occ.collapsed_shape, occ.get_refinable_count()
((4,), (3,), 2)
>>> [round(q, 3) for q in occ.set_group_occupancy(0, 0.75)().tolist()]  # the other conformer follows
[1.0, 0.75, 0.75, 0.25]

**From files to refined occupancies**

* `refine(model, reflections)` does it all and returns a `Solution`: a table with standard uncertainties and what the
  data say for each group, `solution.plot()`, `solution.write(model, path)`. `refine_series(model, datasets)` does
  it for many data sets of one model and returns a `SeriesSolution`.
* `read_model`, `read_reflections`, `read_maps` (half maps of cryo-EM) and `write_model` handle files. `group_model`
  decides what shares an occupancy and says why, with your own wishes (`UserGroups`, or a file of them);
  `automatic_groups` does so from an atom table alone.
* `save_solution` and `load_solution` keep a solution in a file, whole; `save_series` and `load_series` a series.
* `write_example(folder)` simulates a crystal with known occupancies to try things on.

The command line does the same: `jax-occupancy refine model.pdb data.mtz -o refined.pdb`; `jax-occupancy --help`.

**Further in**

`jax_occupancy.groups` (what shares an occupancy), `jax_occupancy.io` (files), `jax_occupancy.xray` (structure factors,
scales, σ_A, targets, maps), `jax_occupancy.refinement` (the steps of a refinement), `jax_occupancy.plotting` (pictures
and reports). `help` of each begins with a tour. The notebooks go from a first tensor to a loss of your own.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jax_occupancy.core import (
        OccupancyTensor,
        concatenate,
        is_occupancy_tensor,
        refinable_only,
        split,
        stack,
        unstack,
        zero_fixed,
    )
    from jax_occupancy.example import write_example
    from jax_occupancy.groups import Grouping, UserGroups, automatic_groups
    from jax_occupancy.io import (
        Model,
        Reflections,
        load_tensor,
        read_maps,
        read_model,
        read_reflections,
        save_tensor,
        write_model,
    )
    from jax_occupancy.refinement import (
        SeriesSolution,
        Solution,
        group_model,
        load_series,
        load_solution,
        refine,
        refine_series,
        save_series,
        save_solution,
    )

__version__ = "0.2.0"

# Loaded on first use: jax alone takes a second, and a method developer needs neither pandas nor gemmi.
_NAMES = {
    "core": "OccupancyTensor concatenate is_occupancy_tensor refinable_only split stack unstack zero_fixed",
    "example": "write_example",
    "groups": "Grouping UserGroups automatic_groups",
    "io": "Model Reflections load_tensor read_maps read_model read_reflections save_tensor write_model",
    "refinement": "SeriesSolution Solution group_model refine refine_series load_series load_solution save_series "
    "save_solution",
}
_HOME = {name: package for package, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Grouping",
    "Model",
    "OccupancyTensor",
    "Reflections",
    "SeriesSolution",
    "Solution",
    "UserGroups",
    "automatic_groups",
    "concatenate",
    "group_model",
    "is_occupancy_tensor",
    "load_series",
    "load_solution",
    "load_tensor",
    "read_maps",
    "read_model",
    "read_reflections",
    "refinable_only",
    "refine",
    "refine_series",
    "save_series",
    "save_solution",
    "save_tensor",
    "split",
    "stack",
    "unstack",
    "write_example",
    "write_model",
    "zero_fixed",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_HOME])
