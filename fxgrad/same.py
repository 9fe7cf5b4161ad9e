"""Same: whether the processes bring the same values, told leaf by leaf.

When that is asked belongs to those that take the values. How processes speak is in `agreement`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.agreement import agree
from fxgrad.statements import Statement


def agree_on_values(members: frozenset[int], tree: Any, *, topic: str, instead: str) -> None:
    """Return when all `members` have brought the same values; at once where that is one process.

    Arrays that processes share already are left out. All others are read.

    Args:
      members: the processes.
      tree: any pytree of arrays and Python values.
      topic: what the values are for.
      instead: what to write where they differ.

    Raises:
      DisagreementError: a value differs in bits, shape or dtype; it is named.
    """
    if len(members) < 2:
        return
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    words = {jax.tree_util.keystr(path) or "it": _told(leaf) for path, leaf in leaves}
    key = hashlib.sha256(repr(words).encode()).hexdigest()
    agree(members, Statement(topic, key, words, instead))


def _told(leaf: Any) -> str:
    """A short name of a value: equal for equal bits, and for nothing else."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return "shared"
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if not hasattr(leaf, "dtype"):
        return repr(leaf) if isinstance(leaf, bool | int | float | complex | str) else "unknown"
    values = np.ascontiguousarray(leaf)
    digest = hashlib.sha256(values.reshape(-1).view(np.uint8).data).hexdigest()
    return f"{values.dtype}{list(values.shape)} of SHA-256 {digest}"
