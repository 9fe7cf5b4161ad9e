"""Where a leaf is, and how a leaf that was read gets there."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.checkpoints.leaves import Leaf
from fxgrad.recorder import of_aval


class Place(NamedTuple):
    """Where an array is.

    Attributes:
      sharding: of an array that is committed to its devices.
      is_jax: whether it is a JAX array; otherwise it is NumPy's.
      is_scalar: whether it is a NumPy scalar and no array.
    """

    sharding: jax.sharding.Sharding | None
    is_jax: bool = True
    is_scalar: bool = False


def place_of(leaf: Any) -> Place:
    """Where an array is, or where `jax.ShapeDtypeStruct` says that one shall be."""
    if isinstance(leaf, np.ndarray | np.generic):
        return Place(None, is_jax=False, is_scalar=isinstance(leaf, np.generic))
    is_free = isinstance(leaf, jax.Array) and not leaf.committed
    return Place(None if is_free else leaf.sharding)


def put(array: Any, saved: Leaf, place: Place) -> Any:
    """An array that was read, as the leaf that it was and where it belongs."""
    if not place.is_jax:
        return array[()] if place.is_scalar else array
    if place.sharding is None:
        array = jnp.array(array)
    if saved.kind == "key":
        return jax.random.wrap_key_data(array, impl=saved.implementation)
    if saved.is_weak:
        aval = jax.ShapeDtypeStruct(saved.shape, saved.stored_dtype, weak_type=True)
        return of_aval(array, aval)
    return array
