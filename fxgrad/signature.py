"""Signatures: all that a compiled program was made for, and how two of them differ.

A signature is described only when something was compiled, never on the path of a repeated call.
Which earlier signature to compare with, and what to advise, belongs to `execution.explain`.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax

from fxgrad.paths import LEFT_OUT, bind_names, call_forms, leaf_path
from fxgrad.recorder import is_tracer

DifferenceKind = Literal[
    "shape",
    "dtype",
    "weak type",
    "static value",
    "tree structure",
    "call form",
    "transform",
    "sharding",
    "device",
    "mesh",
    "JAX config",
]

# The options that a user can set and that are part of JAX's cache key, so that changing one of
# them traces again; found by changing every option there is on JAX 0.10.2 and 0.12.0.
# tests/test_retraces.py checks each against the JAX that is installed.
TRACE_OPTIONS = (
    "jax_accurate_erf_inv",
    "jax_allow_f16_reductions",
    "jax_auto_pcast",
    "jax_check_static_indices",
    "jax_debug_key_reuse",
    "jax_default_device",
    "jax_default_matmul_precision",
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_random_seed_offset",
    "jax_softmax_custom_jvp",
    "jax_threefry_partitionable",
    "jax_use_direct_linearize",
    "jax_use_shardy_partitioner",
    "jax_use_simplified_jaxpr_constants",
)

_SHORT_DTYPES = {"bfloat16": "bf16", "bool": "bool", "complex": "c", "float": "f", "uint": "u"}


@dataclass(frozen=True)
class ArrayLeaf:
    """An array argument as the compiler sees it."""

    shape: tuple[int, ...]
    dtype: str
    weak_type: bool
    devices: str
    """The device it stands on, or the sharding; for a host value, ``"any device"``."""
    sharded: bool
    python_type: str
    """``"float"`` for a Python float, ``"Array"`` for a JAX array: tells why a type is weak."""

    def __str__(self) -> str:
        size = ",".join(str(length) for length in self.shape)
        return f"{_short_dtype(self.dtype)}[{size}]" + (" (weak)" if self.weak_type else "")


@dataclass(frozen=True)
class StaticLeaf:
    """A static argument: part of the program, compared by equality."""

    value: Any

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class Node:
    """A container in the tree of arguments: a dict, a list, None, a registered class."""

    type_name: str
    structure: Any
    """The one-level tree definition, with its keys and static fields."""

    def __str__(self) -> str:
        return self.type_name


Entry = ArrayLeaf | StaticLeaf | Node


@dataclass(frozen=True)
class CallSignature:
    """What a call looked like when a program was compiled for it.

    Attributes:
      entries: every leaf and container of the arguments, by its path.
      forms: for each parameter, whether it was passed by position, by keyword, or not at all.
      config: the JAX options that are part of the cache key.
      mesh: the ambient mesh, in words, or the empty string.
      inside: whether the arguments were tracers of an outer transform.
    """

    entries: Mapping[str, Entry] = field(hash=False)
    forms: Mapping[str, str] = field(hash=False)
    config: Mapping[str, Any] = field(hash=False)
    mesh: str
    inside: bool


@dataclass(frozen=True)
class Difference:
    """One fact in which a call differs from an earlier one.

    Attributes:
      kind: what sort of fact it is.
      path: where it stands: ``batch['image']``, or the name of a JAX option.
      before: the fact in the earlier call, in words.
      after: the fact in this call, in words.
    """

    kind: DifferenceKind
    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before} → {self.after}  ({self.kind})"

    def to_dict(self) -> dict[str, str]:
        """The difference as plain values."""
        return {"kind": self.kind, "path": self.path, "before": self.before, "after": self.after}


def describe_call(
    call_shape: inspect.Signature | None,
    static_argnames: frozenset[str],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> CallSignature:
    """Describe a call that has just been compiled for. Reads no value, copies no array."""
    entries: dict[str, Entry] = {}
    inside = False
    named, forms = bind_names(call_shape, args, kwargs), call_forms(call_shape, args, kwargs)
    for name, value in named.items():
        if name in static_argnames or forms[name] == LEFT_OUT:
            entries[name] = StaticLeaf(value)
        else:
            for path, entry, leaf in _walk(name, value):
                entries[path] = entry
                inside = inside or is_tracer(leaf)
    return CallSignature(
        entries=entries,
        forms=forms,
        config={name: getattr(jax.config, name, None) for name in TRACE_OPTIONS},
        mesh=_ambient_mesh(),
        inside=inside,
    )


def differences(before: CallSignature, after: CallSignature) -> tuple[Difference, ...]:
    """All facts in which two calls differ, in the order of the call's arguments."""
    entries = tuple(_entry_differences(before.entries, after.entries))
    return (
        *entries,
        *_call_form_differences(before, after, {difference.path for difference in entries}),
        *_surrounding_differences(before, after),
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


def _walk(path: str, value: Any) -> Iterator[tuple[str, Entry, Any]]:
    """Every container and leaf below `value`, from the outside in."""
    children, structure = jax.tree_util.tree_flatten_with_path(
        value, is_leaf=lambda node: node is not value
    )
    if jax.tree_util.treedef_is_leaf(structure) and structure.num_leaves == 1:
        yield path, _array_leaf(value), value
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
        devices=_devices(value) if on_device else "any device",
        sharded=on_device and len(value.sharding.device_set) > 1,
        python_type=type(value).__name__,
    )


def _devices(array: jax.Array) -> str:
    if len(array.sharding.device_set) > 1:
        return str(array.sharding)
    (device,) = array.sharding.device_set
    return f"committed to {device}" if array.committed else f"uncommitted on {device}"


def _ambient_mesh() -> str:
    mesh = jax.sharding.get_abstract_mesh()
    return "" if mesh.empty else f"mesh {dict(mesh.shape)}"


def _entry_differences(
    before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> Iterator[Difference]:
    reported: list[str] = []  # what stands below a container that changed is not news
    for path in [*after, *(path for path in before if path not in after)]:
        if any(path.startswith(outer) for outer in reported):
            continue
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            reported.append(path)
            yield Difference("tree structure", path, _or_absent(old), _or_absent(new))
        elif isinstance(old, ArrayLeaf) and isinstance(new, ArrayLeaf):
            yield from _array_differences(path, old, new)
        elif isinstance(old, StaticLeaf) and isinstance(new, StaticLeaf):
            if not _same_static(old.value, new.value):
                yield Difference("static value", path, str(old), str(new))
        elif isinstance(old, StaticLeaf) or isinstance(new, StaticLeaf):
            continue  # left to its default in one of the two: told as the form of the call
        elif type(old) is not type(new) or str(old) != str(new):
            reported.append(path)
            yield Difference("tree structure", path, str(old), str(new))
        elif isinstance(old, Node) and isinstance(new, Node) and old.structure != new.structure:
            if _children(before, path) != _children(after, path):
                continue  # the child that came or went is told by itself
            yield Difference("tree structure", path, str(old.structure), str(new.structure))


def _array_differences(path: str, old: ArrayLeaf, new: ArrayLeaf) -> Iterator[Difference]:
    if old.shape != new.shape:
        yield Difference("shape", path, str(old), str(new))
    elif old.dtype != new.dtype:
        yield Difference("dtype", path, _with_python_type(old), _with_python_type(new))
    elif old.weak_type != new.weak_type:
        yield Difference("weak type", path, _with_python_type(old), _with_python_type(new))
    if old.devices != new.devices and "any device" not in (old.devices, new.devices):
        kind = "sharding" if old.sharded or new.sharded else "device"
        yield Difference(kind, path, old.devices, new.devices)


def _call_form_differences(
    before: CallSignature, after: CallSignature, told: set[str]
) -> Iterator[Difference]:
    for name, form in after.forms.items():
        old = before.forms.get(name, form)
        if old != form and name not in told:
            yield Difference("call form", name, old, form)


def _surrounding_differences(before: CallSignature, after: CallSignature) -> Iterator[Difference]:
    if before.inside != after.inside:
        arrays, tracers = "with arrays", "inside a JAX transform"
        old, new = (tracers, arrays) if before.inside else (arrays, tracers)
        yield Difference("transform", "the call", old, new)
    for name, old in before.config.items():
        if old != after.config[name]:
            yield Difference("JAX config", name, _option(old), _option(after.config[name]))
    if before.mesh != after.mesh:
        yield Difference("mesh", "jax.set_mesh", before.mesh or "none", after.mesh or "none")


def _same_static(old: Any, new: Any) -> bool:
    return type(old) is type(new) and old == new


def _children(entries: Mapping[str, Entry], path: str) -> list[str]:
    return [other for other in entries if other.startswith(path) and other != path]


def _or_absent(entry: Entry | None) -> str:
    return "absent" if entry is None else str(entry)


def _with_python_type(leaf: ArrayLeaf) -> str:
    return f"{leaf} from a Python {leaf.python_type}" if leaf.weak_type else str(leaf)


def _option(value: Any) -> str:
    return repr(value.value if isinstance(value, enum.Enum) else value)


def _short_dtype(dtype: str) -> str:
    if dtype in _SHORT_DTYPES:
        return _SHORT_DTYPES[dtype]
    letters = dtype.rstrip("0123456789")
    return _SHORT_DTYPES.get(letters, letters[:1]) + dtype[len(letters) :]
