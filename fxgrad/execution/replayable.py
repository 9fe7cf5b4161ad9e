"""Replayable: which calls can be told by their arguments, so that a recorded path holds."""

from __future__ import annotations

import types
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import jax
import numpy as np

from fxgrad.execution.options import Options
from fxgrad.paths import bind_names, call_shape_of
from fxgrad.replay.structure import PLAIN, params_key

MAX_VALUES: Final = 32

ARRAYS: Final = (jax.Array, np.ndarray, np.generic)
# What cannot change between two calls, so that a path may be told by its value.
_CONSTANT: Final = (*PLAIN, types.FunctionType, types.BuiltinFunctionType)


def leaf_key(leaf: Any) -> Hashable:
    """What a call is told by, for one leaf of its arguments."""
    return jax.typeof(leaf) if isinstance(leaf, ARRAYS) else params_key(leaf)


class Replayable:
    """Says why a call of one function cannot be replayed."""

    def __init__(self, fun: Callable[..., Any], options: Options) -> None:
        self._fun = fun
        self._options = options
        self._numbers: dict[Hashable, set[str]] = {}

    def reasons(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        leaves: Sequence[Any],
        structure: Hashable,
    ) -> list[str]:
        """Why the call has to run in eager; [] if it can be replayed."""
        return [*self._may_change(args, kwargs, leaves), *self._keep_changing(leaves, structure)]

    def _may_change(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], leaves: Sequence[Any]
    ) -> list[str]:
        """The leaves that are objects, which could change without the path being told."""
        odd = [leaf for leaf in leaves if not isinstance(leaf, (*_CONSTANT, *ARRAYS))]
        if not odd:
            return []
        named = bind_names(call_shape_of(self._fun), args, kwargs)
        static = [id(named[name]) for name in self._options.static_argnames if name in named]
        return [
            f"an argument is a {type(leaf).__name__}, which may change between calls: name it in "
            "static_argnames if it does not"
            for leaf in odd
            if id(leaf) not in static
        ]

    def _keep_changing(self, leaves: Sequence[Any], structure: Hashable) -> list[str]:
        """The Python numbers that have had too many values to record a path for each."""
        reasons = []
        for position, leaf in enumerate(leaves):
            if not isinstance(leaf, int | float | complex):
                continue
            seen = self._numbers.setdefault((structure, position), set())
            if repr(leaf) in seen or len(seen) < MAX_VALUES:
                seen.add(repr(leaf))
                continue
            reasons.append(
                f"an argument that is a Python {type(leaf).__name__} has had {MAX_VALUES} values; "
                "calls with others run in eager. To make it an input, pass an array: "
                "jnp.asarray(x)"
            )
        return reasons
