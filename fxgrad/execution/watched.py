"""Watched: a function whose arguments are looked at before and after each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from fxgrad.paths import bind_names, call_shape_of, leaf_path
from fxgrad.replay.structure import PLAIN


class Watched:
    """Calls a function, and notes what it changes in the containers that it is given.

    Attributes:
      changed: the paths of the leaves that calls added, took away or replaced, each with the name
        of its argument.
    """

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.__wrapped__ = fun
        self.changed: dict[str, str] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        named = bind_names(call_shape_of(self.__wrapped__), args, kwargs)
        before = _leaves(named)
        output = self.__wrapped__(*args, **kwargs)
        after = _leaves(named)
        for at in {**before, **after}:
            if not (at in before and at in after and _is_same(before[at], after[at])):
                self.changed["".join(at)] = at[0]
        return output


def _leaves(named: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Every leaf by its argument and its path in that."""
    return {
        (name, leaf_path("", keys)): leaf
        for name, value in named.items()
        for keys, leaf in jax.tree_util.tree_flatten_with_path(value)[0]
    }


def _is_same(before: Any, after: Any) -> bool:
    return before is after or (
        type(before) is type(after) and isinstance(before, PLAIN) and before == after
    )
