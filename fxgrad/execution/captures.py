"""Captures: what a function reads from its closure, defaults and module, noticed by identity.

A path is recorded with what stood there; when a name has been given another value, it is another
path.
"""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

from fxgrad.closures import closure_of
from fxgrad.places import code_of

_MISSING: Final = object()


class Captures:
    """What one function itself reads. What functions that it calls read is not in it."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self._fun = inspect.unwrap(fun)
        self._globals: dict[str, Any] = getattr(self._fun, "__globals__", {})
        code = code_of(fun) if isinstance(self._fun, types.FunctionType) else None
        self._names = tuple(sorted(set(_global_names(code)))) if code else ()

    def now(self) -> tuple[Any, ...]:
        """The objects themselves."""
        read = self._globals.get
        fun = self._fun
        return (
            *[read(name, _MISSING) for name in self._names],
            *closure_of(fun),
            *(getattr(fun, "__defaults__", None) or ()),
            *(getattr(fun, "__kwdefaults__", None) or {}).values(),
        )

    def key(self) -> tuple[int, ...]:
        """The identities of the objects. They hold as long as the objects are held."""
        return tuple(map(id, self.now()))

    def are(self, objects: tuple[Any, ...]) -> bool:
        """Whether they still are `objects`."""
        read = self._globals.get
        names = self._names
        for name, held in zip(names, objects, strict=False):
            if read(name, _MISSING) is not held:
                return False
        if len(objects) == len(names):
            return True
        now = self.now()
        return len(now) == len(objects) and all(a is b for a, b in zip(now, objects, strict=True))


def _global_names(code: types.CodeType) -> Iterator[str]:
    """The names that a code object and those inside of it read from the module."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)
