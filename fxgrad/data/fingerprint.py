"""Fingerprints: SHA-256 over what decides which batches come, without addresses or file times.

Values are described by their content, functions by their compiled code and the plain globals that
it names: see `settled`. What no description reaches, such as a function of a C extension, a global
object with a life of its own or one that is looked up by string, counts by its name alone.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import PurePath
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.data.settled import is_settled

_CHUNK_BYTES: Final = 1 << 24
_KEY: Final = jax.dtypes.prng_key
_SCALARS: Final = (bool, int, float, complex, str, bytes)
_MEMBERS: Final = (*_SCALARS, tuple, np.ndarray, types.FunctionType)  # which nobody changes
_LIBRARIES: Final = sys.stdlib_module_names | {"fxgrad", "grain", "jax", "jaxlib", "numpy"}
# What these hold says how work is done, or what was done before; not which batches come.
_RUNNING: Final = frozenset({"_thread", "concurrent", "multiprocessing", "queue", "threading"})


def fingerprint(
    *parts: Any,
    without: frozenset[str] = frozenset(),
    instead: Callable[[Any], Any] = lambda value: value,
) -> str:
    """The SHA-256, in hex, of `parts`: numbers, strings, arrays, functions, objects of them.

    It is the same on every machine and in every process. The code of a function depends on
    Python's version, and so does a fingerprint over one.

    Args:
      parts: what decides which batches come.
      without: names of attributes that decide nothing.
      instead: gives what is described in place of a value, or the value.
    """
    description = _Description(without, instead)
    for part in parts:
        description.add(part)
    return description.digest()


class _Description:
    """Writes values into a hash, each with its kind and extent, so that none runs into the next."""

    def __init__(self, without: frozenset[str], instead: Callable[[Any], Any]) -> None:
        self._hash = hashlib.sha256()
        self._without = without
        self._instead = instead
        # The digest of each value met, by id; None while it is being described. The values are
        # held, so that no id is used twice. Equal values count alike, shared or not: what Python
        # shares differs between a module that was compiled and one that was loaded.
        self._met: dict[int, tuple[bytes | None, Any]] = {}

    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        """Describe a value; one that holds itself by the circle alone."""
        if value is None or isinstance(value, _SCALARS):
            self._word(type(value).__name__, value if isinstance(value, bytes) else repr(value))
            return
        if id(value) not in self._met:
            self._met[id(value)] = None, value
            outer, self._hash = self._hash, hashlib.sha256()
            self._add_new(self._instead(value))
            self._met[id(value)] = self._hash.digest(), value
            self._hash = outer
        digest, _ = self._met[id(value)]
        self._word("circle" if digest is None else "value", digest or b"")

    def _add_new(self, value: Any) -> None:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, _KEY):
            self._add_all("key", [str(jax.random.key_impl(value)), jax.random.key_data(value)])
        elif isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
            self._add_array(np.asarray(value))
        elif isinstance(value, Mapping):
            self._add_all("mapping", [part for item in value.items() for part in item])
        elif isinstance(value, list | tuple | range):
            self._add_all("sequence", value)
        elif isinstance(value, Set):
            self._add_all("set", sorted(fingerprint(part) for part in value))
        elif isinstance(value, PurePath):
            self._word("path", value.name)  # data may move to another folder
        elif isinstance(value, types.ModuleType):
            self._word("module", value.__name__)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, functools.partial):
            self._add_all("partial", [value.func, value.args, value.keywords])
        elif isinstance(value, types.MethodType):
            self._add_all("method", [value.__func__, value.__self__])
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, types.CodeType):
            self._add_code(value)
        else:
            self._add_object(value)

    def _add_array(self, array: np.ndarray) -> None:
        if array.dtype.hasobject:
            self._add_all(f"objects {array.shape}", array.ravel().tolist())
            return
        owner = _owner(array)
        if owner is not None:  # overlapping windows: what they look at, once, and how
            where = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
            self._word("windows", f"{array.shape} {array.strides} {where} {array.dtype.str}")
            array = owner
        self._word("array", f"{array.dtype.str} {array.shape}")
        for chunk in _chunks(array):
            self._hash.update(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data)

    def _add_function(self, function: types.FunctionType) -> None:
        if _is_library(function.__module__):
            self._word("function", f"{function.__module__}.{function.__qualname__}")
            return
        cells = [_content(cell) for cell in function.__closure__ or ()]
        self._word("function", "")
        self._add_code(function.__code__)
        self._add_all("defaults", [function.__defaults__, function.__kwdefaults__, cells])
        looked_up = {name: function.__globals__.get(name) for name in _names(function.__code__)}
        kept = {name: found for name, found in looked_up.items() if is_settled(found)}
        self._add_all("globals", [part for item in sorted(kept.items()) for part in item])

    def _add_code(self, code: types.CodeType) -> None:
        self._word("code", code.co_code)
        self._add_all("constants", [code.co_consts, code.co_names, code.co_varnames])

    def _add_class(self, kind: type) -> None:
        self._word("class", f"{kind.__module__}.{kind.__qualname__}")
        for ancestor in kind.__mro__:
            if not _is_library(ancestor.__module__):
                own = {name: _undecorated(member) for name, member in vars(ancestor).items()}
                parts = [(n, m) for n, m in sorted(own.items()) if isinstance(m, _MEMBERS)]
                self._add_all("members", [part for item in parts for part in item])

    def _add_object(self, value: Any) -> None:
        kind = type(value)
        self.add(kind)
        if kind.__module__.partition(".")[0] in _RUNNING:
            return
        attributes = _attributes(value)
        if not attributes and " at 0x" not in repr(value):
            self._word("shown", repr(value))  # numpy.sin, a dtype, a compiled pattern
        for name, part in sorted(attributes.items()):
            if name not in self._without:
                self._word("attribute", name)
                self.add(part)

    def _add_all(self, kind: str, parts: Iterable[Any]) -> None:
        parts = list(parts)
        self._word(kind, str(len(parts)))
        for part in parts:
            self.add(part)

    def _word(self, kind: str, text: str | bytes) -> None:
        content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        self._hash.update(f"{kind} {len(content)}:".encode())
        self._hash.update(content)


def _owner(array: np.ndarray) -> np.ndarray | None:
    """The array that a view of overlapping rows looks at; None for one without overlap."""
    owner: Any = array
    while (base := getattr(owner, "base", None)) is not None and hasattr(base, "base"):
        owner = base
    found = np.asarray(owner)
    return found if array.size * array.itemsize > found.size * found.itemsize else None


def _chunks(array: np.ndarray) -> Iterable[np.ndarray]:
    """The rows of an array, so many at a time that no large copy is made of a mapped file."""
    if array.ndim == 0 or array.size == 0:
        return [array]
    step = max(1, _CHUNK_BYTES // max(1, array[0].nbytes))
    return (array[start : start + step] for start in range(0, len(array), step))


def _attributes(value: Any) -> dict[str, Any]:
    """What an object remembers, less what it would compute again."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    found.update(getattr(value, "__dict__", {}))
    computed = (functools.cached_property, functools.singledispatchmethod)
    return {
        n: v for n, v in found.items() if not isinstance(getattr(type(value), n, None), computed)
    }


def _names(code: types.CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*(_names(one) for one in inner))


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _undecorated(member: Any) -> Any:
    if isinstance(member, property):
        return member.fget
    return member.__func__ if isinstance(member, staticmethod | classmethod) else member


def _is_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES
