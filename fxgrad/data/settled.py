"""Settled globals: those of a function that say what it computes, and are not its memory.

They are values, code, and containers and records of nothing else. A registry of objects, a file or
a generator of random numbers is left out: it changes without changing what is meant.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import types
from collections.abc import Iterable, Mapping, Set
from pathlib import PurePath
from typing import Any, Final

import jax
import numpy as np

_VALUES: Final = (bool, int, float, complex, str, bytes, range, slice, enum.Enum, PurePath)
_ARRAYS: Final = (np.ndarray, np.generic, np.dtype)
_RECORDS: Final = (types.SimpleNamespace, argparse.Namespace)


def is_settled(value: Any) -> bool:
    """Whether a global counts; one that is None does not, as it may be filled later."""
    return isinstance(value, tuple) or (value is not None and _is_plain(value, frozenset()))


def _is_plain(value: Any, outer: frozenset[int]) -> bool:
    """Whether a value and all within it are plain; `outer` are the ids of what it is within."""
    if value is None or isinstance(value, (*_VALUES, *_ARRAYS, types.FunctionType)):
        return True
    if isinstance(value, jax.Array):
        return value.is_fully_addressable and not value.is_deleted()
    parts = _parts(value)
    if parts is None:
        return False
    return id(value) in outer or all(_is_plain(part, outer | {id(value)}) for part in parts)


def _parts(value: Any) -> Iterable[Any] | None:
    """What is in a container or a record; None for anything else."""
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | Set):
        return value
    if isinstance(value, type):
        return _values_of(value)
    if isinstance(value, _RECORDS):
        return vars(value).values()
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    return None


def _values_of(kind: type) -> Iterable[Any] | None:
    """The values of a class that has nothing else, such as one that holds settings."""
    own = {name: value for name, value in vars(kind).items() if not name.startswith("__")}
    has_code = any(callable(v) or hasattr(v, "__get__") for v in own.values())
    return None if has_code or not own else own.values()
