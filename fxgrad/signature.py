"""Signatures: all that a compiled program was made for.

A signature is described only when something was compiled, never on the path of a repeated call.
How two of them differ belongs to `differences`.
"""

from __future__ import annotations

import inspect
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from fxgrad.paths import LEFT_OUT, bind_names, call_forms, leaf_path
from fxgrad.recorder import is_tracer, transform_of

# The options that are part of JAX's cache key, so that changing one of them traces again; found by
# changing every option there is on JAX 0.10.2 and 0.12.0. A JAX may lack some.
# tests/test_retraces.py toggles those that are booleans.
TRACE_OPTIONS = (
    "jax_accurate_erf_inv",
    "jax_allow_f16_reductions",
    "jax_auto_pcast",
    "jax_check_static_indices",
    "jax_custom_jvp3",
    "jax_custom_vjp3",
    "jax_debug_key_reuse",
    "jax_default_device",
    "jax_default_matmul_precision",
    "jax_embedded_constants_max_bytes",
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_raise_on_ppermute_sort_diff",
    "jax_random_seed_offset",
    "jax_remat3",
    "jax_remat_barrier_no_cotangents",
    "jax_remove_size_one_mesh_axis_from_type",
    "jax_scan3",
    "jax_softmax_custom_jvp",
    "jax_threefry_gpu_kernel_lowering",
    "jax_threefry_partitionable",
    "jax_use_direct_linearize",
    "jax_use_shardy_partitioner",
    "jax_use_simplified_jaxpr_constants",
    "jax_xla_profile_version",
    "check_vma",
    "eager_constant_folding",
)

_ARRAYS = (jax.Array, np.ndarray, np.generic)
_SHORT_KINDS = {"float": "f", "int": "i", "uint": "u", "complex": "c"}
_LONG_DTYPE = re.compile(r"(float|int|uint|complex)(\d+)")


@dataclass(frozen=True)
class ArrayLeaf:
    """An array argument as the compiler sees it."""

    shape: tuple[int, ...]
    dtype: str
    weak_type: bool
    devices: str
    """The device or the sharding that it is committed to, or ``"uncommitted"``."""
    sharded: bool
    python_type: str
    """``"float"`` for a Python float, ``"Array"`` for a JAX array: tells why a type is weak."""

    def __str__(self) -> str:
        return array_in_words(self.shape, self.dtype) + (" (weak)" if self.weak_type else "")


@dataclass(frozen=True)
class StaticLeaf:
    """A static argument: part of the program, compared by equality."""

    value: Any

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class PythonLeaf:
    """An argument of replay's that is no array, and so is part of the path."""

    value: Any

    def __str__(self) -> str:
        return f"{reprlib.repr(self.value)} from Python"


@dataclass(frozen=True)
class Node:
    """A container in the tree of arguments: a dict, a list, None, a registered class."""

    type_name: str
    structure: Any
    """The one-level tree definition, with its keys and static fields."""

    def __str__(self) -> str:
        return self.type_name


@dataclass(frozen=True)
class DefaultLeaf:
    """An argument left to its default, which is part of the program."""

    def __str__(self) -> str:
        return LEFT_OUT


Entry = DefaultLeaf | ArrayLeaf | StaticLeaf | PythonLeaf | Node


@dataclass(frozen=True)
class CallSignature:
    """What a call looked like when a program was compiled for it.

    Attributes:
      entries: every leaf and container of the arguments, by its path.
      forms: for each parameter, whether it was passed by position, by keyword, or not at all.
      config: the JAX options that are part of the cache key.
      mesh: the ambient mesh, in words, or the empty string.
      inside: the transform whose tracers the arguments were, in words, or the empty string.
    """

    entries: Mapping[str, Entry] = field(hash=False)
    forms: Mapping[str, str] = field(hash=False)
    config: Mapping[str, Any] = field(hash=False)
    mesh: str
    inside: str

    def fingerprint(self) -> int:
        """A number that equal signatures share; it holds none of the values."""
        entries = ((path, str(entry)) for path, entry in self.entries.items())
        config = ((name, str(value)) for name, value in self.config.items())
        return hash((*entries, *self.forms.items(), *config, self.mesh, self.inside))

    def in_words(self) -> dict[str, str]:
        """What it holds, by path, in words that are the same in every process that calls so."""
        words = {path: str(entry) for path, entry in self.entries.items()}
        for path, entry in self.entries.items():
            if isinstance(entry, ArrayLeaf) and entry.sharded:  # else it tells a device of its own
                words[f"the sharding of {path}"] = entry.devices
        return words | {name: str(value) for name, value in self.config.items()}


def describe_call(
    call_shape: inspect.Signature | None,
    static_argnames: frozenset[str],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    python_values: bool = False,
) -> CallSignature:
    """Describe a call that has just been compiled for. Reads no value, copies no array.

    With `python_values`, leaves that are no arrays are told by their values.
    """
    entries: dict[str, Entry] = {}
    inside = ""
    named, forms = bind_names(call_shape, args, kwargs), call_forms(call_shape, args, kwargs)
    for name, value in named.items():
        if forms[name] == LEFT_OUT:
            entries[name] = DefaultLeaf()
        elif name in static_argnames:
            entries[name] = StaticLeaf(value)
        else:
            for path, entry, leaf in _walk(name, value):
                is_python = python_values and not isinstance(leaf, _ARRAYS)
                entries[path] = entry or (PythonLeaf(leaf) if is_python else _array_leaf(leaf))
                if not inside and is_tracer(leaf):
                    inside = transform_of(leaf)
    return CallSignature(
        entries=entries,
        forms=forms,
        config={name: getattr(jax.config, name, None) for name in TRACE_OPTIONS},
        mesh=_ambient_mesh(),
        inside=inside,
    )


def unsupported_leaves(
    call_shape: inspect.Signature | None,
    static_argnames: frozenset[str],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Iterator[tuple[str, Any]]:
    """The path and value of every leaf that is no array, number or bool."""
    forms = call_forms(call_shape, args, kwargs)
    for name, value in bind_names(call_shape, args, kwargs).items():
        if name not in static_argnames and forms[name] != LEFT_OUT:
            for keys, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
                try:
                    jax.typeof(leaf)
                except TypeError:
                    yield leaf_path(name, keys), leaf


def _walk(path: str, value: Any) -> Iterator[tuple[str, Node | None, Any]]:
    """Every container below `value` as its node, and every leaf, from the outside in."""
    children, structure = jax.tree_util.tree_flatten_with_path(
        value, is_leaf=lambda node: node is not value
    )
    if jax.tree_util.treedef_is_leaf(structure) and structure.num_leaves == 1:
        yield path, None, value
        return
    yield path, Node(type(value).__name__, structure), None
    for keys, child in children:
        yield from _walk(leaf_path(path, keys), child)


def _array_leaf(value: Any) -> ArrayLeaf:
    aval = jax.typeof(value)
    on_device = isinstance(value, jax.Array) and not is_tracer(value)
    return ArrayLeaf(
        shape=tuple(aval.shape),
        dtype=str(aval.dtype),
        weak_type=bool(getattr(aval, "weak_type", False)),
        devices=_devices(value) if on_device else "uncommitted",
        sharded=on_device and len(value.sharding.device_set) > 1,
        python_type=type(value).__name__,
    )


def _devices(array: jax.Array) -> str:
    if len(array.sharding.device_set) > 1:
        return str(array.sharding)
    (device,) = array.sharding.device_set
    return f"committed to {device}" if array.committed else "uncommitted"


def _ambient_mesh() -> str:
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return ""
    kinds = ", ".join(str(kind) for kind in mesh.axis_types)
    return f"mesh {dict(mesh.shape)} of {kinds} axes{_devices_of_mesh()}"


def _devices_of_mesh() -> str:
    try:
        devices = jax.sharding.get_mesh().devices.flatten()
    except (AttributeError, ValueError):  # under a transform there is no concrete mesh
        return ""
    return f" on devices {[device.id for device in devices]}"


def array_in_words(shape: Iterable[object], dtype: object) -> str:
    """Dtype and shape as they are written: ``f32[64,784]``."""
    return f"{_short_dtype(str(dtype))}[{','.join(map(str, shape))}]"


def _short_dtype(dtype: str) -> str:
    known = _LONG_DTYPE.fullmatch(dtype)
    if known:
        return _SHORT_KINDS[known[1]] + known[2]
    return {"bfloat16": "bf16"}.get(dtype, dtype)
