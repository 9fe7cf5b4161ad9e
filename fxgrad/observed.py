"""Observed: one run of a function op by op, with every operation, its values and what was alive.

It is what eager does, heard by a recorder: Python runs once, each operation runs as it is met, and
Python's questions are answered. What is made of it belongs to others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from fxgrad.logs import deliver
from fxgrad.recorder import Operation, RecordedTracer, Recorder, Slot, record, running


@dataclass(frozen=True)
class Observed:
    """One run.

    Attributes:
      arguments: the slots of the arguments that are arrays, by the path of each in the call.
      captured: arrays that the function closes over.
      operations: all that ran, in order, at the bottom of all transforms.
      alive: for each operation the slots that Python still held when it ran, its results not
        included.
      values: every value that was kept, those of operations with effects among them.
      output: what the function returned, with a `Slot` for each array that it computed or took.
    """

    arguments: tuple[Slot, ...]
    captured: Mapping[Slot, Any]
    operations: tuple[Operation, ...]
    alive: tuple[frozenset[Slot], ...]
    values: Mapping[Slot, Any]
    output: Any


def observe(
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    keep_values: bool = True,
) -> Observed:
    """Run `fun` op by op and hear it.

    Args:
      fun: a pure function.
      args: its arguments; arrays of JAX and NumPy become values that are followed.
      kwargs: its keyword arguments.
      keep_values: keep the value of every operation, and not only of those that Python holds.

    Raises:
      Exception: whatever `fun` raises.
    """
    observer = _Observer(keep_values)
    returned, recorder = record(
        fun, lambda r: observer.begin(r, args, dict(kwargs or {})), observer
    )
    output = jax.tree.map(_slot_or_value, returned)
    del returned
    recorder.invalidate()
    return Observed(
        arguments=tuple(observer.arguments),
        captured=observer.captured,
        operations=tuple(observer.operations),
        alive=tuple(observer.alive),
        values=observer.values,
        output=output,
    )


class _Observer:
    """The listener of `observe`."""

    def __init__(self, keep_values: bool) -> None:
        self._keep_values = keep_values
        self._recorder: Recorder
        self._captures: dict[int, tuple[Slot, Any]] = {}
        self._made_by_effects: set[Slot] = set()
        self.arguments: list[Slot] = []
        self.captured: dict[Slot, Any] = {}
        self.operations: list[Operation] = []
        self.alive: list[frozenset[Slot]] = []
        self.values: dict[Slot, Any] = {}

    def begin(self, recorder: Recorder, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._recorder = recorder
        return jax.tree.map(self._argument, (args, kwargs))

    def _argument(self, leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray):
            return leaf
        tracer = self._recorder.tracer(jax.typeof(leaf))
        self.arguments.append(tracer.slot)
        with running():
            self.values[tracer.slot] = jax.numpy.asarray(leaf)
        return tracer

    def hear(self, operation: Operation) -> None:
        inputs = [self.values[o] if isinstance(o, Slot) else o for o in operation.operands]
        # The tracers of the results exist already.
        alive = frozenset(self._recorder.alive()).difference(operation.results)
        with running():
            results = operation.run(inputs)
        self.operations.append(operation)
        self.alive.append(alive)
        if not self._keep_values:
            kept = alive.union(self.arguments, self.captured, self._made_by_effects)
            self.values = {slot: value for slot, value in self.values.items() if slot in kept}
        self.values.update(zip(operation.results, results, strict=True))
        if operation.has_effects:
            self._made_by_effects.update(operation.results)

    def capture(self, value: Any) -> Slot:
        known = self._captures.get(id(value))
        if known is None:
            known = self._captures[id(value)] = (self._recorder.new_slot(), value)
            with running():
                held = jax.numpy.asarray(value)
            self.captured[known[0]] = self.values[known[0]] = held
        return known[0]

    def force(self, slot: Slot) -> Any:
        return np.asarray(self.values[slot])

    def log(self, name: str, value: Any) -> None:
        deliver(name, self.values[value.slot] if isinstance(value, RecordedTracer) else value)

    def is_live(self) -> bool:
        return False

    def hear_live(self) -> None:
        """Nothing runs live here."""

    def value(self, slot: Slot) -> Any:
        return self.values[slot]


def _slot_or_value(leaf: Any) -> Any:
    return leaf.slot if isinstance(leaf, RecordedTracer) else leaf
