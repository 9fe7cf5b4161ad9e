"""Code: operations on variables, one after the other. Programs are made of it and told by it.

What is recorded names its values by `Slot`; here each value is a variable of its own, so that code
from different paths can be put together.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from fxgrad.recorder import Slot, of_aval, zeros_of_aval
from fxgrad.replay.structure import Key, Step, constant_key


class Var:
    """A value of known shape and dtype. Two of them are never equal."""

    __slots__ = ("aval",)

    def __init__(self, aval: Any) -> None:
        self.aval = aval


class Literal:
    """A scalar in the code, compared by type and exact value."""

    __slots__ = ("_key", "aval", "value")

    def __init__(self, value: Any, aval: Any) -> None:
        self.value = value
        self.aval = aval
        self._key = (type(value), constant_key(value), repr(value))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key == other._key

    def array(self) -> jax.Array:
        """The value as an array."""
        return of_aval(np.asarray(self.value, self.aval.dtype), self.aval)


@dataclass(frozen=True)
class Zeros:
    """Stands where a path has no value: zeros that nothing reads."""

    aval: Any

    @property
    def value(self) -> Any:
        """An array of zeros, or keys made of them."""
        return zeros_of_aval(self.aval)


Ref = Var | Literal | Zeros


class Action(Protocol):
    """What a line does: an operation, a choice among branches, or a loop."""

    @property
    def key(self) -> Hashable:
        """Its structure; lines of equal structure do the same with the same operands."""
        ...

    @property
    def size(self) -> int:
        """How many operations it holds."""
        ...

    @property
    def has_effects(self) -> bool:
        """Whether it does something besides its results."""
        ...

    def run(self, inputs: Sequence[Any], /) -> Sequence[Any]:
        """Its results, under the trace that is current."""
        ...


@dataclass(frozen=True, eq=False)
class Line:
    """One action on variables."""

    action: Action
    operands: tuple[Ref, ...]
    results: tuple[Var, ...]


@dataclass(frozen=True)
class Code:
    """Lines, and what comes out of them."""

    lines: tuple[Line, ...]
    outs: tuple[Ref, ...]

    def without_dead_lines(self) -> Code:
        """The lines that `outs` need, and those with effects."""
        needed = set(self.outs)
        kept = []
        for line in reversed(self.lines):
            if line.action.has_effects or not needed.isdisjoint(line.results):
                needed.update(line.operands)
                kept.append(line)
        return Code(tuple(reversed(kept)), self.outs)

    def free(self) -> list[Var]:
        """The variables that are read and not made here, in the order of their first use."""
        made = {result for line in self.lines for result in line.results}
        read = [ref for line in self.lines for ref in line.operands]
        free = (ref for ref in (*read, *self.outs) if isinstance(ref, Var) and ref not in made)
        return list(dict.fromkeys(free))


class Block:
    """Code as a function of its parameters. Blocks of equal structure have equal keys."""

    def __init__(self, parameters: Sequence[Var], code: Code) -> None:
        self.parameters = tuple(parameters)
        self.code = code
        numbers: dict[Any, int] = {}
        for var in self.parameters:
            numbers[var] = len(numbers)
        for line in code.lines:
            for var in line.results:
                numbers[var] = len(numbers)
        self.key = Key(
            tuple(var.aval for var in self.parameters),
            tuple(
                (line.action.key, *(numbers.get(ref, ref) for ref in line.operands))
                for line in code.lines
            ),
            tuple(numbers.get(ref, ref) for ref in code.outs),
        )

    @property
    def size(self) -> int:
        """How many operations it holds, those in branches and loops too."""
        return sum(line.action.size for line in self.code.lines)

    @property
    def has_effects(self) -> bool:
        """Whether a line does something besides its results."""
        return any(line.action.has_effects for line in self.code.lines)

    def run(self, *arguments: Any) -> list[Any]:
        """Run every line in order."""
        values: dict[Ref, Any] = dict(zip(self.parameters, arguments, strict=True))

        def read(ref: Ref) -> Any:
            return values[ref] if isinstance(ref, Var) else ref.value

        for line in self.code.lines:
            results = line.action.run([read(ref) for ref in line.operands])
            values.update(zip(line.results, results, strict=True))
        return [read(ref) for ref in self.code.outs]

    def generic(self) -> tuple[Block, tuple[Literal, ...]]:
        """The block with its literals as further parameters, and what they were."""
        parameters, literals = list(self.parameters), []
        lines = []
        for line in self.code.lines:
            operands = list(line.operands)
            for number, ref in enumerate(operands):
                if isinstance(ref, Literal):
                    operands[number] = var = Var(ref.aval)
                    parameters.append(var)
                    literals.append(ref)
            lines.append(Line(line.action, tuple(operands), line.results))
        return Block(parameters, Code(tuple(lines), self.code.outs)), tuple(literals)


def operands_of(step: Step) -> list[Slot | Literal]:
    """What an operation reads, with its scalars as literals, so that NaN equals itself."""
    operation = step.operation
    return [
        operand if isinstance(operand, Slot) else Literal(operand, aval)
        for operand, aval in zip(operation.operands, operation.input_avals, strict=True)
    ]


def code_of_steps(
    steps: Iterable[Step], variables: Mapping[Slot, Ref]
) -> tuple[tuple[Line, ...], dict[Slot, Ref]]:
    """The lines of recorded operations, and `variables` with their results.

    Raises:
      KeyError: a slot is read that is neither in `variables` nor a result.
    """
    known = dict(variables)
    lines = []
    for step in steps:
        operation = step.operation
        operands = tuple(
            known[operand] if isinstance(operand, Slot) else operand
            for operand in operands_of(step)
        )
        results = tuple(map(Var, operation.output_avals))
        known.update(zip(operation.results, results, strict=True))
        lines.append(Line(step, operands, results))
    return tuple(lines), known


def block_of_steps(
    steps: Sequence[Step], outputs: Sequence[Slot]
) -> tuple[tuple[Slot, ...], Block]:
    """Recorded operations as a function of the slots that are returned beside it."""
    outer: dict[Slot, Ref] = {}
    made = {slot for step in steps for slot in step.operation.results}
    for step in steps:
        for slot, aval in zip(step.operation.operands, step.operation.input_avals, strict=True):
            if isinstance(slot, Slot) and slot not in made:
                outer.setdefault(slot, Var(aval))
    lines, known = code_of_steps(steps, outer)
    code = Code(lines, tuple(known[slot] for slot in outputs)).without_dead_lines()
    slots = {var: slot for slot, var in outer.items()}
    free = code.free()
    return tuple(slots[var] for var in free), Block(free, code)
