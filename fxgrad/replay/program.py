"""Programs: segments compiled by XLA, shared by structure among all Functions, and bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import jax

from fxgrad.recorder import Operation, Slot
from fxgrad.replay.structure import constant_key, operation_key

MAX_PROGRAMS: Final = 4096

Program = Callable[..., list[Any]]


class Programs:
    """Compiled programs; the least recently asked for leaves first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_structure: OrderedDict[Hashable, Program] = OrderedDict()

    def get(
        self, operations: Sequence[Operation], inputs: Sequence[Slot], outputs: Sequence[Slot]
    ) -> Program:
        """The program that runs `operations` from the values of `inputs` to those of `outputs`."""
        wiring = _Wiring(operations, inputs, outputs)
        with self._lock:
            program = self._by_structure.pop(wiring.key, None)
            if program is None:
                program = jax.jit(wiring.segment)
            self._by_structure[wiring.key] = program
            while len(self._by_structure) > MAX_PROGRAMS:
                self._by_structure.popitem(last=False)
        return program


class _Wiring:
    """Operations with their slots numbered from 0 in order of appearance."""

    def __init__(
        self, operations: Sequence[Operation], inputs: Sequence[Slot], outputs: Sequence[Slot]
    ) -> None:
        numbers: dict[Slot, int] = {}
        for slot in inputs:
            numbers[slot] = len(numbers)
        for operation in operations:
            for slot in operation.results:
                numbers[slot] = len(numbers)
        self._operations = tuple(operations)
        self._operands = [
            [numbers[o] if isinstance(o, Slot) else _Literal(o) for o in operation.operands]
            for operation in operations
        ]
        self._results = [[numbers[slot] for slot in o.results] for o in operations]
        self._inputs = range(len(inputs))
        self._outputs = [numbers[slot] for slot in outputs]
        self.key: Hashable = (
            len(inputs),
            tuple(
                (operation_key(operation), tuple(operands))
                for operation, operands in zip(operations, self._operands, strict=True)
            ),
            tuple(self._outputs),
        )

    def segment(self, *inputs: Any) -> list[Any]:
        """Bind every operation in order."""
        values: dict[int, Any] = dict(zip(self._inputs, inputs, strict=True))
        for operation, operands, results in zip(
            self._operations, self._operands, self._results, strict=True
        ):
            read = [o.value if isinstance(o, _Literal) else values[o] for o in operands]
            values.update(zip(results, operation.run(read), strict=True))
        return [values[number] for number in self._outputs]


class _Literal:
    """A scalar operand, compared by type and exact value."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self._key = (type(value), constant_key(value), repr(value))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Literal) and self._key == other._key


PROGRAMS: Final = Programs()
