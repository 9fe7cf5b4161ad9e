"""Captures: what a function reads from its closure, defaults and module, noticed by identity.

A path is recorded with what stood there; when a name has been given another value, it is another
path.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

from fxgrad.closures import closure_of

_MISSING: Final = object()
_BY_VALUE: Final = (bool, int, float, complex, str, bytes)


class Captures:
    """What one function itself reads, and the functions that it wraps.

    What other functions that it calls read is not in it.
    """

    def __init__(self, fun: Callable[..., Any]) -> None:
        self._functions = tuple(_functions(fun))
        self._reads = tuple(
            (function.__globals__.get, name)
            for function in self._functions
            for name in sorted(set(_global_names(function.__code__)))
        )
        self._has_closure = any(function.__closure__ for function in self._functions)

    def now(self) -> tuple[Any, ...]:
        """The objects themselves."""
        held = [read(name, _MISSING) for read, name in self._reads]
        for function in self._functions:
            held += closure_of(function)
            held += function.__defaults__ or ()
            held += (function.__kwdefaults__ or {}).values()
        return tuple(held)

    def key(self) -> tuple[Hashable, ...]:
        """What tells them: numbers and strings by value, others by identity while they are held."""
        return tuple(map(_told, self.now()))

    def are(self, objects: tuple[Any, ...]) -> bool:
        """Whether they still are `objects`, or equal numbers and strings."""
        # This is asked at every call, and most functions read the names of modules only.
        if not self._has_closure and len(objects) == len(self._reads):
            for (read, name), held in zip(self._reads, objects, strict=True):
                if read(name, _MISSING) is not held:
                    break
            else:
                return not any(f.__defaults__ or f.__kwdefaults__ for f in self._functions)
        now = self.now()
        return len(now) == len(objects) and all(
            a is b or _told(a) == _told(b) for a, b in zip(now, objects, strict=True)
        )


def _told(value: Any) -> Hashable:
    return (type(value), repr(value)) if isinstance(value, _BY_VALUE) else id(value)


def _functions(fun: Any) -> Iterator[types.FunctionType]:
    """The plain functions that `fun` is made of: it, what it wraps, binds or is called by."""
    waiting = [fun]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, functools.partial):
            waiting.append(inner.func)
        elif isinstance(inner, types.MethodType):
            waiting.append(inner.__func__)
        elif isinstance(inner, types.FunctionType):
            yield inner
            waiting += [vars(inner)["__wrapped__"]] if "__wrapped__" in vars(inner) else []
        elif callable(inner):
            called: Any = type(inner).__call__
            if isinstance(called, types.FunctionType):
                yield called


def _global_names(code: types.CodeType) -> Iterator[str]:
    """The names that a code object and those inside of it read from the module."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)
