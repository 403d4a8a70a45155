"""Reflections spread over several devices, or several machines.

Each device keeps its share of everything that there is one of per reflection and sums over it; XLA adds up the sums,
a gradient and a matrix of second derivatives a step. The devices are CPUs, GPUs or TPUs, of one process or of many.

    mesh = jax.sharding.Mesh(jax.devices(), ("reflections",))
    solution = refine(model, data, mesh=mesh)                     # turnkey; refine_series takes a mesh too
    linear, target = shard_reflections((linear, target), mesh)    # or step by step

On a cluster every process runs the same script, with the same model and data, after `jax.distributed.initialize()`
(under SLURM, Open MPI or Kubernetes; else give it address, count and number).
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_occupancy.xray import Columns, DisplacedSolvent, LinearModel, Target


def shard_reflections(tree: Any, mesh: Mesh) -> Any:
    """Divide the reflections of a linear model, a target or columns among the devices of a mesh.

    Args:
        tree: a `LinearModel` whose structure factors are in memory, a `Target`, stored `Columns`, or a tuple of these.
            Other arrays, such as the start of a search, are copied to every device.
        mesh: the devices; all its axes together divide the reflections.

    Returns:
        The same with the reflections filled up to a multiple of the number of devices, by copies of the last one that
        do not count in a target.

    Raises:
        ValueError: the structure factors are computed in passes.

    Example:
        >>> import jax.numpy as jnp
        >>> ones = jnp.ones(3)
        >>> model = LinearModel.from_structure_factors(1j * ones, 0j * ones, 2.0 * ones[None] + 0j, ones, ones)
        >>> sharded = shard_reflections(model, Mesh(jax.devices(), ("reflections",)))
        >>> sharded.amplitude(jnp.array([0.0]))[:3].tolist()
        [1.0, 1.0, 1.0]
    """
    rows = partial(divided, mesh=mesh)

    def copies(values: Any) -> Any:
        return jax.tree.map(lambda one: jax.device_put(np.asarray(one), NamedSharding(mesh, PartitionSpec())), values)

    if isinstance(tree, tuple):
        return tuple(shard_reflections(one, mesh) for one in tree)
    if isinstance(tree, Target):
        weight = rows(tree.weight, constant_values=0)
        return eqx.tree_at(lambda target: target.weight, jax.tree.map(rows, tree), weight)
    if isinstance(tree, Columns):
        if not tree.is_stored:
            raise ValueError(
                "columns are computed in passes; raise `memory` so that they are stored: the devices share it out"
            )
        chunks = np.moveaxis(np.asarray(tree.source), 0, -2)
        whole = rows(chunks.reshape(*chunks.shape[:-2], -1)[..., : tree.n_reflections])
        # all reflections of a device in one chunk
        return Columns(whole[None], None, copies(tree.axes), whole.shape[-1], tree.n_groups)
    if isinstance(tree, LinearModel):
        names = ("fixed", "mask", "overall", "solvent", "s_squared")
        parts = {name: rows(getattr(tree, name)) for name in names}
        columns, empty = shard_reflections(tree.columns, mesh), None if tree.empty is None else rows(tree.empty)
        return LinearModel(**parts, columns=columns, displaced=shard_reflections(tree.displaced, mesh), empty=empty)
    if isinstance(tree, DisplacedSolvent):
        return eqx.tree_at(lambda one: one.place, copies(tree), rows(tree.place))
    return copies(tree)


def divided(values: Any, mesh: Mesh, **filling: Any) -> jax.Array:
    """Fill the last axis up, by what it ends with unless told otherwise, and divide it among the devices."""
    host = np.asarray(values)
    host = np.pad(
        host, [(0, 0)] * (host.ndim - 1) + [(0, -host.shape[-1] % mesh.size)], **(filling or {"mode": "edge"})
    )
    spec = PartitionSpec(*[None] * (host.ndim - 1), mesh.axis_names)
    return jax.device_put(host, NamedSharding(mesh, spec))
