"""Fixed entries in optax: transforms that keep them where they are.

`optax.masked` picks whole leaves, never entries of one, and hands the raw gradient through where its mask is False.
So the entries are zeroed here, by the mask each OccupancyTensor carries in its own static topology.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jax_occupancy.core._tensor import OccupancyTensor, _assemble


def is_occupancy_tensor(node: Any) -> bool:
    """Tell whether a node of a pytree is an OccupancyTensor: the `is_leaf` for masks and labels of one's own.

    Example:
        >>> import jax
        >>> params = {"occ": OccupancyTensor([0.5, 1.0]), "scale": 1.0}
        >>> jax.tree.map(is_occupancy_tensor, params, is_leaf=is_occupancy_tensor)
        {'occ': True, 'scale': False}
    """
    return isinstance(node, OccupancyTensor)


def zero_fixed() -> optax.GradientTransformationExtraArgs:
    """Make a transform that puts zeros at the fixed entries of every OccupancyTensor in the updates.

    It is applied through `optax.masked` to the OccupancyTensors alone. On its own it suffices for optimisers
    that turn a zero gradient into a zero update (sgd, adam); `refinable_only` holds for all of them.

    Example:
        >>> import jax, optax
        >>> occ = OccupancyTensor([0.5, 0.8], refinable_mask=[True, False])
        >>> grads = jax.grad(lambda occ: occ().sum())(occ)
        >>> updates, _ = zero_fixed().update(grads, zero_fixed().init(occ))
        >>> print(updates.logits)
        [0.25 0.  ]
    """
    zero = optax.stateless(lambda updates, params: _zero(updates))
    return optax.masked(zero, _where_tensors)


def refinable_only(optimizer: optax.GradientTransformation | optax.MultiSteps) -> optax.GradientTransformationExtraArgs:
    """Wrap any optimiser so that the fixed entries of OccupancyTensors keep their bits.

    Fixed entries are zeroed in the gradients and parameters the optimiser sees, so its moments and norms are those of
    the refinable entries alone, and in the updates it returns, so weight decay, noise and momentum can't move them.
    A state from before a freeze or unfreeze is carried over; entries that were fixed start with zero moments.

    Args:
        optimizer: any optax transformation, chains, `MultiSteps` and extra arguments included. Wrap the whole
            optimiser, not a part of a chain.

    Returns:
        The wrapped transformation, to be used on any pytree that holds OccupancyTensors.

    Raises:
        ValueError: from `update`, when the state belongs to parameters of other shapes.

    Example:
        >>> import jax, optax
        >>> occ = OccupancyTensor([0.5, 0.8], refinable_mask=[True, False])
        >>> optimizer = refinable_only(optax.adamw(0.1))
        >>> state = optimizer.init(occ)
        >>> updates, state = optimizer.update(jax.grad(lambda o: o().sum())(occ), state, occ)
        >>> bool(optax.apply_updates(occ, updates)()[1] == occ()[1])
        True
    """
    if isinstance(optimizer, optax.MultiSteps):
        optimizer = optimizer.gradient_transformation()
    inner = optax.with_extra_args_support(optimizer)

    def init(params):
        return inner.init(_zero(params))

    def update(updates, state, params=None, **extra_args):
        updates = _zero(updates)
        params = _zero(params)
        if _topologies(state) - _topologies(updates):
            state = _carry_over(state, inner, updates if params is None else params)
        updates, state = inner.update(updates, state, params, **extra_args)
        return _zero(updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _zero(tree: Any) -> Any:
    """Put zeros at the fixed entries of every OccupancyTensor that holds an array."""

    def zero(node):
        # Masks, labels and MaskedNode put something else where the logits were: none of our business.
        if not is_occupancy_tensor(node) or not isinstance(node.logits, jax.Array) or node.topology.refinable.all():
            return node
        # Not a product: 0 * NaN is NaN.
        logits = jnp.where(node.topology.refinable, node.logits, jnp.zeros((), node.logits.dtype))
        return _assemble(logits, node.topology)

    return jax.tree.map(zero, tree, is_leaf=is_occupancy_tensor)


def _where_tensors(tree: Any) -> Any:
    return jax.tree.map(is_occupancy_tensor, tree, is_leaf=is_occupancy_tensor)


def _topologies(tree: Any) -> set:
    nodes = jax.tree.leaves(tree, is_leaf=is_occupancy_tensor)
    return {node.topology for node in nodes if is_occupancy_tensor(node)}


def _carry_over(state: Any, inner: Any, params: Any) -> Any:
    """Give a state the tree structure that belongs to new topologies: same leaves, another static mask."""
    template = jax.eval_shape(inner.init, params)
    old, new = jax.tree.leaves(state), jax.tree.leaves(template)
    shapes = [jnp.shape(leaf) for leaf in old], [jnp.shape(leaf) for leaf in new]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "the optimiser state belongs to other parameters: an OccupancyTensor in it has "
            f"another number of entries (leaves {shapes[0][:5]} against {shapes[1][:5]}); call init again"
        )
    return _zero(jax.tree.unflatten(jax.tree.structure(template), old))
