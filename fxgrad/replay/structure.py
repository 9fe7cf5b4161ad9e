"""Structure: what makes two recorded operations the same, whatever objects they were made with.

A program is shared by all places that have its structure, and a path is followed as long as what
is heard has the structure of what was recorded.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Hashable
from typing import Any

import jax
import numpy as np

from fxgrad.recorder import Operation, is_jaxpr, is_literal


def operation_key(operation: Operation) -> Hashable:
    """The structure of one operation, but for which values its operands are."""
    return (
        operation.primitive,
        tuple((name, params_key(value)) for name, value in sorted(operation.params.items())),
        tuple(map(aval_key, operation.input_avals)),
    )


def aval_key(aval: Any) -> Hashable:
    """Shape, dtype, weak type and, where types carry it, sharding."""
    return aval


def params_key(value: Any) -> Hashable:
    """The structure of a parameter: jaxprs by their equations, functions by code and captures."""
    if is_jaxpr(value):
        return jaxpr_key(value)
    if isinstance(value, tuple | list):
        return (type(value).__name__, *map(params_key, value))
    if isinstance(value, dict):
        return tuple((name, params_key(item)) for name, item in value.items())
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
        return _callable_key(value, ())
    if isinstance(value, np.ndarray):
        return constant_key(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (getattr(value, field.name) for field in dataclasses.fields(value))
        return (type(value), *map(params_key, fields))
    return _identity(value)


def _callable_key(value: Any, within: tuple[Any, ...]) -> Hashable:
    """A function by its code and what it captures, since Python makes it anew each time."""
    if any(value is outer for outer in within):
        return "recursion"
    within = (*within, value)
    if isinstance(value, functools.partial):
        held = (*value.args, *value.keywords.values())
        return (*value.keywords, *(_held_key(item, within) for item in (value.func, *held)))
    if isinstance(value, types.MethodType):
        return (_held_key(value.__func__, within), _Same(value.__self__))
    cells = [_contents(cell) for cell in value.__closure__ or ()]
    held = (*cells, *(value.__defaults__ or ()))
    held_keys = (_held_key(item, within) for item in held)
    return (value.__code__, _Same(value.__globals__), *held_keys)


def _held_key(value: Any, within: tuple[Any, ...]) -> Hashable:
    is_callable = isinstance(value, types.FunctionType | types.MethodType | functools.partial)
    if isinstance(value, list | dict):
        return _SameContainer(value)
    return _callable_key(value, within) if is_callable else _identity(value)


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def jaxpr_key(jaxpr: Any) -> Hashable:
    """The equations of a jaxpr with its variables numbered in order."""
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    numbers: dict[Any, int] = {}

    def atom(variable: Any) -> Hashable:
        if is_literal(variable):
            return ("literal", variable.aval, repr(variable.val))
        return numbers.setdefault(variable, len(numbers))

    inputs = tuple((atom(v), v.aval) for v in (*inner.constvars, *inner.invars))
    equations = tuple(
        (
            equation.primitive,
            tuple(map(atom, equation.invars)),
            tuple((atom(v), v.aval) for v in equation.outvars),
            tuple((name, params_key(item)) for name, item in sorted(equation.params.items())),
        )
        for equation in inner.eqns
    )
    constants = tuple(map(constant_key, getattr(jaxpr, "consts", ())))
    return ("jaxpr", inputs, equations, tuple(map(atom, inner.outvars)), constants)


def constant_key(value: Any) -> Hashable:
    """A NumPy array by its bytes, since Python makes it anew each time; a JAX array by identity."""
    if isinstance(value, np.ndarray | np.generic):
        return (value.shape, str(value.dtype), value.tobytes())
    return _identity(value)


class _Same:
    """Compares an object that has no hash by identity, and holds it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __hash__(self) -> int:
        return id(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value


class _SameContainer:
    """Compares a list or a dict: one that is kept is itself, whatever it has come to hold; one that
    is made anew each time must hold the same.
    """

    def __init__(self, value: Any) -> None:
        self._value = value
        items = value.items() if isinstance(value, dict) else enumerate(value)
        self._content = tuple((name, _identity(item)) for name, item in items)

    def __hash__(self) -> int:
        return hash(type(self._value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _SameContainer):
            return False
        return self._value is other._value or self._content == other._content


def _identity(value: Any) -> Hashable:
    if isinstance(value, jax.Array):
        return _Same(value)
    if isinstance(value, float | complex):
        return (type(value), repr(value))  # 0.0 is not -0.0, and NaN is itself
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return (type(value), value)
