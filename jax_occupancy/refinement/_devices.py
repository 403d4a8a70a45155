"""Reflections spread over several devices, or several machines.

Each device keeps its share of the structure factors of the groups, its rows of everything that there is one of per
reflection, and sums over them; XLA adds up the sums. So the work of a refinement is divided by the number of devices,
and so is the memory, once the structure factors have been computed and dealt out. What goes between devices is a
gradient and a matrix of second derivatives a step. Nothing here is special to one kind of device: a `jax.sharding.Mesh`
of CPUs, GPUs or TPUs, in one process or in many.

    mesh = jax.sharding.Mesh(jax.devices(), ("reflections",))
    solution = refine(model, data, mesh=mesh)                                  # turnkey, one process
    series = refine_series(model, datasets, mesh=mesh)

    linear = shard_reflections(setup.linear, mesh)                             # or step by step
    target = shard_target(target, mesh)
    matrix, x = replicate((matrix, x), mesh)
    result = solve(linear, target, matrix, x, tolerance=1e-6)

On a cluster every process runs the same script, with the same model and data, and begins with

    jax.distributed.initialize()        # under SLURM, Open MPI or Kubernetes; else give address, count and number
    jax.config.update("jax_enable_x64", True)

after which `jax.devices()` are those of all processes: `srun --ntasks-per-node=4 --gpus-per-task=1 python script.py`.
What `solve` returns is on every process. Data sets are independent of each other: for a long series the better way
to use many machines is one process for every so many data sets, each on its own.
"""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_occupancy.xray import Columns, DisplacedSolvent, LinearModel


def padded_length(n_reflections: int, mesh: Mesh) -> int:
    """The next multiple of the number of devices.

    Example:
        >>> padded_length(10, Mesh(jax.devices()[:1], ("reflections",)))
        10
    """
    return -(-n_reflections // mesh.size) * mesh.size


def shard_reflections(linear: LinearModel, mesh: Mesh) -> LinearModel:
    """Divide the reflections of a linear model among the devices of a mesh.

    Args:
        linear: a model whose structure factors are in memory.
        mesh: the devices; all its axes together divide the reflections.

    Returns:
        The same model with its reflections filled up to a multiple of the number of devices, by some at which nothing
        scatters. Give the target the same length by `shard_target`.

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
    n = padded_length(linear.fixed.size, mesh)
    fills = {"fixed": 0, "mask": 0, "overall": 1, "solvent": 0, "s_squared": 0}
    rows = {name: _rows(getattr(linear, name), n, fill, mesh) for name, fill in fills.items()}
    displaced = linear.displaced
    if displaced is not None:
        # the last row is that of reflections to which the solvent does not matter
        place = _rows(displaced.place, n, displaced.rows.shape[0] - 1, mesh)
        displaced = DisplacedSolvent(replicate(displaced.rows, mesh), replicate(displaced.low, mesh), place)
    return LinearModel(**rows, columns=shard_columns(linear.columns, mesh), displaced=displaced)


def shard_columns(columns: Columns, mesh: Mesh) -> Columns:
    """Divide structure factors of groups among the devices of a mesh, all reflections of a device in one chunk.

    Args:
        columns: stored columns, with their derivatives or without.
        mesh: the devices.

    Returns:
        The same columns.

    Raises:
        ValueError: the columns are not stored.

    Example:
        >>> import jax.numpy as jnp
        >>> mesh = Mesh(jax.devices(), ("reflections",))
        >>> shard_columns(Columns.from_complex(jnp.ones((2, 3)) + 0j), mesh).n_groups
        2
    """
    if not columns.is_stored:
        raise ValueError(
            "columns are computed in passes; raise `memory` so that they are stored: the devices share it out"
        )
    n = padded_length(columns.n_reflections, mesh)
    whole = np.moveaxis(np.asarray(columns.source), 0, -2)
    whole = whole.reshape(*whole.shape[:-2], -1)[..., : columns.n_reflections]
    return Columns(_rows(whole, n, 0, mesh)[None], None, replicate(columns.axes, mesh), n, columns.n_groups)


stored = jax.jit(Columns.stored)


def shard_target(target: Any, mesh: Mesh) -> Any:
    """Divide the observations of a target among the devices of a mesh.

    Args:
        target: such as `MaximumLikelihood`; its arrays have one number per reflection, and its `weight` is zero where a
            reflection does not count.
        mesh: the devices.

    Returns:
        The same target, filled up as `shard_reflections` does, with reflections that do not count.

    Example:
        >>> from jax_occupancy.xray import LeastSquares
        >>> target = LeastSquares.from_data([1.0, 2.0], [False, True])
        >>> shard_target(target, Mesh(jax.devices()[:1], ("reflections",))).weight.shape
        (2,)
    """
    n = padded_length(target.weight.size, mesh)
    filled = jax.tree.map(lambda leaf: _rows(leaf, n, np.asarray(leaf)[0], mesh), target)
    return eqx.tree_at(lambda target: target.weight, filled, _rows(target.weight, n, 0, mesh))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Give every device of a mesh a copy of all arrays.

    Example:
        >>> replicate({"x": np.zeros(2)}, Mesh(jax.devices(), ("reflections",)))["x"].tolist()
        [0.0, 0.0]
    """
    return jax.tree.map(lambda leaf: _put(np.asarray(leaf), NamedSharding(mesh, PartitionSpec())), tree)


def _rows(values: Any, n: int, fill: Any, mesh: Mesh) -> jax.Array:
    """Fill the last axis up to length n, and divide it."""
    host = np.asarray(values)
    widths = [(0, 0)] * (host.ndim - 1) + [(0, n - host.shape[-1])]
    host = np.pad(host, widths, constant_values=fill)
    spec = PartitionSpec(*[None] * (host.ndim - 1), mesh.axis_names)
    return _put(host, NamedSharding(mesh, spec))


def _put(host: np.ndarray, sharding: NamedSharding) -> jax.Array:
    # of the whole array, which every process has, each device gets what is its own
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
