"""Padding: arrays of any length made one of a few lengths, and the mask that says what is real.

Which lengths those are belongs to `buckets`.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.errors import BucketError, OptionError
from fxgrad.shapes.buckets import Buckets, too_long


def pad(
    tree: Any,
    size: int | Buckets,
    *,
    axis: int = 0,
    value: float = 0,
    overflow: Literal["error", "exact"] = "error",
) -> Any:
    """An array, or all arrays of a tree, with `value` added at the end of `axis`.

    Args:
      tree: a pytree of NumPy or JAX arrays of any dtype, all with that axis.
      size: the length to reach; or `Buckets`, of which the one for the longest array is taken for
        all of them.
      axis: counted from the end if negative.
      value: what is added, in the dtype of each array.
      overflow: for an array that is longer: ``"error"``, or ``"exact"`` to take the longest
        array's own length for all, which is one more shape to compile.

    Returns:
      The tree with arrays of their own kind and dtype, and one length along `axis`.

    Raises:
      BucketError: an array is longer, and `overflow` is ``"error"``.
      OptionError: an array has no such axis, or `overflow` is neither.
      OverflowError: `value` does not fit the dtype.
    """
    if overflow not in ("error", "exact"):
        message = f"overflow={overflow!r} is unknown. Write 'error' or 'exact'."
        raise OptionError(message, option="overflow")
    leaves, treedef = jax.tree.flatten_with_path(tree)
    lengths = {_path(path): _length(path, leaf, axis) for path, leaf in leaves}
    if not lengths:
        return tree
    longest = max(lengths, key=lambda path: lengths[path])
    target = _target(size, lengths[longest], longest, overflow)
    return treedef.unflatten([_padded(leaf, target, axis, value) for _, leaf in leaves])


def mask(length: Any, size: int) -> Any:
    """Which places of a padded axis are real: ``arange(size) < length``.

    Args:
      length: a whole number or an integer array of any shape ``[...]``; it may be traced.
      size: the padded length.

    Returns:
      bool ``[..., size]``; a JAX array if `length` is one, a NumPy array otherwise.
    """
    if isinstance(length, jax.Array):
        return jnp.arange(size, dtype=jnp.int32) < length[..., None].astype(jnp.int32)
    return np.arange(size) < np.asarray(length)[..., None]


def _target(size: int | Buckets, length: int, path: str, overflow: str) -> int:
    try:
        if isinstance(size, Buckets):
            return size.bucket_of(length, path)
        if length <= size:
            return size
        remedy = f'Pad to at least {length}, or pass overflow="exact"'
        raise too_long(path, length, size, "the size to pad to", remedy)
    except BucketError:
        if overflow == "exact":
            return length
        raise


def _length(path: tuple[Any, ...], leaf: Any, axis: int) -> int:
    ndim = np.ndim(leaf)
    if not hasattr(leaf, "shape") or not -ndim <= axis < ndim:
        what = f"shape {leaf.shape}" if hasattr(leaf, "shape") else f"type {type(leaf).__name__}"
        message = f"{_path(path)} has {what}, so there is no axis {axis} to pad"
        raise OptionError(f"{message}. Pad the arrays that have one.", option="axis")
    return leaf.shape[axis]


def _padded(leaf: Any, target: int, axis: int, value: float) -> Any:
    if leaf.shape[axis] == target:
        return leaf
    numbers = np if isinstance(leaf, np.ndarray) else jnp
    shape = list(leaf.shape)
    shape[axis] = target - leaf.shape[axis]
    return numbers.concatenate([leaf, numbers.full(shape, np.full((), value, leaf.dtype))], axis)


def _path(path: tuple[Any, ...]) -> str:
    return f"batch{jax.tree_util.keystr(path)}" if path else "the array"
