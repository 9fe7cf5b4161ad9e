"""Methods: a Function looked up on an instance. Whose cache it is belongs to `function`."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax

from fxgrad.modes import Mode
from fxgrad.paths import call_shape_of

R = TypeVar("R")


class BoundFunction(Generic[R]):
    """A Function looked up on an instance. It answers all that a `Function` answers."""

    def __init__(self, function: Any, instance: object, *, instance_is_argument: bool) -> None:
        self.__func__ = function
        self.__self__ = instance  # keeps the instance alive during the call
        self.__doc__ = function.__doc__
        self._leading = (instance,) if instance_is_argument else ()

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Call the method in the mode that wins here."""
        return self.__func__(*self._leading, *args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """The static graph for these arguments; see `Function.lower`."""
        return self.__func__.lower(*self._leading, *args, **kwargs)

    def trace(self, *args: Any, **kwargs: Any) -> jax.stages.Traced:
        """The static graph for these arguments; see `Function.trace`."""
        return self.__func__.trace(*self._leading, *args, **kwargs)

    def in_mode(self, mode: Mode) -> BoundFunction[R]:
        """The same method of the same instance; see `Function.in_mode`."""
        function, is_argument = self.__func__.in_mode(mode), bool(self._leading)
        return BoundFunction(function, self.__self__, instance_is_argument=is_argument)

    @property
    def __signature__(self) -> inspect.Signature:
        call_shape = inspect.signature(self.__func__)
        parameters = list(call_shape.parameters.values())
        return call_shape.replace(parameters=parameters[len(self._leading) :])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BoundFunction)
            and self.__func__ is other.__func__
            and self.__self__ is other.__self__
        )

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __repr__(self) -> str:
        return f"{self.__func__!r} of {self.__self__!r}"


def method_of(fun: Callable[..., R], alive: weakref.ref[Any]) -> Callable[..., R]:
    """`fun` with its first argument taken from a weak reference."""

    @functools.wraps(fun)
    def method(*args: Any, **kwargs: Any) -> R:
        return fun(alive(), *args, **kwargs)

    call_shape = call_shape_of(fun)
    if call_shape is not None:
        rest = list(call_shape.parameters.values())[1:]
        method.__signature__ = call_shape.replace(parameters=rest)  # type: ignore[attr-defined]
    return method
