"""Direct: calls about which Python has nothing to decide go through one `jax.jit`.

`jax.jit` tells calls by their arguments faster than Python can. What it traces for a call is the
tree that has been recorded for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from fxgrad.execution.options import Options
from fxgrad.recorder import is_tracer
from fxgrad.replay.promotion import Tree


class _NotRecordedError(Exception):
    """No recorded tree serves the call."""


# What a call raises that it cannot serve: jax.jit refuses arguments that are no arrays.
NOT_SERVED = (_NotRecordedError, TypeError, ValueError)


class Direct:
    """Serves every call whose tree is closed, as `jax.jit` serves it, or raises `NOT_SERVED`.

    Attributes:
      captures: the key of what the function captured when the trees were recorded.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        options: Options,
        captures: tuple[int, ...],
        find: Callable[[Any, Sequence[Any]], Tree | None],
    ) -> None:
        @functools.wraps(fun)  # jax.jit finds the names of the donated arguments here
        def recorded(*args: Any, **kwargs: Any) -> Any:
            leaves, structure = jax.tree.flatten((args, kwargs))
            # A number of Python's looks like a scalar of its dtype here, and belongs to the path.
            if any(not is_tracer(leaf) or leaf.weak_type for leaf in leaves):
                raise _NotRecordedError
            tree = find(structure, leaves)
            if tree is None or not tree.is_closed:
                raise _NotRecordedError
            return tree.trace(leaves)

        self.captures = captures
        self._jitted = jax.jit(recorded, donate_argnames=sorted(options.donate_argnames) or None)

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The output of the call."""
        return self._jitted(*args, **kwargs)
