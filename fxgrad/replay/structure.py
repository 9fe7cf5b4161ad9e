"""Structure: what makes two recorded operations the same, whatever objects they were made with.

A program is shared by all places that have its structure, and a path is followed as long as what
is heard has the structure of what was recorded.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import weakref
from collections.abc import Hashable
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.closures import closure_of
from fxgrad.recorder import Operation, is_jaxpr, is_literal

# Python values that cannot change: equal ones are the same.
PLAIN: Final = (
    *(bool, int, float, complex, str, bytes, type(None)),
    *(np.dtype, enum.Enum, type),
)


_MAX_CALLS: Final = 4096
_calls: Final[dict[tuple[int, ...], tuple[Key, tuple[Any, ...]]]] = {}
_jaxpr_keys: Final[dict[bool, weakref.WeakKeyDictionary[Any, Key]]] = {
    is_followed: weakref.WeakKeyDictionary() for is_followed in (False, True)
}


class Key:
    """A structure that is compared often: its hash is computed once."""

    __slots__ = ("_hash", "_parts")

    def __init__(self, *parts: Hashable) -> None:
        self._parts = parts
        self._hash = hash(parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Key) or self._hash != other._hash:
            return False
        return self._parts == other._parts


class Step:
    """An operation with its structure, but for which values its operands are.

    Two callbacks that hold different lists are different programs: `key`. Where Python runs again
    to be followed, it has made such containers anew, and any list is the same as another:
    `followed_key`.
    """

    size = 1

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.has_effects = operation.has_effects
        self.run = operation.run

    @functools.cached_property
    def key(self) -> Key:
        """What a program with this operation is told by."""
        return _operation_key(self.operation, is_followed=False)

    @functools.cached_property
    def followed_key(self) -> Key:
        """What the operation is told by when it is met again."""
        return _operation_key(self.operation, is_followed=True)


def _operation_key(operation: Operation, *, is_followed: bool) -> Key:
    params = _all_params_key(operation.params, is_followed)
    return Key(operation.primitive, params, operation.input_avals, _identity(operation.context))


def _all_params_key(params: dict[str, Any], is_followed: bool) -> Key:
    """The structure of all parameters. A jitted function brings the same objects each time."""
    if not any(map(is_jaxpr, params.values())):
        return _made_key(params, is_followed)
    identities = (is_followed, *map(id, params.values()))
    known = _calls.get(identities)
    if known is None:
        if len(_calls) >= _MAX_CALLS:
            _calls.clear()
        # The objects are held, so that no identity returns.
        known = _calls[identities] = (_made_key(params, is_followed), tuple(params.values()))
    return known[0]


def _made_key(params: dict[str, Any], is_followed: bool) -> Key:
    return Key(*((name, params_key(value, is_followed)) for name, value in sorted(params.items())))


def params_key(value: Any, is_followed: bool = False) -> Hashable:
    """The structure of a parameter: jaxprs by their equations, functions by code and captures."""
    kind = type(value)
    if kind in _ATOMS:
        return (kind, value)
    if is_jaxpr(value):
        return jaxpr_key(value, is_followed)
    if isinstance(value, tuple | list):
        return (type(value).__name__, *(params_key(item, is_followed) for item in value))
    if isinstance(value, dict):
        return tuple((name, params_key(item, is_followed)) for name, item in value.items())
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
        return _callable_key(value, (), is_followed)
    if isinstance(value, np.ndarray):
        return constant_key(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (getattr(value, field.name) for field in dataclasses.fields(value))
        return (type(value), *(params_key(item, is_followed) for item in fields))
    return _identity(value)


def _is_custom(equation: Any) -> bool:
    """Whether an equation holds custom derivative rules; none is taken below a recording."""
    return equation.primitive.name.startswith("custom_")


def _callable_key(value: Any, within: tuple[Any, ...], is_followed: bool) -> Hashable:
    """A function by its code and what it captures, since Python makes it anew each time."""
    if any(value is outer for outer in within):
        return "recursion"
    within = (*within, value)
    if isinstance(value, functools.partial):
        held = (*value.args, *value.keywords.values())
        return (
            *value.keywords,
            *(_held_key(item, within, is_followed) for item in (value.func, *held)),
        )
    if isinstance(value, types.MethodType):
        return (_held_key(value.__func__, within, is_followed), _Same(value.__self__))
    keyword_defaults = (value.__kwdefaults__ or {}).values()
    held = (*closure_of(value), *(value.__defaults__ or ()), *keyword_defaults)
    held_keys = (_held_key(item, within, is_followed) for item in held)
    return (value.__code__, _Same(value.__globals__), *held_keys)


def _held_key(value: Any, within: tuple[Any, ...], is_followed: bool) -> Hashable:
    is_callable = isinstance(value, types.FunctionType | types.MethodType | functools.partial)
    if is_followed and isinstance(value, list | dict | set):
        return type(value)
    return _callable_key(value, within, is_followed) if is_callable else _identity(value)


def jaxpr_key(jaxpr: Any, is_followed: bool) -> Key:
    """The equations of a jaxpr with its variables numbered in order; kept while the jaxpr lives."""
    known = _jaxpr_keys[is_followed]
    key = known.get(jaxpr)
    if key is None:
        key = known[jaxpr] = _jaxpr_key(jaxpr, is_followed)
    return key


def _jaxpr_key(jaxpr: Any, is_followed: bool) -> Key:
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
            tuple(
                (name, params_key(item, is_followed))
                for name, item in sorted(equation.params.items())
                if not (_is_custom(equation) and name not in ("call_jaxpr", "num_consts"))
            ),
            _identity(equation.ctx),
        )
        for equation in inner.eqns
    )
    constants = tuple(map(constant_key, getattr(jaxpr, "consts", ())))
    return Key("jaxpr", inputs, equations, tuple(map(atom, inner.outvars)), constants)


def constant_key(value: Any) -> Hashable:
    """A NumPy array by its bytes, since Python makes it anew each time; a JAX array by identity."""
    if isinstance(value, np.ndarray | np.generic):
        return (value.shape, str(value.dtype), value.tobytes())
    return _identity(value)


def is_same_array(known: Any, value: Any) -> bool:
    """Whether two arrays, or arrays of random keys, are equal bit for bit; None equals none."""
    if known is value or known is None:
        return known is value
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        known, value = jax.random.key_data(known), jax.random.key_data(value)
    return constant_key(np.asarray(known)) == constant_key(np.asarray(value))


# The types of parameters that are met all the time: what is hashable and holds nothing.
_ATOMS: Final = frozenset([bool, int, str, type(None)])


class _Same:
    """Compares an object that has no hash by identity, and holds it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __hash__(self) -> int:
        return id(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value


def _identity(value: Any) -> Hashable:
    if isinstance(value, jax.Array):
        return _Same(value)
    if isinstance(value, float | complex):
        return (type(value), repr(value))  # 0.0 is not -0.0, and NaN is itself
    if isinstance(value, tuple | frozenset):
        return (type(value), *map(_identity, value))  # (1,) is not (True,)
    if isinstance(value, np.generic):
        return constant_key(value)
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return (type(value), value)
