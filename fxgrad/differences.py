"""How two call signatures differ, leaf by leaf, in the words of the call.

Which earlier signature to compare with belongs to `execution.explain`, what to advise to
`execution.advice`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fxgrad.signature import (
    ArrayLeaf,
    CallSignature,
    DefaultLeaf,
    Entry,
    Node,
    PythonLeaf,
    StaticLeaf,
)

DifferenceKind = Literal[
    "shape",
    "dtype",
    "weak type",
    "static value",
    "Python value",
    "tree structure",
    "call form",
    "transform",
    "sharding",
    "device",
    "mesh",
    "JAX config",
]


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


def differences(before: CallSignature, after: CallSignature) -> tuple[Difference, ...]:
    """All facts in which two calls differ, in the order of the call's arguments."""
    return (
        *_entry_differences(before.entries, after.entries),
        *_call_form_differences(before, after),
        *_surrounding_differences(before, after),
    )


def _entry_differences(
    before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> Iterator[Difference]:
    reported: list[str] = []  # what stands below a container that changed is not news
    for path in [*after, *(path for path in before if path not in after)]:
        if any(_is_below(path, outer) for outer in reported):
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
        elif isinstance(old, PythonLeaf) or isinstance(new, PythonLeaf):
            is_same = type(old) is type(new) and str(old) == str(new)
            if not is_same:
                yield Difference("Python value", path, str(old), str(new))
        elif isinstance(old, DefaultLeaf) or isinstance(new, DefaultLeaf):
            reported.append(path)  # told as the form of the call
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
    if old.devices != new.devices:
        kind = "sharding" if old.sharded or new.sharded else "device"
        yield Difference(kind, path, old.devices, new.devices)


def _call_form_differences(before: CallSignature, after: CallSignature) -> Iterator[Difference]:
    for name, form in after.forms.items():
        old = before.forms.get(name, form)
        if old != form:
            yield Difference("call form", name, old, form)


def _surrounding_differences(before: CallSignature, after: CallSignature) -> Iterator[Difference]:
    if before.inside != after.inside:
        old, new = (inside and f"in {inside}" for inside in (before.inside, after.inside))
        yield Difference("transform", "the call", old or "with arrays", new or "with arrays")
    for name, old in before.config.items():
        if old != after.config[name]:
            yield Difference("JAX config", name, _option(old), _option(after.config[name]))
    if before.mesh != after.mesh:
        yield Difference("mesh", "jax.set_mesh", before.mesh or "none", after.mesh or "none")


def _same_static(old: Any, new: Any) -> bool:
    return old is new or (type(old) is type(new) and bool(old == new))


def _children(entries: Mapping[str, Entry], path: str) -> list[str]:
    return [other for other in entries if _is_below(other, path)]


def _is_below(path: str, outer: str) -> bool:
    return path.startswith((f"{outer}[", f"{outer}."))


def _or_absent(entry: Entry | None) -> str:
    return "absent" if entry is None else str(entry)


def _with_python_type(leaf: ArrayLeaf) -> str:
    is_number = leaf.python_type in ("bool", "int", "float", "complex")
    return f"{leaf} from a Python {leaf.python_type}" if is_number else str(leaf)


def _option(value: Any) -> str:
    return repr(value.value if isinstance(value, enum.Enum) else value)
