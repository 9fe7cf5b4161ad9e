"""Whether a state is worth saving: nothing in it has become infinite or NaN.

What a bad one means for the training belongs to `nonfinite`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


class Beginning:
    """What a training began with: how much of each leaf was NaN or infinite, as on purpose.

    Args:
      state: a `TrainState`, of which the parameters are looked at, or any pytree, of which every
        float is.
    """

    def __init__(self, state: Any) -> None:
        self._counts = _counts(state)

    def worsened(self, state: Any) -> str | None:
        """The path of the first leaf with more NaN or more infinities than at the beginning."""
        for path, (nans, infinities) in _counts(state).items():
            before = self._counts.get(path, (0, 0))
            if nans > before[0] or infinities > before[1]:
                return path
        return None


def _counts(state: Any) -> dict[str, tuple[int, int]]:
    """How many values are NaN, and how many infinite, by the path of the leaf."""
    whole = "params" if hasattr(state, "params") else "the state"
    # Leaf by leaf, since they need not be on the same devices; read all at once.
    counted = {
        whole + jax.tree_util.keystr(path): _count(leaf)
        for path, leaf in jax.tree.leaves_with_path(getattr(state, "params", state))
        if isinstance(leaf, float | complex) or _is_inexact(leaf)
    }
    return jax.device_get(counted)


def _is_inexact(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


@jax.jit
def _count(leaf: Any) -> tuple[jax.Array, jax.Array]:
    return jnp.sum(jnp.isnan(leaf)), jnp.sum(jnp.isinf(leaf))
