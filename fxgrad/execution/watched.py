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
      changed: the path of the first leaf that a call added, took away or replaced; else None.
    """

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.__wrapped__ = fun
        self.changed: str | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        named = bind_names(call_shape_of(self.__wrapped__), args, kwargs)
        before = _leaves(named)
        output = self.__wrapped__(*args, **kwargs)
        after = _leaves(named)
        changed = (
            path
            for path in {**before, **after}
            if not (path in before and path in after and _is_same(before[path], after[path]))
        )
        self.changed = self.changed or next(changed, None)
        return output


def _leaves(named: dict[str, Any]) -> dict[str, Any]:
    return {
        leaf_path(name, keys): leaf
        for name, value in named.items()
        for keys, leaf in jax.tree_util.tree_flatten_with_path(value)[0]
    }


def _is_same(before: Any, after: Any) -> bool:
    return before is after or (
        type(before) is type(after) and isinstance(before, PLAIN) and before == after
    )
