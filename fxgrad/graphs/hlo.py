"""The graph of what XLA made: instructions, what went into each fusion, loops and branches."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fxgrad.graphs.hlo_cost import HloCost
from fxgrad.graphs.hlo_text import Arrays, Instruction, Program
from fxgrad.graphs.sketch import GroupKey, Path, Sketch
from fxgrad.graphs.words import branch_name, modules_in, phase_in
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
    in_fusion: bool = False


class HloSketch:
    """Walks through a compiled program and sketches its nodes."""

    def __init__(self, sketch: Sketch, program: Program) -> None:
        self._sketch = sketch
        self._program = program
        self._cost = HloCost(program)
        self._calls = itertools.count()

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
        given: list[Value] = []
        for n, parameter in enumerate(parameters):
            name = inputs.get(parameter.op_name, parameter.op_name) or f"argument {n}"
            given.append((self._boundary("input", name, parameter.arrays),))
        result = self._run(self._program.entry, given, _Around())
        (root,) = (i for i in entry if i.is_root)
        elements = result if isinstance(result, list) else [result]
        for n, (element, array) in enumerate(zip(elements, root.arrays, strict=False)):
            label = outputs[n] if len(outputs) == len(elements) else f"output[{n}]"
            number = self._boundary("output", label.replace("result", "output", 1), (array,))
            self._sketch.connect(_flat(element), number, _in_words((array,)))

    def _boundary(self, kind: str, label: str, arrays: Arrays) -> int:
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
        return _of_node(self._operation(instruction, read, around), instruction)

    def _operation(
        self, instruction: Instruction, read: Iterable[Value], around: _Around, **facts: Any
    ) -> int:
        moved = 0.0 if around.in_fusion else self._cost.bytes_of(instruction)
        number = self._sketch.add(
            **{
                "kind": "constant" if instruction.opcode == "constant" else "operation",
                "label": _label(instruction),
                "nest": (*around.nest, *([] if around.in_fusion else _scopes(instruction))),
                "told": phase_in(instruction.op_name),
                "place": place_of_frames(instruction.frames),
                "outputs": tuple(_in_words([array]) for array in instruction.arrays),
                "detail": _detail(instruction),
                "flops": self._cost.flops_of(instruction),
                "bytes": moved,
                "runs": around.runs,
            }
            | facts
        )
        for name, value in zip(instruction.operands, read, strict=False):
            self._sketch.connect(_flat(value), number, _in_words(self._cost.arrays_of(name)))
        return number

    def _fusion(self, instruction: Instruction, read: list[Value], around: _Around) -> Value:
        """What went into a fusion; memory is touched by the fusion, not by what is inside."""
        key = GroupKey("fusion", instruction.name, next(self._calls))
        nest = (*around.nest, *_scopes(instruction), key)
        (called,) = instruction.called["calls"]
        first = self._sketch.count
        value = self._run(called, read, _Around(nest, around.runs, in_fusion=True))
        self._sketch.fuse(first, bytes=self._cost.bytes_of_fusion(instruction))
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
        return _of_node(number, instruction)

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
        chosen = itertools.chain.from_iterable(map(_flat, results))
        self._sketch.connect(chosen, number, _in_words(instruction.arrays))
        return _of_node(number, instruction)


def _of_node(number: int, instruction: Instruction) -> Value:
    """What an operation gives: one value, or one for each element of a tuple."""
    count = len(instruction.arrays)
    return (number,) if count == 1 else [(number,)] * count


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


def _scopes(instruction: Instruction) -> list[GroupKey]:
    """The modules around an operation, by JAX's name for it: between the program and itself."""
    scope = "/".join(instruction.op_name.split("/")[1:-1])
    return [GroupKey("scope", module) for module in modules_in(scope)]


def _in_words(arrays: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(array_in_words(sizes, dtype) for dtype, sizes in arrays)
