"""Observed: one run of a function op by op, with every operation, its values and what was alive.

It is what eager does, heard by a recorder: Python runs once, each operation runs as it is met, and
Python's questions are answered. What is made of it belongs to others.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from fxgrad.logs import deliver
from fxgrad.modes import mode
from fxgrad.paths import bind_names, call_shape_of, leaf_path
from fxgrad.recorder import (
    Operation,
    RecordedTracer,
    Recorder,
    Slot,
    record,
    running,
    without_donation,
)


class Buffer(NamedTuple):
    """The memory of a value. Values that share it have one number.

    Attributes:
      number: its number, from 0 in the order in which they came up.
      nbytes: bytes on the device of this process that holds most of it.
    """

    number: int
    nbytes: int


class Lifetime(NamedTuple):
    """When a value existed, by the numbers of operations.

    Attributes:
      start: the operation that made it; -1 for arguments and captured arrays.
      end: the first operation at which Python held it no more; the number of all if it was held.
    """

    start: int
    end: int


@dataclass(frozen=True)
class Observed:
    """One run.

    Attributes:
      arguments: the slots of the arguments that are arrays.
      names: for each of them the name of its argument, and its path in that:
        ``("batch", "['image']")``.
      captured: arrays that the function closes over.
      operations: all that ran, in order, at the bottom of all transforms; none of them donates.
      lifetimes: for every slot when Python held it; captured arrays are held throughout.
      buffers: for every slot the memory behind it.
      forced: the slots whose values Python asked for, in order, each once.
      values: those of the arguments, of captured arrays, of operations with effects, and what
        Python held at the end.
      output: what the function returned, with a `Slot` for each array that it computed or took.
    """

    arguments: tuple[Slot, ...]
    names: tuple[tuple[str, str], ...]
    captured: Mapping[Slot, Any]
    operations: tuple[Operation, ...]
    lifetimes: Mapping[Slot, Lifetime]
    buffers: Mapping[Slot, Buffer]
    forced: tuple[Slot, ...]
    values: Mapping[Slot, Any]
    output: Any

    def run(self, arguments: Sequence[Any], captured: Sequence[Any]) -> dict[Slot, Any]:
        """Run the same operations on other arrays: the value of every slot."""
        values = dict(zip(self.arguments, arguments, strict=True))
        values.update(zip(self.captured, captured, strict=True))
        for operation in self.operations:
            operation.run_on(values)
        return values

    def bytes_of(self, slots: Iterable[Slot]) -> int:
        """What some values take together; memory that they share counts once."""
        return sum(buffer.nbytes for buffer in {self.buffers[slot] for slot in slots})

    @property
    def leaves(self) -> list[tuple[str, Any]]:
        """The path of each leaf of the output, ``"['w1']"``, and its slot, or what else it is."""
        leaves = jax.tree_util.tree_leaves_with_path(self.output, is_leaf=_is_slot)
        return [(leaf_path("", keys), leaf) for keys, leaf in leaves]

    @property
    def returned(self) -> tuple[Slot, ...]:
        """The slots among the leaves of the output."""
        return tuple(leaf for _, leaf in self.leaves if isinstance(leaf, Slot))


def observe(fun: Callable[..., Any], args: tuple[Any, ...]) -> Observed:
    """Run `fun` op by op, inner Functions too, and hear it.

    Args:
      fun: a pure function, or a Function in the mode ``"eager"``.
      args: its arguments; arrays of JAX and NumPy become values that are followed.

    Raises:
      Exception: whatever `fun` raises.
    """
    observer = _Observer()
    with mode("eager"):
        returned, recorder = record(fun, lambda r: observer.begin(r, args), observer)
    observer.note_let_go()
    output = jax.tree.map(_slot_or_value, returned)
    del returned
    recorder.invalidate()
    return Observed(
        arguments=tuple(observer.arguments),
        names=tuple(_names(fun, args)),
        captured=observer.captured,
        operations=tuple(observer.operations),
        lifetimes=observer.lifetimes(),
        buffers=observer.buffers,
        forced=tuple(observer.forced),
        values=observer.values,
        output=output,
    )


class _Observer:
    """The listener of `observe`."""

    def __init__(self) -> None:
        self._recorder: Recorder
        self._captures: dict[int, tuple[Slot, Any]] = {}
        self._watched: dict[Slot, Any] = {}
        # Python lets go at any time, also in the middle of what is done here.
        self._let_go: deque[Slot] = deque()
        self._starts: dict[Slot, int] = {}
        self._ends: dict[Slot, int] = {}
        self._made_by_effects: set[Slot] = set()
        self.arguments: list[Slot] = []
        self.captured: dict[Slot, Any] = {}
        self.operations: list[Operation] = []
        self.buffers: dict[Slot, Buffer] = {}
        self.forced: dict[Slot, None] = {}
        self.values: dict[Slot, Any] = {}

    def begin(self, recorder: Recorder, args: tuple[Any, ...]) -> Any:
        self._recorder = recorder
        return jax.tree.map(self._argument, args), {}

    def _argument(self, leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray):
            return leaf
        tracer = self._recorder.tracer(jax.typeof(leaf))
        with running():
            self._keep(tracer.slot, jax.numpy.asarray(leaf), among=self.arguments)
        self.arguments.append(tracer.slot)
        self._watch(tracer.slot, -1)
        return tracer

    def hear(self, operation: Operation) -> None:
        # Its inputs are the caller's arrays, and are read again.
        operation = replace(operation, params=without_donation(operation.params))
        inputs = operation.inputs_from(self.values)
        self.note_let_go()
        with running():
            results = operation.run(inputs)
        among = [operand for operand in operation.operands if isinstance(operand, Slot)]
        for slot, value in zip(operation.results, results, strict=True):
            self._keep(slot, value, among=among)
            among.append(slot)
            self._watch(slot, len(self.operations))
        if operation.has_effects:
            self._made_by_effects.update(operation.results)
        self.operations.append(operation)

    def _keep(self, slot: Slot, value: Any, *, among: Iterable[Slot]) -> None:
        """Keep a value; its memory may be that of one of the slots `among`."""
        self.values[slot] = value
        new = Buffer(len(self.buffers), _bytes_of(value))
        alike = (s for s in among if new.nbytes and self.buffers[s].nbytes == new.nbytes)
        shared = (self.buffers[s] for s in alike if _share_memory(self.values[s], value))
        self.buffers[slot] = next(shared, new)

    def _watch(self, slot: Slot, start: int) -> None:
        self._starts[slot] = start
        self._watched[slot] = self._recorder.when_let_go(slot, lambda: self._let_go.append(slot))

    def note_let_go(self) -> None:
        while self._let_go:
            slot = self._let_go.popleft()
            self._ends[slot] = len(self.operations)
            del self._watched[slot]
            if self._starts[slot] >= 0 and slot not in self._made_by_effects:
                del self.values[slot]

    def lifetimes(self) -> dict[Slot, Lifetime]:
        last = len(self.operations)
        return {
            slot: Lifetime(start, self._ends.get(slot, last))
            for slot, start in self._starts.items()
        }

    def capture(self, value: Any) -> Slot:
        known = self._captures.get(id(value))
        if known is None:
            known = self._captures[id(value)] = (self._recorder.new_slot(), value)
            slot = known[0]
            self._starts[slot] = -1
            with running():
                held = jax.numpy.asarray(value)
            self._keep(slot, held, among=[*self.arguments, *self.captured])
            self.captured[slot] = held
        return known[0]

    def force(self, slot: Slot) -> Any:
        self.forced[slot] = None
        return np.asarray(self.values[slot])

    def log(self, name: str, value: Any) -> None:
        deliver(name, self.values[value.slot] if isinstance(value, RecordedTracer) else value)

    def is_live(self) -> bool:
        return False

    def hear_live(self) -> None:
        """Nothing runs live here."""

    def value(self, slot: Slot) -> Any:
        return self.values[slot]


def _names(fun: Callable[..., Any], args: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    """Argument and path of each array, in the order in which they are flattened."""
    positional = list(bind_names(call_shape_of(fun), args, {}))[: len(args)]
    for name, value in zip(positional, args, strict=True):
        for keys, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
            if isinstance(leaf, jax.Array | np.ndarray):
                yield name, leaf_path("", keys)


def _slot_or_value(leaf: Any) -> Any:
    return leaf.slot if isinstance(leaf, RecordedTracer) else leaf


def _is_slot(leaf: Any) -> bool:
    return isinstance(leaf, Slot)


def _bytes_of(value: Any) -> int:
    """Bytes of a shard; sharding is even. What has no shards is NumPy's, such as a float0."""
    if not hasattr(value, "sharding"):
        return np.asarray(value).nbytes
    shape = value.sharding.shard_shape(value.shape)
    return math.prod(shape) * value.dtype.itemsize


def _share_memory(a: Any, b: Any) -> bool:
    if a is b:
        return True
    # A mutable array shares its memory with nothing.
    return all(isinstance(v, jax.Array) for v in (a, b)) and _address(a) == _address(b)


def _address(value: Any) -> int:
    """Where the first shard of an array is in the memory of its device."""
    return value.addressable_data(0).unsafe_buffer_pointer()
