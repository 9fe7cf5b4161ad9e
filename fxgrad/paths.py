"""Paths: where a leaf stands in a call, in the words of the user: ``batch['image']``.

What the leaf looks like belongs to `signature`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax

LEFT_OUT: Final = "left to its default"


def bind_names(
    call_shape: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Name every argument of a call, defaults included, as the function's definition names it.

    Extra positional arguments are named ``args[0]``, ``args[1]``, … after the parameter that takes
    them. Without a signature, or with one that is not true (a decorator that adds arguments under
    `functools.wraps`), positional arguments are ``args[i]``.
    """
    bound = _bind(call_shape, args, kwargs)
    if bound is None or call_shape is None:
        return _numbered("args", args) | dict(kwargs)
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = call_shape.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named |= _numbered(name, value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named


def call_forms(
    call_shape: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, str]:
    """For each name of `bind_names`: passed by position, by keyword, or left to its default."""
    bound = _bind(call_shape, args, kwargs)
    given = {} if bound is None else bound.arguments
    parameters = {} if bound is None else bound.signature.parameters
    forms = {}
    for name in bind_names(call_shape, args, kwargs):
        if name in kwargs:
            forms[name] = "passed by keyword"
        elif name in given or name not in parameters:
            forms[name] = "passed by position"
        else:
            forms[name] = LEFT_OUT
    return forms


def call_shape_of(fun: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of `fun`, or None for a callable that Python cannot describe."""
    try:
        return inspect.signature(fun)
    except (TypeError, ValueError):
        return None


def leaf_path(argument: str, keys: tuple[Any, ...]) -> str:
    """The path of a leaf: ``("batch", (DictKey("image"),))`` is ``batch['image']``."""
    return argument + jax.tree_util.keystr(keys)


def _bind(
    call_shape: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> inspect.BoundArguments | None:
    try:
        return None if call_shape is None else call_shape.bind(*args, **kwargs)
    except TypeError:
        return None


def _numbered(name: str, values: tuple[Any, ...]) -> dict[str, Any]:
    return {f"{name}[{i}]": value for i, value in enumerate(values)}
