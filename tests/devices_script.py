"""One solve on the example, its reflections on one device and on many: run by `test_devices.py`, and on a cluster.

python devices_script.py                                       all devices of this machine
python devices_script.py 127.0.0.1:port processes number       one of several processes
"""

import json
import sys
import tempfile
from dataclasses import replace

import jax


def main():
    """Compare; nothing runs on import, because the collection of tests imports every file."""
    jax.config.update("jax_enable_x64", True)
    if len(sys.argv) > 1:
        address, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        jax.distributed.initialize(address, count, number, initialization_timeout=30)

    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh

    from jax_occupancy import read_model, read_reflections, refine, write_example
    from jax_occupancy.refinement import minimise, prepare, refine_series, run_cycles, shard_reflections

    with tempfile.TemporaryDirectory() as folder:
        files = write_example(folder)
        data, model = read_reflections(files.reflections), read_model(files.model)
    data = data.select(data.d_spacing() > 2.2)
    problem = prepare(model, data)
    x = problem.start("even")
    objective = run_cycles(problem, x, max_cycles=1).objective
    alone = minimise(objective, x, tolerance=1e-9)

    mesh = Mesh(np.array(jax.devices()), ("reflections",))
    parts = objective.linear, objective.target, objective.matrix, x
    linear, target, matrix, start = shard_reflections(parts, mesh)
    spread = minimise(replace(objective, linear=linear, target=target, matrix=matrix), start, tolerance=1e-9)

    @jax.jit
    def misfit(linear, target, q):
        """The target and its gradient by reverse mode."""
        return jax.value_and_grad(lambda q: jnp.sum(target(linear.amplitude(q))))(q)

    q = x[: problem.n_groups]
    ours, theirs = misfit(linear, target, start[: problem.n_groups]), misfit(objective.linear, objective.target, q)
    apart = [
        float(np.max(np.abs(np.asarray(one) - np.asarray(other)))) for one, other in zip(ours, theirs, strict=True)
    ]
    # The turnkey option wants every array on the host, which a single process has.
    turnkey_apart = series_apart = 0.0
    if jax.process_count() == 1:
        found = [refine(model, data, starts=1, mesh=one).table for one in (None, mesh)]
        found.append(refine_series(model, [data], starts=1, mesh=mesh).table)
        numbers = [table[["occupancy", "esd"]].to_numpy() for table in found]
        turnkey_apart, series_apart = (float(np.nanmax(np.abs(other - numbers[0]))) for other in numbers[1:])
    shards = len(linear.columns.source.sharding.device_set)
    largest = max(shard.data.nbytes for shard in linear.columns.source.addressable_shards)
    print(
        json.dumps(
            {
                "devices": jax.device_count(),
                "processes": jax.process_count(),
                "shards": shards,
                "share": largest / objective.linear.columns.source.nbytes,
                "occupancies": float(np.max(np.abs(np.asarray(spread.x) - np.asarray(alone.x)))),
                "target": apart[0] / abs(float(theirs[0])),
                "gradient": apart[1] / float(np.max(np.abs(np.asarray(theirs[1])))),
                "turnkey": turnkey_apart,
                "series": series_apart,
                "steps": int(spread.steps),
            }
        )
    )


if __name__ == "__main__":
    main()
