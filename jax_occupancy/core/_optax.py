"""Fixed entries in optax: transforms that keep them where they are.

`optax.masked` picks whole leaves, never entries of one, and hands the raw gradient through where its mask is False.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_occupancy.core._tensor import OccupancyTensor


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

    It suffices for optimisers that turn a zero gradient into a zero update (sgd, adam), `refinable_only` for all.

    Example:
        >>> import jax, optax
        >>> occ = OccupancyTensor([0.5, 0.8], refinable_mask=[True, False])
        >>> grads = jax.grad(lambda occ: occ().sum())(occ)
        >>> updates, _ = zero_fixed().update(grads, zero_fixed().init(occ))
        >>> print(updates.logits)
        [0.25 0.  ]
    """
    where_tensors = functools.partial(jax.tree.map, is_occupancy_tensor, is_leaf=is_occupancy_tensor)
    return optax.masked(optax.stateless(lambda updates, params: _zero(updates)), where_tensors)


def refinable_only(optimizer: optax.GradientTransformation | optax.MultiSteps) -> optax.GradientTransformationExtraArgs:
    """Wrap any optimiser, chains and `MultiSteps` included, so that fixed entries of OccupancyTensors keep their bits.

    Fixed entries are zero in the gradients and parameters that the optimiser sees, so its moments and norms are those
    of the refinable ones, and in the updates it returns, so weight decay, noise and momentum can't move them. A state
    from before a freeze or unfreeze is carried over; what was fixed starts as in a new state. Functions among the extra
    arguments (of line searches) are evaluated at the true parameters.

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
        state = _carry_over(state, inner, updates if params is None else params)
        extra_args = {name: _reduced(value, params) for name, value in extra_args.items()}
        updates, state = inner.update(_zero(updates), state, _zero(params), **extra_args)
        return _zero(updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _map_tensors(function: Callable, tree: Any, *others: Any) -> Any:
    """Map over the OccupancyTensors of trees whose leaves are the logits of each entry, and leave the rest alone."""

    def one(node, *rest):
        # Masks, labels, MaskedNode and states of one number per leaf put something else where the logits were.
        if not is_occupancy_tensor(node) or not isinstance(node.logits, jax.Array | np.ndarray):
            return node
        if node.logits.shape[-1:] != (node.topology.n_collapsed,):
            return node
        return OccupancyTensor.from_logits(function(node, *rest), node.topology)

    return jax.tree.map(one, tree, *others, is_leaf=is_occupancy_tensor)


def _zero(tree: Any) -> Any:
    # Not a product: 0 * NaN is NaN.
    return _map_tensors(lambda node: jnp.where(node.topology.refinable, node.logits, jnp.zeros_like(node.logits)), tree)


def _reduced(value: Any, params: Any) -> Any:
    """An extra argument for the inner optimiser, whose fixed entries are zero; a function gets the true ones back."""
    # A module is callable too: what has the structure of the parameters is a gradient, not a function of them.
    if params is None or not callable(value) or jax.tree.structure(value) == jax.tree.structure(params):
        return _zero(value)

    @functools.wraps(value)
    def at_true_values(zeroed, *args, **kwargs):
        true = _map_tensors(
            lambda node, original: jnp.where(node.topology.refinable, node.logits, original.logits), zeroed, params
        )
        return value(true, *args, **kwargs)

    return at_true_values


def _tensors(tree: Any) -> list[OccupancyTensor]:
    return [node for node in jax.tree.leaves(tree, is_leaf=is_occupancy_tensor) if is_occupancy_tensor(node)]


def _carry_over(state: Any, inner: optax.GradientTransformationExtraArgs, params: Any) -> Any:
    """Fit a state to the masks of the parameters: what became fixed is zeroed, what became free starts anew."""
    topologies = {tensor.topology for tensor in _tensors(params)}
    if all(tensor.topology in topologies for tensor in _tensors(state)) and len(topologies) < 2:
        return state
    template = jax.eval_shape(inner.init, params)
    if [tensor.topology for tensor in _tensors(state)] == [tensor.topology for tensor in _tensors(template)]:
        return state
    (leaves, was), (wanted, now) = (jax.tree.flatten(tree, is_leaf=is_occupancy_tensor) for tree in (state, template))
    if was != now or not all(map(_alike, leaves, wanted)):
        raise ValueError(
            "the optimiser state belongs to other parameters: only the masks of their OccupancyTensors may have "
            "changed since init; call init again"
        )

    def carry(carried, fresh, before):
        freed = carried.topology.refinable & ~before.topology.refinable
        return jnp.where(freed, fresh.logits, carried.logits)

    carried = jax.tree.unflatten(jax.tree.structure(template), jax.tree.leaves(state))
    return _map_tensors(carry, _zero(carried), inner.init(params), state)


def _alike(old: Any, new: Any) -> bool:
    """Whether two leaves, which may be tensors, differ in values and masks alone."""
    if is_occupancy_tensor(old) != is_occupancy_tensor(new):
        return False
    if is_occupancy_tensor(new) and old.topology.with_refinable(new.topology.refinable) != new.topology:
        return False
    return [jnp.shape(leaf) for leaf in jax.tree.leaves(old)] == [leaf.shape for leaf in jax.tree.leaves(new)]
