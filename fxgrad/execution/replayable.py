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

MANY_VALUES: Final = 32
_MAX_POSITIONS: Final = 256

ARRAYS: Final = (jax.Array, np.ndarray, np.generic)
# What cannot change between two calls, so that a path may be told by its value.
_CONSTANT: Final = (*PLAIN, types.FunctionType, types.BuiltinFunctionType)


def leaf_key(leaf: Any) -> Hashable:
    """What a call is told by, for one leaf of its arguments."""
    return jax.typeof(leaf) if isinstance(leaf, ARRAYS) else params_key(leaf)


class Replayable:
    """Says why a call of one function cannot be replayed, or is dear."""

    def __init__(self, fun: Callable[..., Any], options: Options) -> None:
        self._fun = fun
        self._options = options
        self._numbers: dict[Hashable, set[str]] = {}

    def may_change(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], leaves: Sequence[Any]
    ) -> list[str]:
        """The arguments that are objects, which could change without the path being told."""
        odd = [leaf for leaf in leaves if not isinstance(leaf, (*_CONSTANT, *ARRAYS))]
        if not odd:
            return []
        named = bind_names(call_shape_of(self._fun), args, kwargs)
        static = [id(named[name]) for name in self._options.static_argnames if name in named]
        return [
            f"an argument is a {type(leaf).__name__}, which may change between calls: name it in "
            "static_argnames if it does not; until then such calls run in eager"
            for leaf in odd
            if id(leaf) not in static
        ]

    def keep_changing(self, leaves: Sequence[Any], structure: Hashable) -> list[str]:
        """The arguments that are Python numbers and have had many values."""
        notes = []
        for position, leaf in enumerate(leaves):
            if not isinstance(leaf, int | float | complex):
                continue
            if len(self._numbers) >= _MAX_POSITIONS:
                self._numbers.clear()
            seen = self._numbers.setdefault((structure, position), set())
            if len(seen) < MANY_VALUES:
                seen.add(repr(leaf))
            if len(seen) == MANY_VALUES:
                notes.append(
                    f"an argument that is a Python {type(leaf).__name__} has had {MANY_VALUES} "
                    "values, and each is recorded by a run of Python. To make it an input, pass "
                    "an array: jnp.asarray(x)"
                )
        return notes
