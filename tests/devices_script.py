"""One solve on the example, its reflections on one device and on many: run by `test_devices.py`, and on a cluster.

python devices_script.py                                       all devices of this machine
python devices_script.py 127.0.0.1:port processes number       one of several processes
"""

import json
import sys
import tempfile

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
    from jax_occupancy.refinement import (
        make_setup,
        refine_series,
        replicate,
        run_cycles,
        shard_reflections,
        shard_target,
        solve,
        start_values,
        target_maker,
    )

    with tempfile.TemporaryDirectory() as folder:
        files = write_example(folder)
        data, model = read_reflections(files.reflections), read_model(files.model)
    data = data.select(data.d_spacing() > 2.2)
    setup = make_setup(model, data)
    x = start_values(setup, "even")
    maker = target_maker("ml", setup.observations, dtype=x.dtype)
    fit = run_cycles(setup.linear, setup.observations, setup.constraints, x, maker, max_cycles=1)
    alone = solve(fit.linear, fit.problem.target, fit.problem.matrix, x, tolerance=1e-9)

    mesh = Mesh(np.array(jax.devices()), ("reflections",))
    linear, target = shard_reflections(fit.linear, mesh), shard_target(fit.problem.target, mesh)
    matrix, start = replicate((fit.problem.matrix, x), mesh)
    spread = solve(linear, target, matrix, start, tolerance=1e-9)

    @jax.jit
    def misfit(linear, target, q):
        """The target and its gradient by reverse mode."""
        return jax.value_and_grad(lambda q: jnp.sum(target(linear.amplitude(q))))(q)

    q = x[: setup.n_groups]
    ours, theirs = misfit(linear, target, replicate(q, mesh)), misfit(fit.linear, fit.problem.target, q)
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
                "share": largest / fit.linear.columns.source.nbytes,
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
