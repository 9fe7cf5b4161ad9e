"""The graph of what XLA made: instructions, what went into each fusion, loops and branches."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fxgrad.graphs.hlo_cost import bytes_of, flops_of
from fxgrad.graphs.hlo_text import Instruction, Program
from fxgrad.graphs.record import Phase
from fxgrad.graphs.sketch import GroupKey, Path, Sketch
from fxgrad.graphs.words import branch_name, modules_in
from fxgrad.places import place_of_frames
from fxgrad.signature import array_in_words

_INDEX: Final = re.compile(r"\bindex=(\d+)")
_LONG: Final = 240  # characters

Sources = tuple[int, ...]
# What an instruction gives: the nodes behind it, or those of each element of a tuple.
Value = Any


@dataclass(frozen=True)
class _Around:
    nest: Path = ()
    runs: int | None = 1
    fusion: Phase | None = None
    """Inside a fusion, the phase that it belongs to as a whole."""


class HloSketch:
    """Walks through a compiled program and sketches its nodes."""

    def __init__(self, sketch: Sketch, program: Program) -> None:
        self._sketch = sketch
        self._program = program
        self._shapes = {
            instruction.name: instruction.arrays
            for computation in program.computations.values()
            for instruction in computation
        }
        self._calls = itertools.count()
        self._last: int | None = None

    def draw(self, inputs: Mapping[str, str], outputs: Sequence[str]) -> None:
        """The whole graph.

        Args:
          inputs: the user's names of those inputs that JAX has named otherwise, by JAX's names.
          outputs: the user's names of the outputs.
        """
        entry = self._program.computations[self._program.entry]
        parameters = sorted(
            (i for i in entry if i.opcode == "parameter"), key=lambda i: int(i.literal)
        )
        given: list[Value] = [
            (self._boundary("input", inputs.get(i.op_name, i.op_name) or f"argument {n}", i),)
            for n, i in enumerate(parameters)
        ]
        result = self._run(self._program.entry, given, _Around())
        elements = result if isinstance(result, list) else [result]
        (root,) = (i for i in entry if i.is_root)
        for n, element in enumerate(elements):
            label = (
                outputs[n].replace("result", "output", 1)
                if len(outputs) == len(elements)
                else f"output[{n}]"
            )
            array = root.arrays[n : n + 1]
            number = self._boundary("output", label, array)
            self._sketch.connect(_flat(element), number, _in_words(array))

    def _boundary(self, kind: str, label: str, array: Any) -> int:
        arrays = array.arrays if isinstance(array, Instruction) else array
        return self._sketch.add(
            kind=kind, label=label, outputs=(_in_words(arrays),), flops=0.0, bytes=0.0
        )

    def _run(self, name: str, given: Sequence[Value], around: _Around) -> Value:
        """Sketch one computation on its inputs; gives what it returns."""
        values: dict[str, Value] = {}
        result: Value = ()
        for instruction in self._program.computations[name]:
            values[instruction.name] = value = self._value(instruction, values, given, around)
            result = value if instruction.is_root else result
        return result

    def _value(
        self,
        instruction: Instruction,
        values: Mapping[str, Value],
        given: Sequence[Value],
        around: _Around,
    ) -> Value:
        read = [values.get(name, ()) for name in instruction.operands]
        match instruction.opcode:
            case "parameter":
                return given[int(instruction.literal)]
            case "tuple":
                return read
            case "get-tuple-element":
                return _element(read[0], instruction)
            case "bitcast" | "opt-barrier" | "after-all":
                return read[0] if read else ()
            case "constant" if all(math.prod(sizes) <= 1 for _, sizes in instruction.arrays):
                return ()
            case "fusion":
                return self._fusion(instruction, read, around)
            case "call":
                (called,) = instruction.called["to_apply"]
                return self._run(called, read, around)
            case "while":
                return self._while(instruction, read, around)
            case "conditional":
                return self._conditional(instruction, read, around)
        return (self._operation(instruction, read, around),)

    def _operation(
        self, instruction: Instruction, read: Iterable[Value], around: _Around, **facts: Any
    ) -> int:
        moved = self._bytes(instruction) if around.fusion is None else 0.0
        number = self._sketch.add(
            **{
                "kind": "constant" if instruction.opcode == "constant" else "operation",
                "label": _label(instruction),
                "nest": (*around.nest, *(_scopes(instruction) if around.fusion is None else [])),
                "phase": _phase(instruction),
                "shown_in": around.fusion,
                "place": place_of_frames(instruction.frames),
                "outputs": tuple(_in_words([array]) for array in instruction.arrays),
                "detail": _detail(instruction),
                "flops": flops_of(instruction, self._shapes),
                "bytes": moved,
                "runs": around.runs,
            }
            | facts
        )
        for name, value in zip(instruction.operands, read, strict=False):
            self._sketch.connect(_flat(value), number, _in_words(self._shapes.get(name, ())))
        return number

    def _bytes(self, instruction: Instruction) -> float:
        read = (bytes_of(self._shapes.get(name, ())) for name in instruction.operands)
        return bytes_of(instruction.arrays) + sum(read)

    def _fusion(self, instruction: Instruction, read: list[Value], around: _Around) -> Value:
        """What went into a fusion; memory is touched by the fusion, not by what is inside."""
        key = GroupKey("fusion", instruction.name, next(self._calls))
        nest = (*around.nest, *_scopes(instruction), key)
        (called,) = instruction.called["calls"]
        before = self._sketch.count
        value = self._run(called, read, _Around(nest, around.runs, _phase(instruction)))
        if self._sketch.count > before:
            last = self._sketch.count - 1
            self._sketch.change(last, bytes=self._bytes(instruction))
        return value

    def _while(self, instruction: Instruction, read: list[Value], around: _Around) -> Value:
        trips = instruction.trip_count
        name = "while" if trips is None else f"while, {trips} turns"
        key = GroupKey("loop", name, next(self._calls))
        nest = (*around.nest, *_scopes(instruction), key)
        within = _Around(nest, around.runs)
        number = self._operation(
            instruction, read, around, nest=nest, flops=0.0, bytes=0.0, label="while"
        )
        runs = None if trips is None or around.runs is None else trips * around.runs
        for part in ("condition", "body"):
            (called,) = instruction.called[part]
            turn = self._run(called, [(number,)], _Around(within.nest, runs))
            self._sketch.connect(_flat(turn), number, "", "carry")
        return (number,)

    def _conditional(self, instruction: Instruction, read: list[Value], around: _Around) -> Value:
        names = instruction.called.get("branch_computations") or (
            *instruction.called["false_computation"],
            *instruction.called["true_computation"],
        )
        # With a predicate the first operand after it belongs to the true side.
        operands = read[1:] if "branch_computations" in instruction.called else read[:0:-1]
        choice = GroupKey("branch", "conditional", next(self._calls))
        nest = (*around.nest, *_scopes(instruction), choice)
        results = []
        for i, (name, operand) in enumerate(zip(names, operands, strict=True)):
            key = GroupKey("branch", branch_name(i, len(names)), next(self._calls))
            results.append(self._run(name, [operand], _Around((*nest, key), around.runs)))
        number = self._operation(
            instruction, read[:1], around, nest=nest, flops=0.0, bytes=0.0, label="conditional"
        )
        self._sketch.connect(
            itertools.chain.from_iterable(map(_flat, results)),
            number,
            _in_words(instruction.arrays),
        )
        return (number,)


def _element(value: Value, instruction: Instruction) -> Value:
    found = _INDEX.search(instruction.attributes)
    return value[int(found[1])] if isinstance(value, list) and found else value


def _flat(value: Value) -> list[int]:
    """The nodes behind a value, those of all its elements if it is a tuple."""
    if isinstance(value, list):
        return [node for element in value for node in _flat(element)]
    return list(value)


def _label(instruction: Instruction) -> str:
    target = re.search(r'custom_call_target="([^"]*)"', instruction.attributes)
    return f"{instruction.opcode} {target[1]}" if target else instruction.opcode


def _detail(instruction: Instruction) -> str:
    words = [f"from {instruction.op_name}"] if instruction.op_name else []
    if instruction.literal:
        words.append(instruction.literal)
    return ", ".join([*words, instruction.attributes])[:_LONG].strip(", ")


def _phase(instruction: Instruction) -> Phase:
    if "transpose(" in instruction.op_name:
        return "backward"
    return "forward"


def _scopes(instruction: Instruction) -> list[GroupKey]:
    """The modules around an operation, by JAX's name for it: between the program and itself."""
    scope = "/".join(instruction.op_name.split("/")[1:-1])
    return [GroupKey("scope", module) for module in modules_in(scope)]


def _in_words(arrays: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(array_in_words(sizes, dtype) for dtype, sizes in arrays)
