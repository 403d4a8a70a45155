"""Functions of tensors that `jax.export` writes down: by their leaves, the topology inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jax_occupancy import OccupancyTensor, stack

pytest.importorskip("flatbuffers", reason="serialising needs flatbuffers")


def tensor():
    return OccupancyTensor(
        [1.0, 0.6, 0.6, 0.4, 0.2], altloc_groups=[[[1, 2], [3]]], refinable_mask=4 * [True] + [False]
    )


def restored(function, *arguments, **more):
    return export.deserialize(export.export(jax.jit(function))(*arguments).serialize(**more))


def test_values_and_gradient_of_parameters_that_hold_a_tensor(dtype):
    occ = tensor()
    params = {"occ": OccupancyTensor.from_logits(occ.logits, occ.topology, dtype=dtype), "scale": jnp.ones((), dtype)}

    def loss(params):
        return params["scale"] * jnp.sum(params["occ"]() ** 2)

    leaves, structure = jax.tree.flatten(params)
    exported = restored(lambda leaves: loss(jax.tree.unflatten(structure, leaves)), leaves, vjp_order=1)
    np.testing.assert_array_equal(exported.call(leaves), jax.jit(loss)(params))
    gradient = jax.tree.unflatten(structure, jax.grad(lambda leaves: exported.call(leaves))(leaves))
    np.testing.assert_allclose(gradient["occ"].logits, jax.grad(loss)(params)["occ"].logits, rtol=1e-6)


def test_one_export_for_stacks_of_any_size():
    occ = tensor()
    (n,) = export.symbolic_shape("n")
    models = jax.ShapeDtypeStruct((n, *occ.collapsed_shape), occ.dtype)
    exported = restored(lambda logits: OccupancyTensor.from_logits(logits, occ.topology)(), models)
    for size in (1, 3):
        some = stack([occ.set_group_occupancy(0, q) for q in np.linspace(0.2, 0.8, size)])
        np.testing.assert_array_equal(exported.call(some.logits), some())
