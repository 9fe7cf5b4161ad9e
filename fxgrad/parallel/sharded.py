"""A loss on the mesh: parameters are brought together before use, gradients are split again.

The unchanged loss runs on a mesh too, and its values are the same; then the compiler alone decides
what is sent, which may be more than the layout needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fxgrad.parallel.batch import batch_sharding, check_rows
from fxgrad.parallel.mesh import batch_axes, product_of, sizes_of
from fxgrad.parallel.place import shardings
from fxgrad.parallel.rules import Entry, Rules, axes_in

# The name of the operation that `_gather` makes; no other part of JAX or Flax makes it.
_GATHERING: Final = "linear_call"


def sharded(
    loss: Callable[..., Any], mesh: Mesh, rules: Rules, *, regather: bool = True
) -> Callable[..., Any]:
    """The same loss, in which parameters and gradients move as the rules say and no other way.

    An axis that splits the batch (``data``, ``fsdp``) cannot split a parameter in use. So what
    such an axis splits is gathered before the loss reads it, and its gradient comes back split;
    what ``tensor`` splits stays split. The state then keeps its layout from step to step.

    Args:
      loss: as for `train.make_step`: ``loss(params, batch, ...)``.
      mesh: the mesh.
      rules: the rules of the parameters.
      regather: gather again in the backward pass instead of keeping whole parameters from the
        forward pass: half as much again is sent, and they take memory only while they are used.

    Raises:
      ShardingError: when the loss is called: a rule does not fit, or the rows of the batch cannot
        be split.
    """

    @functools.wraps(loss)
    def on_the_mesh(params: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        kept = shardings(params, mesh, rules)
        batch = _split(batch, mesh)

        def compute(params: Any) -> Any:
            return loss(jax.tree.map(_gather, params, kept), batch, *args, **kwargs)

        gathers = any(s.spec != _gathered(s).spec for s in jax.tree.leaves(kept))
        return (
            jax.checkpoint(compute, policy=_keep)(params)
            if regather and gathers
            else compute(params)
        )

    return on_the_mesh


def _split(batch: Any, mesh: Mesh) -> Any:
    check_rows(batch, product_of(sizes_of(mesh), batch_axes(mesh)))
    wanted = batch_sharding(mesh)
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, wanted) if jnp.ndim(leaf) else leaf,
        batch,
    )


def _gather(leaf: Any, kept: NamedSharding) -> Any:
    # The transpose of a constraint alone would gather the gradient as well.
    return jax.custom_derivatives.linear_call(
        lambda _, leaf: jax.lax.with_sharding_constraint(leaf, _gathered(kept)),
        lambda _, gradient: jax.lax.with_sharding_constraint(gradient, kept),
        (),
        leaf,
    )


def _gathered(kept: NamedSharding) -> NamedSharding:
    """As it is used: split by those axes only that do not split the batch."""
    axes = batch_axes(dict(kept.mesh.shape))
    spec = PartitionSpec(*(_without(entry, axes) for entry in kept.spec))
    return NamedSharding(kept.mesh, spec)


def _without(entry: Entry, axes: tuple[str, ...]) -> Entry:
    left = tuple(axis for axis in axes_in((entry,)) if axis not in axes)
    return left[0] if len(left) == 1 else left or None


def _keep(primitive: Any, *_: Any, **__: Any) -> bool:
    """What the backward pass keeps from the forward pass: all but gathered parameters."""
    return primitive.name != _GATHERING
